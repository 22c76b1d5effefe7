"""Notebook 06: the methods that the paper leaves to future work, each on the same budget.

An arm trains from the run's SFT model on the same prompts, may generate as many answers and train
on as many tokens as every other, and answers the same held-out prompts. `catalogue.py` lists the
arms, `arm.py` is what an arm works with, `stage.py` runs, measures and compares them, `reader.py`
has what a blind reader says of them, or would say. Each arm is a function of a few lines in
`offline.py` (fixed pairs), `online.py` (answers of its own) or `adapters.py`.
"""
