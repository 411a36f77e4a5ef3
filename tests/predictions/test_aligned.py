"""Errors in a structure's own coordinates: the same wherever it lies and however large it is."""

from __future__ import annotations

import numpy as np
import pytest

from harness.predictions.aligned import REACH, SIDE, ErrorMaps
from harness.predictions.scored import Pair


def disc(side: int, centre: tuple[float, float], radius: float) -> np.ndarray:
    y, x = np.ogrid[:side, :side]
    return (y - centre[0]) ** 2 + (x - centre[1]) ** 2 < radius**2


def seen(true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    maps = ErrorMaps()
    maps.see("a", Pair(predicted.astype(np.uint8), true.astype(np.uint8), {"s": (1,)}, None))
    return maps.of("s", ["a"])[0][0]


@pytest.mark.parametrize(("centre", "radius"), [((60, 60), 20), ((40, 90), 12), ((90, 50), 35)])
def test_a_cut_of_the_upper_half_is_the_upper_half_of_the_map(centre, radius):
    true = disc(160, centre, radius)
    predicted = true.copy()
    predicted[: centre[0]] = False
    found = seen(true, predicted)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    away = np.hypot(*((2 * (one + 0.5) / SIDE - 1) * REACH for one in (rows, columns)))
    half = (away < 0.85) & (rows < SIDE // 2 - 1)
    assert found[half].mean() > 0.97
    assert found[(rows > SIDE // 2 + 1) | (away > 1.15)].sum() == 0


def test_a_volume_is_the_mean_over_its_slices():
    true = np.stack([disc(60, (30, 30), 12)] * 4)
    predicted = true.copy()
    predicted[:2] = False
    found = seen(true, predicted)
    assert found[SIDE // 2, SIDE // 2] == pytest.approx(0.5)


def test_a_structure_that_is_not_there_has_no_map():
    maps = ErrorMaps()
    empty = np.zeros((8, 8), np.uint8)
    maps.see("a", Pair(empty, empty, {"s": (1,)}, None))
    assert maps.of("s", ["a"])[1].tolist() == [False]


def test_two_orders_of_storage_are_one_place_of_the_patient():
    """The same errors of the same patient, stored to the right and front, and to the back and left."""
    maps = ErrorMaps()
    true = np.stack([disc(60, (25, 35), 12)] * 3, axis=2).astype(np.uint8)
    predicted = true.copy()
    predicted[:25] = 0  # the patient's left is missed: the first axis grows to the right
    other = np.array([[0, -1, 0, 0], [-1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    for name, turn, affine in (
        ("as it is", lambda one: one, np.eye(4)),
        ("turned", lambda one: np.swapaxes(one[::-1, ::-1], 0, 1), other),
    ):
        maps.see(name, Pair(turn(predicted), turn(true), {"s": (1,)}, None, axis=2, affine=affine))
    one, other = maps.of("s", ["as it is", "turned"])[0]
    assert np.abs(one - other).mean() < 0.02  # but for how halves are rounded
    # As readers know it the patient's left is at the right.
    assert one[:, SIDE // 2 + 2 :].sum() > 20 * one[:, : SIDE // 2 - 2].sum()
    assert not maps.unplaced
