"""Where the variance of a win rate sits, and what a study needs to see an effect."""
