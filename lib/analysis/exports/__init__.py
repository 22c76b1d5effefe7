"""Formats of other tools: leaderboard, LLM Comparator, AlpacaEval, TRL, model cards."""
