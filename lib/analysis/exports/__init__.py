"""What other tools read: leaderboard, LLM Comparator, AlpacaEval, TRL, model cards."""
