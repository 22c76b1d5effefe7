"""The stages of a run, one file each, named as their folder in the run."""
