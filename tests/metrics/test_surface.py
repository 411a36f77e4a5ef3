import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from medpy.metric import binary
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance, compute_surface_dice

from harness.metrics import asd, dice, hd95, hd95_max, iou, missed, nsd, score_structure, surfaces
from harness.metrics.surface import pooled


def ellipse(shape, centre, axes):
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return ((rows - centre[0]) / axes[0]) ** 2 + ((columns - centre[1]) / axes[1]) ** 2 <= 1


def pixel(shape, row, column):
    mask = np.zeros(shape, bool)
    mask[row, column] = True
    return mask


RNG = np.random.default_rng(0)
SHAPE = (48, 64)
PAIRS = {
    "random sparse": tuple(RNG.random((2, *SHAPE)) < 0.02),
    "random dense": tuple(RNG.random((2, *SHAPE)) < 0.7),
    "sizes apart": (RNG.random(SHAPE) < 0.5, pixel(SHAPE, 3, 60)),
    "discs": (ellipse(SHAPE, (24, 30), (12, 15)), ellipse(SHAPE, (26, 31), (11, 13))),
    "disc and ring": (
        ellipse(SHAPE, (24, 30), (12, 15)),
        ellipse(SHAPE, (24, 30), (14, 16)) & ~ellipse(SHAPE, (24, 30), (6, 6)),
    ),
    "one inside the other": (ellipse(SHAPE, (24, 30), (4, 4)), ellipse(SHAPE, (24, 30), (20, 20))),
    "same": (ellipse(SHAPE, (24, 30), (9, 9)),) * 2,
    "full": (np.ones(SHAPE, bool),) * 2,
    "full and a disc": (np.ones(SHAPE, bool), ellipse(SHAPE, (24, 30), (12, 15))),
    "opposite pixels": (pixel(SHAPE, 0, 0), pixel(SHAPE, 47, 63)),
    "same pixel": (pixel(SHAPE, 5, 5),) * 2,
    "touching the border": (ellipse(SHAPE, (0, 0), (15, 20)), ellipse(SHAPE, (47, 63), (20, 10))),
    "touching three sides": (ellipse(SHAPE, (24, 63), (30, 20)), ellipse(SHAPE, (20, 60), (18, 12))),
    "joined by a corner": (pixel(SHAPE, 4, 4) | pixel(SHAPE, 5, 5), pixel(SHAPE, 5, 4)),
    "one row": (np.ones((1, 9), bool), pixel((1, 9), 0, 4)),
}


def channels(mask):
    return torch.from_numpy(np.stack([~mask, mask])[None].astype(np.float32))


@pytest.mark.parametrize("name", PAIRS)
def test_distances_are_medpys(name):
    pair = PAIRS[name]
    assert hd95(*pair) == pytest.approx(binary.hd95(*pair), abs=1e-12)
    assert asd(*pair) == pytest.approx(binary.assd(*pair), abs=1e-12)


@pytest.mark.parametrize("name", PAIRS)
def test_distances_and_surface_dice_are_monais(name):
    pair = PAIRS[name]
    inputs = [channels(mask) for mask in pair]
    # MONAI computes in float32, so 1e-6 is relative for distances.
    assert hd95_max(*pair) == pytest.approx(
        float(compute_hausdorff_distance(*inputs, percentile=95)), rel=1e-6
    )
    assert asd(*pair) == pytest.approx(
        float(compute_average_surface_distance(*inputs, symmetric=True)), rel=1e-6
    )
    for tolerance in (0.0, 1.0, 2.0, 5.0):
        expected = float(compute_surface_dice(*inputs, class_thresholds=[tolerance]))
        assert nsd(*pair, tolerance=tolerance) == pytest.approx(expected, abs=1e-6)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_two_masks_agree_with_medpy(data):
    shape = data.draw(hnp.array_shapes(min_dims=2, max_dims=2, max_side=14))
    pair = [data.draw(hnp.arrays(bool, shape)) for _ in range(2)]
    for mask in pair:
        mask[data.draw(st.integers(0, shape[0] - 1)), data.draw(st.integers(0, shape[1] - 1))] = True
    assert hd95(*pair) == pytest.approx(binary.hd95(*pair), abs=1e-12)
    assert asd(*pair) == pytest.approx(binary.assd(*pair), abs=1e-12)


def test_large_boundaries_take_the_tree_and_give_the_same_numbers():
    pair = np.random.default_rng(1).random((2, 90, 90)) < 0.6  # 8,100 pixels, nearly all of them boundary
    result = surfaces(*pair)
    assert len(result.forward) * len(result.backward) > 2_000_000
    assert hd95(*pair) == pytest.approx(binary.hd95(*pair), abs=1e-12)
    assert asd(*pair) == pytest.approx(binary.assd(*pair), abs=1e-12)


