import numpy as np
import pytest

from harness.seeds import generator
from harness.training.sampling import order

GROUPS = np.array([0] * 4 + [1] * 16 + [2] * 100 + [-1] * 24)


def test_uniform_draws_no_sample_twice_in_an_epoch():
    picks = order("uniform", GROUPS, 144, generator("t", 0))
    assert sorted(picks) == list(range(144))


def test_balanced_draws_every_known_group_equally_often():
    picks = order("group-balanced", GROUPS, 144, generator("t", 0))
    counts = {code: int((GROUPS[picks] == code).sum()) for code in (-1, 0, 1, 2)}
    # 24 of 144 are unknown and keep their share; the other 120 draws are 40 for each group.
    assert counts == {-1: 24, 0: 40, 1: 40, 2: 40}


def test_balanced_uses_every_sample_of_a_rare_group_before_any_twice():
    picks = order("group-balanced", GROUPS, 144, generator("t", 0))
    rare = picks[GROUPS[picks] == 0]
    assert set(np.unique(rare, return_counts=True)[1]) == {10}


@pytest.mark.parametrize("sampler", ["uniform", "group-balanced"])
def test_order_follows_from_the_seed_alone(sampler):
    first = order(sampler, GROUPS, 100, generator("order", 3, 5))
    assert np.array_equal(first, order(sampler, GROUPS, 100, generator("order", 3, 5)))
    assert not np.array_equal(first, order(sampler, GROUPS, 100, generator("order", 3, 6)))


def test_balanced_without_a_known_group_is_uniform():
    picks = order("group-balanced", np.full(10, -1), 10, generator("t", 0))
    assert sorted(picks) == list(range(10))
