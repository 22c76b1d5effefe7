"""What selection buys: curves over n, other ways to pick, what selection alone predicts."""
