from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
import tifffile
from cohort_files import alternating, folder_protocol, write_folder
from PIL import Image
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from harness.cohorts import Cohort, load
from harness.errors import HarnessError

SHAPE = (6, 16, 16)
"""Slices, rows, columns."""


def hounsfield(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-1000, 1000, SHAPE).astype(np.int16)


def structure() -> np.ndarray:
    mask = np.zeros(SHAPE, np.uint8)
    mask[1:4, 4:12, 3:9] = 1
    return mask


def write_series(folder: Path, volume: np.ndarray, spacing: tuple[float, float, float], **tags: Any) -> None:
    """Write a CT series, a file a slice in an order that is not that of their places."""
    folder.mkdir(parents=True)
    series = generate_uid()
    for i, plane in enumerate(volume):
        one = pydicom.Dataset()
        one.file_meta = pydicom.dataset.FileMetaDataset()
        one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        one.SOPClassUID, one.SOPInstanceUID, one.SeriesInstanceUID = CTImageStorage, generate_uid(), series
        one.PatientName, one.PatientID, one.PatientBirthDate = "Doe^Jane", "SECRET-77", "19560704"
        one.StudyDate, one.InstitutionName = "20240229", "General Hospital"
        one.Rows, one.Columns = plane.shape
        one.BitsAllocated = one.BitsStored = 16
        one.HighBit, one.PixelRepresentation, one.SamplesPerPixel = 15, 1, 1
        one.PhotometricInterpretation = "MONOCHROME2"
        one.RescaleSlope, one.RescaleIntercept = 1, -100
        one.PixelSpacing = [spacing[1], spacing[2]]
        one.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        one.ImagePositionPatient = [5, 7, i * spacing[0]]
        one.PixelData = (plane + 100).astype("<i2").tobytes()
        for name, value in tags.items():
            setattr(one, name, value)
        one.save_as(folder / f"{(7 * i) % len(volume):02d}.dcm", enforce_file_format=True)


def write_nifti(path: Path, volume: np.ndarray, affine: np.ndarray) -> None:
    nibabel.save(nibabel.Nifti1Image(volume, affine), path)


def read(folder: Path, cache: Path, names: tuple[str, str], **cohort: Any) -> Cohort:
    """Load a folder in which four patients have the same volume and mask."""
    rows = [row | {"image": names[0], "mask": names[1]} for row in alternating(4)]
    options = {"slices": {}, "scale": [-1000, 1000]} | cohort
    return load(folder_protocol(split={"test": 0.5}, **options), write_folder(folder, rows), cache)


def as_bytes(hu: np.ndarray) -> np.ndarray:
    return np.rint((hu.astype(float) + 1000) / 2000 * 255).astype(np.uint8)


def test_a_dicom_series_comes_back_as_it_was_written(tmp_path: Path, cache: Path):
    write_series(tmp_path / "f" / "ct", hounsfield(), (2.5, 0.7, 0.8))
    np.save(tmp_path / "f" / "mask.npy", structure())
    cohort = read(tmp_path / "f", cache, ("ct", "mask.npy"))
    own = [i for i, sample in enumerate(cohort.subjects["sample"]) if sample.startswith("s00")]
    assert np.array_equal(cohort.images[own][..., 0], as_bytes(hounsfield()))
    assert np.array_equal(cohort.masks[own], structure())
    assert cohort.places is not None
    assert np.allclose(cohort.places[["z", "y", "x"]], [2.5, 0.7, 0.8])


