"""The sampling distribution against the filters of transformers' `generate`."""

import pytest
import torch
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from lib.inference.engine.distributions import sampling_logps


@pytest.mark.parametrize(("temperature", "top_k", "top_p"), [
    (1.0, None, 1.0), (0.6, 20, 0.95), (1.3, None, 0.9), (0.5, 3, 1.0), (1.0, 1, 0.5)])
def test_every_token_has_the_log_probability_that_the_filters_of_generate_leave_it(
        temperature: float, top_k: int | None, top_p: float) -> None:
    logits = 3 * torch.randn(4, 1000, generator=torch.Generator().manual_seed(0))
    expected = TemperatureLogitsWarper(temperature)(None, logits)
    if top_k is not None:
        expected = TopKLogitsWarper(top_k)(None, expected)
    expected = TopPLogitsWarper(top_p)(None, expected).log_softmax(-1)  # -inf where one drops it
    torch.testing.assert_close(sampling_logps(logits, temperature, top_k, top_p), expected)
