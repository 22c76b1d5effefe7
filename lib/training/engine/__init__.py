"""Parts of the training loop: master weights and optimizer, checkpoints, a count of FLOPs."""
