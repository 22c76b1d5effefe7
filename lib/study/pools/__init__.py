"""Pools of candidates, which one process or several sample, score and time."""
