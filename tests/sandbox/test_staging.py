"""What a container sees of the cohort: what training reads, and nothing to draw the rest with."""

from __future__ import annotations

import json

import pandas as pd
from tiny import CPU, prepare, trial_of

from harness.running import trial
from harness.running.trial import Paths
from harness.sandbox import staging


def test_neither_the_cohorts_sources_nor_its_options_nor_the_test_rows_go_in(tmp_path):
    paths = Paths(tmp_path / "runs", None, tmp_path / "cache")
    one = trial_of(prepare(["erm"], paths), "erm")
    inputs = trial.gather(one, paths, CPU)
    mounts = staging.stage_trial(one, inputs, paths.cache, "cpu", tmp_path / "job")
    seen = {path.relative_to(mounts["harness"]).as_posix() for path in mounts["harness"].rglob("*.py")}
    assert {name for name in seen if name.startswith("cohorts/")} == {"cohorts/cohort.py"}
    assert {"training/train.py", "sandbox/inside.py", "backbones/unet.py"} < seen
    told = json.loads(mounts["job.json"].read_text())
    assert {"cohort", "split", "protocol", "title"}.isdisjoint(told.keys() | told["setting"].keys())
    assert told["setting"]["size"] == 64
    subjects = pd.read_parquet(mounts["cohort/subjects.parquet"])
    test = subjects[subjects["split"] == "test"].drop(columns="split").replace("", None)
    assert len(test) == len(inputs.cohort.rows("test"))
    assert test.isna().all(axis=None)


def test_a_container_sees_files_of_its_job_alone_where_the_disk_allows(tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "images.npy").write_bytes(b"pixels")
    job = tmp_path / "job"
    (job / "plugin").mkdir(parents=True)
    given = {"cohort/images.npy": tmp_path / "home" / "images.npy", "plugin": job / "plugin"}
    found = staging.nearby(given, job)
    assert all(path.is_relative_to(job) for path in found.values())
    assert found["cohort/images.npy"].read_bytes() == b"pixels"
    assert found["plugin"] == job / "plugin"
