"""What a record is: the models of its JSON files and the columns of its tables."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, model_validator

SCHEMA_VERSION = 1

SCORES = ("sample", "structure", "dice", "iou", "hd95", "hd95_max", "asd", "nsd", "missed", "vcdr_error")
"""Columns of scores.parquet: one row a test sample and structure. dice, iou, nsd: fractions;
hd95 (both directions pooled), hd95_max (the larger of the directed percentiles), asd: pixels, or mm where
the board's cohort has `distances` of "mm"; of a protocol scored by patient, `sample` is the patient;
missed: True where exactly one of truth and prediction is empty; vcdr_error: absolute error of the
vertical cup-to-disc ratio, on the rows of `disc`, else missing."""

FALSE_POSITIVE_AREA = "false_positive_area"
"""A further column of scores.parquet where the truth of some row is empty: what was predicted outside of the
truth, in pixels, or in mm² where distances are in mm."""

CURVE = ("epoch", "quantity", "attribute", "group", "value")
"""Columns of curve.csv: quantity is "loss" (training) or "validation_dice"; attribute and group
are empty for all samples together."""


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
    scoring: dict[str, Any] = {}
    """Everything beside the predictions that the scores depend on: masks, structures, the metrics' code."""
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

    @model_validator(mode="after")
    def _chosen_among_tries(self) -> Tuned:
        if not 0 <= self.chosen < len(self.tries):
            raise ValueError("what was chosen is none of the tries")
        return self

    @property
    def values(self) -> dict[str, Any]:
        """The hyper-parameters chosen."""
        return self.tries[self.chosen].hyper_parameters


class BrokenPlugin(_Json):
    """A plugin that could not be imported, and why."""

    name: str
    file: str
    error: str


class Withdrawal(_Json):
    """A row that was taken off a board: who reads the board is told."""

    method: str
    when: str
    """UTC, ISO 8601."""
    why: str


class ProtocolRecord(_Json):
    """protocol.json of ROOT/protocols/KEY: one board."""

    schema_version: int = SCHEMA_VERSION
    name: str
    """The board's key: the protocol's name, or name@digest where an earlier protocol has the name."""
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
    withdrawn: tuple[Withdrawal, ...] = ()
    """Rows that were taken off, in their order."""

    @model_validator(mode="after")
    def _of_a_protocol(self) -> ProtocolRecord:
        for key in ("title", "cohort", "structures", "ranked_by", "attributes", "backbone", "seeds"):
            if key not in self.protocol:
                raise ValueError(f"protocol.{key} is missing")
        return self
