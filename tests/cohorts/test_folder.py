from __future__ import annotations

from pathlib import Path
from typing import Any

import needs
import numpy as np
import pytest
from cohort_files import alternating, folder_protocol, write_folder
from PIL import Image

from harness.cohorts import Cohort, describe, load
from harness.errors import HarnessError

SHARED = "../shared/data/lgg-flair"
LGG = Path(__file__).parents[2] / SHARED


def message(folder: Path, cache: Path, **changes: Any) -> str:
    with pytest.raises(HarnessError) as error:
        load(folder_protocol(**changes), folder, cache)
    assert not list(cache.glob("cohorts/*"))
    return str(error.value)


def load_image(
    tmp_path: Path,
    cache: Path,
    name: str,
    save: Any,
    part: str = "image",
    rest: type[np.generic] = np.uint8,
    **changes: Any,
) -> Cohort:
    """Load a folder whose first sample has its image (or mask) saved by `save(path)`, the rest black."""
    folder = tmp_path / "f"
    folder.mkdir()
    save(folder / name)
    rows = alternating(8)
    rows = [rows[0] | {part: name}] + [row | {part: f"other_{i}.png"} for i, row in enumerate(rows[1:])]
    for row in rows[1:]:
        Image.fromarray(np.zeros((16, 16), rest)).save(folder / row[part])
    return load(folder_protocol(**changes), write_folder(folder, rows), cache)


GREY = np.arange(256, dtype=np.uint8).reshape(16, 16)
COLOUR = np.stack([GREY, GREY[::-1], GREY.T], axis=-1)


def test_images_and_masks_come_as_they_are(tmp_path: Path, cache: Path):
    folder = write_folder(tmp_path / "f", alternating(8))
    cohort = load(folder_protocol(), folder, cache)
    for row in range(8):
        assert np.array_equal(cohort.images[row], np.asarray(Image.open(folder / f"s{row:02d}.png")))
        assert np.array_equal(cohort.masks[row], np.asarray(Image.open(folder / f"s{row:02d}_mask.png")))
    assert cohort.subjects["sample"].tolist() == [f"s{row:02d}" for row in range(8)]
    assert cohort.subjects["gender"].tolist() == ["male", "female"] * 4
    assert cohort.title == "f"
    assert not cohort.publish_images


