"""Small trainings that one card does, or two together: what a process beside the tests' own runs too."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from unittest import mock

import numpy as np
import pandas as pd
import torch
from asking import asked_by
from tiny import CPU

from harness import protocol
from harness.cohorts.cohort import Cohort
from harness.errors import HarnessError
from harness.plugin import discovery
from harness.protocol import BackboneSpec
from harness.running import cards
from harness.training import fit, room, side, train
from harness.training.checkpoint import ReadOnly
from harness.training.origins import pack
from harness.training.passes import Through
from harness.training.side import Assignment, LossSide
from harness.training.together import Cards
from harness.training.train import Inputs, Setting, build_backbone

SAMPLES, BATCH, SIDE, TEST = 22, 7, 32, 3
SAM = BackboneSpec(name="sam", variant="tiny", adapt="full")

LEARNING_RATE = 1e-3


@dataclass(frozen=True)
class Case:
    """A training.

    stops: after its first epoch, and is taken up again; holds: a card and how many samples of a batch it
    holds, None where all hold all; values: the method's.
    """

    method: str
    values: Mapping[str, Any] = field(default_factory=dict)
    epochs: int = 1
    finetunes: bool = False
    most: int | None = 0
    stops: bool = False
    holds: tuple[int, int] | None = None
    optimizer: Literal["adamw", "sgd"] = "adamw"


CASES = {
    "erm": Case("erm"),
    "erm again": Case("erm"),
    "groupdro": Case("groupdro"),
    "febs": Case("febs", finetunes=True),
    "lisa": Case("lisa", {"chance": 1.0}),
    "sharpness-aware": Case("sharpness-aware"),
    "adv, resumed": Case("adv", epochs=2, stops=True),
}
REFUSED = {
    "layers of its own": Case("domain-independent"),
    "memory of no sample": Case("erm", most=None, holds=(1, 0)),
}
MORE = {
    "erm by sgd": Case("erm", optimizer="sgd"),
    "adv": Case("adv", epochs=2),
    "distillation": Case("distillation"),
    "swad": Case("swad"),
    "jtt": Case("jtt", epochs=2),
    "erm in slices": Case("erm", most=2),
    "erm in slices that one card needs": Case("erm", most=None, holds=(1, 2)),
}
EVERY = CASES | REFUSED | MORE


def cohort() -> Cohort:
    """Images in which what is segmented is brighter, so that there is something to learn."""
    rng = np.random.default_rng(0)
    count = SAMPLES + TEST
    masks = rng.integers(0, 3, (count, SIDE // 8, SIDE // 8), np.uint8).repeat(8, 1).repeat(8, 2)
    noise = rng.integers(0, 100, (count, SIDE, SIDE, 3), np.uint8)
    split = ["train"] * SAMPLES + ["test"] * TEST
    names = np.arange(count).astype(str)
    people = pd.DataFrame({"sample": names, "patient": names, "split": split})
    groups = ("a", "b", "c")
    people["race"] = np.array(groups)[rng.integers(0, 3, count)]
    return Cohort("", "", "", False, masks[..., None] * 70 + noise, masks, people, {"race": groups}, "")


def origin(folder: Path) -> Path:
    """Write the weights that a method starts from or is taught by: those of another seed."""
    file = folder / "origin.safetensors"
    file.write_bytes(pack(fit.trained_state(build_backbone(SAM, 3, SIDE, 5, None))))
    return file


def trained(name: str, folder: Path, group: Cards) -> Any:
    """Train as one of the cards; return what comes of it on the first, or what was refused, on all."""
    case, file = EVERY[name], folder / f"{group.count} {name}.pt"
    try:
        with _little_memory(case, getattr(group, "index", 0)), _stopped(case) as stopped:
            if stopped:
                with contextlib.suppress(KeyboardInterrupt):
                    _go(case, file, group)
                stopped.stop()
            return _go(case, file, group)
    except HarnessError as error:
        return error


def all_of(names: Iterable[str], folder: Path, group: Cards) -> dict[str, Any]:
    """Train some cases as one of the cards."""
    return {name: trained(name, folder, group) for name in names}


def ends(how: str, group: Cards) -> None:
    """Be a card that ends after its first exchange with the other, which may be waiting then."""
    numbers(group)
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "refuses":
        raise HarnessError("mine.toml: there is no such cohort.")
    if how == "raises":
        raise IndexError("index 9 is out of bounds")
    if how == "waits":
        numbers(group)


def waits_for_one_that_ended() -> None:
    """Be the first card, deaf as one that waits for its GPU is, while the other is killed."""
    cards.NOTICE_SECONDS = 0.0
    with cards.joined(2, CPU, "mine seed 0", functools.partial(ends, "killed")) as two:
        numbers(two)
        threading.Event().wait()


def numbers(group: Cards) -> list[int]:
    """Exchange the numbers of the cards' processes."""
    (found,) = group.gathered(2, torch.tensor([[os.getpid()]]))
    return [int(one) for one in found]


def _go(case: Case, file: Path, group: Cards) -> Any:
    plugin = discovery.find(case.method)
    recipe = protocol.Recipe(
        epochs=case.epochs,
        batch_size=BATCH,
        learning_rate=LEARNING_RATE,
        optimizer=case.optimizer,
        augmentation="flip",
        last_batch="keep",
        finetune=protocol.FinetuneSpec(epochs=case.epochs, learning_rate=LEARNING_RATE),
    )
    setting = Setting(
        SAM,
        recipe,
        3,
        SIDE,
        case.method,
        dict(case.values),
        "race",
        0,
        case.finetunes,
        most=case.most,
        asks=asked_by(plugin, **case.values),
    )
    inputs = Inputs(cohort(), [], None, file.with_name("origin.safetensors"))
    if getattr(group, "index", 0):
        return train.follow(setting, _nobody, inputs, CPU, ReadOnly(file), group)
    make = functools.partial(side.build, discovery.load(plugin))
    return train.train_and_predict(setting, make, inputs, CPU, file, lambda *_: None, None, group)


def _nobody(told: Assignment) -> LossSide:
    raise AssertionError("the first card has the method")


def _little_memory(case: Case, card: int) -> AbstractContextManager[Any]:
    """Let a card hold the graph of few samples, and every device be tried."""
    if case.holds is None:
        return contextlib.nullcontext()
    run_of, (whose, holds) = Through._run, case.holds

    def held(*given: Any) -> Any:
        run = run_of(*given)

        def watched(rows: np.ndarray) -> Any:
            if torch.is_grad_enabled() and card == whose and len(rows) > holds:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
            return run(rows)

        return watched

    patched = contextlib.ExitStack()
    patched.enter_context(mock.patch.object(Through, "_run", held))
    patched.enter_context(mock.patch.object(room, "is_tried", return_value=True))
    return patched


@contextmanager
def _stopped(case: Case) -> Iterator[Any]:
    """Let a training end after its first epoch, which it has kept; None for one that is not to."""
    if not case.stops:
        yield None
        return
    keep = fit._keep

    def last(*given: Any) -> None:
        keep(*given)
        raise KeyboardInterrupt

    patch = mock.patch.object(fit, "_keep", last)
    with mock.patch.object(fit, "CHECKPOINT_SECONDS", 0.0):
        patch.start()
        try:
            yield patch
        finally:
            mock.patch.stopall()
