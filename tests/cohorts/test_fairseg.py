from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cohort_files import EVERY_ATTRIBUTE, make_protocol, write_fairseg

from harness.cohorts import Cohort, fairseg, load, synthetic
from harness.errors import HarnessError
from harness.protocol import Protocol


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return load(
        make_protocol(size=48, samples=150, attributes=EVERY_ATTRIBUTE), None, tmp_path_factory.mktemp("c")
    )


@pytest.fixture(scope="module")
def people() -> list[dict[str, str | None]]:
    """The columns of the same samples before bins and merges."""
    source = synthetic.open_source(synthetic.Options(samples=150), 48, None)
    return [source.read(row).columns for row in range(150)]


@pytest.fixture(params=["published", "scripts"])
def generation(request: pytest.FixtureRequest) -> str:
    return request.param


def fairseg_protocol(**changes: Any) -> Protocol:
    lists = {"train": "train.txt", "test": "test.txt"}
    return make_protocol(
        **({"source": "fairseg", "size": 48, "attributes": EVERY_ATTRIBUTE} | lists | changes)
    )


def write_one(file: Path, generation: str = "published", **changes: Any) -> None:
    """Write one sound file, changed where the test says so; a value of None leaves the key out."""
    arrays: dict[str, Any] = {"gender": 0, "language": 0, "maritalstatus": 0, "age": 50.0}
    if generation == "published":
        arrays |= {"race": 0, "ethnicity": 0, "slo_fundus": np.zeros((20, 20), np.uint8)}
        arrays |= {"disc_cup_mask": np.zeros((20, 20), np.int8)}
    else:
        arrays |= {
            "race": 2,
            "hispanic": 0,
            "pid": 7,
            "fundus_slo": np.zeros((20, 20)),
            "disc_cup": np.zeros((20, 20)),
        }
    arrays |= changes
    np.savez(file, **{key: value for key, value in arrays.items() if value is not None})


def load_some(folder: Path, cache: Path, **changes: Any) -> Cohort:
    wanted = fairseg_protocol(train=None, test=None, size=16, attributes={"gender": {}}, **changes)
    return load(wanted, folder, cache)


def fill(folder: Path, count: int = 8, generation: str = "published", **changes: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        write_one(folder / f"data_{i:05d}.npz", generation, **({"gender": i % 2} | changes))
    return folder


def message(folder: Path, cache: Path, **changes: Any) -> str:
    with pytest.raises(HarnessError) as error:
        load_some(folder, cache, **changes)
    assert not list(cache.glob("cohorts/*"))
    return str(error.value)


def test_both_generations_give_the_cohort_that_they_were_written_from(
    original: Cohort, people: list[dict[str, str | None]], generation: str, tmp_path: Path, cache: Path
):
    folder = write_fairseg(original, people, tmp_path / generation, generation)
    again = load(fairseg_protocol(), folder, cache)
    assert np.array_equal(again.images, original.images)
    assert np.array_equal(again.masks, original.masks)
    assert again.digest == original.digest
    assert again.groups == original.groups
    same = [column for column in original.subjects if column != "age_value"]
    assert again.subjects[same].equals(original.subjects[same])
    # Days are whole numbers: half a day of error at most.
    np.testing.assert_allclose(again.subjects["age_value"], original.subjects["age_value"], atol=0.5 / 365.25)
    assert not again.publish_images


def test_minus_one_and_not_a_number_are_unknown(tmp_path: Path, generation: str):
    ethnicity = "ethnicity" if generation == "published" else "hispanic"
    codes = {"gender": -1, "race": -1, ethnicity: -1, "language": -1, "maritalstatus": -1, "age": -1}
    write_one(tmp_path / "data_0.npz", generation, **codes)
    write_one(tmp_path / "data_1.npz", generation, age=np.nan)
    source = fairseg.open_source(fairseg.Options(folder=tmp_path), 16, None)
    assert set(source.read(0).columns.values()) == {None}
    assert source.read(1).columns["age"] is None


def test_patients_are_pids_in_the_scripts_files_and_files_in_the_published_ones(tmp_path: Path):
    for generation, patients in (("published", ["data_00000", "data_00001"]), ("scripts", ["7", "7"])):
        folder = fill(tmp_path / generation, 2, generation)
        source = fairseg.open_source(fairseg.Options(folder=folder), 16, None)
        assert [source.read(row).patient for row in range(2)] == patients


def test_a_bigger_image_gives_its_centre_and_masks_of_either_sign_count(tmp_path: Path, cache: Path):
    image = np.full((40, 60), 9, np.uint8)
    mask = np.zeros((40, 60), np.int8)
    image[8:32, 18:42], mask[8:32, 18:42] = 200, -1
    mask[16:24, 26:34] = -2
    fill(tmp_path / "f", slo_fundus=image, disc_cup_mask=mask)
    cohort = load_some(tmp_path / "f", cache, crop=24)
    assert (cohort.images == 200).all()
    assert (cohort.masks[0] > 0).all()
    # A third of the side is cup: 16 / 24 * 8 is five or six of 16 pixels.
    assert (cohort.masks[0] == 2).any(axis=0).sum() in (5, 6)


def test_a_truncated_file_is_named(tmp_path: Path, cache: Path):
    file = fill(tmp_path / "f") / "data_00003.npz"
    whole = file.read_bytes()
    for cut in (0, 10, len(whole) // 2, len(whole) - 30):
        file.write_bytes(whole[:cut])
        said = message(tmp_path / "f", cache)
        assert str(file) in said
        assert said.endswith("the file is damaged or incomplete, copy it again.")


def test_damage_inside_a_file_is_named_with_its_key(tmp_path: Path, cache: Path):
    file = fill(tmp_path / "f") / "data_00003.npz"
    content = bytearray(file.read_bytes())
    at = content.index(b"slo_fundus.npy") + 200
    content[at] ^= 0xFF
    file.write_bytes(bytes(content))
    assert f"{file}, key 'slo_fundus': cannot be read" in message(tmp_path / "f", cache)


def test_pickled_objects_are_refused_unread(tmp_path: Path, cache: Path):
    fill(tmp_path / "f")
    write_one(tmp_path / "f" / "data_00002.npz", gender=np.array({"any": "object"}, dtype=object))
    assert "data_00002.npz, key 'gender': cannot be read (Object arrays" in message(tmp_path / "f", cache)


@pytest.mark.parametrize("key", ["slo_fundus", "disc_cup_mask", "race", "age", "ethnicity"])
def test_a_missing_key_is_named(key: str, tmp_path: Path, cache: Path):
    fill(tmp_path / "f")
    write_one(tmp_path / "f" / "data_00002.npz", **{key: None})
    assert f"data_00002.npz: the key '{key}' is missing" in message(tmp_path / "f", cache)


def test_a_missing_pid_is_named(tmp_path: Path, cache: Path):
    fill(tmp_path / "f", generation="scripts", pid=None)
    assert "data_00000.npz: the key 'pid' is missing" in message(tmp_path / "f", cache)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"slo_fundus": None, "disc_cup_mask": None},
            "has no fundus image; a Harvard-FairSeg file has either",
        ),
        ({"fundus_slo": np.zeros((20, 20))}, "has keys of both generations"),
        (
            {"disc_cup_mask": np.zeros((20, 21))},
            "the mask has 21 x 20 pixels but its image 'slo_fundus' has 20 x 20",
        ),
        ({"disc_cup_mask": np.full((20, 20), 3)}, "the mask has the label 3, which no structure declares"),
        ({"disc_cup_mask": np.full((20, 20), 0.5)}, "labels are whole numbers"),
        ({"disc_cup_mask": np.full((20, 20), np.nan)}, "labels are whole numbers"),
        ({"slo_fundus": np.full((20, 20), np.inf)}, "has pixels that are not finite"),
        ({"slo_fundus": np.zeros(20)}, "an image has the shape (height, width)"),
        ({"race": 7}, "key 'race': the code 7 is not one of 0 Asian, 1 Black, 2 White or -1"),
        ({"race": [0, 1]}, "key 'race': holds 2 values where one belongs"),
        ({"age": "old"}, "key 'age': 'old' is not a number"),
    ],
)
def test_an_unfit_file_is_named_with_its_key(changes: dict[str, Any], said: str, tmp_path: Path, cache: Path):
    fill(tmp_path / "f")
    write_one(tmp_path / "f" / "data_00002.npz", **changes)
    told = message(tmp_path / "f", cache)
    assert "data_00002.npz" in told
    assert said in told


