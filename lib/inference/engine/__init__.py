"""The sampling engine: one prefill a prompt, a growing cache, draws from the exact distribution."""
