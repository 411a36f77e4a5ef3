import io
import math

import numpy as np
import pandas as pd
import pytest
import torch
from medpy.metric import binary
from monai.metrics import compute_dice

from harness.errors import HarnessError
from harness.metrics.score import Layout, score
from harness.protocol import IGNORED
from harness.store import FALSE_POSITIVE_AREA, SCORES, formats

STRUCTURES = {"cup": (2,), "rim": (1,), "disc": (1, 2)}


@pytest.fixture
def maps():
    """Three samples of 16 x 16: as drawn, shifted by a row, and with no disc predicted."""
    truth = np.zeros((3, 16, 16), np.uint8)
    truth[:, 3:13, 4:12] = 1
    truth[:, 5:9, 6:10] = 2
    labels = truth.copy()
    labels[1] = np.roll(truth[1], 1, axis=0)
    labels[2] = 0
    return labels, truth


def test_rows_are_samples_by_structures_with_the_records_columns(maps):
    frame = score(*maps, ["a", "b", "c"], STRUCTURES)
    assert tuple(frame.columns) == SCORES
    assert list(zip(frame["sample"], frame["structure"], strict=True)) == [
        (s, t) for s in "abc" for t in STRUCTURES
    ]
    assert str(frame["missed"].dtype) == "bool"
    numbers = ["dice", "iou", "hd95", "hd95_max", "asd", "nsd", "vcdr_error"]
    assert {str(kind) for kind in frame[numbers].dtypes} == {"float64"}


def test_scores_of_a_union_of_classes_are_medpys(maps):
    labels, truth = maps
    frame = score(*maps, ["a", "b", "c"], STRUCTURES).set_index(["sample", "structure"])
    assert frame.loc[("b", "disc"), "dice"] == pytest.approx(binary.dc(labels[1] > 0, truth[1] > 0))
    assert frame.loc[("b", "rim"), "hd95"] == pytest.approx(binary.hd95(labels[1] == 1, truth[1] == 1))
    assert frame.loc[("a", "cup"), "dice"] == 1


def test_a_missed_structure_counts_as_worst(maps):
    row = score(*maps, ["a", "b", "c"], STRUCTURES).set_index(["sample", "structure"]).loc[("c", "cup")]
    assert row["missed"]
    assert (row["dice"], row["nsd"], row["hd95"]) == (0, 0, math.hypot(16, 16))


def test_ratio_error_is_on_disc_rows_only(maps):
    labels, truth = maps
    labels[1] = truth[1]
    labels[1, 9:11, 6:10] = 2  # the cup is 6 rows high instead of 4, the disc 10 in both
    frame = score(labels, truth, ["a", "b", "c"], STRUCTURES).set_index(["structure", "sample"])["vcdr_error"]
    assert frame["cup"].isna().all()
    assert frame["rim"].isna().all()
    assert list(frame["disc"]) == pytest.approx([0, 0.2, 1])  # no disc predicted counts as 1
    assert score(labels, truth, ["a", "b", "c"], {"disc": (1, 2)})["vcdr_error"].isna().all()


def test_no_disc_in_either_is_no_ratio_error():
    nothing = np.zeros((1, 8, 8), np.uint8)
    frame = score(nothing, nothing, ["a"], STRUCTURES)
    assert frame.set_index("structure").loc["disc", "vcdr_error"] == 0


def test_same_scores_give_the_same_bytes_and_come_back(maps):
    one, two = (formats.scores_bytes(score(*maps, ["a", "b", "c"], STRUCTURES)) for _ in range(2))
    assert one == two
    frame = score(*maps, ["a", "b", "c"], STRUCTURES)
    pd.testing.assert_frame_equal(pd.read_parquet(io.BytesIO(one)), frame, check_dtype=False)