@pytest.mark.parametrize(
    ("name", "image", "expected"),
    [
        ("grey.png", Image.fromarray(GREY), GREY),
        ("grey.bmp", Image.fromarray(GREY), GREY),
        ("grey.tif", Image.fromarray(GREY), GREY),
        ("rgb.png", Image.fromarray(COLOUR), COLOUR),
        ("rgba.png", Image.fromarray(np.dstack([COLOUR, GREY])), COLOUR),
        ("grey_alpha.png", Image.fromarray(np.dstack([GREY, GREY[::-1]])), GREY),
        ("palette.png", Image.fromarray(GREY // 64 * 64).convert("P"), GREY // 64 * 64),
        ("one_bit.png", Image.fromarray(GREY > 99), np.where(GREY > 99, 255, 0)),
        # 16 bits use the cohort's range: 0 to 255 * 16 is stretched to 0 to 255.
        ("deep.png", Image.fromarray(GREY.astype(np.uint16) * 16), GREY),
        ("deep.tif", Image.fromarray(GREY.astype(np.uint16) * 256), GREY),
        ("float.tif", Image.fromarray(GREY.astype(np.float32) / 255), GREY),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_common_formats_load(
    name: str, image: Image.Image, expected: np.ndarray, tmp_path: Path, cache: Path
):
    deep = np.uint16 if name.startswith("deep") else np.uint8
    cohort = load_image(tmp_path, cache, name, image.save, rest=deep)
    expected = expected if expected.ndim == 3 else np.repeat(expected[..., None], 3, axis=2)
    assert np.array_equal(cohort.images[0], expected)


def test_jpeg_loads_close_to_what_it_shows(tmp_path: Path, cache: Path):
    smooth = np.repeat(np.linspace(0, 255, 16).astype(np.uint8)[None], 16, axis=0)
    cohort = load_image(tmp_path, cache, "x.jpg", lambda path: Image.fromarray(smooth).save(path, quality=95))
    assert np.abs(cohort.images[0][..., 0].astype(int) - smooth).max() <= 4


def test_arrays_load(tmp_path: Path, cache: Path):
    cohort = load_image(
        tmp_path,
        cache,
        "x.npy",
        lambda path: np.save(path, GREY.astype(np.int64) * 10 - 1000),
        rest=np.uint16,
    )
    assert np.array_equal(cohort.images[0][..., 1], GREY)


@pytest.mark.parametrize(
    "kind", ["grey.png", "palette.png", "one_bit.png", "deep.png", "rgb.png", "x.npy", "x.tif"]
)
def test_masks_of_common_formats_load(kind: str, tmp_path: Path, cache: Path):
    labels = (GREY > 99).astype(np.uint8)

    def save(path: Path) -> None:
        if kind == "palette.png":
            image = Image.fromarray(labels).convert("P")
            image.putpalette([0, 0, 0, 200, 0, 0])
            image.save(path)
        elif kind == "x.npy":
            np.save(path, labels.astype(np.int32))
        else:
            kinds = {
                "one_bit.png": labels > 0,
                "deep.png": labels.astype(np.uint16),
                "rgb.png": np.dstack([labels] * 3),
            }
            Image.fromarray(kinds.get(kind, labels)).save(path)

    declared = {"structures": {"lesion": ["#c80000"]}} if kind == "palette.png" else {}
    assert np.array_equal(load_image(tmp_path, cache, kind, save, part="mask", **declared).masks[0], labels)


def test_a_mask_of_0_and_255_is_declared_as_255(tmp_path: Path, cache: Path):
    save = Image.fromarray(np.where(GREY > 99, 255, 0).astype(np.uint8)).save
    cohort = load_image(tmp_path, cache, "m.png", save, part="mask", structures={"lesion": [255]})
    assert np.array_equal(cohort.masks[0], GREY > 99)


def test_an_image_that_is_not_square_is_padded_or_cropped_with_its_mask(tmp_path: Path, cache: Path):
    folder = write_folder(tmp_path / "f", alternating(8), size=(16, 32))
    image, mask = (np.asarray(Image.open(folder / f"s00{end}.png")) for end in ("", "_mask"))
    padded = load(folder_protocol(size=32), folder, cache)
    assert np.array_equal(padded.images[0], np.pad(image, ((8, 8), (0, 0), (0, 0))))
    assert np.array_equal(padded.masks[0], np.pad(mask, ((8, 8), (0, 0))))
    cropped = load(folder_protocol(size=16, fit="crop"), folder, cache)
    assert np.array_equal(cropped.images[0], image[:, 8:24])
    assert np.array_equal(cropped.masks[0], mask[:, 8:24])


def test_samples_of_several_sizes_land_on_one_grid(tmp_path: Path, cache: Path):
    small = write_folder(
        tmp_path / "f", [row | {"id": f"a{i}"} for i, row in enumerate(alternating(4))], size=(12, 12)
    )
    rows = [row | {"id": f"b{i}"} for i, row in enumerate(alternating(4))]
    write_folder(tmp_path / "f", rows, size=(64, 48))
    both = [
        row | {"id": f"{part}{i}", "patient": f"{part}{i}"}
        for part in "ab"
        for i, row in enumerate(alternating(4))
    ]
    both = [row | {"image": f"{row['id']}.png", "mask": f"{row['id']}_mask.png"} for row in both]
    cohort = load(folder_protocol(size=20), write_folder(small, both), cache)
    assert cohort.images.shape == (8, 20, 20, 3)
    assert (cohort.masks > 0).any(axis=(1, 2)).all()


def test_the_manifests_own_split_stands(tmp_path: Path, cache: Path):
    own = ["train"] * 4 + ["validation"] * 2 + ["test"] * 2
    rows = [row | {"split": part} for row, part in zip(alternating(8), own, strict=True)]
    cohort = load(folder_protocol(), write_folder(tmp_path / "f", rows), cache)
    assert cohort.subjects["split"].tolist() == own


def test_a_patient_in_two_splits_is_named(tmp_path: Path, cache: Path):
    rows = [
        row | {"patient": "p", "split": part}
        for row, part in zip(alternating(2), ("train", "test"), strict=True)
    ]
    with pytest.raises(HarnessError, match="The patient 'p' is in both test and train"):
        load(folder_protocol(), write_folder(tmp_path / "f", alternating(0) + rows), cache)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"image": "gone.png"}, "manifest.csv, line 4: the image 'gone.png' cannot be found"),
        ({"mask": "gone.png"}, "manifest.csv, line 4: the mask 'gone.png' cannot be found"),
        ({"id": "s00"}, "manifest.csv, line 4: the id 's00' is already in line 2; ids are unique."),
        ({"patient": " "}, "manifest.csv, line 4: 'patient' is empty; every sample needs one."),
        ({"image": "manifest.csv"}, "manifest.csv, line 4, manifest.csv: cannot be read as an image"),
        ({"mask": "s00.png"}, "line 4, s00.png: a colour image, not a label mask"),
    ],
)
def test_a_row_that_does_not_fit_is_named(change: dict[str, str], said: str, tmp_path: Path, cache: Path):
    rows = alternating(8)
    for i, row in enumerate(rows):
        row |= {"id": f"s{i:02d}", "image": f"s{i:02d}.png", "mask": f"s{i:02d}_mask.png"}
    folder = write_folder(tmp_path / "f", [{key: row[key] for key in ("id", "gender")} for row in rows])
    rows[2] |= change
    assert said in message(write_folder(folder, rows), cache)


