"""Input that can be read in two ways, or in none: one sentence each, and never a number."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
import worlds
from PIL import Image

from harness.errors import HarnessError
from harness.predictions import make, people
from harness.predictions.make import Given
from harness.predictions.people import Ask

N = 12


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> worlds.World:
    return worlds.nnunet(tmp_path_factory.mktemp("base"), n=N, shape=(10, 9, 8))


@pytest.fixture(scope="module")
def flat(tmp_path_factory) -> worlds.World:
    return worlds.pictures(tmp_path_factory.mktemp("flat"), n=N, side=20)


def read(world: worlds.World, folder: Path, **changes: object):
    """Evaluate a world's copy; the table is read as the command reads it."""
    given = {"attribute": ("sex",), "structures": None} | changes
    frame = people.read(folder / "patients.csv")
    ask = Ask(given.pop("id", None), given.pop("patient", None), given.pop("attribute"))
    places = (str(folder / "predictions"),)
    return make.evaluation(
        Given(places, ("a",), str(folder / "labelsTs"), frame, "patients.csv", ask=ask, **given)
    )


def copied(world: worlds.World, folder: Path) -> Path:
    shutil.copytree(world.folder, folder / "copy", dirs_exist_ok=True)
    return folder / "copy"


def each(
    folder: Path, change: Callable[[np.ndarray], np.ndarray], affine: np.ndarray = worlds.AFFINE
) -> None:
    """Write every prediction anew."""
    for file in (folder / "predictions").glob("*.nii.gz"):
        worlds.save(change(np.asarray(nibabel.load(file).dataobj)), file, affine)


def rewrite(folder: Path, change: Callable[[pd.DataFrame], pd.DataFrame], **options: object) -> None:
    frame = pd.read_csv(folder / "patients.csv", dtype=str, keep_default_na=False)
    change(frame).to_csv(folder / "patients.csv", index=False, **options)


def first(folder: Path) -> Path:
    return folder / "predictions" / "case_000.nii.gz"


def shifted(folder: Path) -> None:
    each(folder, lambda labels: labels + 1)


def swapped(folder: Path) -> None:
    each(folder, lambda labels: np.array([0, 2, 1], np.uint8)[labels])


def inverted(folder: Path) -> None:
    (folder / "predictions" / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "x": [1, 2]}}))
    each(folder, lambda labels: (labels == 0).astype(np.uint8))


def undeclared(folder: Path) -> None:
    each(folder, lambda labels: np.where(labels == 2, 7, labels).astype(np.uint8))


def no_prediction_fits(folder: Path) -> None:
    for i, file in enumerate(sorted((folder / "predictions").glob("*.nii.gz"))):
        file.rename(file.with_name(f"x{i * 7919}q.nii.gz"))


def fractions(folder: Path) -> None:
    each(folder, lambda labels: (labels * 0.7).astype(np.float32))


def not_a_number(folder: Path) -> None:
    each(folder, lambda labels: np.where(labels == 2, np.nan, labels).astype(np.float32))


def negative(folder: Path) -> None:
    each(folder, lambda labels: labels.astype(np.int16) - 1)


def another_size(folder: Path) -> None:
    each(folder, lambda labels: labels[:-1])


def moved_header(folder: Path) -> None:
    away = worlds.AFFINE.copy()
    away[0, 3] += 4
    each(folder, lambda labels: labels, away)


def other_spacing(folder: Path) -> None:
    each(folder, lambda labels: labels, worlds.AFFINE @ np.diag([2, 2, 2, 1.0]))


def identity_header(folder: Path) -> None:
    each(folder, lambda labels: labels, np.eye(4))


def turned_array(folder: Path) -> None:
    """The voxels are flipped and the header is not: no header can tell, the set of them does."""
    each(folder, lambda labels: labels[::-1, ::-1])


def singular_header(folder: Path) -> None:
    image = nibabel.load(first(folder))
    header = image.header.copy()
    header["srow_x"], header["srow_y"], header["srow_z"] = [0] * 4, [0] * 4, [0] * 4
    header["sform_code"], header["qform_code"] = 1, 0
    raw = nibabel.Nifti1Image(np.asarray(image.dataobj), None, header)
    raw.to_filename(first(folder))
    data = bytearray(__import__("gzip").decompress(first(folder).read_bytes()))
    data[280:328] = bytes(48)
    data[254:256] = (1).to_bytes(2, "little")
    first(folder).write_bytes(__import__("gzip").compress(bytes(data)))


def cut_off(folder: Path) -> None:
    first(folder).write_bytes(first(folder).read_bytes()[:-40])


