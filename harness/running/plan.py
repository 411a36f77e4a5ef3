"""Protocol x methods -> a de-duplicated graph of trials, each with the hash of all it depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import harness
from harness import identity
from harness.cohorts.cohort import Cohort
from harness.errors import HarnessError
from harness.plugin.discovery import About, Plugin, check_hyper_parameters
from harness.protocol import BASELINE, CHECKPOINTS, Protocol, Selection
from harness.store import PlanRow, Tuned

if TYPE_CHECKING:
    from harness.plugin.method import Sampler

# The libraries whose arithmetic ends up in a result.
LIBRARIES = (
    "numpy",
    "scipy",
    "segment-anything",
    "segmentation-models-pytorch",
    "timm",
    "torch",
    "torchvision",
)


@dataclass(frozen=True)
class Candidate:
    """A method that is to run: where it is from, what it says of itself, its hyper-parameters.

    digest: of its file and the local modules it imports; source: text of the file.
    """

    plugin: Plugin
    about: About
    hyper_parameters: dict[str, Any]
    digest: str
    source: str


@dataclass(frozen=True)
class Twin:
    """A control: trained as `method` is, but for one thing, to tell what that thing is worth.

    sampler and starts_from: instead of the method's own; shuffled: group labels dealt anew to the
    training patients; hyper_parameters: on top of the method's; selection: of the checkpoint, instead of
    the protocol's, in the training that it starts from too.
    """

    name: str
    method: str
    sampler: Sampler | None = None
    shuffled: bool = False
    starts_from: str | None = None
    hyper_parameters: Mapping[str, Any] = field(default_factory=dict)
    selection: Selection | None = None


@dataclass(frozen=True)
class Trial:
    """One method x attribute x seed under a protocol; `attribute` is None if it is not read."""

    id: str
    protocol: Protocol
    plugin: Plugin
    about: About = field(repr=False)
    hyper_parameters: dict[str, Any]
    attribute: str | None
    seed: int
    starts_from: str | None
    identity: dict[str, Any] = field(repr=False)
    sampler: Sampler | None = None
    shuffled: bool = False
    control: str = ""
    """Of a twin, what is different: `shuffled groups`."""
    source: str = field(default="", repr=False)
    """Text of the method's file when the trial was planned."""

    @property
    def label(self) -> str:
        """What a person calls it: `groupdro race seed 0`, and the values that are not its defaults."""
        defaults = self.about.defaults
        set_here = [f"{k}={v}" for k, v in self.hyper_parameters.items() if v != defaults.get(k)]
        what = self.control or ", ".join(set_here)
        parts = (self.plugin.name, f"({what})" if what else "", self.attribute, f"seed {self.seed}")
        return " ".join(part for part in parts if part)


@dataclass(frozen=True)
class Plan:
    """The trials in an order in which they can run, and the cells of the board that they fill."""

    trials: dict[str, Trial]
    rows: tuple[PlanRow, ...]


def candidate(
    plugin: Plugin, about: About, protocol: Protocol, where: str, tuned: Tuned | None = None
) -> Candidate:
    """Return a method with the hyper-parameters that tuning or else the protocol gives it.

    Raises HarnessError for hyper-parameters that the method does not have, and for a method that has
    changed since it was tuned.
    """
    given = dict(protocol.methods.get(plugin.name, {}))
    texts = {str(path): path.read_bytes() for path in identity.method_files(plugin.file)}
    digest = identity.digest_texts(texts)
    if tuned is not None:
        if tuned.source_digest != digest:
            raise HarnessError(
                f"{plugin.name}: {plugin.file.name} is not what was tuned; run harness tune again."
            )
        given |= tuned.values
    source = texts[str(plugin.file.resolve())].decode(errors="replace")
    return Candidate(plugin, about, check_hyper_parameters(about, plugin, given, where), digest, source)


def build(
    protocol: Protocol,
    cohort: Cohort,
    candidates: Mapping[str, Candidate],
    wanted: Iterable[str],
    weights_digest: str,
    controls: bool = False,
) -> Plan:
    """Return the plan for the `wanted` methods and those whose weights they start from.

    With `controls`, also for the twins of the wanted methods.
    """
    planner = _Planner(protocol, cohort, candidates, weights_digest)
    wanted = list(wanted)
    cells = [(name, Twin("", name)) for name in _with_origins(wanted, candidates)]
    if controls:
        cells += [(name, twin) for name in wanted for twin in twins(name, candidates[name].about, protocol)]
    rows = [
        PlanRow(
            method=f"{name}: {twin.name}" if twin.name else name,
            attribute=attribute,
            seed=seed,
            trial=planner.add(twin, attribute, seed),
            control_of=name if twin.name else "",
        )
        for name, twin in cells
        for attribute in protocol.attributes
        for seed in protocol.seeds
    ]
    return Plan(planner.trials, tuple(rows))


