"""Who wins: one scoreboard, win rates with intervals, the spread over seeds, the paper's table."""
