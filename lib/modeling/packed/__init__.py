"""Packed rows: several sequences side by side, with log-probabilities equal to padded ones."""

KEPT_ELEMENTS = 2**25  # logits that a CPU keeps for the backward: 64 MB in bf16, 128 MB in fp32
WORDS_A_BLOCK = 4096  # of the vocabulary, which a CPU's head multiplies at once
CHUNK_ELEMENTS = 2**27  # logits alive at once on a GPU, which reads the head for each chunk
LEAST_CHUNK = 256  # tokens at once even so: over 262,144 words, 64 took half as much time again
