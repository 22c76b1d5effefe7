"""Chat models as judges: which of two answers to a prompt is better, asked in words."""
