"""Run every trial of a plan once: prepare what they share, schedule them, keep their records."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from typing import Protocol as Interface

import numpy as np
import pandas as pd

from harness import cohorts, embed, plan, plugins, weights
from harness.cohorts.cohort import Cohort
from harness.errors import HarnessError
from harness.executors.local import WorkerDied
from harness.plan import Plan, Trial
from harness.protocol import Protocol
from harness.records import BrokenPlugin, PlanRow, ProtocolRecord, Store, Tuned, write_json
from harness.trial import Paths, commit_failed, embed_shard, run_logged

Describe = Callable[[Sequence[plugins.Plugin]], tuple[dict[str, plugins.About], list[plugins.Broken]]]
RunOne = Callable[[Trial, Paths, str], str]


@dataclass(frozen=True)
class Prepared:
    """A run before its first trial: what will run, on what, and which plugins cannot."""

    protocol: Protocol
    cohort: Cohort
    plan: Plan
    broken: tuple[plugins.Broken, ...]
    paths: Paths
    tuned: Mapping[str, Tuned] = field(default_factory=dict)

    @property
    def store(self) -> Store:
        """The records that the run reads and writes."""
        return Store(self.paths.runs)


class Watcher(Interface):
    """What a run tells whoever is watching."""

    def begin(self, todo: Sequence[Trial], already: int, slots: int) -> None:
        """Before the first trial."""

    def running(self, progress: Sequence[tuple[Trial, dict[str, Any]]]) -> None:
        """A few times a second: the trials under way, each with its stage, done and total."""

    def finished(self, trial: Trial, status: str, seconds: float) -> None:
        """After each trial; status is a key of `Outcome.by_status`."""


@dataclass
class Outcome:
    """How each trial of the plan ended.

    "done"; "failed", with a record that says why; "blocked" by an origin that is not done;
    "stopped" by something that is not the method's fault, told in `errors`; "elsewhere", where
    another process is running it.
    """

    by_status: dict[str, list[Trial]] = field(default_factory=dict)
    already: int = 0
    errors: list[str] = field(default_factory=list)

    def add(self, trial: Trial, status: str) -> None:
        """Note how a trial ended."""
        self.by_status.setdefault(status, []).append(trial)

    def count(self, status: str) -> int:
        """Return how many trials ended so."""
        return len(self.by_status.get(status, []))


def prepare(
    protocol: Protocol,
    names: Sequence[str],
    paths: Paths,
    where: str,
    controls: bool = False,
    describe: Describe = plugins.describe_all,
    tuned: Mapping[str, Tuned] | None = None,
) -> Prepared:
    """Find the methods (all, where no name is given), the cohort and the plan, with controls if asked.

    `describe` imports the plugins: here, or in a sandbox; `tuned`: what `harness tune` chose. Raises
    HarnessError for a cohort, a protocol or weights that do not fit; a plugin that does not import is
    among `broken` and the rest go on.
    """
    tuned = tuned or {}
    candidates, wanted, broken = find_methods(protocol, names, where, controls, describe, tuned)
    cohort = cohorts.load(protocol, paths.data, paths.cache)
    digest = weights_digest(protocol, paths.cache)
    made = plan.build(protocol, cohort, candidates, wanted, digest, controls)
    used = {name: tuned[name] for name in candidates if name in tuned}
    return Prepared(protocol, cohort, made, tuple(broken), paths, used)


def find_methods(
    protocol: Protocol,
    names: Sequence[str],
    where: str,
    controls: bool = False,
    describe: Describe = plugins.describe_all,
    tuned: Mapping[str, Tuned] | None = None,
) -> tuple[dict[str, plan.Candidate], list[str], list[plugins.Broken]]:
    """Return the methods and what they start from, the names of those that can run, and the broken."""
    found = [plugins.find(name) for name in names] if names else list(plugins.discover().values())
    methods, broken = _describe(found, controls, describe)
    candidates = {
        name: plan.candidate(plugin, methods[name], protocol, where, (tuned or {}).get(name))
        for name, plugin in ((p.name, p) for p in found + _origins(found, methods, controls))
        if name in methods
    }
    wanted = [p.name for p in found if p.name in candidates and _runnable(p.name, candidates)]
    return candidates, wanted, broken


def execute(
    prepared: Prepared,
    executor: Executor,
    watcher: Watcher,
    slots: int,
    device: str = "auto",
    retry_failed: bool = False,
    run_one: RunOne = run_logged,
) -> Outcome:
    """Run the trials that have no record yet; return how every trial of the plan ended.

    `run_one` runs one in a process of its own: here, or in a sandbox.
    """
    outcome, todo = _sort_out(prepared, retry_failed)
    watcher.begin(todo, outcome.already, slots)
    if todo:
        _Schedule(prepared, executor, watcher, device, outcome, todo, run_one).run()
    return outcome


def embed_cohort(prepared: Prepared, executor: Executor, slots: int, device: str) -> None:
    """Compute the embeddings of a frozen backbone that are not cached yet, a shard a slot."""
    protocol, cohort, cache = prepared.protocol, prepared.cohort, prepared.paths.cache
    if protocol.backbone.adapt != "frozen" or embed.are_cached(protocol, cohort, cache):
        return
    embed.prepare(protocol, cohort, cache)
    shards = [
        executor.submit(embed_shard, protocol, prepared.paths, shard, slots, device) for shard in range(slots)
    ]
    for shard in shards:
        shard.result()
    embed.finish(protocol, cohort, cache)


def write_protocol(prepared: Prepared, command: str) -> None:
    """Write the protocol's own record; cells of methods that are not in this plan stay."""
    store, protocol, cohort = prepared.store, prepared.protocol, prepared.cohort
    digest = protocol_digest(protocol, cohort)
    rows, tuned = _merged(store, prepared, digest)
    seeds = sorted({row.seed for row in rows} | set(protocol.seeds))
    record = ProtocolRecord(
        name=protocol.name,
        digest=digest,
        protocol=protocol.model_dump(mode="json") | {"seeds": seeds},
        cohort={
            "title": cohort.title,
            "licence": cohort.licence,
            "citation": cohort.citation,
            "digest": cohort.digest,
            "publish_images": cohort.publish_images,
            "n_samples": len(cohort.subjects),
            "n_patients": int(cohort.subjects["patient"].nunique()),
        },
        groups=cohort.groups,
        command=command,
        plan=rows,
        broken=tuple(
            BrokenPlugin(name=b.plugin.name, file=b.plugin.file.name, error=b.error) for b in prepared.broken
        ),
        tuned=tuned,
    )
    with store.writing(store.root / "protocols" / protocol.name) as folder:
        write_json(folder / "protocol.json", record)
        cohort.subjects.to_parquet(folder / "subjects.parquet", index=False)
        _sizes(protocol, cohort).to_parquet(folder / "sizes.parquet", index=False)
        if cohort.publish_images:
            _write_cases(cohort, folder / "cases.npz")


