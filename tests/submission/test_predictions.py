"""Predictions alone come to a board: scored here, marked, ranked from three trainings on."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import nibabel
import numpy as np
import pytest
import tomli_w
from click.testing import CliRunner
from make_records import World, make_store
from PIL import Image
from tiny import PROTOCOL

import leaderboard
from harness.cli import cli
from harness.errors import HarnessError
from harness.running.paths import Paths
from harness.store import Store
from harness.submission import archive, predicted, predictions, yardstick
from harness.submission.submit import submit
from leaderboard.compute import sections, words
from leaderboard.read import boards

TABLE = PROTOCOL | {"attributes": {"race": {}}}


@pytest.fixture(scope="module")
def here(tmp_path_factory) -> tuple[Path, yardstick.Yardstick]:
    """A protocol with its cohort, and nothing trained."""
    folder = tmp_path_factory.mktemp("protocol")
    (folder / "tiny.toml").write_text(tomli_w.dumps(TABLE))
    return folder, yardstick.from_cohort(str(folder / "tiny.toml"), None, folder / "cache")


def labels(measured, training: int) -> np.ndarray:
    """The truths moved down a little, by another amount in each training."""
    cohort = measured.cohort
    return np.roll(np.asarray(cohort.masks[cohort.rows("test")]), 1 + training, axis=1)


def packed(measured, trainings: int = 1, name: str = "nnunet") -> bytes:
    made = [labels(measured, i) for i in range(trainings)]
    return predicted.pack(name, "nnU-Net version 2", "guest", measured, made)


def read(folder: Path, data: bytes):
    (folder / "given.zip").write_bytes(data)
    return predicted.read(folder / "given.zip")


def added(folder: Path, here, data: bytes) -> Store:
    measured = here[1]
    manifest, report = predictions.verify(read(folder, data), measured)
    assert report.failed == []
    assert (
        submit(
            manifest, report, measured, Paths(folder / "runs", None, here[0] / "cache"), predictions_only=True
        )
        == "predictions"
    )
    return Store(folder / "runs")


def test_from_a_folder_of_maps_to_a_row_of_the_board(here, tmp_path, monkeypatch):
    folder, measured = here
    values = np.array([0, *measured.protocol.label_values], np.uint8)
    (tmp_path / "maps").mkdir()
    for sample, one in zip(measured.samples, labels(measured, 0), strict=True):
        Image.fromarray(values[one]).save(tmp_path / "maps" / f"{sample}_pred.png")
    monkeypatch.chdir(tmp_path)
    common = ["--protocol", str(folder / "tiny.toml"), "--cache", str(folder / "cache")]
    made = CliRunner().invoke(
        cli, ["pack", "nnunet", "--predictions", "maps", "--title", "nnU-Net", *common],
        prog_name="harness", catch_exceptions=False,
    )  # fmt: skip
    assert made.exit_code == 0, made.output
    done = CliRunner().invoke(
        cli,
        ["submit", "--predictions", "nnunet-tiny-predictions.zip", *common],
        prog_name="harness",
        catch_exceptions=False,
    )
    assert done.exit_code == 0, done.output
    assert "shown and not ranked: fewer than three trainings" in done.output
    store = Store(tmp_path / "runs")
    (trial,) = store.ids()
    record = store.record(trial)
    assert (record.obtained, record.method.name, record.seed) == ("predictions", "guest.nnunet", 0)
    # The scores are this machine's own, of the maps that were given.
    from harness.running.scoring import score

    expected = score(measured.protocol, measured.cohort, labels(measured, 0))
    assert store.scores(trial)["dice"].tolist() == expected["dice"].tolist()


def test_exchanged_labels_of_another_size_are_read_as_the_refusal_says_by_both_verbs(
    here, tmp_path, monkeypatch
):
    folder, measured = here
    one, other = measured.protocol.label_values[:2]
    values = np.array([0, other, one], np.uint8)
    (tmp_path / "maps").mkdir()
    for sample, label in zip(measured.samples, labels(measured, 0), strict=True):
        Image.fromarray(values[label].repeat(2, 0).repeat(2, 1)).save(tmp_path / "maps" / f"{sample}.png")
    monkeypatch.chdir(tmp_path)
    common = ["--protocol", str(folder / "tiny.toml"), "--cache", str(folder / "cache")]
    verbs = (
        ["pack", "nnunet", "--predictions", "maps"],
        ["submit", "--predictions", "maps", "--name", "nnunet"],
    )

    def run(verb, *more):
        return CliRunner().invoke(cli, [*verb, *common, *more], prog_name="harness", catch_exceptions=False)

    exchanged = f"{one}={other},{other}={one}"
    for verb in verbs:
        with pytest.raises(HarnessError, match="or give --resample nearest"):
            run(verb)
        with pytest.raises(HarnessError, match=f"map them with --relabel {exchanged}"):
            run(verb, "--resample", "nearest")
        assert not (tmp_path / "runs").exists()
        done = run(verb, "--resample", "nearest", "--relabel", exchanged)
        assert done.exit_code == 0, done.output
    (trial,) = Store(tmp_path / "runs").ids()
    (tmp_path / "straight").mkdir()
    straight = added(tmp_path / "straight", here, packed(measured))
    assert Store(tmp_path / "runs").scores(trial)["dice"].tolist() == (
        straight.scores(straight.ids()[0])["dice"].tolist()
    )


def test_one_training_is_shown_with_its_numbers_and_not_ranked(here, tmp_path):
    store = added(tmp_path, here, packed(here[1]))
    leaderboard.build(store.root, tmp_path / "site")
    (built,) = json.loads((tmp_path / "site" / "leaderboard.json").read_text())["protocols"]
    (row,) = built["sections"][0]["methods"]
    assert (row["method"], row["obtained"], row["rank"]) == ("guest.nnunet", "predictions", None)
    assert row["scores"]["dice"]["overall"]["estimate"] > 0
    page = (tmp_path / "site" / "index.html").read_text()
    assert "not ranked: one training" in page
    assert "predictions only" in page
    assert '<option value="predictions only">' in page


def test_three_trainings_are_ranked_beside_the_others(tmp_path):
    obtained = {("adv", seed): "predictions" for seed in range(3)}
    store = make_store(tmp_path, World(methods=("erm", "adv"), attributes=("race",), obtained=obtained))
    row = sections.one(boards.of_store(store)[0], "race", "cup").row("adv")
    assert (row.rank in (1, 2), words.status(row), words.obtained(row)) == (
        True,
        "3 seeds",
        "predictions only",
    )


def test_a_row_that_takes_no_part_moves_no_number_of_the_others(tmp_path):
    names = ("erm", "groupdro", "adv")
    kept = {"attributes": ("race",), "structures": ("cup",), "seeds": (0, 1, 2), "samples": 120}
    without = make_store(tmp_path / "a", World(methods=names[:2], **kept))
    gone = frozenset({("adv", "race", 1), ("adv", "race", 2)})
    beside = World(methods=names, **kept, missing=gone, obtained={("adv", 0): "predictions"})
    found = [
        sections.one(boards.of_store(store)[0], "race", "cup")
        for store in (without, make_store(tmp_path / "b", beside))
    ]
    for name in names[:2]:
        # As text, in which a number that is not there is itself.
        assert repr(found[0].row(name)) == repr(found[1].row(name))
    adv = found[1].row("adv")
    assert (adv.rank, adv.ranks, adv.number("dice", "es_sum").there) == (None, False, True)


def test_the_same_file_again_changes_nothing_and_another_of_the_name_is_refused(here, tmp_path):
    store = added(tmp_path, here, packed(here[1]))
    measured = here[1]
    other = predicted.pack("nnunet", "nnU-Net version 2", "guest", measured, [labels(measured, 4)])
    manifest, report = predictions.verify(read(tmp_path, other), measured)
    with pytest.raises(HarnessError, match="a submission overwrites none"):
        submit(manifest, report, measured, Paths(store.root, None, tmp_path), predictions_only=True)


def rezipped(data: bytes, change) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        members = {name: opened.read(name) for name in opened.namelist()}
    change(members)
    return archive.zipped(members)


def beyond(measured) -> bytes:
    wrong = labels(measured, 0)
    wrong[0, 0, 0] = 9
    return predicted.pack("nnunet", "nnU-Net", "guest", measured, [wrong])


def fewer(measured) -> bytes:
    def change(members: dict[str, bytes]) -> None:
        from harness.store import formats

        samples = np.array(measured.samples[1:])
        members["predictions/0.npz"] = formats.arrays_bytes(samples=samples, labels=labels(measured, 0)[1:])
        table = json.loads(members["manifest.json"])
        table["members"] = archive.digests({"predictions/0.npz": members["predictions/0.npz"]})
        members["manifest.json"] = json.dumps(table).encode()

    return rezipped(packed(measured), change)


def edited(**changes: object):
    def change(members: dict[str, bytes]) -> None:
        members["manifest.json"] = json.dumps(json.loads(members["manifest.json"]) | changes).encode()

    return lambda measured: rezipped(packed(measured), change)


FAILED = {
    "a label that is no class": (beyond, "label 9 where the classes are 0 to 2"),
    "a test sample fewer": (fewer, "its samples are not the test samples"),
    "another cohort": (edited(protocol_digest="0" * 64), "another protocol or cohort"),
    "members that changed": (
        edited(members={"predictions/0.npz": "0" * 64}),
        "not those that its manifest lists",
    ),
}


@pytest.mark.parametrize("what", FAILED)
def test_what_does_not_fit_is_not_added(what, here, tmp_path):
    make, said = FAILED[what]
    _, report = predictions.verify(read(tmp_path, make(here[1])), here[1])
    assert said in report.failed[0].why


UNREADABLE = {
    "a member more": (
        lambda m: rezipped(packed(m), lambda members: members.update({"x.py": b""})),
        "has no place",
    ),
    "a name that climbs": (
        lambda m: rezipped(packed(m), lambda members: members.update({"../x": b""})),
        "has no place",
    ),
    "no zip": (lambda m: b"PK", "not a zip"),
    "a key more": (edited(more=1), "Extra inputs are not permitted"),
    "a name that is none": (edited(method="../x"), "String should match pattern"),
    "a title that moves a cursor": (edited(title="a\u202eb"), "a character that no reader sees"),
}


@pytest.mark.parametrize("what", UNREADABLE)
def test_a_strangers_file_is_refused_in_one_sentence(what, here, tmp_path):
    make, said = UNREADABLE[what]
    with pytest.raises(HarnessError, match=said):
        read(tmp_path, make(here[1]))


def test_two_trainings_that_are_one_are_refused(here):
    same = labels(here[1], 0)
    with pytest.raises(HarnessError, match="Two trainings have the same predictions"):
        predicted.pack("a", "A", "guest", here[1], [same, same])


def maps(folder: Path, measured, change=lambda one: one) -> Path:
    """A folder of label maps of the test samples."""
    values = np.array([0, *measured.protocol.label_values], np.uint8)
    folder.mkdir()
    for sample, one in zip(measured.samples, labels(measured, 0), strict=True):
        Image.fromarray(change(values[one])).save(folder / f"{sample}_pred.png")
    return folder


def submitted(*words: str) -> str:
    try:
        done = CliRunner().invoke(cli, ["submit", *words], prog_name="harness", catch_exceptions=False)
    except HarnessError as error:
        return str(error)
    return done.output


def test_a_folder_of_label_maps_is_the_row_of_the_file_that_pack_makes_of_it(here, tmp_path):
    folder, measured = here
    place = maps(tmp_path / "mine", measured)
    common = ["--protocol", str(folder / "tiny.toml"), "--cache", str(folder / "cache")]
    said = submitted(
        "--predictions", str(place), *common, "--runs", str(tmp_path / "runs"), "--title", "Ours"
    )
    assert "Added 1 records of 'guest.mine'" in said
    (trial,) = Store(tmp_path / "runs").ids()
    file = read(tmp_path, predicted.pack("mine", "Ours", "guest", measured, [labels(measured, 0)]))
    manifest, report = predictions.verify(file, measured)
    submit(
        manifest, report, measured, Paths(tmp_path / "other", None, folder / "cache"), predictions_only=True
    )
    other = Store(tmp_path / "other")
    assert other.ids() == [trial]
    one, two = (s.scores(trial) for s in (Store(tmp_path / "runs"), other))
    assert one.equals(two)


FOLDERS = {
    "without saying so": ((), "add --predictions if it holds"),
    "of no protocol": (("--predictions",), "does not say of which protocol"),
    "a name of no method": (("--predictions", "--name", "a b", "PROTOCOL"), "is no name for a method"),
    "upside down": (("--predictions", "--name", "flipped", "PROTOCOL"), "flipped along the first axis"),
}


@pytest.mark.parametrize("what", FOLDERS)
def test_a_folder_that_cannot_be_a_row_is_one_sentence(what, here, tmp_path):
    folder, measured = here
    place = maps(tmp_path / "mine", measured, np.flipud if what == "upside down" else lambda one: one)
    common = ["--protocol", str(folder / "tiny.toml"), "--cache", str(folder / "cache")]
    words = [part for word in FOLDERS[what][0] for part in (common if word == "PROTOCOL" else [word])]
    said = submitted(str(place), *words, "--runs", str(tmp_path / "runs"))
    assert FOLDERS[what][1] in said
    assert "\n" not in said.strip()
    assert not (tmp_path / "runs").exists()


def test_what_is_said_of_a_folder_is_refused_beside_a_file(here, tmp_path):
    (tmp_path / "given.zip").write_bytes(packed(here[1]))
    said = submitted(str(tmp_path / "given.zip"), "--predictions", "--name", "other")
    assert "--name: is of a folder of label maps" in said


def test_nifti_is_no_picture_of_a_protocols_grid(here, tmp_path):
    from harness.predictions import protocols
    from harness.predictions.make import Given

    measured = here[1]
    for sample, one in zip(measured.samples, labels(measured, 0), strict=True):
        nibabel.save(nibabel.Nifti1Image(one[..., None], np.eye(4)), tmp_path / f"{sample}.nii.gz")
    with pytest.raises(HarnessError, match="has rows first"):
        protocols.predicted(str(tmp_path), Given((), ()), measured.protocol, measured.cohort)
