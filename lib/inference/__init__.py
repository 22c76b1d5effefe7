"""Answers and their scores: sampling, reward models, and Best-of-N."""
