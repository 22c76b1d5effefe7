"""Before a run: what it will take on this machine, and what would stop it."""
