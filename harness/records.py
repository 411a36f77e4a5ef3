"""The store of records: plain files, written whole or not at all, readable with pandas alone.

    ROOT/records/ID/      one trial: record.json, scores.parquet, predictions.npz, curve.csv, log.txt
    ROOT/protocols/NAME/  one protocol: protocol.json, plan.json, subjects.parquet, sizes.parquet, cases.npz
    ROOT/weights/         trained weights, for the methods that start from them
    ROOT/work/ID/         checkpoints of trials that are not finished

The leaderboard reads the first two and nothing else.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, ValidationError

from harness.errors import HarnessError

SCHEMA_VERSION = 1

SCORES = ("sample", "structure", "dice", "iou", "hd95", "hd95_max", "asd", "nsd", "missed", "vcdr_error")
"""Columns of scores.parquet: one row a test sample and structure. dice, iou, nsd: fractions;
hd95 (both directions pooled), hd95_max (the larger of the directed percentiles), asd: pixels;
missed: True where exactly one of truth and prediction is empty; vcdr_error: absolute error of the
vertical cup-to-disc ratio, on the rows of `disc`, else missing."""

CURVE = ("epoch", "quantity", "attribute", "group", "value")
"""Columns of curve.csv: quantity is "loss" (training) or "validation_dice"; attribute and group
are empty for all samples together."""


_SWAP = 2  # RENAME_EXCHANGE of Linux, RENAME_SWAP of macOS

Model = TypeVar("Model", bound=BaseModel)


class _Json(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MethodInfo(_Json):
    """A method as it ran."""

    name: str
    title: str
    authors: str = ""
    paper: str = ""
    url: str = ""
    licence: str = ""
    hyper_parameters: dict[str, Any] = {}
    defaults: dict[str, Any] = {}
    reads_attribute: bool = True
    starts_from: str | None = None
    sampler: str = "uniform"
    source: str = ""
    """Text of the method's file."""
    source_digest: str = ""
    """SHA-256 over the method's file and the local modules that it imports."""


class Cost(_Json):
    """What a trial took; `fit_seconds` adds up over interruptions.

    Of a sandboxed trial it is the whole container's time, measured outside, and `predict_seconds` is 0.
    """

    fit_seconds: float = 0.0
    predict_seconds: float = 0.0
    score_seconds: float = 0.0
    peak_memory_bytes: int = 0
    device: str = ""
    trained_parameters: int = 0


Obtained = Literal["run", "verified", "reported"]
"""How a record came here, from strongest to weakest: run here; verified from predictions, by recomputing
its scores; self-reported, taken without recomputing anything."""


class Record(_Json):
    """record.json: who ran what, on what, with what outcome."""

    schema_version: int = SCHEMA_VERSION
    id: str
    status: Literal["done", "failed"]
    protocol: str
    method: MethodInfo
    attribute: str | None
    groups: tuple[str, ...]
    seed: int
    control: str = ""
    """Of a control, what is different from the method as it is."""
    obtained: Obtained = "run"
    started_from: str | None = None
    """Id of the trial whose weights this one began with."""
    identity: dict[str, Any]
    """Everything hashed into the id."""
    environment: dict[str, Any] = {}
    provenance: dict[str, Any] = {}
    cost: Cost = Cost()
    finished: str = ""
    """UTC, ISO 8601."""
    error: str = ""
    """One sentence, for a failed trial; the traceback is in log.txt."""
    files: dict[str, str] = {}
    """SHA-256 of every other file of the record."""


class PlanRow(_Json):
    """One cell of the board: this method under this attribute and seed is that trial."""

    method: str
    attribute: str
    seed: int
    trial: str
    control_of: str = ""
    """Of a control, the method that it is a twin of: such a row is shown under it and never ranked."""


class Try(_Json):
    """One set of hyper-parameters that `harness tune` tried."""

    hyper_parameters: dict[str, Any]
    score: float | None = None
    """Mean over attributes and seeds of the ES-Dice on the tuning patients; None where a trial failed."""
    by_attribute: dict[str, float] = {}
    error: str = ""


class Tuned(_Json):
    """How a method's hyper-parameters were chosen: everything tried, the defaults first."""

    budget: int
    """Tries that every method was allowed."""
    seeds: tuple[int, ...]
    patients: int
    """Training patients that were scored instead of test patients."""
    source_digest: str
    tries: tuple[Try, ...]
    chosen: int
    """Position in `tries`."""

    @property
    def values(self) -> dict[str, Any]:
        """The hyper-parameters chosen."""
        return self.tries[self.chosen].hyper_parameters


class BrokenPlugin(_Json):
    """A plugin that could not be imported, and why."""

    name: str
    file: str
    error: str


class ProtocolRecord(_Json):
    """protocol.json and plan.json of ROOT/protocols/NAME."""

    schema_version: int = SCHEMA_VERSION
    name: str
    digest: str
    protocol: dict[str, Any]
    """The whole protocol, as `Protocol.model_dump` gives it."""
    cohort: dict[str, Any]
    """title, licence, citation, digest, publish_images, n_samples, n_patients."""
    groups: dict[str, tuple[str, ...]]
    """Attribute to its groups, in the order of the board."""
    command: str
    """The command that reproduces the board."""
    plan: tuple[PlanRow, ...] = ()
    broken: tuple[BrokenPlugin, ...] = ()
    tuned: dict[str, Tuned] = {}
    """Method to how its hyper-parameters were chosen; the others have those of the protocol or their own."""


