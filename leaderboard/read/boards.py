"""Records -> boards: for each protocol its methods, what became of their trials, and the scores by sample."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Literal, TypeVar, get_args

import numpy as np
import pandas as pd
import pyarrow as pa

from harness import equity
from harness.equity.presence import ranks_present
from harness.errors import HarnessError
from harness.store import (
    FALSE_POSITIVE_AREA,
    Cost,
    HowTrained,
    MethodInfo,
    Obtained,
    PlanRow,
    ProtocolRecord,
    Record,
    Store,
    twins,
)
from harness.store.names import PREDICTIONS as PREDICTIONS_FILE
from harness.store.names import SCORES as SCORES_FILE
from leaderboard.parallel import mapped, shared
from leaderboard.spared import Spared

Found = TypeVar("Found")

_SHARDS = 8
_WORTH = 2_000
"""Trials from which on it takes less to read them on all cores than it does to fork."""
_SECONDS = ("fit_seconds", "predict_seconds", "score_seconds")

METRICS = ("dice", "iou", "nsd", "hd95", "hd95_max", "asd", "vcdr_error", "missed")
_ALL = (*METRICS, FALSE_POSITIVE_AREA)
"""In the order of `Board.scores`; the last is NaN where a record lacks it."""

Status = Literal["done", "partial", "failed", "not run yet"]
"""What became of a method's trials under an attribute."""


_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")


def readable(text: str) -> str:
    """Return a stranger's words without what is not seen: it could turn the sentences around them."""
    return " ".join(_UNSEEN.sub(" ", text).split())


