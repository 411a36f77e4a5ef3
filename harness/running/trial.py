"""One trial, top to bottom: fit, predict, score, commit."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import resource
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

# Read by cuBLAS when CUDA starts, so it must be there before torch touches a GPU.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save

from harness import backbones, cohorts, identity, metrics
from harness.backbones import weights
from harness.backbones.backbone import Backbone
from harness.cohorts.cohort import Cohort
from harness.errors import HarnessError, TrialError
from harness.metrics.score import score, write_scores
from harness.plugin import discovery
from harness.plugin.method import Method, Task
from harness.protocol import Protocol
from harness.running import provenance
from harness.running.plan import Trial
from harness.seeds import generator, seed_everything
from harness.store import CURVE, Cost, Record, Store, write_json, writing
from harness.training import embed
from harness.training.feed import Feed
from harness.training.fit import CurveRow, Job, Schedule, fit, load_trained, trained_state
from harness.training.predict import predict
from harness.training.sampling import shuffled

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Paths:
    """Where a run reads and writes: records, the cohort's own files, the cache."""

    runs: Path
    data: Path | None
    cache: Path


@dataclass(frozen=True)
class Inputs:
    """All that a method's training and prediction read.

    maps: embeddings of a frozen encoder, else none; checkpoint: the backbone's pretrained weights; origin:
    trained weights that the method starts from.
    """

    cohort: Cohort
    maps: Sequence[np.ndarray]
    checkpoint: Path | None
    origin: Path | None


@dataclass(frozen=True)
class Fitted:
    """What comes of it: class indices uint8 [n, S, S] of the test samples, the curve, cost and weights.

    state: trained weights, empty where a sandbox gave none out; sandbox: id of the image, "" outside.
    """

    labels: np.ndarray
    curve: list[CurveRow]
    cost: Cost
    state: dict[str, torch.Tensor]
    sandbox: str = ""


Fit = Callable[[Trial, Inputs, Paths, str, Path], Fitted]


def run(trial: Trial, paths: Paths, device: str = "auto", fit: Fit | None = None) -> str:
    """Run a trial and commit its record; return "done" or "failed".

    `fit` trains and predicts: here where it is None, or in a sandbox. Whatever the method raises
    becomes a failed record with its traceback. Raises HarnessError where the trial is not to blame:
    the cohort, the weights or the disk.
    """
    store = Store(paths.runs)
    work = store.work(trial.id)
    try:
        inputs = gather(trial, paths, device)
        _check_unchanged(trial, inputs.cohort)
        if fit is None:
            fitted = fit_and_predict(trial, inputs, device, work, _progress_file(work))
        else:
            fitted = fit(trial, inputs, paths, device, work)
        _progress_file(work)("scoring", 0, 1)
        started = time.monotonic()
        scores = _score(trial, inputs.cohort, fitted.labels)
        cost = fitted.cost.model_copy(update={"score_seconds": round(time.monotonic() - started, 3)})
        if fitted.state:
            _save_weights(fitted.state, store.weights(trial.id))
        _commit_done(store, trial, inputs.cohort, fitted, scores, cost)
    except (Exception, SystemExit) as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise HarnessError(
                f"{error.filename or paths.runs}: the disk is full; {trial.label} stopped and will resume "
                "from its last checkpoint once there is room."
            ) from None
        if isinstance(error, HarnessError) and not isinstance(error, TrialError):
            raise
        message = discovery.describe_error(error, trial.plugin.file)
        commit_failed(store, trial, message, traceback.format_exc())
        return "failed"
    return "done"


def run_logged(trial: Trial, paths: Paths, device: str = "auto", fit: Fit | None = None) -> str:
    """Run a trial in a process of its own, whose output goes to the trial's log.

    Returns "elsewhere" if another process has the trial's log locked: it is running it; "done" if another
    has finished it since it was planned.
    """
    store = Store(paths.runs)
    log = store.work(trial.id) / "log.txt"
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return "done" if store.is_done(trial.id) else "elsewhere"
    if store.is_done(trial.id):
        shutil.rmtree(store.work(trial.id), ignore_errors=True)
        return "done"
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    return run(trial, paths, device, fit)


def embed_shard(protocol: Protocol, paths: Paths, shard: int, shards: int, device: str) -> None:
    """Compute one shard of a frozen backbone's embeddings, in a process of its own."""
    prepare_torch(protocol.recipe.threads)
    cohort = cohorts.load(protocol, paths.data, paths.cache)
    embed.embed_shard(protocol, cohort, paths.cache, shard, shards, resolve_device(device))