def _describe(
    found: Sequence[plugins.Plugin], controls: bool, describe: Describe
) -> tuple[dict[str, plugins.About], list[plugins.Broken]]:
    methods, broken = describe(found)
    more, also_broken = describe(_origins(found, methods, controls))
    return methods | more, broken + also_broken


def _origins(
    found: Sequence[plugins.Plugin], methods: dict[str, plugins.About], controls: bool
) -> list[plugins.Plugin]:
    """Return the plugins, not among `found`, that methods start from and that controls are made of."""
    known = {plugin.name for plugin in found}
    names = {m.starts_from for m in methods.values() if m.starts_from is not None}
    names |= {plan.BASELINE} if controls else set()
    return [plugins.find(name) for name in sorted(names - known)]


def _runnable(name: str, candidates: dict[str, plan.Candidate]) -> bool:
    origin = candidates[name].about.starts_from
    return origin is None or (origin in candidates and _runnable(origin, candidates))


def weights_digest(protocol: Protocol, cache: Path) -> str:
    """Return the SHA-256 of the backbone's pretrained weights, "" where it has none."""
    name = weights.required(protocol.backbone)
    if name is None:
        return ""
    weights.find(name, cache)
    return weights.CHECKPOINTS[name].sha256


def _sort_out(prepared: Prepared, retry_failed: bool) -> tuple[Outcome, list[Trial]]:
    """Part the plan's trials into those that have a record and those that are to run."""
    store, outcome, todo = prepared.store, Outcome(), []
    for trial in prepared.plan.trials.values():
        status = store.record(trial.id).status if store.has(trial.id) else "none"
        if status == "done":
            outcome.already += 1
            outcome.add(trial, "done")
        elif status == "failed" and not retry_failed:
            outcome.add(trial, "failed")
        else:
            todo.append(trial)
    return outcome, todo


