"""Before a run: its time, memory, disk and cost on this machine, and what would stop it."""
