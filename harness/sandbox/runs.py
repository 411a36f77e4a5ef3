"""Trials and plugins in the sandbox: what `harness run --sandbox docker` puts in place of its own."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import threading
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, ValidationError

from harness import identity
from harness.backbones.backbone import Backbone
from harness.errors import HarnessError, TrialError, plain
from harness.plugin import declared, discovery, written
from harness.plugin.asks import PLAIN
from harness.plugin.declared import About
from harness.plugin.discovery import Broken, Plugin
from harness.plugin.method import Card, Range
from harness.protocol import BASELINE
from harness.running import trial
from harness.running.plan import Trial
from harness.running.trial import Fitted, Paths
from harness.sandbox import boxed, container, engine, reaping, results, staging
from harness.sandbox.inside import INSIDE
from harness.sandbox.limits import TIMES_BASELINE, Limits, seconds_from
from harness.sandbox.remote import START_SECONDS, Remote
from harness.sandbox.wire import BadResult, decode
from harness.store import Cost, Store, files, leases, values
from harness.training import pace, side
from harness.training.device import device_name
from harness.training.fit import trained_state
from harness.training.side import Assignment
from harness.training.together import ALONE, Cards
from harness.training.train import Inputs, build_backbone, load_origin

STARTS = 60
"""Seconds that a model of its own has on top of its share of ERM's time, for a container to start."""

_DESCRIBE_SECONDS = 120
_DESCRIBE_BYTES = 2 * results.SMALL_HEADER


