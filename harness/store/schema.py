"""What a record is: the models of its JSON files and the columns of its tables."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from harness.store.values import (
    Count,
    Date,
    Flag,
    Fraction,
    Name,
    Position,
    Seconds,
    Seed,
    Text,
    Tree,
    Words,
)

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
"""Columns of curve.csv: quantity is one of `QUANTITIES`; attribute and group are empty for all samples."""

QUANTITIES = ("loss", "validation_dice", "gradient_median", "gradient_largest")
"""What a learning curve has: the training's loss, the validation score, and over an epoch's steps the length
of the method's gradient at logits and features over that of the recipe's own loss."""


class _Json(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MethodInfo(_Json):
    """A method as it ran."""

    name: Name
    title: Words
    authors: Words = ""
    paper: Words = ""
    url: Words = ""
    licence: Words = ""
    hyper_parameters: Tree = {}
    defaults: Tree = {}
    reads_attribute: Flag = True
    reads_attribute_at_test: Flag = False
    """Whether a patient's group is needed to predict: such a row stands in a track of its own."""
    starts_from: Name | None = None
    takes: Name = "weights"
    """What it takes of the method that it starts from: its weights, its logits on each batch, or both."""
    sampler: Name = "uniform"
    passes: Count = 1
    """How often a batch goes through a network in one of its steps, ERM's once: twins are made by it."""
    source: Text = ""
    """Text of the method's file."""
    source_digest: Name = ""
    """SHA-256 over the method's file and the local modules that it imports."""


class Cost(_Json):
    """What a trial took; `fit_seconds` adds up over interruptions.

    Of a sandboxed trial it is the whole container's time, measured outside, and `predict_seconds` is 0.
    """

    fit_seconds: Seconds = 0.0
    compile_seconds: Seconds = 0.0
    """Of `fit_seconds`, what compiling the network for a GPU took; 0 where it ran as it is written."""
    predict_seconds: Seconds = 0.0
    score_seconds: Seconds = 0.0
    peak_memory_bytes: Count = 0
    device: Name = ""
    trained_parameters: Count = 0
    passes: Count = 0
    """How often a batch went through a network in the training; 0 is not known."""
    cards: Count = 1
    """That shared the training; the seconds are by the clock, the memory is of one."""


Obtained = Literal["run", "verified", "predictions", "reported"]
"""How a record came here, from strongest to weakest: run here; verified from predictions, by recomputing
its scores; predictions only, scored here, of a training that nothing is known of; self-reported, taken
without recomputing anything."""


HowTrained = Literal["", "by the harness", "by itself"]
"""Whose loop trained: the harness's, which asks the method for a loss a batch, or one within the method's
reach, where it trains its own model; "" is not known, of a record from before this was told apart."""


class Record(_Json):
    """record.json: who ran what, on what, with what outcome."""

    schema_version: Count = SCHEMA_VERSION
    id: Name
    status: Literal["done", "failed"]
    protocol: Name
    method: MethodInfo
    attribute: Name | None
    groups: tuple[Words, ...]
    seed: Seed
    control: Name = ""
    """Of a control, what is different from the method as it is."""
    obtained: Obtained = "run"
    trained: HowTrained = ""
    started_from: Name | None = None
    """Id of the trial whose weights this one began with."""
    identity: Tree
    """Everything hashed into the id."""
    scoring: Tree = {}
    """Everything beside the predictions that the scores depend on: masks, structures, the metrics' code."""
    environment: Tree = {}
    provenance: Tree = {}
    cost: Cost = Cost()
    finished: Date = ""
    """UTC, ISO 8601."""
    error: Words = ""
    """One sentence, for a failed trial; the traceback is in log.txt."""
    files: Annotated[dict[Name, Name], Field(max_length=100)] = {}
    """SHA-256 of every other file of the record."""


class PlanRow(_Json):
    """One cell of the board: this method under this attribute and seed is that trial."""

    method: Name
    attribute: Name
    seed: Seed
    trial: Name
    control_of: Name = ""
    """Of a control, the method that it is a twin of: such a row is shown under it and never ranked."""
    fold: int = 0
    """Where patients are tested in folds, the fold that this trial tests: the scores of all are pooled."""

    @property
    def cell(self) -> tuple[str, str, int, int]:
        """What no other row of a board has."""
        return (self.method, self.attribute, self.seed, self.fold)


class Try(_Json):
    """One set of hyper-parameters that `harness tune` tried."""

    hyper_parameters: Tree
    score: Fraction | None = None
    """Mean over attributes and seeds of the ES-Dice on the tuning patients; None where a trial failed."""
    by_attribute: Annotated[dict[Name, Fraction], Field(max_length=1_000)] = {}
    error: Words = ""


class Tuned(_Json):
    """How a method's hyper-parameters were chosen: everything tried, the defaults first."""

    budget: Count
    """Tries that every method was allowed."""
    seeds: tuple[Seed, ...]
    patients: Count
    """Training patients that were scored instead of test patients."""
    source_digest: Name
    tries: tuple[Try, ...]
    chosen: Position
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

    name: Name
    file: Name
    error: Words


class Withdrawal(_Json):
    """A row that was taken off a board, or replaced by its submitter: who reads the board is told."""

    method: Name
    when: Date
    """UTC, ISO 8601."""
    why: Words
    who: Name = ""
    what: Literal["withdrawn", "corrected"] = "withdrawn"


class Arrival(_Json):
    """Where a submitted row comes from."""

    when: Date
    """The day on which it came to the board first, UTC."""
    digest: Name
    """SHA-256 of the submission's manifest, which has those of all its files."""
    key: Name = ""
    """Fingerprint of the key that signed it, "" for none."""


class ProtocolRecord(_Json):
    """protocol.json of ROOT/protocols/KEY: one board."""

    schema_version: Count = SCHEMA_VERSION
    name: Name
    """The board's key: the protocol's name, or name@digest where an earlier protocol has the name."""
    digest: Name
    protocol: Tree
    """The whole protocol, as `Protocol.model_dump` gives it."""
    cohort: Tree
    """title, licence, citation, digest, publish_images, n_samples, n_patients."""
    groups: dict[Name, tuple[Words, ...]]
    """Attribute to its groups, in the order of the board."""
    command: Text
    """The command that reproduces the board."""
    plan: tuple[PlanRow, ...] = ()
    broken: tuple[BrokenPlugin, ...] = ()
    tuned: dict[str, Tuned] = {}
    """Method to how its hyper-parameters were chosen; the others have those of the protocol or their own."""
    withdrawn: tuple[Withdrawal, ...] = ()
    """Rows that were taken off or corrected, in their order."""
    arrivals: dict[Name, Arrival] = {}
    """Submitted method to where it comes from."""

    @model_validator(mode="after")
    def _of_a_protocol(self) -> ProtocolRecord:
        for key in ("title", "cohort", "structures", "ranked_by", "attributes", "backbone", "seeds"):
            if key not in self.protocol:
                raise ValueError(f"protocol.{key} is missing")
        return self
