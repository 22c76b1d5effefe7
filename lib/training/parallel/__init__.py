"""Training on several processes or machines: the plain story in `lib.training` needs none of it."""