def named(count: int) -> list[dict[str, Any]]:
    """Rows that keep their ids in whatever order they are written."""
    return [row | {"id": f"s{i:02d}", "patient": f"p{i}"} for i, row in enumerate(alternating(count))]


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        (
            "age",
            ["63", "old", "61", "new"] + ["50"] * 4,
            "has 'old' (and 1 more such values); mend the value",
        ),
        ("age", ["63", "6 0"] + ["50"] * 6, "has '6 0'; mend the value"),
        ("age", ["63", "inf"] + ["50"] * 6, "has 'inf'; mend the value"),
        (
            "split",
            ["train", "tset"] + ["test"] * 6,
            "The sample 's01' has the split 'tset'; every",
        ),
        ("split", ["train", ""] + ["test"] * 6, "The sample 's01' has no split; every sample needs"),
    ],
)
def test_a_bad_value_in_a_table_is_named_with_its_line_and_id(
    column: str, values: list[str], said: str, tmp_path: Path, cache: Path
):
    # Backwards, so that the line of a row is not its place among the sorted samples.
    rows = [row | {column: value} for row, value in zip(named(8), values, strict=True)][::-1]
    spec: dict[str, Any] = {"attributes": {"age": {"bins": [60]}}} if column == "age" else {}
    with pytest.raises(HarnessError) as error:
        load(folder_protocol(**spec), write_folder(tmp_path / "f", rows), cache)
    assert said in str(error.value)
    assert "manifest.csv, line 8, id 's01'" in str(error.value)


def test_a_patient_in_two_splits_is_named_with_a_line_of_each(tmp_path: Path, cache: Path):
    rows = named(8)
    for row, part in zip(rows, ["train"] * 6 + ["test"] * 2, strict=True):
        row |= {"split": part, "patient": "p" if row["id"] in ("s02", "s07") else row["id"]}
    with pytest.raises(HarnessError, match=r"line 4, id 's02' and .*line 9, id 's07'"):
        load(folder_protocol(), write_folder(tmp_path / "f", rows), cache)