@dataclass(frozen=True)
class Entry:
    """A method on a board: the records of its trials, by attribute and seed.

    records: None where the plan has the trial and nothing has run yet; title: of ERM at another's schedule,
    what it is called instead of its card's title.
    """

    name: str
    records: dict[tuple[str, int], Record | None]
    title: str = ""

    @cached_property
    def info(self) -> MethodInfo:
        """The method's card, from a finished record before a failed one; its name alone without any."""
        found = [record for record in self.records.values() if record is not None]
        found.sort(key=lambda record: record.status != "done")
        info = found[0].method if found else MethodInfo(name=self.name, title=self.name)
        shown = {field: readable(getattr(info, field)) for field in ("title", "authors", "paper", "licence")}
        if self.title:
            shown |= {"name": self.name, "title": self.title}
        return info.model_copy(update=shown)

    @cached_property
    def at_test(self) -> bool:
        """Whether any of its trials reads a patient's attribute to predict."""
        found = (record for record in self.records.values() if record is not None)
        return any(record.method.reads_attribute_at_test for record in found)

    def done(self, attribute: str) -> list[Record]:
        """Return the finished records under an attribute, by seed."""
        return [r for r in self.under(attribute).values() if r is not None and r.status == "done"]

    def failed(self, attribute: str) -> list[Record]:
        """Return the failed records under an attribute, by seed."""
        return [r for r in self.under(attribute).values() if r is not None and r.status == "failed"]

    def under(self, attribute: str) -> dict[int, Record | None]:
        """Return seed -> record under an attribute."""
        return self._by_attribute.get(attribute, {})

    @cached_property
    def _by_attribute(self) -> dict[str, dict[int, Record | None]]:
        found: dict[str, dict[int, Record | None]] = {}
        for attribute, seed in sorted(self.records):
            found.setdefault(attribute, {})[seed] = self.records[attribute, seed]
        return found

    def obtained(self, attribute: str) -> Obtained | None:
        """Return how the finished records were obtained, the weakest of them; None where there is none."""
        found = [record.obtained for record in self.done(attribute)]
        return max(found, key=get_args(Obtained).index, default=None)

    def trained(self, attribute: str) -> HowTrained:
        """Return whose loop trained the finished records, "" where one of them does not tell."""
        found = {record.trained for record in self.done(attribute)}
        if "by itself" in found:
            return "by itself"
        return "by the harness" if found == {"by the harness"} else ""

    def status(self, attribute: str) -> Status:
        """Return what became of its trials."""
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
    float64 [structures, metrics of `_ALL`, test samples].
    """

    record: ProtocolRecord
    subjects: pd.DataFrame
    entries: dict[str, Entry]
    scores: dict[str, np.ndarray] = field(repr=False)
    controls: dict[str, list[Entry]] = field(default_factory=dict)
    """Method to its twins, which are shown under it and never ranked."""
    sizes: pd.DataFrame | None = field(default=None, repr=False)
    """The true structures' sizes, where the protocol's record holds them."""
    folds: dict[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    """Where patients are tested in folds: a cell's trial, that of its first fold, to those of all of them."""

    @property
    def name(self) -> str:
        """The protocol's name."""
        return self.record.name

    @cached_property
    def structures(self) -> list[str]:
        """The structures, the one that ranks first."""
        names = list(self.record.protocol["structures"])
        first = self.record.protocol["ranked_by"]
        return [first, *(name for name in names if name != first)]

    @property
    def n_folds(self) -> int:
        """In how many folds patients are tested, 1 where there is one test set."""
        return int(self.record.protocol.get("split", {}).get("folds", 1))

    def trials_of(self, record: Record) -> tuple[str, ...]:
        """Return the trials that a cell's record stands for: one, or one a fold."""
        return self.folds.get(record.id, (record.id,))

    @property
    def attributes(self) -> list[str]:
        """The attributes, in the protocol's order."""
        return list(self.record.groups)

    @cached_property
    def test(self) -> pd.DataFrame:
        """The subjects of the test split, sorted by sample."""
        rows = self.subjects[self.subjects["split"] == "test"]
        return rows.sort_values("sample").reset_index(drop=True)

    @cached_property
    def seeds(self) -> list[int]:
        """All seeds of the plan, ascending."""
        return sorted({row.seed for row in self.record.plan})

    @property
    def in_mm(self) -> bool:
        """Whether distances are in mm, else in pixels."""
        return bool(self.record.cohort.get("distances") == "mm")

    @property
    def by_patient(self) -> bool:
        """Whether the samples of a patient are scored as one."""
        return bool(self.record.protocol.get("scoring", {}).get("unit") == "patient")

    @property
    def tolerance(self) -> float:
        """The distance within which NSD counts a boundary as found."""
        return float(self.record.protocol.get("scoring", {}).get("tolerance", 2.0))

    @cached_property
    def present_alone(self) -> bool:
        """Whether scores are over the samples in which the structure is present, as the protocol ranks."""
        size = self._true_size(self.structures[0])
        rank = self.record.protocol.get("scoring", {}).get("rank", "auto")
        return size is not None and ranks_present(rank, size)

    def there(self, structure: str) -> np.ndarray:
        """Return which test samples have a structure, bool [test samples]; all where not recorded."""
        size = self._true_size(structure)
        return np.ones(len(self.test), bool) if size is None else size > 0

    def rows(self, structure: str) -> np.ndarray:
        """Return which test samples a structure's scores are over, bool [test samples]."""
        there = self.there(structure)
        return there if self.present_alone and there.any() else np.ones(len(there), bool)

    def tested(self, structure: str) -> pd.DataFrame:
        """Return the rows of `test` that a structure's scores are over."""
        return self.test[self.rows(structure)].reset_index(drop=True)

    def matrix(self, name: str, attribute: str, structure: str, metric: str) -> np.ndarray | None:
        """Return a method's scores, float [seeds, samples], NaN for a seed without a finished trial.

        The samples are those of `tested`.
        """
        return self.scores_of(self.entries[name], attribute, structure, metric)

    def scores_of(self, entry: Entry, attribute: str, structure: str, metric: str) -> np.ndarray | None:
        """Return the same of a method or a control."""
        found = self.whole(entry, attribute, structure, metric)
        return None if found is None else found[:, self.rows(structure)]

    def whole(self, entry: Entry, attribute: str, structure: str, metric: str) -> np.ndarray | None:
        """Return the same over all samples of `test`."""
        done = {r.seed: r.id for r in entry.done(attribute)}
        if not done:
            return None
        s, m = self.structure_index[structure], _ALL.index(metric)
        missing = np.full(len(self.test), np.nan)
        return np.stack([self.scores[done[k]][s, m] if k in done else missing for k in self.seeds])

    def equity_scores(
        self,
        by_method: Mapping[str, np.ndarray | None],
        attribute: str,
        higher_is_better: bool = True,
        rows: np.ndarray | None = None,
    ) -> equity.Scores | None:
        """Return matrices of `matrix` under the groups of an attribute; None where all of them are None.

        rows: which test samples they are of, bool [test samples]; those of the ranking's structure where not
        given.
        """
        tested = self.test[self.rows(self.structures[0]) if rows is None else rows]
        there = {name: values for name, values in by_method.items() if values is not None}
        if not there:
            return None
        return equity.Scores(
            there,
            tested[attribute].to_numpy(object),
            tested["patient"].to_numpy(),
            order=self.record.groups[attribute],
            higher_is_better=higher_is_better,
        )

    def size(self, structure: str) -> np.ndarray | None:
        """Return the true structure's size in pixels, float [samples]; None where it is not recorded."""
        found = self._true_size(structure)
        return None if found is None else found[self.rows(structure)]

    def _true_size(self, structure: str) -> np.ndarray | None:
        return self._true_sizes.get(structure)

    @cached_property
    def _true_sizes(self) -> dict[str, np.ndarray]:
        """Structure to its size in each sample of `test`, where it is known of all of them."""
        if self.sizes is None:
            return {}
        sizes = self.sizes.set_index("sample").reindex(self.test["sample"])
        known = [str(name) for name in sizes if not sizes[name].isna().any()]
        return {name: sizes[name].to_numpy(float) for name in known}

    @cached_property
    def structure_index(self) -> dict[str, int]:
        """Structure to its position in `scores`."""
        return {name: i for i, name in enumerate(self.structures)}

    @cached_property
    def twins(self) -> dict[str, str]:
        """Each method that trains longer than ERM, to what ERM with the same schedule is called.

        Its row need not be there. Where what a method starts from is not here, its twin is ERM with the same
        further training.
        """
        infos = {name: entry.info for name, entry in self.entries.items() if not entry.title}
        found = {}
        for name, info in infos.items():
            longer = twins.schedule_of(name, infos)
            if longer is None:
                longer = (*twins.PLAIN, info.passes)
            if longer != twins.PLAIN:
                found[name] = twins.name_of(longer)
        return found

    @property
    def recipe(self) -> dict[str, Any]:
        """The protocol's recipe."""
        return dict(self.record.protocol.get("recipe", {}))

    def cost(self, name: str, attribute: str) -> Cost | None:
        """Return the mean cost of a method's finished trials under an attribute.

        The training of the trials that they start from is theirs too.
        """
        costs = [self._with_origins(record) for record in self.entries[name].done(attribute)]
        if not costs:
            return None
        return Cost(
            fit_seconds=float(np.mean([c.fit_seconds for c in costs])),
            predict_seconds=float(np.mean([c.predict_seconds for c in costs])),
            score_seconds=float(np.mean([c.score_seconds for c in costs])),
            peak_memory_bytes=max(c.peak_memory_bytes for c in costs),
            device=", ".join(dict.fromkeys(c.device for c in costs)),
            trained_parameters=max(c.trained_parameters for c in costs),
            passes=max(c.passes for c in costs),
        )

    def _with_origins(self, record: Record) -> Cost:
        seconds, origin = record.cost.fit_seconds, record.started_from
        while origin is not None and (before := self._by_id.get(origin)) is not None:
            seconds, origin = seconds + before.cost.fit_seconds, before.started_from
        return record.cost.model_copy(update={"fit_seconds": seconds})

    @cached_property
    def with_predictions(self) -> dict[str, set[str]]:
        """Digest of a trial's predictions to the methods that have a trial with these."""
        found: dict[str, set[str]] = {}
        for name, entry in self.entries.items():
            for record in entry.records.values():
                if record is not None and (digest := record.files.get(PREDICTIONS_FILE)):
                    found.setdefault(digest, set()).add(name)
        return found

    @cached_property
    def with_source(self) -> dict[str, set[str]]:
        """Digest of a method's source to the methods that have it."""
        found: dict[str, set[str]] = {}
        for name, entry in self.entries.items():
            if digest := entry.info.source_digest:
                found.setdefault(digest, set()).add(name)
        return found

    @cached_property
    def _by_id(self) -> dict[str, Record]:
        entries = [*self.entries.values(), *(one for found in self.controls.values() for one in found)]
        found = [record for entry in entries for record in entry.records.values()]
        return {record.id: record for record in found if record is not None}


