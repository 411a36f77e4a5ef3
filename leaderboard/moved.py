"""Which scores moved between two sites, and whether data, code or definition moved them."""

from __future__ import annotations

import gzip
import json
import math
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from harness.errors import HarnessError
from leaderboard.compute import tracks
from leaderboard.write.exports import SCHEMA_VERSION, Export, MethodResult, ProtocolResult, SectionResult

TOLERANCE = 5e-4
"""What does not show in three digits has not moved."""

NOTHING = "Nothing moved."

SHOWN = ("es_sum", "overall", "gap")
FRACTIONS = ("dice", "iou", "nsd")

# The start of a fact's name in a trial's identity, and what to call it when it differs.
_CAUSES = (
    ("cohort", "data: the cohort's content"),
    ("data", "data: the cohort's content"),
    ("scoring.masks", "data: the true masks"),
    ("scoring.samples", "data: the test samples"),
    ("attribute", "data: the groups"),
    ("structures", "definition: the structures"),
    ("scoring.structures", "definition: the structures"),
    ("scoring.code", "definition: the code of the metrics"),
    ("scoring.libraries", "definition: libraries of the metrics"),
    ("method.source", "code: the method's source"),
    ("method.hyper_parameters", "code: the method's hyper-parameters"),
    ("harness", "code: the harness"),
    ("code", "code: the harness"),
    ("device", "code: the kind of device"),
    ("libraries", "code: numeric libraries"),
    ("backbone", "code: the backbone or its weights"),
    ("recipe", "protocol: the recipe"),
    ("starts_from", "code: the model that it starts from"),
)


class OtherSchema(HarnessError):
    """Results that another version of the harness wrote, in another way."""


@dataclass(frozen=True)
class Cell:
    """A method under one attribute and structure."""

    protocol: str
    section: SectionResult
    method: MethodResult

    @property
    def name(self) -> str:
        """What a person calls it."""
        where = f"{self.section.attribute}, {self.section.structure}"
        where += tracks.among(self.section.track, [self.section.attribute])
        return f"{self.protocol}: {self.method.method} ({where})"


@dataclass(frozen=True)
class Move:
    """What is different of a cell that both sites have.

    changes: phrases; by: the most that a score moved, 0 where none did; ranks_alone: whether nothing but
    its rank among the methods is another.
    """

    cell: Cell
    changes: tuple[str, ...]
    cause: str
    by: float
    ranks_alone: bool

    @property
    def line(self) -> str:
        """What a person is told."""
        return f"{self.cell.name}: {'; '.join(self.changes)}. Because of {self.cause}."


def diff(old: Path, new: Path) -> str:
    """Return what moved from one site to the other: a line that counts it, then what moved most first.

    A line for each method, attribute and structure whose score or status is another, one for each method
    that came or went, and one for all the ranks that are another because of that. `old` and `new` are
    folders of sites or their leaderboard.json. Raises HarnessError for a file that is missing or of another
    schema.
    """
    before, after = read(old), read(new)
    cells_before, cells_after = _cells(before, after), _cells(after, before)
    redefined = before.definition_digest != after.definition_digest
    shared = [key for key in cells_after if key in cells_before]
    moves = [_move(cells_before[key], cells_after[key], redefined) for key in shared]
    moved = sorted((one for one in moves if one.changes), key=lambda one: (-one.by, one.cell.name))
    boards = list(_boards(before, after))
    came, went = _whole(cells_after, cells_before), _whole(cells_before, cells_after)
    # A method that both have is in other cells where a board's tables are others.
    had = _methods(cells_before) & _methods(cells_after)
    lines = [
        *boards,
        *(_passed(name, count, name in had, "no longer there", "fewer") for name, count in went.items()),
        *(_passed(name, count, name in had, "new", "more") for name, count in came.items()),
        *(one.line for one in moved if not one.ranks_alone),
        *_ranks([one for one in moved if one.ranks_alone]),
    ]
    if redefined:
        lines.insert(0, "The definitions of the statistics (harness.equity) differ between the two sites.")
    tables = [{key[:4] for key in cells} for cells in (cells_before, cells_after)]
    told = [
        (sum("new board" in line for line in boards), "board", "added"),
        (sum("no longer" in line for line in boards), "board", "gone"),
        (len(tables[1] - tables[0]), "table", "added"),
        (len(tables[0] - tables[1]), "table", "gone"),
        (len(came.keys() - had), "method", "added"),
        (len(went.keys() - had), "method", "gone"),
    ]
    return "\n".join([_counted(told, moved), *lines]) if lines else NOTHING