@pytest.mark.parametrize("name", ["x.png", "x.jpg", "x.tif", "x.bmp", "x.npy"])
def test_a_truncated_image_is_named_with_its_line(name: str, tmp_path: Path, cache: Path):
    def save(path: Path) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
        np.save(path, noise) if name == "x.npy" else Image.fromarray(noise).save(path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    with pytest.raises(HarnessError, match=rf"manifest\.csv, line 2, {name}: cannot be read as an image"):
        load_image(tmp_path, cache, name, save)
    assert not list(cache.glob("cohorts/*"))


def test_a_mask_of_another_size_is_named(tmp_path: Path, cache: Path):
    save = Image.fromarray(np.zeros((16, 20), np.uint8)).save
    with pytest.raises(
        HarnessError, match=r"line 2, m\.png: the mask has 20 x 16 pixels but its image .* has 16 x 16"
    ):
        load_image(tmp_path, cache, "m.png", save, part="mask")


def test_a_label_that_nobody_declared_is_named_with_its_file(tmp_path: Path, cache: Path):
    save = Image.fromarray(np.full((16, 16), 4, np.uint8)).save
    with pytest.raises(HarnessError) as error:
        load_image(tmp_path, cache, "m.png", save, part="mask")
    assert str(error.value) == (
        f"{tmp_path}/f/manifest.csv, line 2, m.png: the mask has the label 4, which no structure declares "
        "(declared: 1); add it to a structure of the protocol or mend the mask."
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id,patient,image\n", r"the column 'mask' is missing\. Known: id, image, patient\. A manifest has"),
        ("id,patient,imgae,mask\n", r"the column 'image' is missing\. Did you mean 'imgae'\?"),
        ("id,patient,image,mask,race,race\n", "the column 'race' stands twice"),
        ("id,patient,image,mask\na,b,c\n", "line 2: has more or fewer cells than the header"),
        ("id,patient,image,mask\na,b,c,d,e\n", "line 2: has more or fewer cells than the header"),
        ("id,patient,image,mask\n", "has no samples"),
        ("", "the column 'id' is missing"),
        ("id,patient,image,mask\n\xe9", "not a CSV file in UTF-8"),
        ("id;patient;image;mask\na;b;c;d\n", "its cells have semicolons between them; save it with commas"),
        ("id\tpatient\timage\tmask\n", "its cells have tabs between them"),
        ('"id";"patient";"image";"mask";"age, years"\n', "its cells have semicolons between them"),
    ],
)
def test_a_manifest_that_does_not_fit_is_named(text: str, said: str, tmp_path: Path, cache: Path):
    (tmp_path / "manifest.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(HarnessError, match=said):
        load(folder_protocol(), tmp_path, cache)


def test_a_folder_without_manifest_is_refused(tmp_path: Path, cache: Path):
    assert "manifest.csv: there is no such file; the source 'folder' needs a manifest" in message(
        tmp_path, cache
    )


def test_an_attribute_all_unknown_is_refused(tmp_path: Path, cache: Path):
    folder = write_folder(tmp_path / "f", alternating(8, race="unknown"))
    with pytest.raises(HarnessError, match="The attribute 'race' is unknown for every sample"):
        load(folder_protocol(attributes={"race": {}}), folder, cache)


@needs.unless(LGG.exists(), "the LGG FLAIR slices are not on this machine", f"lay them into `{SHARED}`")
def test_the_real_cohort_is_who_its_readme_says(cache: Path):
    wanted = folder_protocol(size=256, attributes={"race": {}, "gender": {}, "age": {"bins": [50]}})
    cohort = load(wanted, LGG, cache)
    table = describe(cohort, wanted).groupby(["attribute", "group"])[["samples", "patients"]].sum()
    # Counts from the data's README: 110 patients, 545 slices, 10 Black, 98 White and 2 unknown.
    assert len(cohort.subjects) == 545
    assert table.loc["race", "patients"].to_dict() == {"Black": 10, "White": 98, "unknown": 2}
    assert table.loc["gender", "patients"].to_dict() == {"Female": 56, "Male": 53, "unknown": 1}
    assert cohort.subjects.groupby("patient")["split"].nunique().max() == 1
    test = cohort.subjects[cohort.subjects["split"] == "test"].drop_duplicates("patient")
    assert (test["race"] == "Black").sum() >= 2
    # Every slice was taken because it shows the tumour.
    assert (cohort.masks.reshape(545, -1).max(axis=1) == 1).all()
    first = Image.open(LGG / "images" / f"{cohort.subjects['sample'][0]}.png")
    assert np.array_equal(cohort.images[0], np.asarray(first))
