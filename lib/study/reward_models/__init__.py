"""The reward models of a run: fitted heads, a trained classifier, an API."""
