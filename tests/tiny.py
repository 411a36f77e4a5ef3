"""A protocol small enough to train in a second: 80 images of 64 pixels and the smallest SAM, from scratch."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from shared import made_once

from harness import protocol
from harness.running.executors.local import LocalExecutor
from harness.running.plan import Trial
from harness.running.prepare import Prepared
from harness.running.prepare import prepare as prepare_run
from harness.running.schedule import execute
from harness.running.trial import Paths

CPU = torch.device("cpu")

PROTOCOL: dict[str, Any] = {
    "name": "tiny",
    "title": "Tiny",
    "ranked_by": "cup",
    "seeds": [0, 1],
    "cohort": {"source": "synthetic", "size": 64, "samples": 80, "shift": 1.0, "seed": 0},
    "split": {"test": 0.4},
    "structures": {"cup": [2], "rim": [1], "disc": [1, 2]},
    "attributes": {"race": {}, "gender": {}},
    "backbone": {"name": "sam", "variant": "tiny", "adapt": "full"},
    "recipe": {
        "epochs": 2,
        "batch_size": 8,
        "learning_rate": 1e-3,
        "augmentation": "flip",
        "finetune": {"epochs": 1, "learning_rate": 1e-4},
    },
}

UNET = {"name": "unet", "variant": "tu-mobilenetv3_small_050", "adapt": "full"}
"""Twice the time: where the state that batch normalisation carries along matters."""


def parse(**changes: Any) -> protocol.Protocol:
    """The tiny protocol with changes to its top level or its recipe."""
    table = copy.deepcopy(PROTOCOL)
    for key, value in changes.items():
        (table if key in protocol.Protocol.model_fields else table["recipe"])[key] = value
    return protocol.parse(table, "tiny.toml")


def prepare(methods: Sequence[str], paths: Paths, **changes: Any) -> Prepared:
    return prepare_run(parse(**changes), methods, paths, "tiny.toml")


class Silent:
    """Watches a run and says nothing."""

    def begin(self, *_: object) -> None: ...

    running = finished = begin


def shared_run(factory: pytest.TempPathFactory) -> Paths:
    """Return where every trial of ERM, GroupDRO, ADV and FEBS with one seed was run, three at a time."""

    def run(paths: Paths) -> None:
        prepared = prepare(["erm", "groupdro", "adv", "febs"], paths, seeds=(0,))
        with LocalExecutor([{}, {}, {}], preload=["harness.running.trial"]) as executor:
            outcome = execute(prepared, executor, Silent(), 3, CPU)
        assert (outcome.already, outcome.count("done")) == (0, len(prepared.plan.trials))

    def paths(folder: Path) -> Paths:
        return Paths(folder / "runs", None, folder / "cache")

    return paths(made_once(factory, "tiny-run", lambda folder: run(paths(folder))))


def trial_of(prepared: Prepared, method: str) -> Trial:
    """The first trial of a method."""
    return next(t for t in prepared.plan.trials.values() if t.plugin.name == method)
