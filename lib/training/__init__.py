"""Supervised fine-tuning and preference optimisation by one loop on packed batches."""
