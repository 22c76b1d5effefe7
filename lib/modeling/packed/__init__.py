"""Packed rows: several sequences side by side, with log-probabilities equal to padded ones."""

CHUNK_ELEMENTS = 2**24  # logits alive at once: just under 32 MB in bf16, 64 MB in fp32
CUDA_CHUNK_ELEMENTS = 2**27  # the same on a GPU, which reads the vocabulary head for each chunk
LEAST_CHUNK = 256  # tokens at once even so: over 262,144 words, 64 took half as much time again
