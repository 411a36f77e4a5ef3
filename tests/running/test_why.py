"""Why a trial is to run: one sentence that names what differs from the record that comes nearest."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from tiny import CPU, parse, prepare, trial_of

from harness import cohorts, identity
from harness.running import trial
from harness.running.board import write_protocol
from harness.running.prepare import prepare as prepare_run
from harness.running.trial import Paths
from harness.running.why import older, reasons

METHOD = """from harness import Card, Method, segmentation_loss


class Mine(Method):
    card = Card(title="Mine")

    def __init__(self, task, scale: float = 1.0):
        super().__init__(task)
        self.scale = scale

    def loss(self, batch, output):
        return self.scale * segmentation_loss(output.logits, batch.masks, self.task.dice_weight)
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Where the method has run under seed 0."""
    folder = tmp_path_factory.mktemp("why")
    (folder / "mine.py").write_text(METHOD)
    found = Paths(folder / "runs", None, folder / "cache")
    prepared = prepare([str(folder / "mine.py")], found, seeds=(0,), epochs=1, attributes={"race": {}})
    write_protocol(prepared, "harness run")
    for one in prepared.plan.trials.values():
        assert trial.run(one, found, CPU) == "done"
    return found


@pytest.fixture
def mine(tmp_path):
    (tmp_path / "mine.py").write_text(METHOD)
    return tmp_path / "mine.py"


@pytest.fixture
def paths(whole, tmp_path):
    """A copy of that run, to be changed."""
    return replace(whole, runs=shutil.copytree(whole.runs, tmp_path / "runs"))


def why(paths, mine, **changes) -> str:
    table = {"seeds": (0,), "epochs": 1, "attributes": {"race": {}}} | changes
    prepared = prepare_run(parse(**table), [str(mine)], paths, "tiny.toml")
    told = reasons(prepared.store, prepared.plan, prepared.basis)
    return told.get(trial_of(prepared, "mine").id, "")


def test_what_is_done_needs_no_reason(paths, mine):
    assert why(paths, mine) == ""


def test_a_changed_definition_is_named(paths, mine):
    mine.write_text(METHOD.replace("return self.scale *", "return 2 * self.scale *"))
    assert why(paths, mine) == "mine.py: Mine.loss changed"


def test_a_docstring_is_no_reason(paths, mine):
    first = "class Mine(Method):\n"
    mine.write_text(METHOD.replace(first, f'{first}    """What it does."""\n\n'))
    assert why(paths, mine) == ""


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seeds": (3,)}, "seed 0 -> 3"),
        ({"learning_rate": 0.5}, "recipe.learning_rate 0.001 -> 0.5"),
        ({"methods": {"mine": {"scale": 2.0}}}, "scale 1.0 -> 2.0"),
        ({"attributes": {"gender": {}}}, "attribute race -> gender"),
    ],
)
def test_a_value_is_told_before_and_after(paths, mine, changes, said):
    assert said in why(paths, mine, **changes)


def test_masks_that_differ_are_counted(paths, mine, monkeypatch):
    real = cohorts.load

    def mended(*args):
        cohort = real(*args)
        masks = np.array(cohort.masks)
        masks[cohort.rows("train")[:3]] = 0
        return replace(cohort, masks=masks)

    monkeypatch.setattr(cohorts, "load", mended)
    trained = len(real(parse(), None, paths.cache).rows("train"))
    assert why(paths, mine) == f"cohort: 3 of {trained} train masks differ"


def test_a_library_is_told_by_its_versions(paths, mine, monkeypatch):
    now = identity.versions(["torch"])["torch"]
    real = identity.libraries
    monkeypatch.setattr(identity, "libraries", lambda files: real(files) | {"torch": "99.0"})
    assert why(paths, mine) == f"torch {now} -> 99.0"


def test_code_of_the_harness_is_told_by_file_and_function(paths, mine, monkeypatch):
    real = identity.code
    changed = {"harness/training/fit.py": "0" * 16}
    monkeypatch.setattr(identity, "code", lambda files: real(files) | changed)
    before = prepare([str(mine)], paths, seeds=(0,)).store
    (name,) = before.ids()
    digest = before.record(name).identity["code"]["harness/training/fit.py"]
    kept = before.root / "parts" / digest
    outline = json.loads(kept.read_bytes())
    kept.write_text(json.dumps(outline | {"_epoch": "of before"}))
    assert why(paths, mine) == "harness/training/fit.py: _epoch changed"


def test_a_method_without_records_is_said_to_have_none(paths, mine):
    prepared = prepare(["erm"], paths, seeds=(0,))
    assert set(reasons(prepared.store, prepared.plan, prepared.basis).values()) == {
        "no record of erm is here"
    }


def test_a_record_of_an_older_scheme_is_kept_and_named(paths, mine):
    store = prepare([str(mine)], paths, seeds=(0,)).store
    (name,) = store.ids()
    file = store.path(name) / "record.json"
    record = json.loads(file.read_text())
    record["identity"] = {"cohort": "0" * 64, "method": record["identity"]["method"], "seed": 0}
    record["id"] = "1" * 20
    store.path(name).rename(store.path(record["id"]))
    (store.path(record["id"]) / "record.json").write_text(json.dumps(record))
    assert [one.id for one in older([store.record(one) for one in store.ids()])] == ["1" * 20]
    assert why(paths, mine).startswith("its record 11111111 is of an older identity scheme")
