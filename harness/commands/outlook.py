"""What `harness run --dry-run` shows: the trials, how many are in which state, how long they may take."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from statistics import fmean
from typing import TYPE_CHECKING, Any

from harness.errors import plain

if TYPE_CHECKING:
    import torch
    from rich.console import Console

    from harness.running.plan import Trial
    from harness.running.prepare import Prepared
    from harness.store import Record


def print_plan(
    console: Console, prepared: Prepared, slots: int, device: torch.device, retry_failed: bool, why: bool
) -> None:
    """Print a line for each trial, with `why` its reason, the counts by state, an estimate of the time."""
    from harness.running.schedule import weights_gone
    from harness.running.why import older, reasons

    store = prepared.store
    told = reasons(store, prepared.plan, prepared.basis) if why and prepared.basis is not None else {}
    states = {trial.id: _state(prepared, trial, retry_failed) for trial in prepared.plan.trials.values()}
    for trial in prepared.plan.trials.values():
        origin = f"  starts from {trial.starts_from[:8]}" if trial.starts_from else ""
        line = plain(f"{trial.id[:8]}  {states[trial.id]:7} {trial.label}{origin}")
        console.print(line, highlight=False, markup=False)
        if trial.id in told:
            console.print(f"          because: {plain(told[trial.id])}", highlight=False, markup=False)
    counts = Counter(states.values())
    listed = ", ".join(f"{counts[one]} {one}" for one in ("done", "failed", "to run") if counts[one])
    console.print(f"{len(states)} trials: {listed or 'nothing to run'}.", highlight=False)
    again = weights_gone(prepared, retry_failed)
    if again:
        console.print(
            f"{len(again)} of those that are done train again first, for the weights that others start from; "
            "their records stay as they are.",
            highlight=False,
        )
    todo = [one for one in prepared.plan.trials.values() if states[one.id] == "to run" or one.id in again]
    if counts["failed"]:
        console.print("--retry-failed runs the failed ones again.", markup=False, highlight=False)
    if todo:
        console.print(_outlook(prepared, todo, slots, device), markup=False, highlight=False)
    if kept := older(store.records()):
        console.print(
            f"{len(kept)} records here are of an older identity scheme: they are kept, and none is taken for "
            "a trial of this plan (harness list trials names them)."
        )


def as_table(prepared: Prepared, retry_failed: bool, why: bool) -> dict[str, Any]:
    """Return the same for a program: a row a trial, and the plugins that are broken."""
    from harness.running.schedule import weights_gone
    from harness.running.why import reasons

    store, again = prepared.store, weights_gone(prepared, retry_failed)
    told = reasons(store, prepared.plan, prepared.basis) if why and prepared.basis is not None else {}
    rows = [
        {
            "id": trial.id,
            "state": _state(prepared, trial, retry_failed),
            "method": trial.plugin.name,
            "control": trial.control,
            "attribute": trial.attribute,
            "seed": trial.seed,
            "starts_from": trial.starts_from,
            "again_for_its_weights": trial.id in again,
        }
        | ({"because": told[trial.id]} if trial.id in told else {})
        for trial in prepared.plan.trials.values()
    ]
    broken = [{"name": one.plugin.name, "error": one.error} for one in prepared.broken]
    return {"trials": rows, "broken": broken}


def _state(prepared: Prepared, trial: Trial, retry_failed: bool) -> str:
    status = prepared.store.status(trial.id)
    again = status == "failed" and retry_failed
    return "to run" if again or status in ("none", "damaged") else status


def _outlook(prepared: Prepared, todo: list[Trial], slots: int, device: torch.device) -> str:
    """Return how long the trials may take, a sentence or two."""
    known = _known(prepared, device)
    seconds = {trial.id: known.seconds(trial) for trial in todo}
    counted = {name: one for name, one in seconds.items() if one is not None}
    if not counted:
        return (
            "No estimate of the time: no trial of this protocol, its backbone and recipe has a record from "
            f"this machine ({known.device})."
        )
    total = str(timedelta(seconds=round(max(sum(counted.values()) / slots, _longest(todo, counted)))))
    at_once = f", {slots} at a time" if slots > 1 else ""
    rest = len(todo) - len(counted)
    missing = f"; of the other {rest} no record tells" if rest else ""
    return (
        f"About {total} for {len(counted)} of them{at_once}, by {known.records} records of this machine "
        f"({known.device}){missing}.{_embeddings(prepared, device)}"
    )


def _longest(todo: Iterable[Trial], seconds: dict[str, float]) -> float:
    """Return the seconds of the longest chain of trials that start from each other."""
    ends: dict[str, float] = {}
    for trial in todo:
        ends[trial.id] = ends.get(trial.starts_from or "", 0.0) + seconds.get(trial.id, 0.0)
    return max(ends.values())


@dataclass
class _Known:
    """What this machine's records say of trials of the same protocol, backbone and recipe."""

    device: str
    records: int = 0
    by_method: dict[tuple[str, str], list[float]] = field(default_factory=dict)

    def add(self, record: Record) -> None:
        seconds = record.cost.fit_seconds + record.cost.predict_seconds + record.cost.score_seconds
        self.records += 1
        for method in (record.method.name, ""):
            self.by_method.setdefault((_terms(record.protocol, record.identity), method), []).append(seconds)

    def seconds(self, trial: Trial) -> float | None:
        """Return the mean of the same method's trials, or else of all trials of the same terms."""
        terms = _terms(trial.protocol.name, trial.identity)
        found = self.by_method.get((terms, trial.plugin.name)) or self.by_method.get((terms, ""))
        return fmean(found) if found else None


def _known(prepared: Prepared, device: torch.device) -> _Known:
    from harness.training.device import device_name

    store = prepared.store
    known = _Known(device_name(device))
    trials = prepared.plan.trials.values()
    wanted = {_terms(trial.protocol.name, trial.identity) for trial in trials}
    cards = {trial.cards for trial in trials}
    for record in store.each_record():
        here = record.cost.device == known.device and record.environment.get("cpus") == os.cpu_count()
        here = here and record.cost.cards in cards
        ran = record.status == "done" and record.obtained == "run"
        if ran and here and _terms(record.protocol, record.identity) in wanted:
            known.add(record)
    return known


def _terms(protocol: str, identity: dict[str, Any]) -> str:
    """Return what decides how long a trial takes, as text: of another of these nothing can be told."""
    return repr([protocol, *(_plain(identity.get(part)) for part in ("size", "backbone", "recipe"))])


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return sorted((key, _plain(one)) for key, one in value.items())
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def _embeddings(prepared: Prepared, device: torch.device) -> str:
    from harness.training import embed

    protocol = prepared.protocol
    if protocol.backbone.adapt != "frozen":
        return ""
    there = embed.are_cached(protocol, prepared.cohort, prepared.paths.cache, device)
    return "" if there else " Before that the frozen backbone's embeddings are computed, once a cohort."
