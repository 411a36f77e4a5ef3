from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cohort_files import alternating, folder_protocol, write_folder
from PIL import Image

from harness.cohorts import Cohort, load
from harness.errors import HarnessError
from harness.protocol import IGNORED

SIDE = 32


def disc(radius: float, centre: tuple[float, float] = (16, 16)) -> np.ndarray:
    y, x = np.mgrid[:SIDE, :SIDE]
    return (y - centre[0]) ** 2 + (x - centre[1]) ** 2 < radius**2


def cohort_of(
    tmp_path: Path, masks: list[np.ndarray], images: list[np.ndarray] | None = None, **changes: Any
) -> Cohort:
    """Load masks of labels with images that are bright in them, unless others are given."""
    folder = tmp_path / "f"
    folder.mkdir()
    rows = alternating(len(masks))
    for i, (row, mask) in enumerate(zip(rows, masks, strict=True)):
        row |= {"image": f"i{i}.png", "mask": f"m{i}.png"}
        image = np.where(disc(8), 180, 60).astype(np.uint8) if images is None else images[i]
        Image.fromarray(image).save(folder / row["image"])
        Image.fromarray(mask.astype(np.uint8)).save(folder / row["mask"])
    return load(folder_protocol(**({"size": SIDE} | changes)), write_folder(folder, rows), tmp_path / "cache")


def kinds(cohort: Cohort) -> list[tuple[str, int]]:
    return [(one.kind, len(one.samples)) for one in cohort.remarks]


def test_of_a_sound_cohort_nothing_is_said(tmp_path: Path):
    cohort = cohort_of(tmp_path, [disc(5 + i % 4) for i in range(8)])
    assert cohort.remarks == ()
    assert cohort.areas is not None
    assert cohort.areas[:, 1].tolist() == [int(disc(5 + i % 4).sum()) for i in range(8)]


def test_masks_of_the_other_polarity_are_named(tmp_path: Path):
    cohort = cohort_of(tmp_path, [disc(8) ^ (i % 4 == 1) for i in range(8)])
    assert kinds(cohort) == [("polarity", 2)]
    assert cohort.remarks[0].spoils


def test_a_lesion_that_fills_the_picture_is_no_inverted_mask(tmp_path: Path):
    masks = [disc(8)] * 7 + [disc(19)]
    images = [np.where(mask, 180, 60).astype(np.uint8) for mask in masks]
    assert cohort_of(tmp_path, masks, images).remarks == ()


def test_all_masks_around_what_is_meant_are_asked_about(tmp_path: Path):
    cohort = cohort_of(tmp_path, [~disc(8)] * 8)
    assert kinds(cohort) == [("polarity", 8)]
    assert not cohort.remarks[0].spoils


def test_a_structure_that_the_grid_loses_is_no_empty_mask(tmp_path: Path):
    tiny = np.zeros((SIDE, SIDE), bool)
    tiny[4, 4] = True  # of each two pixels the second is taken
    cohort = cohort_of(tmp_path, [disc(8)] * 6 + [tiny] * 2, size=16)
    (remark,) = cohort.remarks
    assert (remark.kind, remark.samples, remark.fix) == ("resize", ("s06", "s07"), "[cohort] size = 32")


def test_a_structure_that_the_crop_cuts_off_is_named(tmp_path: Path):
    wide = np.zeros((16, 32), bool)
    wide[:, :4] = True
    middle = np.roll(wide, 14, axis=1)
    images = [np.zeros((16, 32), np.uint8)] * 8
    cohort = cohort_of(tmp_path, [middle] * 7 + [wide], images, size=16, fit="crop")
    assert kinds(cohort) == [("resize", 1)]


def test_masks_with_nothing_in_them_are_refused(tmp_path: Path):
    with pytest.raises(HarnessError, match="All 8 masks are empty"):
        cohort_of(tmp_path, [np.zeros((SIDE, SIDE))] * 8)


def test_refuge_has_its_background_at_255(tmp_path: Path):
    labels = np.where(disc(5), 0, np.where(disc(9), 128, 255))
    table = {"background": 255, "cup": 0, "rim": 128}
    structures = {"cup": ["cup"], "disc": ["cup", "rim"]}
    cohort = cohort_of(tmp_path, [labels] * 8, labels=table, structures=structures)
    assert np.array_equal(cohort.masks[0], np.where(disc(5), 1, np.where(disc(9), 2, 0)))


def test_what_is_not_annotated_has_a_class_of_its_own(tmp_path: Path):
    labels = np.where(disc(8), 255, np.where(disc(10), 254, 0))
    cohort = cohort_of(tmp_path, [labels] * 8, labels={"ignore": 254}, structures={"lesion": [255]})
    assert np.array_equal(cohort.masks[0], np.where(disc(8), 1, np.where(disc(10), IGNORED, 0)))


@pytest.mark.parametrize("path", ["../other/i.png", "a/../../other/i.png", "/etc/hostname"])
def test_a_path_out_of_the_folder_is_refused(path: str, tmp_path: Path):
    folder = write_folder(tmp_path / "f", alternating(4))
    shutil.copytree(folder, tmp_path / "other")
    rows = [row | {"id": f"s{i:02d}", "image": f"s{i:02d}.png"} for i, row in enumerate(alternating(4))]
    rows[1]["image"] = path
    with pytest.raises(HarnessError, match="line 3: the image '.*' leads out of the folder"):
        load(folder_protocol(), write_folder(folder, rows), tmp_path / "cache")


def test_an_image_in_two_rows_is_named(tmp_path: Path):
    folder = write_folder(tmp_path / "f", alternating(8))
    rows = [
        row | {"image": f"s{max(i, 1):02d}.png", "mask": f"s{i:02d}_mask.png"}
        for i, row in enumerate(alternating(8))
    ]
    cohort = load(folder_protocol(), write_folder(folder, rows), tmp_path / "cache")
    assert kinds(cohort) == [("twice", 1)]
