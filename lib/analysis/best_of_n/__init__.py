"""Best-of-N: curves over n, other selection rules, what selection buys by a judge or a reader."""
