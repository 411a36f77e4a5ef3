"""`harness init` writes a manifest and a protocol that can be read through, and says what it guessed."""

from __future__ import annotations

import csv
import tomllib
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from harness import cohorts, protocol
from harness.commands.init import init_command
from harness.errors import HarnessError

RNG = np.random.default_rng(0)


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def picture(value: int = 0) -> np.ndarray:
    pixels = RNG.integers(0, 256, (32, 32), dtype=np.uint8)
    if value:
        pixels[:] = 0
        pixels[8:16, 8:16] = value
    return pixels


def init(folder: Path, *more: str) -> Result:
    out = folder.parent / "mine.toml"
    done = CliRunner().invoke(init_command, [str(folder), "--out", str(out), *more])
    if isinstance(done.exception, HarnessError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done


def two_folders(root: Path, count: int = 24, value: int = 255) -> Path:
    """Images and masks in folders of their own, and a table of sex and age by file name."""
    rows = []
    for i in range(count):
        save(root / "images" / f"case_{i:03d}.png", picture())
        save(root / "masks" / f"case_{i:03d}.png", picture(value))
        rows.append(
            {"file": f"case_{i:03d}.png", "PatientID": f"P{i // 2}", "sex": "FM"[i % 2], "age": str(30 + i)}
        )
    write_table(root / "clinical.csv", rows)
    return root


def write_table(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_what_init_writes_loads(tmp_path):
    folder = two_folders(tmp_path / "eyes")
    said = init(folder).output
    assert "24 pairs of image and mask" in said
    chosen = protocol.load(tmp_path / "mine.toml")
    cohort = cohorts.load(
        chosen.model_copy(update={"split": protocol.SplitSpec()}), folder, tmp_path / "cache"
    )
    assert len(cohort.subjects) == 24
    assert cohort.subjects["patient"].nunique() == 12
    assert cohort.groups["sex"] == ("F", "M")
    assert list(chosen.attributes) == ["sex", "age"]
    assert chosen.attributes["age"].bins == (42,)


def test_a_labels_meaning_is_never_taken_for_known(tmp_path):
    init(two_folders(tmp_path / "eyes", value=128))
    text = (tmp_path / "mine.toml").read_text()
    assert tomllib.loads(text)["structures"] == {"label_128": [128]}
    (line,) = [line for line in text.splitlines() if line.startswith("label_128")]
    assert "GUESS: a structure; in 24 of 24 masks" in line
    assert "# 0 is taken for the background: 94% of the pixels. GUESS" in text


def test_each_guess_of_a_column_is_marked_and_what_is_left_out_is_named(tmp_path):
    folder = two_folders(tmp_path / "eyes")
    rows = list(csv.DictReader((folder / "clinical.csv").open()))
    write_table(
        folder / "clinical.csv", [row | {"site": "one", "scan": str(i)} for i, row in enumerate(rows)]
    )
    init(folder)
    text = (tmp_path / "mine.toml").read_text()
    assert "# samples: F 12, M 12" in text
    assert "# 'site' is left out: it is 'one' throughout" in text
    assert "# 'scan' is left out: it looks like a name" in text
    assert "# Patients are from the column 'PatientID'." in text


def test_files_that_look_like_one_patients_are_pointed_out(tmp_path):
    for i in range(20):
        save(tmp_path / "d" / f"anna{i // 4}_{i % 4}.png", picture())
        save(tmp_path / "d" / f"anna{i // 4}_{i % 4}_mask.png", picture(1))
    init(tmp_path / "d")
    text = (tmp_path / "mine.toml").read_text()
    assert "# But 'anna0_0' and 'anna0_1' look like files of one patient." in text
    assert "# No column can be an attribute" in text


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("images/a{}.png", "masks/a{}.png"),
        ("a{}.png", "a{}_mask.png"),
        ("a{}.jpg", "a{}_segmentation.png"),
        ("train/img/a{}.png", "train/gt/a{}.png"),
        ("x/a{}-image.png", "x/a{}-label.png"),
        ("images/a{}.png", "masks/a{}_mask.png"),
    ],
)
def test_images_and_masks_are_paired_by_what_their_names_share(tmp_path, image, mask):
    for i in (1, 2, 12):
        save(tmp_path / "d" / image.format(i), picture())
        save(tmp_path / "d" / mask.format(i), picture(1))
    init(tmp_path / "d")
    rows = list(csv.DictReader((tmp_path / "d" / "manifest.csv").open()))
    pairs = {(row["image"], row["mask"]) for row in rows}
    assert pairs == {(image.format(i), mask.format(i)) for i in (1, 2, 12)}


