"""Parts of the training loop: optimizer, checkpoints, evaluation, a count of FLOPs."""
