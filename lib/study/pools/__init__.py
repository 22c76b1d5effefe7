"""Pools of candidates: sampled, scored and timed, by one process or several."""