@dataclass(frozen=True)
class Sandbox:
    """How a run sandboxes.

    flavour: of the image, cpu or cuda; label: the run's own, on its containers.
    """

    flavour: str
    limits: Limits
    cache: Path
    label: str

    @classmethod
    def here(cls, device: torch.device, cache: Path, limits: Limits) -> Sandbox:
        """Return the sandbox of a new run. Raises HarnessError where there is no engine or no image."""
        flavour = device.type
        engine.image(engine.connect(), flavour)
        reaping.reap()
        reaping.reap_containers()
        return cls(flavour, limits, cache, uuid.uuid4().hex)

    def describe(self, found: Sequence[Plugin]) -> tuple[dict[str, About], list[Broken]]:
        """Import plugins, each in a container of its own; what they say is cached by source and image."""
        # Not in the threads: two that parse Python at a time crash its parser (CPython 3.11).
        images = [self._image(plugin) for plugin in found]
        with ThreadPoolExecutor(2) as pool:
            said = list(pool.map(self._describe, found, images))
        abouts = {p.name: one for p, one in zip(found, said, strict=True) if isinstance(one, About)}
        return abouts, [one for one in said if isinstance(one, Broken)]

    def run_logged(self, one: Trial, paths: Paths, device: torch.device) -> str:
        """Run a trial in a process of its own and its method in a container; see `trial.run_logged`."""
        return trial.run_logged(one, paths, device, self.fit)

    def remove_all(self) -> None:
        """Remove the containers that an interrupted run has left."""
        container.remove_all(self.label)

    def fit(
        self, one: Trial, inputs: Inputs, paths: Paths, device: torch.device, work: Path, group: Cards = ALONE
    ) -> Fitted:
        """Train and predict: here, with the loss in a container; all in it for who trains an own model.

        Raises TrialError, one sentence, where the container died or what came out of it is not what is due.
        """
        image = engine.image(engine.connect(), self.flavour, written.requirements(one.plugin.file))
        if not one.about.trains_own_model:
            return self._asked(one, inputs, paths, device, image, work, group)
        if group.count > 1:
            raise HarnessError(
                f"--cards {group.count}: {one.plugin.name} trains a model of its own, in a container that "
                "has one card; leave --cards out for it."
            )
        return self._whole(one, inputs, device, image)

    def _asked(
        self,
        one: Trial,
        inputs: Inputs,
        paths: Paths,
        device: torch.device,
        image: str,
        work: Path,
        group: Cards,
    ) -> Fitted:
        """Train in this process and ask a method in a container for losses; resumes from a checkpoint."""
        where, threads = f"{one.plugin.file.name}, in the sandbox", one.protocol.recipe.threads
        limits = self.limits_of(one, paths, device)
        with leases.leased(reaping.JOB) as folder:
            mounts, file = staging.stage_plugin(one.plugin, folder)

            def run(path: Path, stop: threading.Event) -> container.Ended:
                seen, command = mounts | {"line": path}, ["serve", f"{INSIDE}/line"]
                gpu = gpu_of(device)
                return container.execute(
                    command, seen, image, limits, 0, threads, gpu, self.label, folder, stop
                )

            with boxed.opened(run) as (box, door):
                try:
                    line = box.accept(door, where, START_SECONDS)

                    def make(told: Assignment) -> Remote:
                        return Remote(line, told, file, where, limits, box.why)

                    told = trial.progress_file(work)
                    trained = trial.train_with(one, make, inputs, device, work, told, group)
                finally:
                    ended = box.close()
                    _print(ended)
        cost = trial.cost_of(trained, device)
        memory = cost.peak_memory_bytes + (0 if device.type == "cuda" else ended.memory)
        cost = cost.model_copy(update={"peak_memory_bytes": memory})
        return Fitted(
            trained.labels, trained.curve, cost, trained.state, image, "by the harness", trained.most
        )

    def _whole(self, one: Trial, inputs: Inputs, device: torch.device, image: str) -> Fitted:
        """Train and predict in a container, from the start: an interrupted container is not resumed."""
        protocol = one.protocol
        backbone = build_backbone(
            protocol.backbone, protocol.n_classes, protocol.cohort.size, one.seed, inputs.checkpoint
        )
        # Of a network with layers of the method's own nobody here knows what its weights are to be.
        expected = {} if one.about.adapts else trained_state(backbone)
        if inputs.origin is not None:
            load_origin(backbone, inputs.origin)  # here, because what is damaged is not the method's fault
        with leases.leased(reaping.JOB) as folder:
            # The container's one GPU is the first that it sees.
            mounts = staging.stage_trial(one, inputs, self.cache, device.type, folder)
            most = results.most_bytes(one, inputs.cohort, expected)
            threads = one.protocol.recipe.threads
            gpu = gpu_of(device)
            limits = self.ceiling(one, inputs, device)
            ended = container.execute(["run"], mounts, image, limits, most, threads, gpu, self.label, folder)
        _print(ended)
        where = f"{one.plugin.file.name}, in the sandbox"
        try:
            if ended.reason:
                raise TrialError(f"{where}: {ended.reason}.")
            if error := results.error_of(ended.out, results.most_header(one, inputs.cohort)):
                raise TrialError(f"{where}: {error}")
            fitted = results.read(ended.out, one, inputs.cohort, expected)
            cost = _measured(ended, fitted.cost, device, None if one.about.adapts else backbone)
            return replace(fitted, cost=cost, sandbox=image, trained="by itself")
        except BadResult as error:
            raise TrialError(f"{where}: {error}.") from None

    def limits_of(self, one: Trial, paths: Paths, device: torch.device) -> Limits:
        """Return the limits of a trial: where no time was given, one that follows from the baseline's here.

        That is the longest of its trainings under the same protocol on the same device, on as many, that ran
        here: a submitter's word of it counts nothing.
        """
        if self.limits.seconds is not None:
            return self.limits
        alike = [
            record.cost.fit_seconds
            for record in Store(paths.runs).records()
            if (record.method.name, record.protocol) == (BASELINE, one.protocol.name)
            and (record.status, record.obtained) == ("done", "run")
            and (record.cost.device, record.cost.cards) == (device_name(device), one.cards)
        ]
        return replace(self.limits, seconds=seconds_from(alike))

    def ceiling(self, one: Trial, inputs: Inputs, device: torch.device) -> Limits:
        """Return the limits, with the time that ERM's on this machine, measured now, allows an own model."""
        erm = discovery.load(discovery.find(BASELINE))
        told = replace(
            trial.setting(one),
            name=BASELINE,
            hyper_parameters={},
            attribute=None,
            at_test=False,
            sampler="uniform",
            asks=PLAIN,
        )
        took = pace.seconds(told, functools.partial(side.build, erm), inputs, device)
        most = round(TIMES_BASELINE * took + STARTS)
        if self.limits.seconds is not None and self.limits.seconds <= most:
            return self.limits
        why = f", {TIMES_BASELINE} times what ERM takes on this machine and {STARTS} s to start"
        return replace(self.limits, seconds=most, reckoned=why)

    def _image(self, plugin: Plugin) -> str | Broken:
        try:
            return engine.image(engine.connect(), self.flavour, written.requirements(plugin.file))
        except (SyntaxError, OSError, HarnessError) as error:
            return Broken(plugin, discovery.describe_error(error, plugin.file), "")

    def _describe(self, plugin: Plugin, image: str | Broken) -> About | Broken:
        if isinstance(image, Broken):
            return image
        try:
            path = self.cache / "sandbox" / f"about-{_key(plugin, image)}.json"
            known = _known(path)
            if known is not None:
                _check_declared(known, plugin)
                return known
            said = self._ask(plugin, image)
            about = _about(said)
            _check_declared(about, plugin)
        except (SyntaxError, OSError, BadResult, HarnessError) as error:
            return Broken(plugin, discovery.describe_error(error, plugin.file), "")
        files.make(path.parent)
        files.write(path, json.dumps(said).encode())
        return about

    def _ask(self, plugin: Plugin, image: str) -> object:
        limits = Limits(
            memory=self.limits.memory,
            seconds=min(self.limits.seconds or _DESCRIBE_SECONDS, _DESCRIBE_SECONDS),
        )
        with leases.leased(reaping.JOB) as folder:
            mounts, file = staging.stage_plugin(plugin, folder)
            ended = container.execute(
                ["describe", file], mounts, image, limits, _DESCRIBE_BYTES, 1, label=self.label, lease=folder
            )
        if ended.reason:
            raise TrialError(f"{plugin.file.name}, in the sandbox: {ended.reason}.")
        if error := results.error_of(ended.out, results.SMALL_HEADER):
            raise TrialError(f"{plugin.file.name}, in the sandbox: {error}")
        header, _ = decode(ended.out, results.SMALL_HEADER)
        return header.get("about")


