"""A run's figures, exports, and numbers in the README."""
