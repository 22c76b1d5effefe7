"""Packed rows: several sequences side by side, with log-probabilities equal to padded ones."""