def _print(ended: container.Ended) -> None:
    # This process's output is the trial's log, which a person may well print.
    print(plain(ended.log.replace("\r", "\n"), "\n\t"), flush=True)  # noqa: T201


def gpu_of(device: torch.device) -> str:
    """Return the number or UUID by which the engine knows this process's device, "" for a CPU."""
    if device.type != "cuda":
        return ""
    index = device.index or 0
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return visible.split(",")[index] if visible else str(index)


def _measured(ended: container.Ended, told: Cost, device: torch.device, backbone: Backbone | None) -> Cost:
    """Return a trial's cost as seen from outside: a method inside can turn back every clock there.

    Starting up and predicting count as training. Only the peak of a GPU's memory is as it was told, and how
    many weights were trained where the network (None) has layers of the method's own.
    """
    return Cost(
        fit_seconds=round(ended.seconds, 3),
        peak_memory_bytes=told.peak_memory_bytes if device.type == "cuda" else ended.memory,
        device=device_name(device),
        trained_parameters=told.trained_parameters
        if backbone is None
        else sum(p.numel() for p in backbone.parameters() if p.requires_grad),
    )


class _Card(BaseModel):
    model_config = ConfigDict(extra="forbid", str_max_length=2_000)

    title: str
    authors: str
    paper: str
    url: str
    licence: str


class _Range(BaseModel):
    model_config = ConfigDict(extra="forbid")

    low: float
    high: float
    log: bool


class _Said(BaseModel):
    """What a plugin in a container may say of itself."""

    model_config = ConfigDict(extra="forbid", str_max_length=200)

    card: _Card
    defaults: dict[str, bool | int | float | str | None]
    kinds: dict[str, str]
    reads_attribute: bool
    starts_from: str | None
    sampler: Literal["uniform", "group-balanced"]
    trains_own_model: bool
    reads_attribute_at_test: bool
    adapts: bool
    controls: dict[str, dict[str, bool | int | float | str | None]]
    search: dict[str, _Range]
    packages: dict[str, str]
    takes: Literal["weights", "logits", "both"]
    sharpness: str | None
    averages_from: str | None
    weighs_samples: bool
    mixes: bool


def _about(said: object) -> About:
    """Return what a plugin said of itself. Raises BadResult where a field is not what it must be."""
    try:
        found = _Said.model_validate(said)
        search = {name: Range(one.low, one.high, one.log) for name, one in found.search.items()}
    except ValidationError as error:
        key = ".".join(map(str, error.errors()[0]["loc"]))
        raise BadResult(f"what it says of itself does not fit: {key}: {error.errors()[0]['msg']}") from None
    except ValueError as error:
        raise BadResult(f"what it says of itself does not fit: search: {error}") from None
    about = About(**(found.model_dump() | {"card": Card(**found.card.model_dump()), "search": search}))
    try:
        values.check({"defaults": about.defaults, "controls": about.controls})
        declared.check_texts(about, Plugin("method", Path("method.py")))
        declared.check_asked(about, Plugin("method", Path("method.py")))
    except (HarnessError, ValueError) as error:
        raise BadResult(f"what it says of itself does not fit: {error}") from None
    return about


def _check_declared(about: About, plugin: Plugin) -> None:
    """Raise BadResult where a plugin says another tier or track than its source, which is read here."""
    declared = written.reads_at_test(identity.read(plugin.file), str(plugin.file))
    if about.reads_attribute_at_test is not declared:
        raise BadResult("what it says of reads_attribute_at_test is not what its source says")
    if (declared or about.adapts) and not about.trains_own_model:
        raise BadResult("it has what only trains_own_model = True may have, and says that it does not")


def _known(path: Path) -> About | None:
    """Return what a plugin said before; None where that is not there or damaged: it is asked again."""
    if not path.is_file():
        return None
    try:
        return _about(json.loads(path.read_bytes()))
    except (ValueError, RecursionError):
        return None


def _key(plugin: Plugin, image: str) -> str:
    text = f"{image} {staging.inside_digest()} {identity.method_digest(plugin.file)} {plugin.file.name}"
    return hashlib.sha256(text.encode()).hexdigest()[:20]
