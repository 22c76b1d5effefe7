"""Best-of-N: curves over n, other selection rules, what selection alone predicts."""
