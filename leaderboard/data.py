"""Records -> boards: for each protocol its methods, what became of their trials, and the scores by sample."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import get_args

import numpy as np
import pandas as pd

from harness.errors import HarnessError
from harness.records import Cost, MethodInfo, Obtained, PlanRow, ProtocolRecord, Record, Store

METRICS = ("dice", "iou", "nsd", "hd95", "hd95_max", "asd", "vcdr_error", "missed")


@dataclass(frozen=True)
class Entry:
    """A method on a board: the records of its trials, by attribute and seed.

    records: None where the plan has the trial and nothing has run yet.
    """

    name: str
    records: dict[tuple[str, int], Record | None]

    @cached_property
    def info(self) -> MethodInfo:
        """The method's card, from a finished record before a failed one; its name alone without any."""
        found = [record for record in self.records.values() if record is not None]
        found.sort(key=lambda record: record.status != "done")
        return found[0].method if found else MethodInfo(name=self.name, title=self.name)

    def done(self, attribute: str) -> list[Record]:
        """Return the finished records under an attribute, by seed."""
        return [r for r in self.under(attribute).values() if r is not None and r.status == "done"]

    def failed(self, attribute: str) -> list[Record]:
        """Return the failed records under an attribute, by seed."""
        return [r for r in self.under(attribute).values() if r is not None and r.status == "failed"]

    def under(self, attribute: str) -> dict[int, Record | None]:
        """Return seed -> record under an attribute."""
        return {seed: record for (a, seed), record in sorted(self.records.items()) if a == attribute}

    def obtained(self, attribute: str) -> Obtained | None:
        """Return how the finished records were obtained, the weakest of them; None where there is none."""
        found = [record.obtained for record in self.done(attribute)]
        return max(found, key=get_args(Obtained).index, default=None)

    def status(self, attribute: str) -> str:
        """Return "done", "partial", "failed" or "not run yet"."""
        planned, done = len(self.under(attribute)), len(self.done(attribute))
        if done == planned:
            return "done"
        if done:
            return "partial"
        return "failed" if self.failed(attribute) else "not run yet"


@dataclass(frozen=True)
class Board:
    """One protocol: its description, who is in its test set, its methods and their scores.

    test: the test split's rows of the subjects, in one order for everything below; scores: trial to
    float64 [structures, metrics of `METRICS`, test samples].
    """

    record: ProtocolRecord
    subjects: pd.DataFrame
    entries: dict[str, Entry]
    scores: dict[str, np.ndarray] = field(repr=False)

    @property
    def name(self) -> str:
        """The protocol's name."""
        return self.record.name

    @property
    def structures(self) -> list[str]:
        """The structures, the one that ranks first."""
        names = list(self.record.protocol["structures"])
        first = self.record.protocol["ranked_by"]
        return [first, *(name for name in names if name != first)]

    @property
    def attributes(self) -> list[str]:
        """The attributes, in the protocol's order."""
        return list(self.record.groups)

    @cached_property
    def test(self) -> pd.DataFrame:
        """The subjects of the test split, sorted by sample."""
        rows = self.subjects[self.subjects["split"] == "test"]
        return rows.sort_values("sample").reset_index(drop=True)

    @property
    def seeds(self) -> list[int]:
        """All seeds of the plan, ascending."""
        return sorted({row.seed for row in self.record.plan})

    def matrix(self, name: str, attribute: str, structure: str, metric: str) -> np.ndarray | None:
        """Return a method's scores, float [seeds, samples], NaN for a seed without a finished trial."""
        done = {r.seed: r.id for r in self.entries[name].done(attribute)}
        if not done:
            return None
        s, m = self.structure_index[structure], METRICS.index(metric)
        missing = np.full(len(self.test), np.nan)
        return np.stack([self.scores[done[k]][s, m] if k in done else missing for k in self.seeds])

    @cached_property
    def structure_index(self) -> dict[str, int]:
        """Structure to its position in `scores`."""
        return {name: i for i, name in enumerate(self.structures)}

    def cost(self, name: str, attribute: str) -> Cost | None:
        """Return the mean cost of a method's finished trials under an attribute."""
        costs = [record.cost for record in self.entries[name].done(attribute)]
        if not costs:
            return None
        return Cost(
            fit_seconds=float(np.mean([c.fit_seconds for c in costs])),
            predict_seconds=float(np.mean([c.predict_seconds for c in costs])),
            score_seconds=float(np.mean([c.score_seconds for c in costs])),
            peak_memory_bytes=max(c.peak_memory_bytes for c in costs),
            device=", ".join(dict.fromkeys(c.device for c in costs)),
            trained_parameters=max(c.trained_parameters for c in costs),
        )


def load(store: Store) -> list[Board]:
    """Read every protocol of a store and the records in its plan.

    Raises HarnessError where there is no protocol, or a record does not fit its protocol.
    """
    names = store.protocols()
    if not names:
        raise HarnessError(
            f"{store.root}: there are no records here; run `harness run --all` first, or give --runs."
        )
    return [_board(store, name) for name in names]


def _board(store: Store, name: str) -> Board:
    record, subjects = store.protocol(name), store.subjects(name)
    trials = {row.trial: row for row in record.plan}
    records = {trial: store.record(trial) for trial in trials if store.has(trial)}
    board = Board(record, subjects, _entries(record.plan, records), {})
    for trial, found in records.items():
        if found.status == "done":
            board.scores[trial] = _scores(store, trial, board)
    return board


def _entries(plan: tuple[PlanRow, ...], records: dict[str, Record]) -> dict[str, Entry]:
    entries: dict[str, Entry] = {}
    for row in plan:
        entry = entries.setdefault(row.method, Entry(row.method, {}))
        entry.records[row.attribute, row.seed] = records.get(row.trial)
    return entries


def _scores(store: Store, trial: str, board: Board) -> np.ndarray:
    frame = _read_scores(store, trial)
    rows = pd.Index(board.test["sample"]).get_indexer(pd.Index(frame["sample"]))
    columns = pd.Index(board.structures).get_indexer(pd.Index(frame["structure"]))
    values = np.full((len(board.structures), len(METRICS), len(board.test)), np.nan)
    if len(frame) != len(board.test) * len(board.structures) or min(rows.min(), columns.min()) < 0:
        raise HarnessError(
            f"{store.path(trial) / 'scores.parquet'}: its samples and structures are not those of protocol "
            f"'{board.name}'; run `harness run` again so that the plan and its records agree."
        )
    values[columns, :, rows] = frame[list(METRICS)].to_numpy(float)
    return values


def _read_scores(store: Store, trial: str) -> pd.DataFrame:
    try:
        return store.scores(trial)[["sample", "structure", *METRICS]]
    except (OSError, ValueError, KeyError) as error:
        raise HarnessError(
            f"{store.path(trial) / 'scores.parquet'}: cannot be read ({error}); delete this record's "
            "folder and run the trial again."
        ) from None
