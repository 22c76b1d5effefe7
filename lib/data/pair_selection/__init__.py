"""Which preference pairs DPO trains on and in which order, each choice with its random control.

A choice that helps has to beat as many pairs, or the same pairs in another order, taken at random.
Pure functions: scores, log-probabilities and embeddings come in as arrays, indices of pairs go out.
"""
