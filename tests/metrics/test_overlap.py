import math

import numpy as np
import pytest
import torch
from medpy.metric import binary
from monai.metrics import DiceHelper, compute_iou

from harness.errors import HarnessError
from harness.metrics import dice, iou, missed, vertical_cup_disc_ratio


def random_pairs():
    rng = np.random.default_rng(0)
    for shape in [(1, 1), (5, 9), (32, 32), (64, 40)]:
        for share in (0.02, 0.3, 0.9):
            pair = rng.random((2, *shape)) < share
            pair[:, 0, 0] = True
            yield pair[0], pair[1]


def channels(mask):
    return torch.from_numpy(np.stack([~mask, mask])[None].astype(np.float32))


@pytest.mark.parametrize(("prediction", "truth"), list(random_pairs()))
def test_dice_and_iou_agree_with_medpy_and_monai(prediction, truth):
    monai_dice = DiceHelper(include_background=False, reduction="mean")(
        channels(prediction), channels(truth)
    )[0]
    monai_iou = compute_iou(channels(prediction), channels(truth), include_background=False)
    assert dice(prediction, truth) == pytest.approx(binary.dc(prediction, truth), abs=1e-12)
    assert dice(prediction, truth) == pytest.approx(float(monai_dice), abs=1e-6)
    assert iou(prediction, truth) == pytest.approx(binary.jc(prediction, truth), abs=1e-12)
    assert iou(prediction, truth) == pytest.approx(float(monai_iou), abs=1e-6)


def test_both_empty_is_perfect_and_one_empty_is_nothing():
    empty, full = np.zeros((4, 4), bool), np.ones((4, 4), bool)
    assert dice(empty, empty) == iou(empty, empty) == 1
    for pair in [(empty, full), (full, empty)]:
        assert dice(*pair) == iou(*pair) == 0
        assert missed(*pair)
    assert not missed(empty, empty)
    assert not missed(full, full)


def test_cup_disc_ratio_is_of_heights():
    disc, cup = np.zeros((10, 10), bool), np.zeros((10, 10), bool)
    disc[1:9, 4] = True  # 8 rows
    cup[3, 4] = cup[4:6, 2] = True  # rows 3 to 5, whatever the columns
    assert vertical_cup_disc_ratio(cup, disc) == 3 / 8
    assert vertical_cup_disc_ratio(np.zeros_like(cup), disc) == 0
    assert math.isnan(vertical_cup_disc_ratio(cup, np.zeros_like(disc)))


@pytest.mark.parametrize(
    ("prediction", "truth", "words"),
    [
        (np.zeros((4, 4), bool), np.zeros((4, 5), bool), r"\(4, 4\).*\(4, 5\)"),
        (np.zeros(4, bool), np.zeros(4, bool), "two masks"),
        (np.zeros((4, 4), np.uint8), np.zeros((4, 4), bool), "uint8.*give bool masks"),
    ],
)
def test_masks_that_do_not_fit_are_refused(prediction, truth, words):
    for metric in (dice, iou, missed):
        with pytest.raises(HarnessError, match=words):
            metric(prediction, truth)
