"""Work dealt to several processes; one process needs nothing of it."""