def resolve_device(name: str) -> torch.device:
    """Return the device of `--device`: "auto" is a GPU where there is one.

    Raises HarnessError for a device that this machine does not have.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:
        raise HarnessError(
            f"--device {name}: {str(error).splitlines()[0]} Use --device auto or cpu."
        ) from None
    return torch.device(name)


def prepare_torch(threads: int) -> None:
    """Make torch deterministic, on as many CPU threads as the recipe says."""
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    # Filling what is about to be overwritten finds bugs in kernels, not in methods.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


def build_backbone(protocol: Protocol, seed: int, file: Path | None) -> Backbone:
    """Return the protocol's backbone with the initial weights of a seed, the same for all methods.

    `file` holds its pretrained weights, where it has some.
    """
    seed_everything("backbone", seed)
    return backbones.build(protocol.backbone, protocol.n_classes, protocol.cohort.size, file)


def gather(trial: Trial, paths: Paths, device: str = "auto") -> Inputs:
    """Return what a trial reads. Raises HarnessError for a cohort or weights that are not there."""
    protocol = trial.protocol
    cohort = cohorts.load(protocol, paths.data, paths.cache)
    name = weights.required(protocol.backbone)
    origin = None if trial.starts_from is None else Store(paths.runs).weights(trial.starts_from)
    if origin is not None and not origin.is_file():
        raise HarnessError(
            f"{origin}: the weights that {trial.label} starts from are gone; delete the record of trial "
            f"{trial.starts_from} and run it again."
        )
    return Inputs(
        cohort,
        _embeddings(protocol, cohort, paths, device) if protocol.backbone.adapt == "frozen" else [],
        None if name is None else weights.find(name, paths.cache),
        origin,
    )


def _embeddings(protocol: Protocol, cohort: Cohort, paths: Paths, device: str) -> list[np.ndarray]:
    return embed.open_embeddings(protocol, cohort, paths.cache, resolve_device(device).type)


def _check_unchanged(trial: Trial, cohort: Cohort) -> None:
    """Raise HarnessError where the cohort or the method is not what the trial's id says."""
    if cohort.digest != trial.identity["cohort"]:
        raise HarnessError(f"The cohort '{cohort.title}' has changed since this run was planned; run again.")
    _check_source(trial)


def _check_source(trial: Trial) -> None:
    try:
        same = identity.method_digest(trial.plugin.file) == trial.identity["method"]["source"]
    except (OSError, SyntaxError):
        same = False
    if not same:
        raise HarnessError(
            f"{trial.plugin.file}: it or a file that it imports has changed since this run was planned; "
            "run again."
        )


def fit_and_predict(trial: Trial, inputs: Inputs, device: str, work: Path, progress: Progress) -> Fitted:
    """Train the method and predict the test samples; resumes from a checkpoint in `work`."""
    prepare_torch(trial.protocol.recipe.threads)
    place, cohort = resolve_device(device), inputs.cohort
    backbone = build_backbone(trial.protocol, trial.seed, inputs.checkpoint).to(place)
    if inputs.origin is not None:
        load_trained(backbone, load_file(inputs.origin))
    job = _job(trial, cohort, inputs.maps, backbone, place, work, progress)
    curve, fit_seconds = fit(job)
    started = time.monotonic()
    test = Feed(cohort.images, None, inputs.maps, cohort.rows("test"), place)
    labels = predict(backbone, test, trial.protocol.cohort.size, _bfloat16(trial), progress)
    cost = Cost(
        fit_seconds=round(fit_seconds, 3),
        predict_seconds=round(time.monotonic() - started, 3),
        peak_memory_bytes=_peak_memory(place),
        device=provenance.device_name(place),
        trained_parameters=sum(p.numel() for p in backbone.parameters() if p.requires_grad),
    )
    state = {key: value.contiguous().cpu() for key, value in trained_state(backbone).items()}
    return Fitted(labels, curve, cost, state)


def _job(
    trial: Trial,
    cohort: Cohort,
    maps: Sequence[np.ndarray],
    backbone: Backbone,
    device: torch.device,
    work: Path,
    progress: Progress,
) -> Job:
    recipe = trial.protocol.recipe
    rows = cohort.rows("train")
    schedule = Schedule.of(recipe, finetunes=trial.starts_from is not None)
    codes = {name: (groups, cohort.codes(name)[rows]) for name, groups in cohort.groups.items()}
    groups, own = codes[trial.attribute] if trial.attribute else ((), np.full(len(rows), -1))
    if trial.shuffled:
        patients = cohort.subjects["patient"].to_numpy()[rows].astype(str)
        own = shuffled(own, patients, generator("shuffle", trial.attribute or "", trial.seed))
    task = Task(
        n_classes=trial.protocol.n_classes,
        n_features=backbone.n_features,
        attribute=trial.attribute,
        groups=groups,
        group_counts=tuple(int((own == code).sum()) for code in range(len(groups))),
        steps=schedule.epochs * schedule.steps_per_epoch(len(rows)),
        dice_weight=recipe.dice_weight,
    )
    return Job(
        method=_build_method(trial, task).to(device),
        backbone=backbone,
        feed=Feed(cohort.images, cohort.masks, maps, rows, device),
        recipe=recipe,
        schedule=schedule,
        groups=own,
        codes=codes,
        seed=trial.seed,
        name=trial.plugin.name,
        checkpoint=work / "checkpoint.pt",
        progress=progress,
        validate=_validator(trial, cohort, maps, device),
    )