def test_a_file_without_a_partner_is_named_and_left_out(tmp_path):
    folder = two_folders(tmp_path / "eyes")
    save(folder / "images" / "late.png", picture())
    said = init(folder).output
    assert "without a partner, left out: images/late.png" in said
    assert "late" not in (folder / "manifest.csv").read_text()


def test_a_manifest_that_is_there_stays_and_its_columns_are_used(tmp_path):
    folder = two_folders(tmp_path / "eyes")
    init(folder)
    before = (folder / "manifest.csv").read_bytes()
    (tmp_path / "mine.toml").unlink()
    init(folder)
    assert (folder / "manifest.csv").read_bytes() == before
    assert "[attributes]  # GUESS: columns of manifest.csv" in (tmp_path / "mine.toml").read_text()


def test_nothing_is_overwritten(tmp_path):
    folder = two_folders(tmp_path / "eyes")
    init(folder)
    with pytest.raises(HarnessError, match="is there already and is not overwritten"):
        init(folder)


def test_colours_are_written_as_colours(tmp_path):
    for i in range(3):
        save(tmp_path / "d" / "images" / f"{i}.png", picture())
        mask = np.zeros((32, 32, 3), np.uint8)
        mask[4:9, 4:9] = (255, 0, 16)
        save(tmp_path / "d" / "masks" / f"{i}.png", mask)
    init(tmp_path / "d")
    assert tomllib.loads((tmp_path / "mine.toml").read_text())["structures"] == {"label_ff0010": ["#ff0010"]}


def test_masks_of_many_values_are_suspected(tmp_path):
    for i in range(3):
        save(tmp_path / "d" / "images" / f"{i}.png", picture())
        save(tmp_path / "d" / "masks" / f"{i}.png", picture())
    init(tmp_path / "d")
    assert "a soft mask, or one saved as JPEG?" in (tmp_path / "mine.toml").read_text()


@pytest.mark.parametrize("files", [[], ["a.png", "b.png"], ["masks/a.png"], ["a.png", "b_mask.png"]])
def test_a_folder_without_pairs_is_refused_in_one_sentence(tmp_path, files):
    (tmp_path / "d").mkdir()
    for name in files:
        save(tmp_path / "d" / name, picture())
    with pytest.raises(HarnessError, match="masks|manifest"):
        init(tmp_path / "d")
    assert not (tmp_path / "d" / "manifest.csv").exists()


def test_a_strangers_words_stay_in_comments_and_strings(tmp_path):
    folder = two_folders(tmp_path / "eyes")
    rows = list(csv.DictReader((folder / "clinical.csv").open()))
    for i, row in enumerate(rows):
        row['se"x\n[recipe]'] = ("a\nepochs = 9", 'b"')[i % 2]
    write_table(folder / "clinical.csv", rows)
    init(folder)
    table = tomllib.loads((tmp_path / "mine.toml").read_text())
    assert table["recipe"]["epochs"] == 30


def test_labels_of_any_sign_and_size_have_names_of_their_own(tmp_path):
    for i in range(3):
        save(tmp_path / "d" / "images" / f"{i}.png", picture())
        mask = np.zeros((32, 32), np.int32)
        mask[:3], mask[5:7], mask[9:12] = 1, -1, 100_000
        (tmp_path / "d" / "masks").mkdir(exist_ok=True)
        np.save(tmp_path / "d" / "masks" / f"{i}.npy", mask)
    init(tmp_path / "d")
    found = tomllib.loads((tmp_path / "mine.toml").read_text())["structures"]
    assert found == {"label_minus_1": [-1], "label_1": [1], "label_100000": [100_000]}


def test_a_table_that_is_none_is_one_sentence(tmp_path):
    folder = two_folders(tmp_path / "eyes")
    (folder / "clinical.csv").write_text("file,sex\n" + '"' + "x" * 200_000 + '",f\n')
    with pytest.raises(HarnessError, match="save it as CSV"):
        init(folder)