def _passed(name: str, count: int, stays: bool, whole: str, part: str) -> str:
    """Return the line of a method that came or went, or that is in more or fewer cells than it was."""
    if stays:
        return f"{name}: in {_plural(count, 'cell')} {part}"
    return f"{name}: {whole}, in {_plural(count, 'cell')}"


def _methods(cells: dict[tuple[str, ...], Cell]) -> set[str]:
    return {f"{cell.protocol}: {cell.method.method}" for cell in cells.values()}


def _counted(told: Sequence[tuple[int, str, str]], moved: Sequence[Move]) -> str:
    """Return the line that counts: `1 method added; no score moved`. told: of what, how many, and how."""
    parts = [f"{_plural(count, what)} {how}" for count, what, how in told if count]
    scores = [one for one in moved if one.by]
    methods = {(one.cell.protocol, one.cell.method.method) for one in scores}
    moves = f"{_plural(len(scores), 'score')} of {_plural(len(methods), 'method')} moved"
    parts.append(moves if scores else "no score moved")
    others = sum(not one.by and not one.ranks_alone for one in moved)
    return "; ".join(parts + ([f"{_plural(others, 'status')} changed"] if others else []))


def _plural(count: int, word: str) -> str:
    if count == 1:
        return f"1 {word}"
    return f"{count} {word}{'es' if word.endswith('s') else 's'}"


def _boards(before: Export, after: Export) -> Iterator[str]:
    old, new = ({p.name for p in export.protocols} for export in (before, after))
    yield from (f"{name}: new board" for name in sorted(new - old))
    yield from (f"{name}: no longer there" for name in sorted(old - new))


def _cells(export: Export, other: Export) -> dict[tuple[str, ...], Cell]:
    """Return the cells of the boards that both sites have."""
    shared = {p.name for p in export.protocols} & {p.name for p in other.protocols}
    return {key: cell for p in export.protocols if p.name in shared for key, cell in _of(p)}


def _whole(cells: dict[tuple[str, ...], Cell], others: dict[tuple[str, ...], Cell]) -> dict[str, int]:
    """Return the methods that only one of the sites has in some cell, to the number of such cells."""
    own = Counter(
        f"{cell.protocol}: {cell.method.method}" for key, cell in cells.items() if key not in others
    )
    return dict(sorted(own.items()))


def _ranks(moved: Sequence[Move]) -> Iterator[str]:
    """Yield one line a board about cells of which nothing but the rank is another."""
    for protocol in dict.fromkeys(one.cell.protocol for one in moved):
        own = [one for one in moved if one.cell.protocol == protocol]
        methods = dict.fromkeys(one.cell.method.method for one in own)
        causes = ", ".join(dict.fromkeys(one.cause for one in own))
        yield (
            f"{protocol}: only the rank of {', '.join(methods)} is another, in {_plural(len(own), 'cell')}. "
            f"Because of {causes}."
        )


def _of(protocol: ProtocolResult) -> Iterator[tuple[tuple[str, ...], Cell]]:
    for section in protocol.sections:
        for method in section.methods:
            if section.track != tracks.MAIN and method.method == section.baseline:
                continue  # the main track's row once more
            key = (protocol.name, section.attribute, section.structure, section.track, method.method)
            yield key, Cell(protocol.name, section, method)