@dataclass(frozen=True)
class Known:
    """A board by its description alone: the key of its folder, its name, how many trials it plans."""

    key: str
    name: str
    trials: int


def known(store: Store, unread: dict[str, str]) -> list[Known]:
    """Return the boards of a store whose description can be read, by key; see `read` for the others.

    Raises HarnessError where there is no protocol.
    """
    found = (_spared(store, key, store.protocol, unread) for key in _keys(store))
    return [
        Known(key, board.name, len({row.trial for row in board.plan}))
        for key, board in zip(_keys(store), found, strict=True)
        if board is not None
    ]


def read(store: Store, key: str, unread: dict[str, str]) -> Board | None:
    """Read a board and the records in its plan; None where it cannot be read, the reason in `unread`."""
    return _spared(store, key, partial(_board, store), unread)


def of_store(store: Store, unread: dict[str, str] | None = None) -> list[Board]:
    """Read every protocol of a store and the records in its plan.

    A board that cannot be read costs itself only; given `unread`, its name and the reason are put there.

    Raises HarnessError where there is no protocol, or a record does not fit its protocol.
    """
    found = [read(store, key, unread if unread is not None else {}) for key in _keys(store)]
    boards = [board for board in found if board is not None]
    if not boards:
        raise none_readable(store)
    return boards


