"""The sampling engine: prefill once a prompt, one growing cache, draws from the exact distribution."""
