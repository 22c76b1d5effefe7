"""Measures of texts alone: repetition, variety, length, constraints that a program checks."""
