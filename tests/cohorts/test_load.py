from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import needs
import numpy as np
import pytest
from cohort_files import EVERY_ATTRIBUTE, alternating, folder_protocol, make_protocol, write_folder
from PIL import Image

from harness.cohorts import describe, load, write_thumbnails
from harness.errors import HarnessError

SMALL = {"samples": 40}
LOAD = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from cohort_files import make_protocol
from harness.cohorts import load
from harness.errors import HarnessError
try:
    print(load(make_protocol(size=int(sys.argv[2]), samples=60), None, Path(sys.argv[1])).digest)
except HarnessError as error:
    sys.exit(str(error))
"""


def start(cache: Path, size: int = 32, *before: str) -> subprocess.Popen[str]:
    command = [*before, sys.executable, "-c", LOAD, str(cache), str(size), str(Path(__file__).parents[1])]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let the kernel refuse every write beyond `size` bytes of a file, as a full disk or a quota does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_cohort_is_decoded_once_and_then_mapped(cache: Path):
    wanted = make_protocol(**SMALL)
    first = load(wanted, None, cache)
    (entry,) = (cache / "cohorts").iterdir()
    written = {file.name: file.stat().st_mtime_ns for file in entry.iterdir()}
    second = load(wanted, None, cache)
    assert {file.name: file.stat().st_mtime_ns for file in entry.iterdir()} == written
    for cohort in (first, second):
        assert isinstance(cohort.images, np.memmap)
        assert not cohort.images.flags.writeable
    assert second.subjects.equals(first.subjects)
    assert second.digest == first.digest


def test_the_arrays_are_as_the_type_says(cache: Path):
    cohort = load(
        make_protocol(size=24, attributes={"gender": {}, "age": {"bins": [60]}}, **SMALL), None, cache
    )
    assert (cohort.images.shape, cohort.images.dtype) == ((40, 24, 24, 3), np.uint8)
    assert (cohort.masks.shape, cohort.masks.dtype) == ((40, 24, 24), np.uint8)
    assert list(cohort.subjects) == ["sample", "patient", "split", "gender", "age_value", "age"]
    assert cohort.groups == {"gender": ("female", "male"), "age": ("<60", ">=60")}
    assert sorted(np.concatenate([cohort.rows("train"), cohort.rows("test")])) == list(range(40))


def test_masks_hold_class_indices_in_the_order_of_the_labels(tmp_path: Path, cache: Path):
    mask = np.zeros((16, 16), np.uint8)
    mask[:8], mask[8:12] = 200, 7
    (tmp_path / "f").mkdir()
    Image.fromarray(mask).save(tmp_path / "f" / "m.png")
    folder = write_folder(tmp_path / "f", alternating(8, mask="m.png"))
    cohort = load(folder_protocol(structures={"both": [200, 7], "one": [7]}), folder, cache)
    assert np.array_equal(cohort.masks[0], np.repeat([2, 1, 0], [8, 4, 4])[:, None] * np.ones((1, 16)))


def test_the_digest_follows_content_and_not_where_it_lies(tmp_path: Path, cache: Path):
    folder = write_folder(tmp_path / "here", alternating(8))
    first = load(folder_protocol(), folder, cache)
    moved = Path(shutil.copytree(folder, tmp_path / "there"))
    lines = (moved / "manifest.csv").read_text().splitlines()
    (moved / "manifest.csv").write_text("\n".join([lines[0], *lines[:0:-1]]) + "\n")
    again = load(folder_protocol(), moved, tmp_path / "other cache")
    assert again.digest == first.digest
    assert again.subjects.equals(first.subjects)


def _flip_pixel(file: Path) -> None:
    pixels = np.array(Image.open(file))
    pixels.flat[0] ^= 1
    Image.fromarray(pixels).save(file)


def _replace(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("change", "same"),
    [
        (lambda folder: _flip_pixel(folder / "s00.png"), False),
        (lambda folder: _flip_pixel(folder / "s00_mask.png"), False),
        (lambda folder: _replace(folder / "manifest.csv", "s00,", "s90,"), False),
        (lambda folder: _replace(folder / "manifest.csv", "p00", "p90"), False),
        (lambda folder: _replace(folder / "manifest.csv", "s02,p02,train", "s02,p02,validation"), False),
        (lambda folder: _replace(folder / "manifest.csv", "female", "woman"), True),
    ],
    ids=["image", "mask", "sample", "patient", "split", "attribute"],
)
def test_the_digest_follows_all_content_but_the_attributes(
    change: Any, same: bool, tmp_path: Path, cache: Path
):
    gender = ["male", "female"] * 4
    rows = [
        {"id": f"s{i:02d}", "patient": f"p{i:02d}", "split": "train" if i < 5 else "test"} for i in range(8)
    ]
    folder = write_folder(tmp_path / "f", [row | {"gender": g} for row, g in zip(rows, gender, strict=True)])
    before = load(folder_protocol(), folder, cache).digest
    change(folder)
    assert (load(folder_protocol(), folder, cache).digest == before) == same


@pytest.mark.parametrize("damage", ["truncate", "scribble", "remove", "empty json", "no parquet"])
def test_a_damaged_cache_is_built_anew(damage: str, cache: Path):
    wanted = make_protocol(**SMALL)
    before = load(wanted, None, cache)
    images, digest = np.array(before.images), before.digest
    (entry,) = (cache / "cohorts").iterdir()
    if damage == "truncate":
        os.truncate(entry / "images.npy", 5000)
    elif damage == "scribble":
        with (entry / "masks.npy").open("r+b") as file:
            file.seek(300)
            file.write(b"scribble")
    elif damage == "remove":
        (entry / "masks.npy").unlink()
    elif damage == "empty json":
        (entry / "cohort.json").write_text("{}")
    else:
        (entry / "samples.parquet").write_bytes(b"PAR1")
    after = load(wanted, None, cache)
    assert np.array_equal(after.images, images)
    assert after.digest == digest
    assert [path.name for path in (cache / "cohorts").iterdir()] == [entry.name]


@pytest.mark.parametrize(
    "share", [pytest.param(0.0, marks=pytest.mark.slow), 0.2, pytest.param(0.5, marks=pytest.mark.slow)]
)
def test_a_killed_build_leaves_no_half_cohort(share: float, cache: Path):
    building = start(cache, size=256)
    deadline, whole = time.monotonic() + 60, 60 * 256 * 256 * 3
    while not any(f.stat().st_size >= share * whole for f in cache.glob("cohorts/.*.part/new/*/images.npy")):
        assert building.poll() is None, building.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.002)
    building.send_signal(signal.SIGKILL)
    building.communicate()
    assert not [path for path in (cache / "cohorts").iterdir() if not path.name.startswith(".")]
    wanted = make_protocol(size=256, samples=60)
    assert load(wanted, None, cache).digest == load(wanted, None, cache.with_name("clean")).digest
    # What it left is gone too: nobody held it any more.
    assert len(list((cache / "cohorts").iterdir())) == 1


def test_a_build_that_goes_on_is_not_swept_away_by_another(cache: Path):
    building = start(cache, size=256)
    while not list(cache.glob("cohorts/.*.part/lock")):
        assert building.poll() is None, building.communicate()
        time.sleep(0.002)
    load(make_protocol(**SMALL), None, cache)
    assert len(building.communicate(timeout=100)[0].strip()) == 64
    assert len(list((cache / "cohorts").iterdir())) == 2


def test_two_processes_at_once_share_one_cohort(cache: Path):
    outcomes = [building.communicate(timeout=100) for building in [start(cache, size=128) for _ in range(2)]]
    assert outcomes[0][0] == outcomes[1][0]
    assert len(outcomes[0][0].strip()) == 64, outcomes
    assert len(list((cache / "cohorts").iterdir())) == 1


def test_a_write_that_the_system_refuses_is_one_sentence_and_leaves_nothing(cache: Path):
    with largest_file(20_000), pytest.raises(HarnessError) as error:
        load(make_protocol(**SMALL), None, cache)
    assert "File too large while caching the cohort; make room there or choose another" in str(error.value)
    assert not list((cache / "cohorts").iterdir())
    assert len(load(make_protocol(**SMALL), None, cache).subjects) == 40


def _can_mount() -> bool:
    tried = (
        subprocess.run(
            ["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False
        )
        if shutil.which("unshare")
        else None
    )
    return tried is not None and tried.returncode == 0


@needs.unless(
    _can_mount(), "a small tmpfs cannot be mounted", "`sysctl -w user.max_user_namespaces=65536`, as root"
)
def test_a_full_disk_is_one_sentence_and_leaves_nothing(cache: Path):
    cache.mkdir()
    script = f'mount -t tmpfs -o size=512k none {cache} && "$@"; code=$?; ls -A {cache}/cohorts; exit $code'
    out, err = start(cache, 128, "unshare", "-rm", "sh", "-c", script, "sh").communicate(timeout=100)
    assert "No space left on device while caching the cohort; make room there" in err
    assert "Traceback" not in err
    assert out == ""


def test_a_cache_that_cannot_be_written_is_one_sentence(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(HarnessError, match="Not a directory while caching the cohort"):
        load(make_protocol(**SMALL), None, tmp_path / "file")


def test_an_unknown_source_is_suggested(cache: Path):
    with pytest.raises(HarnessError, match=r"no cohort source 'folders'\. Did you mean 'folder'\?"):
        load(make_protocol("folders"), None, cache)


@pytest.mark.parametrize(
    ("source", "options", "said"),
    [
        ("synthetic", {"sampels": 5}, r"'sampels' is not a key here\. Did you mean 'samples'\?"),
        ("synthetic", {"shift": -1}, r"shift: Input should be greater than or equal to 0 \(got -1\)"),
        ("folder", {"fit": "stretch"}, r"fit: Input should be 'pad' or 'crop' \(got 'stretch'\)"),
        ("fairseg", {"folder": "x", "tran": "x"}, r"'tran' is not a key here\. Did you mean 'train'\?"),
    ],
)
def test_an_option_that_does_not_fit_is_named(source: str, options: dict, said: str, cache: Path):
    with pytest.raises(HarnessError, match=rf"Protocol 'test', \[cohort\]: {said}"):
        load(make_protocol(source, **options), None, cache)


@pytest.mark.parametrize("source", ["folder", "fairseg"])
def test_a_source_of_files_needs_a_folder(source: str, tmp_path: Path, cache: Path):
    with pytest.raises(
        HarnessError, match=rf"source '{source}' reads files: give --data DIR, or 'folder' in"
    ):
        load(make_protocol(source), None, cache)
    with pytest.raises(HarnessError, match="gone: not a folder"):
        load(make_protocol(source), tmp_path / "gone", cache)


def test_the_synthetic_cohort_takes_no_folder(tmp_path: Path, cache: Path):
    with pytest.raises(HarnessError, match="drawn and reads no files: leave --data out"):
        load(make_protocol(**SMALL), tmp_path, cache)


def test_data_overrides_the_folder_of_the_protocol(tmp_path: Path, cache: Path):
    folder = write_folder(tmp_path / "f", alternating(8))
    assert len(load(folder_protocol(folder=str(folder)), None, cache).subjects) == 8
    assert len(load(folder_protocol(folder="/nowhere"), folder, cache).subjects) == 8


def test_describe_counts_every_sample_and_patient_once(cache: Path):
    wanted = make_protocol(samples=150, attributes=EVERY_ATTRIBUTE, split={"validation": 0.1})
    cohort = load(wanted, None, cache)
    table = describe(cohort, wanted)
    assert list(table) == ["attribute", "group", "split", "samples", "patients"]
    assert list(table["attribute"].unique()) == list(EVERY_ATTRIBUTE)
    assert list(table["split"].unique()) == ["train", "validation", "test"]
    assert (table.groupby("attribute")["samples"].sum() == 150).all()
    unknown = table[(table["attribute"] == "ethnicity") & (table["group"] == "unknown")]
    assert unknown["samples"].sum() == cohort.subjects["ethnicity"].isna().sum() > 0
    assert "unknown" not in set(table.loc[table["attribute"] == "race", "group"])


def test_describe_counts_patients_with_several_samples(tmp_path: Path, cache: Path):
    rows = [{"gender": "fm"[i // 3 % 2], "patient": f"p{i // 3}"} for i in range(24)]
    cohort = load(folder_protocol(), write_folder(tmp_path / "f", rows), cache)
    table = describe(cohort, folder_protocol())
    assert (table["samples"] == 3 * table["patients"]).all()
    assert table["patients"].sum() == 8


def test_thumbnails_show_images_with_the_outlines_of_their_masks(tmp_path: Path, cache: Path):
    cohort = load(folder_protocol(size=16), write_folder(tmp_path / "f", alternating(8)), cache)
    write_thumbnails(cohort, tmp_path / "t.png", columns=4, rows=2)
    picture = np.asarray(Image.open(tmp_path / "t.png"))
    assert picture.shape == (32, 64, 3)
    # The mask is the square 4..11: its outline is painted in the first colour, its inside is not.
    assert (picture[4, 4:12] == [0, 158, 115]).all()
    assert np.array_equal(picture[5:11, 5:11], cohort.images[0][5:11, 5:11])
    assert np.array_equal(picture[:4, :16], cohort.images[0][:4])
    assert [path.name for path in tmp_path.glob("*t.png*")] == ["t.png"]


def test_thumbnails_that_cannot_be_written_are_one_sentence(tmp_path: Path, cache: Path):
    cohort = load(make_protocol(**SMALL), None, cache)
    with pytest.raises(HarnessError, match="No such file or directory; give another file for the thumbnails"):
        write_thumbnails(cohort, tmp_path / "gone" / "t.png")