class Store:
    """The records under one root folder."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        if self.root.is_file():
            raise HarnessError(f"--runs {root}: a file; give the folder of the records.")

    def path(self, trial: str) -> Path:
        """Return the folder of a trial's record, there or not."""
        return self.root / "records" / trial

    def work(self, trial: str) -> Path:
        """Return the folder for the checkpoints of an unfinished trial, made if need be."""
        folder = self.root / "work" / trial
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def weights(self, trial: str) -> Path:
        """Return the file of a finished trial's trained weights."""
        return self.root / "weights" / f"{trial}.safetensors"

    def has(self, trial: str) -> bool:
        """Tell whether a trial has left a record, done or failed."""
        return (self.path(trial) / "record.json").is_file()

    def is_done(self, trial: str) -> bool:
        """Tell whether a trial has left a record, and not of a failure."""
        return self.has(trial) and self.record(trial).status == "done"

    def ids(self) -> list[str]:
        """Return the ids of all records, sorted."""
        return sorted(p.parent.name for p in self.root.glob("records/*/record.json"))

    def record(self, trial: str) -> Record:
        """Read record.json. Raises HarnessError if it is missing or does not fit the schema."""
        return _read(self.path(trial) / "record.json", Record)

    def scores(self, trial: str) -> pd.DataFrame:
        """Read scores.parquet; columns are `SCORES`."""
        return pd.read_parquet(self.path(trial) / "scores.parquet")

    def curve(self, trial: str) -> pd.DataFrame:
        """Read curve.csv; columns are `CURVE`."""
        return pd.read_csv(self.path(trial) / "curve.csv", keep_default_na=False)

    def log(self, trial: str) -> str:
        """Read log.txt."""
        return (self.path(trial) / "log.txt").read_text(encoding="utf-8", errors="replace")

    def predictions(self, trial: str) -> tuple[np.ndarray, np.ndarray]:
        """Return sample names [N] and predicted class indices, uint8 [N, H, W]."""
        with np.load(self.path(trial) / "predictions.npz", allow_pickle=False) as data:
            return data["samples"], data["labels"]

    def protocols(self) -> list[str]:
        """Return the names of the protocols that have a plan here, sorted."""
        return sorted(p.parent.name for p in self.root.glob("protocols/*/protocol.json"))

    def protocol(self, name: str) -> ProtocolRecord:
        """Read a protocol's description and its plan."""
        return _read(self.root / "protocols" / name / "protocol.json", ProtocolRecord)

    def subjects(self, name: str) -> pd.DataFrame:
        """Read subjects.parquet: sample, patient, split and a column of groups per attribute."""
        return pd.read_parquet(self.root / "protocols" / name / "subjects.parquet")

    def sizes(self, name: str) -> pd.DataFrame | None:
        """Return `sample` and a column for each structure, its true size in pixels, of the test samples.

        None for a protocol recorded without.
        """
        path = self.root / "protocols" / name / "sizes.parquet"
        return pd.read_parquet(path) if path.is_file() else None

    def cases(self, name: str) -> dict[str, np.ndarray] | None:
        """Return test images and truths where the cohort allows showing them, else None.

        samples: str [N]; images: uint8 [N, H, W, 3]; masks: uint8 class indices [N, H, W].
        """
        path = self.root / "protocols" / name / "cases.npz"
        if not path.is_file():
            return None
        with np.load(path, allow_pickle=False) as data:
            return {key: data[key] for key in ("samples", "images", "masks")}

    @contextmanager
    def locked(self, protocol: str) -> Iterator[None]:
        """Keep other processes from changing a protocol's description between reading and writing it."""
        folder = self.root / "protocols"
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f".{protocol}.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @contextmanager
    def writing(self, target: Path) -> Iterator[Path]:
        """Give a folder to fill; it takes `target`'s place whole, or not at all.

        Every file is synced before the two folders swap names, so a crash leaves the old one or the new one.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        try:
            yield aside
            for file in aside.iterdir():
                _sync(file)
            _sync(aside)
            if target.exists():
                _swap(aside, target)
            else:
                aside.rename(target)
            _sync(target.parent)
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def write_json(path: Path, model: BaseModel) -> None:
    """Write a model as indented JSON with a final newline."""
    path.write_text(model.model_dump_json(indent=2) + "\n", encoding="utf-8")


def _read(path: Path, model: type[Model]) -> Model:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise HarnessError(
            f"{path}: {error.strerror}; is --runs the folder that harness run wrote?"
        ) from None
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        raise HarnessError(f"{path}: not a record of schema {SCHEMA_VERSION}: {error}") from None


def _swap(one: Path, other: Path) -> None:
    """Let two folders take each other's name, in one step where the file system can."""
    libc = ctypes.CDLL(None)
    names = os.fsencode(one), os.fsencode(other)
    if sys.platform == "darwin":
        swapped = hasattr(libc, "renamex_np") and libc.renamex_np(*names, _SWAP) == 0
    else:
        here = ctypes.c_int(-100)  # AT_FDCWD
        swapped = hasattr(libc, "renameat2") and libc.renameat2(here, names[0], here, names[1], _SWAP) == 0
    if not swapped:
        between = one.with_name(one.name + ".old")
        other.rename(between)
        one.rename(other)
        between.rename(one)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
