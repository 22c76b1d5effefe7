"""Two run folders side by side: what was set differently, and which answers are better."""
