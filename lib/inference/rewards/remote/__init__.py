"""Reward models behind an API: requests, and rewards from replies."""
