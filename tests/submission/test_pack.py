"""Packing: the same records give the same file; what is not whole is not packed."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest

from harness import identity
from harness.errors import HarnessError
from harness.plugin import discovery
from harness.running import trial
from harness.running.trial import Paths
from harness.store import Store, names
from harness.submission import pack


def packed(world, runs):
    prepared = replace(world.prepared, paths=Paths(runs, None, world.paths.cache))
    return pack.pack(prepared, world.plugin, "harness run my.py --protocol tiny.toml")


@pytest.fixture
def runs(world, tmp_path):
    shutil.copytree(world.paths.runs / "records", tmp_path / "runs" / "records")
    return tmp_path / "runs"


def test_the_same_records_give_the_same_bytes(world, runs):
    assert packed(world, runs) == world.file.read_bytes()


def test_it_holds_source_helpers_protocol_and_every_file_of_every_record(world):
    submission = world.submission
    assert set(submission.source) == {"source/my_method.py", "source/my_helper.py"}
    assert submission.source["source/my_method.py"] == world.plugin.file.read_bytes()
    assert submission.records.keys() == world.prepared.plan.trials.keys()
    assert {tuple(sorted(files)) for files in submission.records.values()} == {
        tuple(sorted(names.RECORD_FILES))
    }
    assert json.loads(submission.members["protocol.json"])["name"] == "tiny"


def test_a_method_of_a_package_keeps_the_package_around_it():
    file = discovery.find("febs-released").file
    packed = pack.source_members(file)
    assert "source/methods/febs_released.py" in packed
    assert identity.digest_texts(packed) == identity.method_digest(file)


def test_missing_trials_are_named_with_the_command_that_runs_them(world, runs):
    shutil.rmtree(runs / "records" / world.prepared.plan.rows[1].trial)
    with pytest.raises(
        HarnessError, match=r"1 of 2 trials have no record.*race seed 1; run `harness run my.py"
    ):
        packed(world, runs)


def test_a_failed_trial_is_not_packed(world, runs):
    one = world.prepared.plan.trials[world.prepared.plan.rows[0].trial]
    shutil.rmtree(runs / "records" / one.id)
    trial.commit_failed(Store(runs), one, "it broke", "")
    with pytest.raises(HarnessError, match=r"1 of 2 trials failed.*--retry-failed"):
        packed(world, runs)


def test_a_record_that_changed_since_is_not_packed(world, runs):
    (runs / "records" / world.prepared.plan.rows[0].trial / "log.txt").write_text("rosier")
    with pytest.raises(HarnessError, match="its files changed since the trial ran"):
        packed(world, runs)


def test_who_received_a_record_does_not_pack_it(world, runs):
    path = runs / "records" / world.prepared.plan.rows[0].trial / "record.json"
    path.write_text(path.read_text().replace('"obtained": "run"', '"obtained": "verified"'))
    with pytest.raises(HarnessError, match="came with a submission"):
        packed(world, runs)