def test_nothing_of_a_person_in_a_dicom_header_reaches_the_cohort(tmp_path: Path, cache: Path, caplog):
    write_series(tmp_path / "f" / "ct", hounsfield(), (2.5, 0.7, 0.8), StudyTime="not a time SECRET-77")
    np.save(tmp_path / "f" / "mask.npy", structure())
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # pydicom's warnings quote what they are about
        cohort = read(tmp_path / "f", cache, ("ct", "mask.npy"))
    kept = b"".join(path.read_bytes() for path in cache.rglob("*") if path.is_file())
    said = [cohort.subjects.to_csv(), str(cohort.remarks), caplog.text]
    for word in ("Doe", "SECRET-77", "19560704", "20240229", "General Hospital"):
        assert word.encode() not in kept
        assert not any(word in text for text in said)


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ({"ImagePositionPatient": [0, 0, 3]}, "two slices at one place"),
        ({"PixelData": b"12"}, "its pixels cannot be read"),
    ],
)
def test_a_series_that_is_no_stack_is_refused_without_quoting_it(
    tags: dict[str, Any], said: str, tmp_path: Path, cache: Path
):
    write_series(tmp_path / "f" / "ct", hounsfield(), (1, 1, 1), **tags)
    np.save(tmp_path / "f" / "mask.npy", structure())
    with pytest.raises(HarnessError, match=rf"line 2, ct: .*{said}") as error:
        read(tmp_path / "f", cache, ("ct", "mask.npy"))
    assert "SECRET" not in str(error.value)


def test_monochrome1_is_turned_to_bright_on_dark(tmp_path: Path, cache: Path):
    stored = np.arange(16 * 16, dtype=np.int16).reshape(1, 16, 16)
    tags = {"PhotometricInterpretation": "MONOCHROME1", "PixelRepresentation": 0, "BitsStored": 8}
    write_series(tmp_path / "f" / "x", stored - 100, (1, 1, 1), RescaleIntercept=0, **tags)
    np.save(tmp_path / "f" / "mask.npy", structure()[1:2])
    cohort = read(tmp_path / "f", cache, ("x", "mask.npy"), scale=[0, 255])
    # 8 bits: what is stored as 0 is white, 255.
    assert np.array_equal(cohort.images[0][..., 0], 255 - stored[0])


@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, -1, 1)])
def test_a_nifti_volume_comes_back_on_its_axes(signs: tuple[int, int, int], tmp_path: Path, cache: Path):
    (tmp_path / "f").mkdir()
    hu, mask = np.moveaxis(hounsfield(), 0, 2), np.moveaxis(structure(), 0, 2)
    affine = np.diag([0.7 * signs[0], 0.8 * signs[1], 2.5 * signs[2], 1])
    write_nifti(tmp_path / "f" / "a.nii.gz", hu, affine)
    write_nifti(tmp_path / "f" / "m.nii.gz", mask, affine)
    cohort = read(tmp_path / "f", cache, ("a.nii.gz", "m.nii.gz"), slices={"every": 2})
    turned = [part[:: signs[0], :: signs[1], :: signs[2]] for part in (hu, mask)]  # to right and anterior
    assert np.array_equal(cohort.images[:3, ..., 0], np.moveaxis(as_bytes(turned[0]), 2, 0)[::2])
    assert np.array_equal(cohort.masks[:3], np.moveaxis(turned[1], 2, 0)[::2])
    assert cohort.places is not None
    assert np.allclose(cohort.places[["z", "y", "x"]], [5.0, 0.7, 0.8])


def test_a_mask_stored_on_other_axes_is_laid_on_its_image_by_the_headers(tmp_path: Path, cache: Path):
    (tmp_path / "f").mkdir()
    hu, mask = np.moveaxis(hounsfield(), 0, 2), np.moveaxis(structure(), 0, 2)
    write_nifti(tmp_path / "f" / "a.nii", hu, np.eye(4))
    turned = np.array([[0, 0, -1, 15], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]])
    write_nifti(tmp_path / "f" / "m.nii", np.transpose(mask, (2, 1, 0))[:, :, ::-1], turned)
    cohort = read(tmp_path / "f", cache, ("a.nii", "m.nii"))
    assert np.array_equal(cohort.masks[:6], structure())
    write_nifti(tmp_path / "f" / "m.nii", mask, np.diag([1, 1, 1.2, 1]))
    with pytest.raises(HarnessError, match=r"m\.nii: lies on another grid than its image"):
        read(tmp_path / "f", cache, ("a.nii", "m.nii"))


