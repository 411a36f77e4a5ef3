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

from harness import backbones, cohorts, embed, plan, plugins, weights
from harness.cohorts.cohort import Cohort
from harness.errors import HarnessError, did_you_mean, refused
from harness.executors.local import WorkerDied
from harness.plan import Plan, Trial
from harness.protocol import Protocol
from harness.records import BrokenPlugin, PlanRow, ProtocolRecord, Store, Tuned, write_json
from harness.trial import Paths, commit_failed, embed_shard, resolve_device, run_logged

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
    backbones.check_name(protocol.backbone)
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
    found = _distinct([plugins.find(n) for n in names]) if names else list(plugins.discover().values())
    _check_values(protocol, found, where)
    methods, known, broken = _describe(found, controls, describe)
    candidates = {}
    for name, about in methods.items():
        try:
            candidates[name] = plan.candidate(known[name], about, protocol, where, (tuned or {}).get(name))
        except SyntaxError as error:  # of a file that the method imports only when it runs
            broken.append(plugins.Broken(known[name], plugins.describe_error(error, known[name].file), ""))
    for name in list(candidates):
        if reason := _never_starts(name, candidates):
            broken.append(plugins.Broken(known[name], f"{known[name].file}: {reason}", ""))
    stuck = {one.plugin.name for one in broken}
    candidates = {name: one for name, one in candidates.items() if name not in stuck}
    if controls and plan.BASELINE not in candidates:
        raise HarnessError(f"--controls are made of '{plan.BASELINE}', which is broken: {broken[0].error}")
    return candidates, [p.name for p in found if p.name in candidates], broken


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
    """Compute the embeddings of a frozen backbone that are not cached yet, a shard a slot.

    Waits where another process is computing them.
    """
    protocol, cohort, cache = prepared.protocol, prepared.cohort, prepared.paths.cache
    if protocol.backbone.adapt != "frozen":
        return
    kind = resolve_device(device).type
    with embed.locked(protocol, cohort, cache, kind):
        if embed.are_cached(protocol, cohort, cache, kind):
            return
        embed.prepare(protocol, cohort, cache, kind)
        shards = [
            executor.submit(embed_shard, protocol, prepared.paths, shard, slots, device)
            for shard in range(slots)
        ]
        try:
            for shard in shards:
                shard.result()
        except WorkerDied as error:
            raise HarnessError(f"The embeddings of the frozen backbone: {error}; run again.") from None
        embed.finish(protocol, cohort, cache, kind)


def write_protocol(prepared: Prepared, command: str) -> None:
    """Write the protocol's own record; cells of methods that are not in this plan stay."""
    with prepared.store.locked(prepared.protocol.name):
        _write_protocol(prepared, command)


def _write_protocol(prepared: Prepared, command: str) -> None:
    store, protocol, cohort = prepared.store, prepared.protocol, prepared.cohort
    digest = protocol_digest(protocol, cohort)
    old = store.protocol(protocol.name) if protocol.name in store.protocols() else None
    rows, tuned = prepared.plan.rows, dict(prepared.tuned)
    if old is not None and old.digest == digest:
        rows, tuned = _merged(old, prepared)
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


def _distinct(found: Sequence[plugins.Plugin]) -> list[plugins.Plugin]:
    """Return each plugin once. Raises HarnessError for two files of one name."""
    by_name: dict[str, plugins.Plugin] = {}
    for plugin in found:
        other = by_name.setdefault(plugin.name, plugin)
        if other.file.resolve() != plugin.file.resolve():
            raise HarnessError(
                f"{other.file} and {plugin.file} are both the method '{plugin.name}'; rename one of them."
            )
    return list(by_name.values())


def _check_values(protocol: Protocol, found: Sequence[plugins.Plugin], where: str) -> None:
    """Raise HarnessError where the protocol has hyper-parameters for a method that there is not."""
    known = {plugin.name for plugin in found} | plugins.discover().keys()
    for name in protocol.methods:
        if name not in known:
            raise HarnessError(f"{where}: [methods.{name}] names no method.{did_you_mean(name, known)}")


