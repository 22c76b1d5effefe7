"""Effects of training on a policy: divergence, displacement, retention."""
