"""Language models: loading, packed rows, attention, log-probabilities."""
