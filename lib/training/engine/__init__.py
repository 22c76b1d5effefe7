"""What the training loop runs on: master weights and optimizer, checkpoints, a count of FLOPs."""
