"""Places where groups' errors differ: the one that was put in is found, chance in one of twenty."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from harness.equity.place import places


def maps(rng, n, where=None, more=0.0):
    """Smooth noise a case, and in the second group more error at a place."""
    found = ndimage.gaussian_filter(rng.normal(0, 1, (n, 24, 24)), (0, 2, 2)) * 0.3 + 0.2
    groups = np.resize(np.array(["a", "b"], object), n)
    if where is not None:
        found[np.ix_(groups == "b", *[np.arange(24)[s] for s in where])] += more
    return found, groups


def test_a_place_where_one_group_errs_more_is_found_where_it_is():
    found, groups = maps(np.random.default_rng(0), 80, (slice(2, 7), slice(16, 21)), 0.1)
    row = places(found, groups, np.arange(80), draws=200).table.iloc[0]
    assert (row["worst"], row["best"]) == ("b", "a")
    assert row["p"] < 0.02
    # The middle of pixels 2 to 6 and 16 to 20 of 24.
    assert row["row"] == pytest.approx(2 * 4.5 / 24 - 1, abs=0.15)
    assert row["column"] == pytest.approx(2 * 18.5 / 24 - 1, abs=0.15)
    assert row["low"] < 0.1 < row["high"] + 0.03


@pytest.mark.slow
def test_where_there_is_nothing_something_is_found_in_one_of_twenty():
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(120):
        found, groups = maps(rng, 40)
        table = places(found, groups, np.arange(40), draws=99).table
        hits += bool(len(table) and table["p"].min() <= 0.05)
    assert hits <= 13  # 6 are due; beyond 13 has a probability of 0.4%


def test_several_cases_of_a_patient_are_one():
    found, groups = maps(np.random.default_rng(2), 40, (slice(2, 7), slice(16, 21)), 0.1)
    whole = places(found, groups, np.arange(40), draws=99).table
    twice = places(found.repeat(2, 0), groups.repeat(2), np.arange(40).repeat(2), draws=99).table
    assert twice.equals(whole)


def test_groups_of_few_patients_are_left_out():
    found, groups = maps(np.random.default_rng(3), 16)
    assert len(places(found, groups, np.arange(16)).table) == 0
