"""Which scores moved between two sites, and whether data, code or definition moved them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from harness.errors import HarnessError
from leaderboard.write.exports import SCHEMA_VERSION, Export, MethodResult, ProtocolResult, SectionResult

TOLERANCE = 5e-4
"""What does not show in three digits has not moved."""

SHOWN = ("es_sum", "overall", "gap")

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
        return f"{self.protocol}: {self.method.method} ({where})"


def diff(old: Path, new: Path) -> str:
    """Return what moved from one site to the other, a line a method, attribute and structure.

    `old` and `new` are folders of sites or their leaderboard.json. Raises HarnessError for a file that
    is missing or of another schema.
    """
    before, after = _read(old), _read(new)
    lines = [*_boards(before, after), *_cells(before, after)]
    return "\n".join(lines) if lines else "Nothing moved."


def _boards(before: Export, after: Export) -> Iterator[str]:
    old, new = ({p.name for p in export.protocols} for export in (before, after))
    yield from (f"{name}: new board" for name in sorted(new - old))
    yield from (f"{name}: no longer there" for name in sorted(old - new))
    if before.definition_digest != after.definition_digest:
        yield "The definitions of the statistics (harness.equity) differ between the two sites."


def _cells(before: Export, after: Export) -> Iterator[str]:
    shared = {p.name for p in before.protocols} & {p.name for p in after.protocols}
    old = {key: cell for p in before.protocols if p.name in shared for key, cell in _of(p)}
    new = {key: cell for p in after.protocols if p.name in shared for key, cell in _of(p)}
    for key, cell in new.items():
        if key not in old:
            yield f"{cell.name}: new"
        else:
            yield from _moved(old[key], cell, before.definition_digest != after.definition_digest)
    yield from (f"{cell.name}: no longer there" for key, cell in old.items() if key not in new)


def _of(protocol: ProtocolResult) -> Iterator[tuple[tuple[str, ...], Cell]]:
    for section in protocol.sections:
        for method in section.methods:
            key = (protocol.name, section.attribute, section.structure, method.method)
            yield key, Cell(protocol.name, section, method)


def _moved(old: Cell, new: Cell, redefined: bool) -> Iterator[str]:
    changes = list(_changes(old.method, new.method))
    if changes:
        yield f"{new.name}: {'; '.join(changes)}. Because of {_causes(old.method, new.method, redefined)}."


def _changes(old: MethodResult, new: MethodResult) -> Iterator[str]:
    if old.status != new.status:
        yield f"status {old.status} -> {new.status}"
    if (old.rank_low, old.rank_high) != (new.rank_low, new.rank_high):
        yield f"rank {old.rank_low}-{old.rank_high} -> {new.rank_low}-{new.rank_high}"
    for metric, numbers in new.scores.items():
        for quantity in SHOWN:
            was = _estimate(old, metric, quantity)
            now = numbers[quantity].estimate if quantity in numbers else None
            if _differ(was, now):
                yield f"{metric} {quantity} {_text(was)} -> {_text(now)}"


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
        if old.identity.get(key) != new.identity.get(key)
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


def _read(site: Path) -> Export:
    path = site / "leaderboard.json" if site.is_dir() else site
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        found = raw.get("schema_version")
        if found != SCHEMA_VERSION:
            raise HarnessError(f"{path}: schema {found}, this is {SCHEMA_VERSION}; build the site again.")
        return Export.model_validate(raw)
    except OSError as error:
        raise HarnessError(f"{path}: {error.strerror}; give a site that harness report built.") from None
    except (ValueError, AttributeError, RecursionError, ValidationError) as error:
        first = str(error).splitlines()[0]
        raise HarnessError(f"{path}: not a leaderboard.json of this version ({first}).") from None