def test_training_can_be_on_slices_with_something_in_them(tmp_path: Path, cache: Path):
    (tmp_path / "f").mkdir()
    np.save(tmp_path / "f" / "a.npy", hounsfield())
    np.save(tmp_path / "f" / "m.npy", structure())
    cohort = read(tmp_path / "f", cache, ("a.npy", "m.npy"), slices={"training": "with-structure"})
    splits = cohort.subjects["split"]
    # Two patients train on the three slices that have the structure, two are tested on all six.
    assert splits.value_counts().to_dict() == {"test": 12, "train": 6, "left out": 6}
    assert cohort.masks[cohort.rows("train")].any(axis=(1, 2)).all()


def test_slices_have_to_be_asked_for(tmp_path: Path, cache: Path):
    (tmp_path / "f").mkdir()
    write_nifti(tmp_path / "f" / "a.nii", np.moveaxis(hounsfield(), 0, 2), np.eye(4))
    with pytest.raises(HarnessError, match=r"a\.nii: has 6 slices where one image is meant; declare"):
        read(tmp_path / "f", cache, ("a.nii", "a.nii"), slices=None)


def test_the_pages_of_a_tiff_are_slices(tmp_path: Path, cache: Path):
    (tmp_path / "f").mkdir()
    tifffile.imwrite(tmp_path / "f" / "a.tif", hounsfield() + np.int16(1000))
    tifffile.imwrite(tmp_path / "f" / "m.tif", structure())
    cohort = read(tmp_path / "f", cache, ("a.tif", "m.tif"), scale=[0, 2000], spacing=[3, 1, 2])
    assert np.array_equal(cohort.images[:6, ..., 0], as_bytes(hounsfield()))
    assert cohort.places is not None
    assert np.allclose(cohort.places[["z", "y", "x"]], [3, 1, 2])


def test_a_colour_tiff_of_floats_is_read(tmp_path: Path, cache: Path):
    (tmp_path / "f").mkdir()
    colours = np.random.default_rng(0).random((16, 16, 3), np.float32)
    tifffile.imwrite(tmp_path / "f" / "a.tif", colours, photometric="rgb")
    np.save(tmp_path / "f" / "m.npy", structure()[1])
    cohort = read(tmp_path / "f", cache, ("a.tif", "m.npy"), slices=None, scale=None)
    assert np.array_equal(cohort.images[0], np.rint(colours * 255).astype(np.uint8))


@pytest.mark.parametrize(
    ("name", "package", "extra"), [("a.nii", "nibabel", "nifti"), ("a.dcm", "pydicom", "dicom")]
)
def test_a_package_that_is_missing_is_named(
    name: str, package: str, extra: str, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(__import__("sys").modules, package, None)
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / name).write_bytes(b"x" * 400)
    said = rf"is read by {package}, .* pip install 'equity-leaderboard\[{extra}\]'"
    with pytest.raises(HarnessError, match=said):
        read(tmp_path / "f", cache, (name, name), slices=None)


def test_what_is_said_of_a_cohort_is_said_again_from_the_cache(tmp_path: Path, cache: Path):
    (tmp_path / "f").mkdir()
    np.save(tmp_path / "f" / "a.npy", hounsfield())
    np.save(tmp_path / "f" / "m.npy", structure())
    first, again = (read(tmp_path / "f", cache, ("a.npy", "m.npy"), scale=None).remarks for _ in range(2))
    assert [one.kind for one in first] == ["twice", "scale"]
    assert first == again
    assert json.dumps([one.message for one in again])


def test_one_picture_is_no_mask_of_several_slices(tmp_path: Path, cache: Path):
    (tmp_path / "f").mkdir()
    np.save(tmp_path / "f" / "a.npy", hounsfield())
    Image.fromarray(structure()[1]).save(tmp_path / "f" / "m.png")
    with pytest.raises(HarnessError, match=r"m\.png: one picture cannot be the mask of all 6 slices"):
        read(tmp_path / "f", cache, ("a.npy", "m.png"))