def none_readable(store: Store) -> HarnessError:
    """Return what is said where no board of a store can be read."""
    return HarnessError(f"{store.root}: no board here can be read; run its methods again.")


def _keys(store: Store) -> list[str]:
    found = store.protocols()
    if not found:
        raise HarnessError(
            f"{store.root}: there are no records here; run `harness run --all` first, or give --runs."
        )
    return found


def _spared(store: Store, key: str, work: Callable[[str], Found], unread: dict[str, str]) -> Found | None:
    return Spared(unread).build(key, partial(store.spared, work, key), None)


def _board(store: Store, name: str) -> Board:
    record = store.protocol(name)
    subjects = store.subjects(name, record.groups)
    sizes = store.spared(store.sizes, name, record.protocol["structures"])
    board = Board(record, subjects, {}, {}, sizes=sizes)
    cells = {row.trial: row for row in record.plan}
    trials = [trial for trial in dict.fromkeys(row.trial for row in record.plan) if store.has(trial)]
    values = shared((len(trials), len(board.structures), len(_ALL), len(board.test)))
    if board.n_folds > 1:
        values[:] = np.nan  # a fold has scores of its own samples alone

    def read(shard: int) -> list[Record]:
        reader = _Reader(store, board)
        return [reader.read(cells[trials[i]], values[i]) for i in range(shard, len(trials), _SHARDS)]

    records = {found.id: found for part in mapped(read, _SHARDS, len(trials), _WORTH) for found in part}
    done = {trial: i for i, trial in enumerate(trials) if records[trial].status == "done"}
    board.scores.update({trial: values[i] for trial, i in done.items()})
    plan = record.plan if board.n_folds == 1 else _pooled(board, records)
    own = tuple(row for row in plan if not row.control_of)
    board.entries.update(_entries(own, records, board.recipe))
    for method in board.entries:
        own_twins = tuple(row for row in plan if row.control_of == method)
        if own_twins:
            board.controls[method] = list(_entries(own_twins, records, {}).values())
    return board


def _pooled(board: Board, records: dict[str, Record]) -> tuple[PlanRow, ...]:
    """Return a row a cell, whose trial stands for those of all its folds; put their scores together.

    A cell in which a fold failed is that fold's failure, and one in which a fold is to run has no record.
    """
    cells: dict[tuple[str, str, int], list[PlanRow]] = {}
    for row in board.record.plan:
        cells.setdefault((row.method, row.attribute, row.seed), []).append(row)
    rows = []
    for parts in cells.values():
        trials = tuple(row.trial for row in sorted(parts, key=lambda row: row.fold))
        found = [records[trial] for trial in trials if trial in records]
        failed = next((record for record in found if record.status == "failed"), None)
        whole = len(found) == board.n_folds and failed is None
        if whole and trials[0] not in board.folds:
            board.folds[trials[0]] = trials
            board.scores[trials[0]] = _together([board.scores[trial] for trial in trials])
            records[trials[0]] = _of_all_folds(found)
        standing = trials[0] if whole else failed.id if failed is not None else ""
        rows.append(parts[0].model_copy(update={"trial": standing, "fold": 0}))
    return tuple(rows)