def no_image(folder: Path) -> None:
    first(folder).write_bytes(b"not an image")


def declared_huge(folder: Path) -> None:
    import gzip

    data = bytearray(gzip.decompress(first(folder).read_bytes()))
    data[42:48] = b"".join((30000).to_bytes(2, "little") for _ in range(3))
    first(folder).write_bytes(gzip.compress(bytes(data)))


def a_pipe(folder: Path) -> None:
    first(folder).unlink()
    os.mkfifo(first(folder))


def a_link_to_itself(folder: Path) -> None:
    first(folder).unlink()
    first(folder).symlink_to(first(folder))


def a_folder_that_links_to_itself(folder: Path) -> None:
    (folder / "predictions" / "again").symlink_to(folder / "predictions")


def a_file_twice(folder: Path) -> None:
    (folder / "predictions" / "more").mkdir()
    shutil.copy(first(folder), folder / "predictions" / "more")


def two_formats(folder: Path) -> None:
    np.save(folder / "predictions" / "case_000.npy", np.zeros((10, 9, 8), np.uint8))


def mixed_names(folder: Path) -> None:
    """Each file holds the next case's prediction, where cases lie apart."""
    names = sorted((folder / "predictions").glob("*.nii.gz"))
    for i, name in enumerate(names):
        ball = np.zeros((10, 9, 8), np.uint8)
        ball[i % 8 : i % 8 + 2, i // 4 * 2 : i // 4 * 2 + 2, 2:6] = 1
        worlds.save(ball, folder / "labelsTs" / name.name)
        worlds.save(ball, folder / "predictions" / names[(i + 1) % len(names)].name)


def nothing_in_the_truth(folder: Path) -> None:
    (folder / "predictions" / "dataset.json").unlink()
    for file in (folder / "labelsTs").glob("*.nii.gz"):
        worlds.save(np.zeros((10, 9, 8), np.uint8), file)


def broken_dataset(folder: Path) -> None:
    (folder / "predictions" / "dataset.json").write_text("{")


def odd_dataset(folder: Path) -> None:
    (folder / "predictions" / "dataset.json").write_text(
        json.dumps({"labels": {"background": 0, "x": "one"}})
    )


def a_row_missing(folder: Path) -> None:
    rewrite(folder, lambda frame: frame[frame["case"] != "case_003"])


def an_id_twice(folder: Path) -> None:
    rewrite(folder, lambda frame: pd.concat([frame, frame[frame["case"] == "case_003"]]))


def an_id_in_two_spellings(folder: Path) -> None:
    rewrite(
        folder,
        lambda frame: pd.concat(
            [frame.replace("case_003", "Case_3"), frame.replace("case_003", "CASE-03")]
        ).drop_duplicates("case"),
    )


def ids_of_a_spreadsheet(folder: Path) -> None:
    rewrite(folder, lambda frame: frame.assign(case=[f"{i + 1},2E+11" for i in range(len(frame))]))


def an_empty_table(folder: Path) -> None:
    (folder / "patients.csv").write_text("")


def ragged(folder: Path) -> None:
    text = (folder / "patients.csv").read_text().splitlines()
    (folder / "patients.csv").write_text("\n".join([*text[:3], text[3] + ",1", *text[4:]]))


def a_column_twice(folder: Path) -> None:
    text = (folder / "patients.csv").read_text().replace("site", "sex", 1)
    (folder / "patients.csv").write_text(text)


def not_utf8(folder: Path) -> None:
    (folder / "patients.csv").write_bytes(
        (folder / "patients.csv").read_text().replace("north", "nörth").encode("latin-1")
    )


def no_patient(folder: Path) -> None:
    rewrite(folder, lambda frame: frame.assign(patient=["", *frame["patient"][1:]]))


def two_patient_columns(folder: Path) -> None:
    rewrite(folder, lambda frame: frame.assign(subject_id=frame["patient"]))


def one_group(folder: Path) -> None:
    rewrite(folder, lambda frame: frame.assign(sex="F"))


BAD = {
    shifted: "of no structure|look shifted",
    swapped: "labels look shifted, swapped or inverted \\(they fit with 1 as 2, 2 as 1\\)",
    inverted: "labels look shifted, swapped or inverted",
    undeclared: "has the label 7, which is of no structure",
    no_prediction_fits: "no name fits one in",
    fractions: "labels are whole numbers|one-hot|NaN",
    not_a_number: "holds NaN",
    negative: "has the label -1, which is of no structure",
    another_size: r"is 9 x 9 x 8, and its truth .* is 10 x 9 x 8; .*--resample nearest",
    moved_header: "another place or direction by its header",
    other_spacing: "has voxels of 1.4 x 1.6 x 5 mm, its truth of 0.7 x 0.8 x 2.5 mm",
    identity_header: "has voxels of 1 x 1 x 1 mm",
    turned_array: "the predictions fit their truths (turned|flipped)",
    singular_header: "places no voxel",
    cut_off: "cannot be read as NIfTI",
    no_image: "cannot be read as NIfTI",
    declared_huge: "30000 x 30000 x 30000 values",
    a_pipe: "no regular file",
    a_link_to_itself: "Too many levels of symbolic links",
    a_folder_that_links_to_itself: "a link to a folder that is read already",
    a_file_twice: "are both of the case 'case_000'",
    two_formats: "are both of the case 'case_000'",
    mixed_names: "names mixed up",
    nothing_in_the_truth: "every truth is empty",
    broken_dataset: "not JSON",
    odd_dataset: "labels.x is 'one'",
    a_row_missing: "1 of 12 cases have no row \\('case_003'\\)",
    an_id_twice: "the id 'case_003' is there 2 times",
    an_id_in_two_spellings: "'case_003' could be",
    ids_of_a_spreadsheet: "shortened by a spreadsheet",
    an_empty_table: "is empty",
    ragged: "row 4 has 6 cells and the header 5",
    a_column_twice: "the column 'sex' stands twice",
    not_utf8: "not a CSV file in UTF-8",
    no_patient: "1 cases have no 'patient'",
    two_patient_columns: "'patient' or 'subject_id' could be the patient",
    one_group: "has one group only",
}


@pytest.mark.parametrize("spoil", BAD, ids=[one.__name__ for one in BAD])
def test_what_is_wrong_is_one_sentence_and_no_number(spoil, base, tmp_path):
    folder = copied(base, tmp_path)
    spoil(folder)
    with pytest.raises(HarnessError, match=BAD[spoil]) as told:
        read(base, folder)
    assert "\n" not in str(told.value)
    assert str(told.value).rstrip().endswith((".", "?"))


def to_pictures(folder: Path, change: Callable[[np.ndarray], Image.Image], suffix: str = ".png") -> None:
    for file in (folder / "predictions").glob("*.png"):
        image = change(np.asarray(Image.open(file)))
        file.unlink()
        image.save(file.with_suffix(suffix))


PICTURES = {
    "JPEG": (lambda a: (Image.fromarray(a * 100), ".jpg"), "saved as JPEG"),
    "colours": (lambda a: (Image.fromarray(np.stack([a * 90, a, a], 2)), ".png"), "colour image"),
    "transposed": (lambda a: (Image.fromarray(a.T.copy()), ".png"), "turned axes"),
    "0 and 255": (lambda a: (Image.fromarray((a > 0).astype(np.uint8) * 255), ".png"), "has the label 255"),
    "upside down": (lambda a: (Image.fromarray(a[::-1].copy()), ".png"), "flipped along the first axis"),
    "palette": (lambda a: (_palette(a), ".png"), "palette image"),
    "two channels": (lambda a: (Image.merge("LA", [Image.fromarray(a), Image.fromarray(np.indices(a.shape).sum(axis=0).astype(np.uint8))]), ".png"), "alpha|colour"),
}  # fmt: skip


def _palette(labels: np.ndarray) -> Image.Image:
    image = Image.fromarray(labels, "P")
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    return image


@pytest.mark.parametrize("kind", PICTURES)
def test_pictures_that_are_no_label_maps_are_refused(kind, flat, tmp_path):
    folder = copied(flat, tmp_path)
    for file in list((folder / "predictions").glob("*.png")):
        image, suffix = PICTURES[kind][0](np.asarray(Image.open(file)))
        file.unlink()
        image.save(file.with_suffix(suffix))
    with pytest.raises(HarnessError, match=PICTURES[kind][1]) as told:
        read(flat, folder)
    assert "\n" not in str(told.value)


def test_a_picture_beside_a_nifti_is_refused_because_its_rows_lie_otherwise(flat, base, tmp_path):
    folder = copied(flat, tmp_path)
    for file in list((folder / "labelsTs").glob("*.png")):
        labels = np.asarray(Image.open(file))
        worlds.save(labels[:, :, None], file.with_name(f"{file.stem}.nii.gz"), np.eye(4))
        file.unlink()
    with pytest.raises(HarnessError, match="nobody can tell which way round"):
        read(flat, folder)
