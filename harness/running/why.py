"""Say why a trial is to run: what is different from the record that comes nearest to it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from harness import identity
from harness.running.basis import Basis
from harness.running.plan import Plan, Trial
from harness.store import Record, Store

_SHOWN = 3
"""Differences that one sentence tells before it counts the rest."""


def keep_parts(store: Store, basis: Basis, plan: Plan) -> None:
    """Keep what the identities of a plan are made of, so that a later run can say what changed in it."""
    for name, digest in basis.data.items():
        store.keep_part(digest, basis.parts[name].tobytes())
    outlines = {path for trial in plan.trials.values() for path in trial.identity.get("code", {}).items()}
    for name, digest in sorted(outlines):
        text = (identity.HARNESS.parent / name).read_bytes()
        store.keep_part(digest, json.dumps(identity.outline(text, name), sort_keys=True).encode())


def reasons(store: Store, plan: Plan, basis: Basis) -> dict[str, str]:
    """Return, for each trial of the plan that has no record that is done, one sentence that says why."""
    records = store.records()
    done = {record.id for record in records if record.status == "done"}
    return {
        trial.id: _reason(store, trial, records, plan, basis)
        for trial in plan.trials.values()
        if trial.id not in done
    }


def older(records: Sequence[Record]) -> list[Record]:
    """Return the records whose identity is of an older scheme: they are kept, never taken for new ones."""
    return [record for record in records if record.identity.get("scheme") != identity.SCHEME]


def _reason(store: Store, trial: Trial, records: Sequence[Record], plan: Plan, basis: Basis) -> str:
    own = next((record for record in records if record.id == trial.id), None)
    if own is not None:
        return f"its last run failed: {own.error}"
    alike = [r for r in records if r.method.name == trial.plugin.name and r.control == trial.control]
    if not alike:
        return f"no record of {trial.plugin.name}{f' ({trial.control})' if trial.control else ''} is here"
    new = [record for record in alike if record.identity.get("scheme") == identity.SCHEME]
    if not new:
        return (
            f"its record {alike[0].id[:8]} is of an older identity scheme, which is kept and not taken for it"
        )
    told = [(list(_differences(store, record, trial, plan, basis)), record) for record in new]
    found, _ = min(told, key=lambda one: (len(one[0]), one[1].id))
    return _sentence(found)


def _sentence(found: Sequence[str]) -> str:
    rest = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return "; ".join(found[:_SHOWN]) + rest


def _differences(store: Store, record: Record, trial: Trial, plan: Plan, basis: Basis) -> Iterator[str]:
    """Yield what differs, a phrase each: what a trial is first, then data, code and libraries."""
    old: dict[str, Any] = record.identity
    new: dict[str, Any] = json.loads(json.dumps(trial.identity))
    for name in ("seed", "device", "classes", "size", "validated", "control"):
        if old.get(name) != new.get(name):
            yield f"{name} {_short(old.get(name))} -> {_short(new.get(name))}"
    yield from _attribute(old.get("attribute"), new.get("attribute"))
    for name in ("recipe", "backbone"):
        yield from (f"{name}.{change}" for change in changes(old.get(name, {}), new.get(name, {})))
    given = "hyper_parameters"
    yield from changes(old["method"].get(given, {}), new["method"].get(given, {}))
    if old["method"].get("source") != new["method"]["source"]:
        yield _source(record, trial)
    yield from _code(store, old.get("code", {}), new["code"])
    yield from (f"{change}" for change in changes(old.get("libraries", {}), new["libraries"]))
    yield from _data(store, old.get("data", {}), new["data"], basis)
    if old.get("starts_from") != new["starts_from"]:
        yield _origin(store, new["starts_from"], plan)


def _attribute(old: Any, new: Any) -> Iterator[str]:
    before, after = (one["name"] if one else None for one in (old, new))
    if before != after:
        yield f"attribute {before or 'none'} -> {after or 'none'}"
    elif old and old["groups"] != new["groups"]:
        yield f"the groups of {after} are others"
    elif old and old["codes"] != new["codes"]:
        yield f"cohort: training samples are in other groups of {after}"


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """Yield `key old -> new` for what differs between two tables, those inside them too."""
    for key in sorted(old.keys() | new.keys()):
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            yield from (f"{key}.{change}" for change in changes(before, after))
        elif before != after:
            yield f"{key} {_short(before)} -> {_short(after)}"


def _short(value: Any) -> str:
    text = "none" if value is None or value == "" else value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 24 else f"{text[:12]}..."


def _source(record: Record, trial: Trial) -> str:
    """Say which of a method's definitions changed: the text that ran stands in its record."""
    name = trial.plugin.file.name
    place = f"methods/{name}" if trial.plugin.file.parent in identity.method_folders() else name
    try:
        changed = _outlined(
            identity.outline(record.method.source.encode(), name),
            identity.outline(trial.source.encode(), name),
        )
    except (SyntaxError, UnicodeEncodeError):
        changed = ""
    return f"{place}: {changed} changed" if changed else f"{place}: a file that it imports changed"


def _outlined(old: Mapping[str, str], new: Mapping[str, str]) -> str:
    """Return the definitions in which two outlines differ, "" for none."""
    names = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
    # What stands outside of definitions lists them: a new one would be told twice.
    if len(names) > 1 and old.keys() != new.keys():
        names = [name for name in names if name]
    told = [name or "what is outside of functions and classes" for name in names]
    return ", ".join(told[:_SHOWN]) + (f" and {len(told) - _SHOWN} more" if len(told) > _SHOWN else "")


def _code(store: Store, old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[str]:
    for name in sorted(old.keys() | new.keys()):
        before, after = old.get(name), new.get(name)
        if before == after:
            continue
        if before is None or after is None:
            yield f"{name}: {'reached now' if before is None else 'no longer reached'}"
            continue
        kept = _kept(store, before)
        now = identity.outline((identity.HARNESS.parent / name).read_bytes(), name)
        changed = _outlined(kept, now) if kept else ""
        yield f"{name}: {changed} changed" if changed else f"{name} changed"


def _kept(store: Store, digest: str) -> dict[str, str]:
    """Return the outline that was kept under a digest; nothing where that is not there or damaged."""
    try:
        found = json.loads(store.part(digest) or "{}")
    except (ValueError, RecursionError):
        return {}
    return {str(name): str(one) for name, one in found.items()} if isinstance(found, dict) else {}


def _data(store: Store, old: Mapping[str, str], new: Mapping[str, str], basis: Basis) -> Iterator[str]:
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) == new.get(name):
            continue
        kept = store.part(old[name]) if name in old else None
        now = basis.parts.get(name)
        if kept is None or now is None or len(kept) % 16:
            yield f"cohort: {name} differ"
            continue
        yield f"cohort: {_samples(name, np.frombuffer(kept, np.uint8).reshape(-1, 16), now)}"


def _samples(name: str, old: np.ndarray, new: np.ndarray) -> str:
    """Say how two lists of samples differ: by how many, in their order, in their number."""
    if len(old) != len(new):
        return f"{name}: {len(old)} samples -> {len(new)}"
    if sorted(map(bytes, old)) == sorted(map(bytes, new)):
        return f"{name} are in another order"
    count = int((old != new).any(axis=1).sum())
    return f"{count} of {len(new)} {name} differ"


def _origin(store: Store, origin: str | None, plan: Plan) -> str:
    if origin is None:
        return "starts from no other trial now"
    label = plan.trials[origin].label if origin in plan.trials else origin[:8]
    return f"starts from {label}, which is {'another now' if store.has(origin) else 'to run first'}"