def _move(old: Cell, new: Cell, redefined: bool) -> Move:
    one, other = old.method, new.method
    status = [f"status {one.status} -> {other.status}"] if one.status != other.status else []
    before, after = (_rank(method) for method in (one, other))
    rank = [f"rank {before} -> {after}"] if before != after else []
    scores = list(_scores(one, other))
    told = [f"{what} {_text(was)} -> {_text(now)}" for what, was, now in scores]
    return Move(
        cell=new,
        changes=(*status, *rank, *told),
        cause=_causes(one, other, redefined),
        by=max((_by(*score) for score in scores), default=0.0),
        ranks_alone=bool(rank) and not status and not scores,
    )


def _rank(method: MethodResult) -> str:
    return "none" if method.rank_low is None else f"{method.rank_low}-{method.rank_high}"


def _by(what: str, was: float | None, now: float | None) -> float:
    """Return how far a score moved, for the order of the lines; pixels are no measure beside fractions."""
    if what.split()[0] not in FRACTIONS:
        return TOLERANCE
    return 1.0 if was is None or now is None else abs(now - was)


def _scores(old: MethodResult, new: MethodResult) -> Iterator[tuple[str, float | None, float | None]]:
    for metric, numbers in new.scores.items():
        for quantity in SHOWN:
            was = _estimate(old, metric, quantity)
            now = numbers[quantity].estimate if quantity in numbers else None
            if _differ(was, now):
                yield f"{metric} {quantity}", was, now


def _estimate(method: MethodResult, metric: str, quantity: str) -> float | None:
    value = method.scores.get(metric, {}).get(quantity)
    return None if value is None else value.estimate


def _differ(was: float | None, now: float | None) -> bool:
    if was is None or now is None:
        return was is not now
    return not math.isclose(was, now, rel_tol=0, abs_tol=TOLERANCE)


def _causes(old: MethodResult, new: MethodResult, redefined: bool) -> str:
    facts = {
        key
        for key in old.identity.keys() | new.identity.keys()
        # Of what none has finished there is no identity, and nothing of it is another.
        if old.identity and new.identity and old.identity.get(key) != new.identity.get(key)
    }
    told = [words for start, words in _CAUSES if any(_starts(fact, start) for fact in facts)]
    found = list(dict.fromkeys(told))
    if old.seeds != new.seeds:
        found.append("data: other seeds have finished")
    if redefined:
        found.append("definition: the statistics")
    if not found and old.trials == new.trials:
        return "the other methods: its own trials are the same"
    return ", ".join(found) or "a fact that the sites do not hold"


def _starts(fact: str, start: str) -> bool:
    return fact == start or fact.startswith(start + ".")


def _text(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"


def read(site: Path) -> Export:
    """Return the results of a site, or of a leaderboard.json, packed or not. Raises HarnessError."""
    path = site / "leaderboard.json" if site.is_dir() else site
    if site.is_dir() and not path.is_file() and path.with_suffix(".json.gz").is_file():
        path = path.with_suffix(".json.gz")
    try:
        raw = json.loads(content(path))
        found = raw.get("schema_version")
        if found != SCHEMA_VERSION:
            raise OtherSchema(f"{path}: schema {found}, this is {SCHEMA_VERSION}; build the site again.")
        return Export.model_validate(raw)
    except OSError as error:
        raise HarnessError(f"{path}: {error.strerror}; give a site that harness report built.") from None
    except (ValueError, AttributeError, RecursionError, ValidationError) as error:
        first = str(error).splitlines()[0]
        raise HarnessError(f"{path}: not a leaderboard.json of this version ({first}).") from None


def content(path: Path) -> bytes:
    """Return what a leaderboard.json holds, or one that is kept packed. Raises OSError."""
    found = path.read_bytes()
    if path.suffix != ".gz":
        return found
    try:
        return gzip.decompress(found)
    except (EOFError, zlib.error) as error:
        raise OSError(0, str(error)) from None