def _together(parts: list[np.ndarray]) -> np.ndarray:
    """Return the scores of all folds, each of which has those of its own samples and NaN elsewhere."""
    whole = parts[0]
    for part in parts[1:]:
        whole = np.where(np.isnan(whole), part, whole)
    return whole


def _of_all_folds(found: list[Record]) -> Record:
    """Return the first fold's record with what all of them cost, obtained as the weakest was."""
    costs = [record.cost for record in found]
    summed = {key: sum(getattr(cost, key) for cost in costs) for key in _SECONDS}
    cost = costs[0].model_copy(update=summed | {"peak_memory_bytes": max(c.peak_memory_bytes for c in costs)})
    obtained = max((record.obtained for record in found), key=get_args(Obtained).index)
    return found[0].model_copy(update={"cost": cost, "obtained": obtained})


def _entries(
    plan: tuple[PlanRow, ...], records: dict[str, Record], recipe: Mapping[str, Any]
) -> dict[str, Entry]:
    entries: dict[str, Entry] = {}
    for row in plan:
        if row.method not in entries:
            entries[row.method] = Entry(row.method, {}, twins.title_of(row.method, recipe))
        entry = entries[row.method]
        entry.records[row.attribute, row.seed] = records.get(row.trial)
    return entries


class _Reader:
    """Reads the scores of one board's trials; their rows are nearly always in one order, found once."""

    def __init__(self, store: Store, board: Board) -> None:
        self.store = store
        self.board = board
        self.order: tuple[pa.Table, np.ndarray, np.ndarray] | None = None

    def read(self, cell: PlanRow, values: np.ndarray) -> Record:
        """Return a trial's record and fill in its scores: float64 [structures, metrics, test samples].

        One that cannot be read is as one that failed: it costs itself only.
        """
        try:
            return self._read(cell.trial, values)
        except HarnessError as error:
            self.store.tell(error)
            why = str(error).replace(f"{self.store.root}/", "")
            method = MethodInfo(name=cell.method, title=cell.method)
            return Record(
                id=cell.trial,
                status="failed",
                protocol=self.board.name,
                method=method,
                attribute=cell.attribute,
                groups=(),
                seed=cell.seed,
                identity={},
                error=why,
            )

    def _read(self, trial: str, values: np.ndarray) -> Record:
        record = self.store.record(trial)
        if record.status == "done":
            table = self.store.score_table(record)
            names = table.select(["sample", "structure"])
            if self.order is None or not self.order[0].equals(names):
                self.order = (names, *self._positions(trial, names.to_pandas()))
            _, columns, rows = self.order
            nothing = np.full(len(rows), np.nan)
            numbers = [
                table.column(metric).to_numpy() if metric in table.column_names else nothing
                for metric in _ALL
            ]
            values[columns, :, rows] = np.column_stack([n.astype(float) for n in numbers])
        return record

    def _positions(self, trial: str, names: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        board = self.board
        rows = pd.Index(board.test["sample"]).get_indexer(pd.Index(names["sample"]))
        columns = pd.Index(board.structures).get_indexer(pd.Index(names["structure"]))
        # A fold has some of the samples, with all structures of each.
        samples = len(board.test) if board.n_folds == 1 else names["sample"].nunique()
        complete = len(names.drop_duplicates()) == len(names) == samples * len(board.structures)
        if not complete or min(rows.min(), columns.min()) < 0:
            raise HarnessError(
                f"{self.store.path(trial) / SCORES_FILE}: its samples and structures are not those of "
                f"protocol '{board.name}'; run `harness run` again so that the plan and its records agree."
            )
        return columns, rows
