"""A model of its own, trained whole where its container would: what it sees there, the same bits as here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tiny import CPU, prepare, trial_of

from harness.running import trial
from harness.running.trial import Fitted, Paths
from harness.sandbox import results, staging
from harness.store import formats

HALF = {"source": "synthetic", "size": 64, "samples": 24, "shift": 1.0, "seed": 0}

INSIDE = """
import os, sys
from pathlib import Path
from harness.sandbox import inside
inside.ROOT, inside.WORK = Path(sys.argv[1]), Path(sys.argv[2])
sys.argv[1:] = ["run"]
status = inside.main()
os._exit(status)
"""

SEES = """
from harness import Card, Method, segmentation_loss

class Mine(Method):
    card = Card(title="Mine")
    trains_own_model = True

    def adapt(self, backbone, groups):
        import pandas as pd, os
        table = pd.read_parquet(os.environ["JOB"] + "/cohort/subjects.parquet")
        test = table[table["split"] == "test"].drop(columns="split").replace("", None)
        raise RuntimeError(f"of {len(test)} test rows {int(test.notna().sum().sum())} cells are told")

    def loss(self, batch, output):
        return segmentation_loss(output.logits, batch.masks, self.task.dice_weight)
"""


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return Paths(folder / "runs", None, folder / "cache")


def staged(one, inputs, paths: Paths, folder: Path) -> Path:
    """Lay a job out as the container finds it; return its root."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(staging, "INSIDE", str(folder / "root"))
        mounts = staging.stage_trial(one, inputs, paths.cache, "cpu", folder / "job")
    for name, path in mounts.items():
        target = folder / "root" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(path.resolve(), target_is_directory=path.is_dir())
    return folder / "root"


def in_a_process(root: Path) -> bytes:
    """Return what the process writes that a container would run, which has the staged harness alone."""
    work = root.parent / "work"
    env = {"PYTHONPATH": str(root), "PATH": os.environ["PATH"], "JOB": str(root), "OMP_NUM_THREADS": "1"}
    env["PYTHONPATH"] += f":{root / 'plugin'}"
    command = [sys.executable, "-c", INSIDE, str(root), str(work)]
    return subprocess.run(command, env=env, cwd=root, stdout=subprocess.PIPE, check=False).stdout


def fitted(one, inputs, paths: Paths, folder: Path) -> Fitted:
    (folder / "job").mkdir(parents=True)
    return results.read(in_a_process(staged(one, inputs, paths, folder)), one, inputs.cohort, {})


@pytest.mark.slow
def test_a_network_of_its_own_layers_has_the_same_bits_in_its_container(paths, tmp_path):
    one = trial_of(prepare(["domain-independent"], paths, cohort=HALF, epochs=1), "domain-independent")
    inputs = trial.gather(one, paths, CPU)
    there = fitted(one, inputs, paths, tmp_path)
    (tmp_path / "here").mkdir()
    here = trial.train_here(one, inputs, CPU, tmp_path / "here", lambda *_: None)
    np.testing.assert_array_equal(there.labels, here.labels)
    assert formats.curve_bytes(there.curve) == formats.curve_bytes(here.curve)
    # Its weights are of no network that anybody could start from, so none come out.
    assert there.state == {}
    assert there.cost.trained_parameters == here.cost.trained_parameters > 4_436_576


def test_the_groups_of_test_patients_are_there_for_who_declares_it_and_of_one_attribute(paths, tmp_path):
    prepared = prepare(["domain-independent"], paths, cohort=HALF, epochs=1)
    one = trial_of(prepared, "domain-independent")
    inputs = trial.gather(one, paths, CPU)
    mounts = staging.stage_trial(one, inputs, paths.cache, "cpu", tmp_path / "job")
    told = pd.read_parquet(mounts["cohort/subjects.parquet"])
    test = told[told["split"] == "test"].drop(columns="split").replace("", None)
    real = inputs.cohort.subjects.loc[inputs.cohort.rows("test"), "race"]
    assert list(test["race"]) == list(real)
    assert test.drop(columns="race").isna().all(axis=None)


@pytest.mark.slow
def test_who_does_not_declare_it_finds_no_group_of_a_test_patient_whatever_it_reads(paths, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(SEES)
    one = trial_of(prepare([str(file)], paths, cohort=HALF, epochs=1), "mine")
    inputs = trial.gather(one, paths, CPU)
    (tmp_path / "job").mkdir()
    stream = in_a_process(staged(one, inputs, paths, tmp_path))
    said = results.error_of(stream, results.SMALL_HEADER)
    assert said.endswith(f"of {len(inputs.cohort.rows('test'))} test rows 0 cells are told")
