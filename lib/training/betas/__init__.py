"""Betas that change while DPO trains: with each batch (beta-DPO), or steered by measured KL."""