def test_far_apart_pixels_of_a_huge_image_are_exact():
    # Squared distances beyond 2^24 are not exact in float32, so this case must not go there.
    shape = (2, 5001)
    assert hd95(pixel(shape, 0, 0), pixel(shape, 1, 5000)) == math.sqrt(1 + 5000**2)


def test_pooled_and_directed_percentiles_differ():
    # One pixel against two at distances 0 and 10: forward {0}, backward {0, 10}. Pooled {0, 0, 10} has its
    # 95th percentile at 9 (linear interpolation at rank 1.9), backward alone at 9.5 (rank 0.95).
    one, two = pixel((1, 12), 0, 0), pixel((1, 12), 0, 0) | pixel((1, 12), 0, 10)
    assert hd95(one, two) == pytest.approx(9.0)
    assert hd95_max(one, two) == pytest.approx(9.5)
    assert asd(one, two) == pytest.approx(10 / 3)
    assert nsd(one, two) == pytest.approx(2 / 3)


def test_empty_masks_score_perfect_together_and_worst_alone():
    # Where we differ: medpy raises an error on an empty mask, MONAI gives NaN or infinity.
    empty, full = np.zeros((30, 40), bool), np.ones((30, 40), bool)
    assert (hd95(empty, empty), hd95_max(empty, empty), asd(empty, empty), nsd(empty, empty)) == (0, 0, 0, 1)
    for pair in [(empty, full), (full, empty), (empty, pixel((30, 40), 3, 3))]:
        assert (hd95(*pair), hd95_max(*pair), asd(*pair), nsd(*pair)) == (50, 50, 50, 0)  # 3-4-5 triangle


def test_a_missed_structure_is_worse_than_any_found_one():
    shape = (30, 40)
    missed_cup = hd95(np.zeros(shape, bool), pixel(shape, 0, 0))
    assert missed_cup > hd95(pixel(shape, 29, 39), pixel(shape, 0, 0))


@pytest.mark.parametrize("name", PAIRS)
def test_score_structure_is_every_score_at_once(name):
    pair = PAIRS[name]
    separate = {f.__name__: f(*pair) for f in (dice, iou, hd95, hd95_max, asd, nsd, missed)}
    assert score_structure(*pair) == separate


def drawn_pair(shape, seed):
    """Two overlapping blobs in two or three dimensions."""
    grid = np.indices(shape)
    centre = np.reshape(shape, (-1,) + (1,) * len(shape)) / 2
    middle, radius = centre + np.random.default_rng(seed).uniform(-2, 2, centre.shape), min(shape) / 3
    return ((grid - centre) ** 2).sum(0) < radius**2, ((grid - middle) ** 2).sum(0) < (0.8 * radius) ** 2


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.7, 0.7), (0.35, 1.9), (2.5, 0.8, 0.8), (5.0, 0.45, 0.6)])
@pytest.mark.parametrize("seed", range(3))
def test_distances_in_millimetres_are_medpys_and_monais(spacing, seed):
    pair = drawn_pair((40, 52)[: len(spacing)] if len(spacing) == 2 else (14, 24, 30), seed)
    found = surfaces(*pair, spacing)
    assert found.hd95 == pytest.approx(binary.hd95(*pair, voxelspacing=spacing), abs=1e-6)
    assert found.asd == pytest.approx(binary.assd(*pair, voxelspacing=spacing), abs=1e-6)
    monai = compute_hausdorff_distance(*map(channels, pair), percentile=95, spacing=list(spacing)).item()
    assert found.hd95_max == pytest.approx(monai, abs=1e-5 * max(1.0, monai) / 10)


def test_a_missed_structure_is_as_far_as_the_image_is_wide_in_millimetres():
    nothing, something = np.zeros((30, 40), bool), pixel((30, 40), 3, 3)
    assert hd95(nothing, something, (2.0, 0.5)) == pytest.approx(math.hypot(60, 20))


def test_slices_pooled_are_the_distances_of_each_put_together():
    one, other = PAIRS["discs"], PAIRS["disc and ring"]
    whole = pooled([(*one, None), (*other, (2.0, 1.0))])
    parts = [surfaces(*one), surfaces(*other, (2.0, 1.0))]
    assert whole.asd == pytest.approx(
        np.concatenate([d for p in parts for d in (p.forward, p.backward)]).mean(), abs=1e-12
    )


def test_a_slice_that_is_missed_counts_its_boundary_as_far_as_the_slice_is_wide():
    there, nothing = pixel((3, 4), 1, 1), np.zeros((3, 4), bool)
    # Slice one: one pixel each way at distance 0; slice two: one pixel of the truth at the diagonal, 5.
    assert pooled([(there, there, None), (nothing, there, None)]).asd == pytest.approx(5 / 3)
    assert pooled([(nothing, there, None)] * 2).asd == pytest.approx(5)
    assert pooled([(nothing, nothing, None)] * 2).nsd() == 1