def test_what_does_not_fit_is_refused_in_one_sentence(maps):
    labels, truth = maps
    with pytest.raises(HarnessError, match=r"\(3, 16, 16\).*\(3, 16, 15\)"):
        score(labels, truth[..., :15], ["a", "b", "c"], STRUCTURES)
    with pytest.raises(HarnessError, match="2 samples"):
        score(labels, truth, ["a", "b"], STRUCTURES)
    with pytest.raises(HarnessError, match="'a' is there twice"):
        score(labels, truth, ["a", "b", "a"], STRUCTURES)
    with pytest.raises(HarnessError, match="'cup' has no class"):
        score(labels, truth, ["a", "b", "c"], {"cup": ()})


def test_what_is_not_annotated_is_not_scored(maps):
    labels, truth = maps
    truth[1, 3] = truth[1, 13] = IGNORED
    frame = score(labels, truth, ["a", "b", "c"], {"disc": (1, 2)}).set_index("sample")
    # The shift by a row differs in rows 3 and 13 alone, and both are not annotated.
    assert frame.loc["b", ["dice", "hd95"]].tolist() == [1, 0]
    assert frame.loc["a", "dice"] == 1


def test_slices_of_a_patient_are_scored_as_one_volume():
    rng = np.random.default_rng(0)
    labels, truth = (rng.random((2, 6, 12, 12)) < 0.3).astype(np.uint8)
    truth[2] = labels[3] = 0
    layout = Layout(
        units=["p", "q", "p", "p", "q", "p"],
        volumes=["v", "w", "v", "v", "w", "v"],
        slices=[3, 0, 0, 1, 1, 2],
        spacing=np.tile([2.5, 0.5, 0.8], (6, 1)),
    )
    frame = score(labels, truth, list("abcdef"), {"lesion": (1,)}, layout, tolerance=1.5).set_index("sample")
    assert list(frame.index) == ["p", "q"]
    # By hand: p's slices in their order are rows 2, 3, 5 and 0.
    p = (labels[[2, 3, 5, 0]] > 0, truth[[2, 3, 5, 0]] > 0)
    assert frame.loc["p", "dice"] == pytest.approx(binary.dc(*p))
    assert frame.loc["p", "hd95"] == pytest.approx(binary.hd95(*p, voxelspacing=(2.5, 0.5, 0.8)), abs=1e-6)
    assert frame.loc["q", "asd"] == pytest.approx(
        binary.assd(labels[[1, 4]] > 0, truth[[1, 4]] > 0, voxelspacing=(2.5, 0.5, 0.8)), abs=1e-6
    )


def test_false_positives_are_counted_where_some_truth_is_empty(maps):
    labels, truth = maps
    truth[0] = 0
    layout = Layout(list("abc"), [""] * 3, [0] * 3, np.tile([math.nan, 0.5, 2.0], (3, 1)))
    frame = score(labels, truth, list("abc"), {"disc": (1, 2)}, layout).set_index("sample")
    assert tuple(frame.reset_index().columns) == (*SCORES, FALSE_POSITIVE_AREA)
    # 10 rows by 8 columns of pixels of 1 mm²; a shift by a row leaves 8 outside; nothing was predicted.
    assert frame[FALSE_POSITIVE_AREA].tolist() == [80, 8, 0]
    kept = formats.parse_scores(formats.scores_bytes(frame.reset_index()))
    assert kept.column_names == [*SCORES, FALSE_POSITIVE_AREA]


def test_dice_where_the_structure_is_and_over_all_are_monais_two():
    rng = np.random.default_rng(0)
    labels, truth = (rng.random((2, 12, 9, 9)) < 0.2).astype(np.uint8)
    truth[::3] = labels[::4] = 0
    dice = score(labels, truth, [str(i) for i in range(12)], {"lesion": (1,)})["dice"].to_numpy()
    there = truth.any(axis=(1, 2))
    pair = [torch.from_numpy(one[:, None].astype(np.float32)) for one in (labels, truth)]
    present, whole = (compute_dice(*pair, ignore_empty=ignored).numpy()[:, 0] for ignored in (True, False))
    assert np.allclose(dice, whole)
    assert np.array_equal(np.isnan(present), ~there)
    assert dice[there].mean() == pytest.approx(np.nanmean(present))
