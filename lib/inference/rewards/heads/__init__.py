"""Reward heads on a frozen language model's hidden states, fitted by Bradley-Terry in seconds."""