def test_generations_are_told_by_their_keys_not_their_values(tmp_path: Path):
    # Code 2 is White as published and Asian in the scripts' files.
    for generation, race in (("published", "White"), ("scripts", "Asian")):
        folder = fill(tmp_path / generation, 1, generation, race=2)
        source = fairseg.open_source(fairseg.Options(folder=folder), 16, None)
        assert source.read(0).columns["race"] == race


def test_a_split_that_does_not_cover_the_folder_counts_what_is_missing_on_either_side(
    tmp_path: Path, cache: Path
):
    folder = fill(tmp_path / "f")
    (folder / "train.txt").write_text("data_00000.npz\ndata_00001.npz\ngone_1.npz\ngone_2.npz\n")
    (folder / "test.txt").write_text("data_00002.npz\n\ndata_00003\n")
    wanted = fairseg_protocol(attributes={"gender": {}})
    with pytest.raises(HarnessError) as error:
        load(wanted, folder, cache)
    assert str(error.value) == (
        f"{folder}: the split train.txt (4) and test.txt (2) does not cover the 8 files: 2 listed "
        "without a file, 4 files in neither list (first: 'gone_1' is listed); complete the folder, or give "
        "lists that fit it."
    )


def test_a_name_in_both_lists_is_refused(tmp_path: Path, cache: Path):
    folder = fill(tmp_path / "f")
    (folder / "train.txt").write_text("".join(f"data_{i:05d}\n" for i in range(6)))
    (folder / "test.txt").write_text("".join(f"data_{i:05d}\n" for i in range(5, 8)))
    with pytest.raises(HarnessError, match=r"'data_00005' is also in train\.txt \(1 such names\)"):
        load(fairseg_protocol(attributes={"gender": {}}), folder, cache)


def test_a_list_that_is_not_there_is_named(tmp_path: Path, cache: Path):
    with pytest.raises(HarnessError, match=r"train\.txt: No such file"):
        load(fairseg_protocol(), fill(tmp_path / "f"), cache)


def test_one_list_alone_is_refused(tmp_path: Path, cache: Path):
    with pytest.raises(HarnessError, match=r"\[cohort\]: train and test are lists that make up one split"):
        load(fairseg_protocol(test=None), fill(tmp_path / "f"), cache)


def test_a_folder_without_files_is_refused(tmp_path: Path, cache: Path):
    with pytest.raises(HarnessError, match=r"no \.npz file here"):
        load(fairseg_protocol(), tmp_path, cache)
