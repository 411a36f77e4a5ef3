"""Housekeeping: what may go and what it costs, what mends what is ill, an archive that stands by itself."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
import zipfile
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from commands_at_random import learned
from tiny import CPU, prepare

from harness.cli import cli
from harness.running import doctor, trial
from harness.running.board import write_protocol
from harness.running.paths import Paths
from harness.store import Store, files, names

SMALL = {"cohort": {"source": "synthetic", "size": 16, "samples": 24, "shift": 1.0, "seed": 0}, "seeds": (0,)}


@pytest.fixture
def prepared(tmp_path, monkeypatch):
    # What other tests' processes left where temporary folders are is none of this one's.
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    found = prepare(["erm", "groupdro"], Paths(tmp_path / "runs", None, tmp_path / "cache"), **SMALL)
    write_protocol(found, "harness run erm groupdro")
    for one in found.plan.trials.values():
        trial.run(one, found.paths, CPU, learned)
    return found


def said(*arguments: str, exit_code: int = 0) -> str:
    done = CliRunner().invoke(cli, list(arguments))
    assert done.exit_code == exit_code, done.output
    return done.output


def places(prepared) -> list[str]:
    return ["--runs", str(prepared.paths.runs), "--cache", str(prepared.paths.cache)]


def test_gc_removes_what_is_of_no_use_and_the_rest_only_by_name(prepared):
    store, first = prepared.store, next(iter(prepared.plan.trials))
    for name in (first, "0" * 20):
        (store.work(name) / names.CHECKPOINT).write_bytes(b"x" * 2000)
    (prepared.paths.cache / "embeddings" / "abc").mkdir(parents=True)
    (prepared.paths.cache / "embeddings" / "abc" / "map0.npy").write_bytes(b"x" * 3000)
    held = store.work("1" * 20) / names.CHECKPOINT
    held.write_bytes(b"x")
    with store.claimed("1" * 20):
        rows = json.loads(said("gc", "--json", *places(prepared)))
        told = {(one["kind"], one["path"].rsplit("/", 1)[1]): one["goes"] for one in rows}
        assert told["checkpoint", first] is True
        assert told["checkpoint", "0" * 20] is False
        assert told["embeddings", "abc"] is False
        assert ("checkpoint", "1" * 20) not in told
        dry = said("gc", "--dry-run", *places(prepared))
        assert "2.0 kB would go" in dry
        assert "again: one pass of the frozen encoder" in dry
        assert (store.root / "work" / first).exists()
        assert "Removed 2.0 kB" in said("gc", *places(prepared))
        assert not (store.root / "work" / first).exists()
        assert (store.root / "work" / ("0" * 20)).exists()
        said("gc", "--kind", "embeddings", "--kind", "checkpoint", *places(prepared))
    assert not (prepared.paths.cache / "embeddings" / "abc").exists()
    assert [path.name for path in (store.root / "work").iterdir()] == ["1" * 20]
    assert set(store.ids()) == set(prepared.plan.trials)


def test_gc_names_records_on_no_board_and_what_training_them_again_takes(prepared):
    store, one = prepared.store, next(iter(prepared.plan.trials))
    said("withdraw", "groupdro", "--board", "tiny", "--runs", str(store.root))
    rows = json.loads(said("gc", "--json", *places(prepared)))
    stray = [row for row in rows if row["kind"] == "record"]
    assert len(stray) == 2
    assert all("s of training, of groupdro under tiny" in row["again"] for row in stray)
    said("gc", "--kind", "record", *places(prepared))
    assert store.ids() == [one]


def test_gc_removes_what_another_machine_left_a_day_ago(prepared):
    left = prepared.store.root / "records" / f".x.{'0' * 8}.{'1' * 8}{files.PART}"
    left.mkdir()
    assert "left-over" not in said("gc", "--dry-run", *places(prepared))
    os.utime(left, (time.time() - 2 * 86_400,) * 2)
    assert "left-over" in said("gc", *places(prepared))
    assert not left.exists()


def test_gc_puts_back_a_board_that_a_dead_machine_held_back_and_keeps_its_records(prepared):
    store = prepared.store
    held = store.root / "protocols" / f".tiny.{'0' * 8}.{'1' * 8}{files.PART}"
    (held / "old").mkdir(parents=True)
    (store.root / "protocols" / "tiny").rename(held / "old" / "tiny")
    assert store.protocols() == []
    os.utime(held, (time.time() - 2 * 86_400,) * 2)
    said("gc", "--kind", "record", *places(prepared))
    assert store.protocols() == ["tiny"]
    assert set(store.ids()) == set(prepared.plan.trials)
    assert not held.exists()


def test_what_a_look_that_died_left_is_gone_with_the_next_gc_and_troubles_no_doctor(tmp_path, monkeypatch):
    paths = Paths(tmp_path / "runs", None, tmp_path / "cache")
    for folder in (paths.runs, paths.cache):
        folder.mkdir()
    with monkeypatch.context() as patched:
        patched.setattr(files, "remove", lambda path: None)
        list(doctor.examine(paths))
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(left) == 3
    assert not [one for one in doctor.examine(paths) if one.what.endswith("files") and one.verdict == "ill"]
    for path in left:
        os.utime(path, (time.time() - 120,) * 2)
    said("gc", "--runs", str(paths.runs), "--cache", str(paths.cache))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_the_doctor_finds_a_machine_that_is_well_and_says_what_mends_one_that_is_not(tmp_path, monkeypatch):
    paths = Paths(tmp_path / "runs", None, tmp_path / "cache")
    found = {one.what: one for one in doctor.examine(paths)}
    assert found["torch"].verdict == found["runs: files"].verdict == found["clock"].verdict == "well"
    assert found["weights sam-vit_h"].verdict == "note"
    assert "harness weights fetch sam-vit_h" in found["weights sam-vit_h"].fix
    assert list(tmp_path.iterdir()) == []

    def refused(path, data):
        raise PermissionError(30, "Read-only file system", str(path))

    monkeypatch.setattr(files, "mark", refused)
    ill = {one.what: one for one in doctor.examine(paths) if one.verdict == "ill"}
    assert "Read-only file system" in ill["runs: files"].found
    assert "another folder with --runs" in ill["runs: files"].fix


def test_a_full_disk_and_a_clock_that_is_off_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "_ROOM", 1e18)
    monkeypatch.setattr(doctor.claims, "now", lambda folder: 0.0)
    found = {one.what: one for one in doctor.examine(Paths(tmp_path, None, tmp_path))}
    assert "make room" in found["runs: disk"].fix
    assert "set this machine's clock" in found["clock"].fix


def test_an_exported_board_is_checked_by_its_manifest_and_is_a_store(prepared, tmp_path):
    out = tmp_path / "board.zip"
    words = ["export", "tiny", "--zenodo", "--author", "Doe, Jo", "--out", str(out), *places(prepared)[:2]]
    assert f"{len(prepared.plan.trials)} records" in said(*words)
    first = out.read_bytes()
    said(*words)
    assert out.read_bytes() == first
    with zipfile.ZipFile(out) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
        archive.extractall(tmp_path / "unpacked")
    manifest = json.loads(content["manifest.json"])
    sums = {name: one["sha256"] for name, one in manifest["files"].items()}
    beside = {"manifest.json", "CITATION.cff", "LICENSE.txt", "README.md"}
    assert {name: hashlib.sha256(content[name]).hexdigest() for name in content.keys() - beside} == sums
    citation = yaml.safe_load(content["CITATION.cff"])
    assert citation["authors"] == [{"family-names": "Doe", "given-names": "Jo"}]
    assert (citation["cff-version"], citation["license"], citation["type"]) == (
        "1.2.0",
        "CC-BY-4.0",
        "dataset",
    )
    unpacked = Store(tmp_path / "unpacked")
    assert unpacked.ids() == prepared.store.ids()
    assert unpacked.protocol("tiny").plan == prepared.store.protocol("tiny").plan
    assert not any(Path(name).name == names.CASES for name in content)


def test_an_export_without_all_records_says_so(prepared, tmp_path):
    files.remove(prepared.store.path(next(iter(prepared.plan.trials))))
    out = str(tmp_path / "x.zip")
    words = ["export", "tiny", "--zenodo", "--author", "Doe, Jo", "--out", out, *places(prepared)[:2]]
    assert "1 trials of the board have no record" in said(*words, exit_code=1)


@pytest.mark.parametrize(
    ("option", "value", "answer"),
    [
        ("--licence", "CC-BY-4", "Did you mean 'CC-BY-4.0'?"),
        ("--author", "Jo Doe", "the family name, a comma"),
    ],
)
def test_what_no_citation_can_have_is_refused(prepared, option, value, answer):
    words = ["export", "tiny", "--zenodo", "--author", "Doe, Jo", option, value, *places(prepared)[:2]]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 1
    assert answer in str(done.exception)