def twins(name: str, method: About, protocol: Protocol) -> list[Twin]:
    """Return a method's controls, from what it declares.

    A gain that survives shuffled groups is not fairness learning; one that ERM has too, given the same
    sampler or the same further steps, is the sampler's or the steps'; one that goes with the other rule
    for the checkpoint, where there are validation patients to choose it by, is the rule's.
    """
    found = []
    if method.reads_attribute:
        found.append(Twin("shuffled groups", name, shuffled=True))
    if method.sampler != "uniform":
        found.append(Twin(f"ERM with a {method.sampler} sampler", BASELINE, sampler=method.sampler))
    if method.starts_from is not None:
        found.append(Twin("ERM with the same extra steps", BASELINE, starts_from=method.starts_from))
    found += [Twin(key, name, hyper_parameters=values) for key, values in method.controls.items()]
    if protocol.split.validation > 0:
        other: Selection = "last" if protocol.recipe.selection == "best-validation" else "best-validation"
        found.append(Twin(CHECKPOINTS[other], name, selection=other))
    return found


def _with_origins(wanted: Iterable[str], candidates: Mapping[str, Candidate]) -> list[str]:
    """Put the methods that others start from first, and in."""
    names: dict[str, None] = {}
    for name in wanted:
        chain = [name]
        while (origin := candidates[chain[-1]].about.starts_from) is not None:
            chain.append(origin)
        names.update(dict.fromkeys(reversed(chain)))
    return list(names)


class _Planner:
    def __init__(
        self,
        protocol: Protocol,
        cohort: Cohort,
        candidates: Mapping[str, Candidate],
        weights_digest: str,
    ) -> None:
        self.protocol = protocol
        self.cohort = cohort
        self.candidates = candidates
        self.common = common_identity(protocol, cohort, weights_digest)
        self.trials: dict[str, Trial] = {}

    def add(self, twin: Twin, attribute: str, seed: int) -> str:
        """Add a trial and the one that it starts from; return its id."""
        chosen = self.candidates[twin.method]
        origin = twin.starts_from or chosen.about.starts_from
        protocol, before = self.protocol, Twin("", origin or "")
        if twin.selection is not None:
            recipe = protocol.recipe.model_copy(update={"selection": twin.selection})
            protocol = protocol.model_copy(update={"recipe": recipe})
            before = Twin(twin.name, origin or "", selection=twin.selection)
        starts_from = None if origin is None else self.add(before, attribute, seed)
        read = attribute if chosen.about.reads_attribute or twin.sampler is not None else None
        hyper_parameters = chosen.hyper_parameters | dict(twin.hyper_parameters)
        identity = self.common | own_identity(
            protocol,
            self.cohort,
            method={"name": twin.method, "source": chosen.digest, "hyper_parameters": hyper_parameters},
            attribute=read,
            seed=seed,
            starts_from=starts_from,
        )
        identity["libraries"] = self.common["libraries"] | chosen.about.packages
        if twin.sampler is not None or twin.shuffled:
            identity["control"] = {"sampler": twin.sampler, "shuffled": twin.shuffled}
        trial = trial_id(identity)
        self.trials[trial] = Trial(
            id=trial,
            protocol=protocol,
            plugin=chosen.plugin,
            about=chosen.about,
            hyper_parameters=hyper_parameters,
            attribute=read,
            seed=seed,
            starts_from=starts_from,
            identity=identity,
            sampler=twin.sampler,
            shuffled=twin.shuffled,
            control=twin.name,
            source=chosen.source,
        )
        return trial


def trial_id(identity: dict[str, Any]) -> str:
    """Return the id of a trial with this identity: the first 20 digits of the SHA-256 of its JSON."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:20]


def common_identity(protocol: Protocol, cohort: Cohort, weights_digest: str) -> dict[str, Any]:
    """Return the part of the identity that all trials of a protocol share on this machine."""
    return {
        "harness": {"version": harness.__version__, "engine": identity.engine_digest()},
        "libraries": versions(LIBRARIES),
        "cohort": cohort.digest,
        "structures": {name: protocol.classes(name) for name in protocol.structures},
        "backbone": protocol.backbone.model_dump() | {"weights": weights_digest},
    }


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the version of each package that is installed here, "none" for one that is not."""
    return {name: _version(name) for name in packages}


def own_identity(
    protocol: Protocol,
    cohort: Cohort,
    method: dict[str, Any],
    attribute: str | None,
    seed: int,
    starts_from: str | None,
) -> dict[str, Any]:
    """Return the part of the identity that is one trial's own.

    method: `name`, `source` (its digest) and `hyper_parameters`; attribute: None where it is not read.
    """
    return {
        "recipe": _recipe(protocol, finetunes=starts_from is not None),
        "method": method,
        "attribute": None if attribute is None else _attribute_identity(cohort, attribute),
        "seed": seed,
        "starts_from": starts_from,
    }


def _recipe(protocol: Protocol, finetunes: bool) -> dict[str, Any]:
    """Return what is hashed of the recipe: the fine-tuning part only for who fine-tunes."""
    return protocol.recipe.model_dump(exclude=None if finetunes else {"finetune"})


def _attribute_identity(cohort: Cohort, attribute: str) -> dict[str, Any]:
    codes = cohort.codes(attribute)[cohort.rows("train")]
    groups = cohort.groups[attribute]
    return {"name": attribute, "groups": groups, "codes": hashlib.sha256(codes.tobytes()).hexdigest()}


def _version(package: str) -> str:
    try:
        return version(package)
    except (PackageNotFoundError, ValueError):
        return "none"