def _build_method(trial: Trial, task: Task) -> Method:
    method = discovery.load(trial.plugin)
    # Once more, because what was loaded may be an edit; in a sandbox the host has made sure.
    if trial.identity:
        _check_source(trial)
    seed_everything("method", trial.plugin.name, trial.seed)
    built = method(task, **trial.hyper_parameters)
    if trial.sampler is not None:
        built.sampler = trial.sampler  # type: ignore[misc]
    return built


def _validator(
    trial: Trial, cohort: Cohort, maps: Sequence[np.ndarray], device: torch.device
) -> Callable[[Backbone], float] | None:
    """Return the mean Dice over validation samples and structures, as a function of the weights."""
    rows = cohort.rows("validation")
    if len(rows) == 0:
        return None
    feed = Feed(cohort.images, None, maps, rows, device)
    protocol = trial.protocol
    members = [protocol.classes(name) for name in protocol.structures]

    def validate(backbone: Backbone) -> float:
        labels = predict(backbone, feed, protocol.cohort.size, _bfloat16(trial), lambda *_: None)
        dice = [
            metrics.dice(np.isin(labels[i], classes), np.isin(cohort.masks[row], classes))
            for i, row in enumerate(rows)
            for classes in members
        ]
        return float(np.mean(dice))

    return validate


def _score(trial: Trial, cohort: Cohort, labels: np.ndarray) -> pd.DataFrame:
    rows = cohort.rows("test")
    structures = {name: trial.protocol.classes(name) for name in trial.protocol.structures}
    samples = cohort.subjects["sample"].to_numpy()[rows]
    return score(labels, np.asarray(cohort.masks[rows]), samples, structures)


def _commit_done(
    store: Store, trial: Trial, cohort: Cohort, fitted: Fitted, scores: pd.DataFrame, cost: Cost
) -> None:
    samples = cohort.subjects["sample"].to_numpy()[cohort.rows("test")].astype(str)
    with writing(store.path(trial.id)) as folder:
        write_scores(scores, folder / "scores.parquet")
        np.savez_compressed(folder / "predictions.npz", samples=samples, labels=fitted.labels)
        pd.DataFrame(fitted.curve, columns=list(CURVE)).to_csv(folder / "curve.csv", index=False)
        _copy_log(store, trial, folder, "")
        groups = cohort.groups[trial.attribute] if trial.attribute else ()
        record = _record(trial, "done", groups).model_copy(
            update={"cost": cost, "files": provenance.digests(folder)}
        )
        if fitted.sandbox:
            record.provenance["sandbox"] = fitted.sandbox
        write_json(folder / "record.json", record)
    # The record stands: what cannot be tidied away (NFS keeps an open log) must not make it a failed one.
    shutil.rmtree(store.work(trial.id), ignore_errors=True)


def commit_failed(store: Store, trial: Trial, error: str, trace: str) -> None:
    """Commit the record of a trial that failed; its checkpoint stays for `--retry-failed`."""
    with writing(store.path(trial.id)) as folder:
        _copy_log(store, trial, folder, trace)
        record = _record(trial, "failed", ()).model_copy(
            update={"error": error, "files": provenance.digests(folder)}
        )
        write_json(folder / "record.json", record)


def _record(trial: Trial, status: Any, groups: tuple[str, ...]) -> Record:
    return Record(
        id=trial.id,
        status=status,
        protocol=trial.protocol.name,
        method=provenance.method_info(trial),
        attribute=trial.attribute,
        groups=groups,
        seed=trial.seed,
        control=trial.control,
        started_from=trial.starts_from,
        identity=trial.identity,
        environment=provenance.environment(trial),
        provenance=provenance.git_state(identity.HARNESS),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _copy_log(store: Store, trial: Trial, folder: Path, trace: str) -> None:
    log = store.work(trial.id) / "log.txt"
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    (folder / "log.txt").write_text(text + trace, encoding="utf-8")


def _save_weights(state: dict[str, torch.Tensor], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(f".{os.getpid()}.part")
    aside.write_bytes(save(state))
    aside.replace(path)


def _progress_file(work: Path) -> Progress:
    """Return a callback that leaves the trial's progress in a file, a few times a second."""
    path, aside = work / "progress.json", work / "progress.part"
    last = 0.0

    def progress(stage: str, done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last > 0.3 or done == total:
            aside.write_text(json.dumps({"stage": stage, "done": done, "total": total}))
            aside.replace(path)
            last = time.monotonic()

    return progress


def _bfloat16(trial: Trial) -> bool:
    return trial.protocol.recipe.precision == "bfloat16"


def _peak_memory(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
