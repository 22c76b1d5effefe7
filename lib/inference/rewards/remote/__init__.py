"""Reward models behind an API: what is asked and how replies are read."""