class _Schedule:
    """The trials of a run: waiting for their origin, submitted, ended."""

    def __init__(
        self,
        prepared: Prepared,
        executor: Executor,
        watcher: Watcher,
        device: str,
        outcome: Outcome,
        todo: Iterable[Trial],
        run_one: RunOne,
    ) -> None:
        self.prepared = prepared
        self.executor = executor
        self.watcher = watcher
        self.device = device
        self.outcome = outcome
        self.waiting = list(todo)
        self.run_one = run_one
        self.started: dict[str, float] = {}
        self.futures: dict[Future[str], Trial] = {}
        self.ended = {t.id: s for s, trials in outcome.by_status.items() for t in trials}

    def run(self) -> None:
        self._submit_ready()
        while self.futures:
            done, _ = wait(self.futures, timeout=0.25, return_when=FIRST_COMPLETED)
            for future in done:
                trial = self.futures.pop(future)
                self._end(trial, self._status(trial, future))
            self._submit_ready()
            self.watcher.running(self._progress())

    def _submit_ready(self) -> None:
        for trial in list(self.waiting):
            origin = "done" if trial.starts_from is None else self.ended.get(trial.starts_from)
            if origin is None:
                continue
            self.waiting.remove(trial)
            if origin == "done":
                future = self.executor.submit(self.run_one, trial, self.prepared.paths, self.device)
                self.futures[future] = trial
            else:
                self._end(trial, "blocked")

    def _status(self, trial: Trial, future: Future[str]) -> str:
        try:
            return future.result()
        except HarnessError as error:
            self.outcome.errors.append(str(error))
            return "stopped"
        except WorkerDied as error:
            commit_failed(self.prepared.store, trial, f"{trial.label}: {error}.", "")
            return "failed"

    def _end(self, trial: Trial, status: str) -> None:
        self.ended[trial.id] = status
        self.outcome.add(trial, status)
        began = self.started.get(trial.id, time.monotonic())
        self.watcher.finished(trial, status, time.monotonic() - began)

    def _progress(self) -> list[tuple[Trial, dict[str, Any]]]:
        under_way = []
        for future, trial in self.futures.items():
            if future.running():
                self.started.setdefault(trial.id, time.monotonic())
                under_way.append((trial, _read_progress(self.prepared.store, trial)))
        return under_way


def _read_progress(store: Store, trial: Trial) -> dict[str, Any]:
    try:
        read: dict[str, Any] = json.loads((store.work(trial.id) / "progress.json").read_text())
    except (OSError, json.JSONDecodeError):
        return {"stage": "starting", "done": 0, "total": 1}
    return read


def protocol_digest(protocol: Protocol, cohort: Cohort) -> str:
    """Return the SHA-256 over all that makes two boards one: what is fixed but for names and seeds."""
    fixed = protocol.model_dump(mode="json", exclude={"name", "title", "description", "seeds"})
    text = json.dumps([fixed, cohort.digest, cohort.groups], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _merged(store: Store, prepared: Prepared, digest: str) -> tuple[tuple[PlanRow, ...], dict[str, Tuned]]:
    """Return the plan's rows and tunings with those that are already there of other cells.

    Cells of a method that was tuned otherwise, or not at all, go: they would be averaged with these.
    """
    name, rows, tuned = prepared.protocol.name, prepared.plan.rows, dict(prepared.tuned)
    if name not in store.protocols() or (old := store.protocol(name)).digest != digest:
        return rows, tuned
    fresh = {(row.method, row.attribute, row.seed) for row in rows}
    again = {row.control_of or row.method for row in rows}
    changed = {method for method in again if old.tuned.get(method) != tuned.get(method)}
    kept = tuple(
        row
        for row in old.plan
        if (row.method, row.attribute, row.seed) not in fresh
        and (row.control_of or row.method) not in changed
    )
    return kept + rows, {method: one for method, one in old.tuned.items() if method not in again} | tuned


def _sizes(protocol: Protocol, cohort: Cohort) -> pd.DataFrame:
    rows = cohort.rows("test")
    masks = np.asarray(cohort.masks[rows])
    columns = {name: np.isin(masks, protocol.classes(name)).sum(axis=(1, 2)) for name in protocol.structures}
    return pd.DataFrame({"sample": cohort.subjects["sample"].to_numpy()[rows].astype(str)} | columns)


def _write_cases(cohort: Cohort, path: Path) -> None:
    rows = cohort.rows("test")
    samples = cohort.subjects["sample"].to_numpy()[rows].astype(str)
    images, masks = np.asarray(cohort.images[rows]), np.asarray(cohort.masks[rows])
    np.savez_compressed(path, samples=samples, images=images, masks=masks)
