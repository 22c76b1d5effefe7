"""A head that is fitted again sees other prompts and stays the same kind of head."""

import numpy as np
import pytest

from lib.inference.rewards.heads.answers import pairs_within
from lib.inference.rewards.heads.head import Head, HeadOptions, fit_head
from lib.inference.rewards.heads.refits import refit


def fitted(prompts: int, objective: str) -> tuple[Head, tuple[np.ndarray, ...]]:
    random = np.random.default_rng(0)
    groups = np.repeat(np.arange(prompts), 4)
    features = random.normal(size=(len(groups), 6)).astype(np.float32)
    scores = features[:, 0] + random.normal(size=len(groups))
    pairs = pairs_within(scores, groups)
    data = features, pairs, groups, scores[pairs[:, 0]] - scores[pairs[:, 1]]
    return fit_head(*data, HeadOptions(objective), layers=(1,), views=("plain",), pooling="mean",
                    backbone="none", fitted_on="made up", data_hash="none"), data


@pytest.mark.parametrize("objective", ["bradley_terry", "least_squares"])
def test_refits_scatter_around_the_head_and_less_with_more_prompts(objective: str) -> None:
    spreads = []
    for prompts in (40, 640):
        head, data = fitted(prompts, objective)
        heads = refit(head, *data, number=20)
        weights = np.array([each.weights for each in heads])
        spreads.append(float(weights.std(axis=0).mean()))
        assert weights.mean(axis=0) == pytest.approx(head.weights, abs=4 * spreads[-1])
        assert {each.ridge for each in heads} == {head.ridge}
        assert all((each.mean == head.mean).all() for each in heads)
    assert spreads[1] < 0.5 * spreads[0]


def test_the_same_seed_gives_the_same_refits_and_unread_answers_do_not_count() -> None:
    head, (features, *rest) = fitted(40, "bradley_terry")
    first, again = (refit(head, features, *rest, number=2)[1].weights for _ in range(2))
    assert (first == again).all()
    features = np.where(np.arange(len(features))[:, None] == 3, np.nan, features)
    assert np.isfinite(refit(head, features, *rest, number=1)[0].weights).all()
