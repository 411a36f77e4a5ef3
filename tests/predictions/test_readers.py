"""Every format that predictions come in gives the scores of the arrays that were written."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
import worlds
from PIL import Image

from harness.errors import HarnessError
from harness.predictions import files, make, people, reported
from harness.predictions.make import Given
from harness.predictions.people import Ask

N = 12
LABELS = "kidney=1,2;tumour=2"


@pytest.fixture(scope="module")
def solid(tmp_path_factory) -> worlds.World:
    return worlds.nnunet(tmp_path_factory.mktemp("solid"), n=N, shape=(10, 9, 8))


@pytest.fixture(scope="module")
def flat(tmp_path_factory) -> worlds.World:
    return worlds.pictures(tmp_path_factory.mktemp("flat"), n=N, side=20)


def expected(world: worlds.World) -> dict[tuple[str, str], float]:
    found = {}
    for case, truth in world.truths.items():
        for name, labels in {"kidney": (1, 2), "tumour": (2,)}.items():
            p, t = np.isin(world.predictions[case], labels), np.isin(truth, labels)
            found[case, name] = 2 * (p & t).sum() / (p.sum() + t.sum())
    return found


def scored(world: worlds.World, place: Path | str, **options: object) -> dict[tuple[str, str], float]:
    frame = people.read(world.folder / "patients.csv")
    truth = str(options.pop("truth", world.folder / "labelsTs"))
    given = Given(
        (str(place),), ("a",), truth, frame, "t", structures=LABELS, ask=Ask(attributes=("sex",)), **options
    )
    scores = make.evaluation(given).scores
    return {(r.sample, r.structure): r.dice for r in scores.itertuples()}


def written(world: worlds.World, folder: Path, write) -> Path:
    for case, labels in world.predictions.items():
        write(folder, case, labels)
    return folder


def soft(labels: np.ndarray) -> np.ndarray:
    """Probabilities [3, ...] whose likeliest class is the label."""
    return np.stack([0.1 + 0.7 * (labels == k) for k in range(3)]).astype(np.float32)


def onehot(labels: np.ndarray) -> np.ndarray:
    return np.stack([labels == k for k in range(3)]).astype(np.uint8)


def two(folder: Path, case: str, labels: np.ndarray) -> None:
    for name, own in {"kidney": labels > 0, "tumour": labels == 2}.items():
        worlds.save(own.astype(np.uint8), folder / f"{case}_{name}.nii.gz")


def separate(folder: Path, case: str, labels: np.ndarray) -> None:
    (folder / case).mkdir()
    worlds.save(labels, folder / case / f"{case}_trans.nii.gz")


TURNED = np.array([[-0.7, 0, 0, 40], [0, 0.8, 0, 3], [0, 0, 2.5, 5], [0, 0, 0, 1.0]])


def reoriented(folder: Path, case: str, labels: np.ndarray) -> None:
    """The same voxels in the same places, stored along other axes in other directions."""
    import nibabel
    from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

    image = nibabel.Nifti1Image(labels, worlds.AFFINE)
    turn = ornt_transform(io_orientation(image.affine), axcodes2ornt("SLP"))
    nibabel.save(image.as_reoriented(turn), folder / f"{case}.nii.gz")


SOLID = {
    "NIfTI uncompressed": (lambda f, c, a: worlds.save(a, f / f"{c}.nii"), {}),
    "NIfTI of floats": (lambda f, c, a: worlds.save(a.astype(np.float32), f / f"{c}.nii.gz"), {}),
    "NIfTI stored along other axes": (reoriented, {}),
    "MONAI's folders and postfix": (separate, {}),
    "a postfix that a rule names": (lambda f, c, a: worlds.save(a, f / f"p_{c}_seg.nii.gz"), {"pair": "p_{id}_seg.nii.gz"}),
    "one-hot, channels last": (lambda f, c, a: worlds.save(np.moveaxis(onehot(a), 0, -1), f / f"{c}.nii.gz"), {}),
    "probabilities, channels last": (lambda f, c, a: worlds.save(np.moveaxis(soft(a), 0, -1), f / f"{c}.nii.gz"), {}),
    "a file a structure": (two, {"pair": "{id}_{structure}.nii.gz"}),
    "npy as NIfTI stores it": (lambda f, c, a: np.save(f / f"{c}.npy", a), {}),
    "npz of labels": (lambda f, c, a: np.savez(f / f"{c}.npz", labels=a), {}),
    "npz of probabilities": (lambda f, c, a: np.savez(f / f"{c}.npz", probabilities=soft(a)), {}),
    "npy with an axis of one": (lambda f, c, a: np.save(f / f"{c}.npy", a[None]), {}),
    "overlapping channels": (lambda f, c, a: np.save(f / f"{c}.npy", np.stack([a > 0, a == 2]).astype(np.uint8)), {}),
    "sigmoid channels": (lambda f, c, a: np.save(f / f"{c}.npy", np.stack([0.9 * (a > 0), 0.8 * (a == 2)])), {}),
    "labels of another training": (lambda f, c, a: worlds.save(np.array([0, 5, 9], np.uint8)[a], f / f"{c}.nii.gz"), {"relabel": "5=1,9=2"}),
}  # fmt: skip


@pytest.mark.parametrize("how", SOLID)
def test_volumes(how, solid, tmp_path):
    write, options = SOLID[how]
    assert scored(solid, written(solid, tmp_path, write), **options) == expected(solid)


FLAT = {
    "npy of every whole type": lambda f, c, a: np.save(f / f"{c}.npy", a.astype(["<u2", ">i4", "<i8", "<f8"][int(c[-1]) % 4])),
    "TIFF": lambda f, c, a: tifffile.imwrite(f / f"{c}.tif", a),
    "PNG of 16 bits": lambda f, c, a: Image.fromarray(a.astype(np.uint16)).save(f / f"{c}.png"),
    "PNG with three equal channels": lambda f, c, a: Image.fromarray(np.repeat(a[..., None], 3, 2)).save(f / f"{c}.png"),
    "one-hot of bool": lambda f, c, a: np.save(f / f"{c}.npy", onehot(a).astype(bool)),
    "one-hot": lambda f, c, a: np.save(f / f"{c}.npy", onehot(a)),
    "probabilities": lambda f, c, a: np.savez_compressed(f / f"{c}.npz", softmax=soft(a)),
}  # fmt: skip


@pytest.mark.parametrize("how", FLAT)
def test_pictures(how, flat, tmp_path):
    assert scored(flat, written(flat, tmp_path, FLAT[how])) == expected(flat)


@pytest.mark.parametrize("kind", [bool, np.int8, np.float32, ">i2"])
def test_a_mask_of_one_structure_is_the_same_in_every_type(kind, flat, tmp_path):
    for name, found in (("truth", flat.truths), ("predictions", flat.predictions)):
        (tmp_path / name).mkdir()
        for case, labels in found.items():
            np.save(tmp_path / name / f"{case}.npy", (labels > 0).astype(kind))
    frame = people.read(flat.folder / "patients.csv")
    found = make.evaluation(Given((str(tmp_path / "predictions"),), ("a",), str(tmp_path / "truth"), frame))
    kidney = {case: value for (case, name), value in expected(flat).items() if name == "kidney"}
    assert found.scores.set_index("sample")["dice"].to_dict() == kidney


def test_pages_of_a_tiff_are_a_volume(solid, tmp_path):
    truth, predictions = tmp_path / "truth", tmp_path / "predictions"
    for folder, found in ((truth, solid.truths), (predictions, solid.predictions)):
        folder.mkdir()
        for case, labels in found.items():
            tifffile.imwrite(folder / f"{case}.tif", labels, photometric="minisblack")
    assert scored(solid, predictions, truth=truth) == expected(solid)


def test_a_pattern_is_as_good_as_a_folder(flat):
    pattern = str(flat.folder / "predictions" / "case_*.png")
    assert scored(flat, pattern) == expected(flat)


def test_what_is_unpaired_is_listed_and_the_rest_is_scored(flat, tmp_path):
    folder = tmp_path / "predictions"
    shutil.copytree(flat.folder / "predictions", folder)
    (folder / "case_003.png").rename(folder / "other.png")
    (folder / "scan.mha").write_bytes(b"")
    frame = people.read(flat.folder / "patients.csv")
    found = make.evaluation(
        Given((str(folder),), ("a",), str(flat.folder / "labelsTs"), frame, structures=LABELS)
    )
    said = " ".join(found.unpaired)
    assert "case_003: a truth without a prediction" in said
    assert "other: a prediction without a truth" in said
    assert "scan.mha: a name that is none of a case" in said
    assert found.scores["sample"].nunique() == N - 1


def test_twice_the_size_is_scored_by_the_nearest_pixel_where_it_is_asked_for(flat, tmp_path):
    write = lambda f, c, a: Image.fromarray(a.repeat(2, 0).repeat(2, 1)).save(f / f"{c}.png")  # noqa: E731
    assert scored(flat, written(flat, tmp_path, write), resample="nearest") == expected(flat)


def test_a_finer_nifti_is_resampled_by_the_headers(solid, tmp_path):
    # Every voxel in two along the first axis: the first of the new ones lies a quarter of a voxel before.
    finer = worlds.AFFINE @ np.diag([0.5, 1, 1, 1.0])
    finer[:3, 3] = (worlds.AFFINE @ [-0.25, 0, 0, 1])[:3]
    write = lambda f, c, a: worlds.save(a.repeat(2, 0), f / f"{c}.nii.gz", finer)  # noqa: E731
    assert scored(solid, written(solid, tmp_path, write), resample="nearest") == expected(solid)


def test_two_folders_are_compared_on_the_same_patients(flat, tmp_path):
    shutil.copytree(flat.folder / "predictions", tmp_path / "worse")
    for case, labels in flat.predictions.items():
        Image.fromarray(np.roll(labels, 2, 0)).save(tmp_path / "worse" / f"{case}.png")
    frame = people.read(flat.folder / "patients.csv")
    places = (str(flat.folder / "predictions"), str(tmp_path / "worse"))
    found = make.evaluation(
        Given(
            places,
            ("a", "b"),
            str(flat.folder / "labelsTs"),
            frame,
            structures=LABELS,
            ask=Ask(patient="case", attributes=("sex",)),
        )
    )
    assert found.models == ("a", "b")
    means = found.scores[found.scores["structure"] == "kidney"].groupby("model")["dice"].mean()
    wide = found.comparison.query("structure == 'kidney' and quantity == 'overall'").iloc[0]
    assert wide["difference"] == pytest.approx(means["b"] - means["a"], abs=1e-12)


@pytest.mark.slow  # MONAI imports much
def test_monais_raw_metrics_are_read_as_its_own_writer_leaves_them(solid, tmp_path):
    from monai.handlers.utils import write_metrics_reports

    names = [f"/data/{case}.nii.gz" for case in solid.truths]
    values = np.random.default_rng(0).uniform(0.5, 0.9, (N, 2))
    write_metrics_reports(
        str(tmp_path), names, None, {"mean_dice": values}, None, class_labels=["kidney", "tumour"]
    )
    found = reported.read(tmp_path / "mean_dice_raw.csv").scores
    told = found.pivot(index="sample", columns="structure", values="dice")
    assert told.index.tolist() == sorted(solid.truths)
    assert np.abs(told.loc[list(solid.truths)].to_numpy() - values).max() < 1e-4


REPORTED = {
    "percent": ("id,dice\na,91\n", "percent\\? divide by 100"),
    "missing": ("id,dice\na,\n", "the score of 'a' is ''"),
    "NaN": ("id,dice\na,nan\n", "the score of 'a' is 'nan'"),
    "twice": ("id,dice\na,0.5\na,0.6\n", "'a' has two rows"),
    "no score": ("id,x\na,0.5\n", "no column is named as a score"),
    "lacking a structure": ("id,structure,dice\na,x,0.5\na,y,0.5\nb,x,0.5\n", "'b' lack a structure"),
    "no rows": ("id,dice\n", "has no rows"),
}


@pytest.mark.parametrize("kind", REPORTED)
def test_scores_of_others_that_are_no_scores_are_refused(kind, tmp_path):
    (tmp_path / "scores.csv").write_text(REPORTED[kind][0])
    with pytest.raises(HarnessError, match=REPORTED[kind][1]):
        reported.read(tmp_path / "scores.csv")


def test_a_table_of_two_structures_in_columns(tmp_path):
    (tmp_path / "s.csv").write_text("id;Dice_cup;Dice_disc;HD95_cup\n1;0.5;0.75;3\n2;0.25;1;4\n")
    found = reported.read(tmp_path / "s.csv").scores
    assert found.set_index(["sample", "structure"])["dice"].to_dict() == {
        ("1", "cup"): 0.5, ("2", "cup"): 0.25, ("1", "disc"): 0.75, ("2", "disc"): 1.0,
    }  # fmt: skip
    assert found.set_index(["sample", "structure"])["hd95"].dropna().to_dict() == {
        ("1", "cup"): 3,
        ("2", "cup"): 4,
    }


def test_the_patient_may_be_in_the_name_and_the_table_have_a_row_a_patient(flat, tmp_path):
    frame = pd.DataFrame({"patient": sorted(set(flat.table["patient"])), "sex": "F"})
    frame.loc[::2, "sex"] = "M"
    patient = flat.table.set_index("case")["patient"]
    for name, found in (("predictions", flat.predictions), ("labelsTs", flat.truths)):
        (tmp_path / name).mkdir()
        for case, labels in found.items():
            Image.fromarray(labels).save(tmp_path / name / f"{patient[case]}-{case}.png")
    rule = "{patient}-{id}.png"
    given = Given(
        (str(tmp_path / "predictions"),),
        ("a",),
        str(tmp_path / "labelsTs"),
        frame,
        pair=rule,
        pair_truth=rule,
        structures=LABELS,
    )
    found = make.evaluation(given)
    assert found.people.table["patient"].tolist() == patient.tolist()


def test_names_end_in_a_word_that_all_share_and_never_in_a_number(tmp_path):
    for name in ("case_10_pred.png", "case_20_pred.png"):
        Image.new("L", (4, 4)).save(tmp_path / name)
    assert sorted(files.find(str(tmp_path), None).cases) == ["case_10", "case_20"]
