"""The FairSeg study on made-up files of both generations: every method and attribute, at a small size."""

from __future__ import annotations

import functools
import itertools
from pathlib import Path

import numpy as np
import pytest
from cohort_files import make_protocol, write_fairseg
from tiny import CPU

from harness import cohorts, identity, protocol
from harness.running import trial
from harness.running.paths import Paths
from harness.running.prepare import Prepared, prepare

SAMPLES, SIZE = 40, 32

GROUPS: dict[str, list[str | None]] = {
    "race": ["Asian", "Black", "White"],
    "gender": ["female", "male"],
    "ethnicity": ["non-Hispanic", "Hispanic", None],
    "language": ["English", "Spanish", "other", None],
    "maritalstatus": ["married or partnered", "single", "divorced", "widowed", "legally separated", None],
    "age": ["41.5", "73.5"],
}


def files(folder: Path, generation: str) -> Path:
    """Write so few eyes that every group has to be dealt to both splits by turns."""
    made = make_protocol(size=SIZE, samples=SAMPLES, split={"test": 0.4})
    cohort = cohorts.load(made, None, folder / "cache")
    turns = cohort.subjects.groupby("split").cumcount()
    people = [{name: values[turn % len(values)] for name, values in GROUPS.items()} for turn in turns]
    return write_fairseg(cohort, people, folder / generation, generation)


def small(name: str) -> protocol.Protocol:
    """A shipped protocol as it is, but for the size of its images, its network and its trainings."""
    chosen = protocol.load(name)
    cohort = chosen.cohort.model_copy(update={"size": SIZE})
    finetune = chosen.recipe.finetune.model_copy(update={"epochs": 1, "batch_size": 16})
    recipe = chosen.recipe.model_copy(
        update={"epochs": 2, "batch_size": 8, "warmup_steps": 4, "finetune": finetune, "learning_rate": 5e-4}
    )
    backbone = chosen.backbone.model_copy(update={"variant": "tiny"})
    changes = {"cohort": cohort, "recipe": recipe, "backbone": backbone, "seeds": (0,)}
    return chosen.model_copy(update=changes)


def prepared(folder: Path, generation: str, methods: list[str]) -> Prepared:
    paths = Paths(folder / "runs", files(folder, generation), folder / "cache")
    return prepare(small("fairseg"), methods, paths, "fairseg")


@pytest.mark.slow
def test_every_method_and_attribute_of_the_study(tmp_path: Path, monkeypatch):
    """All is planned; of the cells every second one is run, each method and each attribute among them.

    Files as published are trained on; those that the scripts read are the same trials, by their ids.
    """
    # Which files a file imports is worked out three times a trial, and is most of so small a one's time.
    monkeypatch.setattr(identity, "local_files", functools.cache(identity.local_files))
    study = prepared(tmp_path, "published", [])
    assert not study.broken
    methods, attributes = list({row.method: None for row in study.plan.rows}), list(GROUPS)
    assert {"erm", "febs", "febs-released", "groupdro", "adv"} <= set(methods)
    cells = {(row.method, row.attribute) for row in study.plan.rows}
    assert cells == set(itertools.product(methods, attributes))
    rows = [
        row
        for row in study.plan.rows
        if (methods.index(row.method) + attributes.index(row.attribute)) % 2 == 0
    ]
    wanted = {row.trial for row in rows}
    wanted |= {study.plan.trials[one].starts_from for one in wanted}
    todo = [one for one in study.plan.trials.values() if one.id in wanted]
    print(f"\n{len(todo)} of {len(study.plan.trials)} trials of {len(methods)} methods")
    assert [trial.run(one, study.paths, CPU) for one in todo] == ["done"] * len(todo)
    for row in rows:
        scores = study.store.scores(row.trial)
        assert set(scores.structure) == {"cup", "rim", "disc"}
        assert np.isfinite(scores.dice).all()
    again = prepared(tmp_path, "scripts", ["erm", "febs", "adv"])
    assert all(one in study.plan.trials for one in again.plan.trials)