def _describe(
    found: Sequence[plugins.Plugin], controls: bool, describe: Describe
) -> tuple[dict[str, plugins.About], dict[str, plugins.Plugin], list[plugins.Broken]]:
    """Describe plugins, what they start from, what that starts from ..., and what controls are made of."""
    methods: dict[str, plugins.About] = {}
    known: dict[str, plugins.Plugin] = {}
    broken: list[plugins.Broken] = []
    everywhere, waiting = plugins.discover(), list(found)
    if controls and plan.BASELINE not in {plugin.name for plugin in found}:
        waiting.append(plugins.find(plan.BASELINE))
    while waiting:
        known |= {plugin.name: plugin for plugin in waiting}
        described, also_broken = describe(waiting)
        methods |= described
        broken += also_broken
        origins = {about.starts_from for about in described.values()}
        waiting = [everywhere[name] for name in everywhere if name in origins and name not in known]
    return methods, known, broken


def _never_starts(name: str, candidates: Mapping[str, plan.Candidate]) -> str:
    """Return why a method has nothing to start from, "" where it has or needs nothing."""
    chain = [name]
    while (origin := candidates[chain[-1]].about.starts_from) is not None:
        if origin in chain:
            return f"starts_from leads back: {' from '.join([*chain, origin])}; name another method."
        if origin not in candidates:
            known = plugins.discover()
            said = "is broken." if origin in known else f"is no method.{did_you_mean(origin, known)}"
            return f"{chain[-1]} starts from '{origin}', which {said}"
        chain.append(origin)
    return ""


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
            try:
                return future.result()
            except WorkerDied as error:
                commit_failed(self.prepared.store, trial, f"{trial.label}: {error}.", "")
                return "failed"
        except HarnessError as error:
            self.outcome.errors.append(str(error))
        except OSError as error:
            self.outcome.errors.append(f"{refused(error)} ({trial.label}); mend it and run again.")
        except Exception as error:  # noqa: BLE001 - whatever ends one trial, the others go on
            self.outcome.errors.append(f"{trial.label}: {type(error).__name__}: {error}")
        return "stopped"

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
        read: dict[str, Any] = json.loads((store.root / "work" / trial.id / "progress.json").read_text())
    except (OSError, json.JSONDecodeError):
        return {"stage": "starting", "done": 0, "total": 1}
    return read


def protocol_digest(protocol: Protocol, cohort: Cohort) -> str:
    """Return the SHA-256 over all that makes two boards one: what is fixed but for names and seeds."""
    fixed = protocol.model_dump(mode="json", exclude={"name", "title", "description", "seeds"})
    text = json.dumps([fixed, cohort.digest, cohort.groups], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _merged(old: ProtocolRecord, prepared: Prepared) -> tuple[tuple[PlanRow, ...], dict[str, Tuned]]:
    """Return the plan's rows and tunings with those that are already there of other cells.

    Cells of a method that was tuned otherwise, or not at all, go: they would be averaged with these. Those
    that were made with other code become what is to run now; controls that are not in this plan go then.
    """
    rows, tuned = prepared.plan.rows, dict(prepared.tuned)
    fresh = {(row.method, row.attribute, row.seed) for row in rows}
    again = {row.control_of or row.method for row in rows}
    retuned = {method for method in again if old.tuned.get(method) != tuned.get(method)}
    now = [_as_of_now(row, prepared.plan) for row in old.plan]
    recoded = {row.method for row, one in zip(old.plan, now, strict=True) if one not in (None, row)}
    kept = tuple(
        one or row
        for row, one in zip(old.plan, now, strict=True)
        if (row.method, row.attribute, row.seed) not in fresh
        and (row.control_of or row.method) not in retuned
        and not (one is None and row.control_of in recoded)
    )
    return kept + rows, {method: one for method, one in old.tuned.items() if method not in again} | tuned


def _as_of_now(row: PlanRow, current: Plan) -> PlanRow | None:
    """Return a cell as the plan would fill it under the cell's seed; None for what is not in the plan."""
    for one in current.rows:
        same = (one.method, one.attribute) == (row.method, row.attribute)
        if same and one.trial in current.trials:  # a submission's trials are on the board alone
            return row.model_copy(update={"trial": _reseeded(one.trial, row.seed, current)})
    return None


def _reseeded(trial: str, seed: int, current: Plan) -> str:
    """Return the id that a trial of the plan has under another seed."""
    identity = current.trials[trial].identity
    origin = identity["starts_from"]
    before = None if origin is None else _reseeded(origin, seed, current)
    return plan.trial_id(identity | {"seed": seed, "starts_from": before})


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
