"""Models and how sequences go through them: loading, packing, attention, log-probabilities."""
