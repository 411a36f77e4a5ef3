"""Protocol x methods -> a de-duplicated graph of trials, each with the hash of all it depends on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness import identity
from harness.errors import HarnessError, plain
from harness.plugin import asks
from harness.plugin.declared import About, check_hyper_parameters
from harness.plugin.discovery import Plugin
from harness.protocol import BASELINE, CHECKPOINTS, Protocol, Selection
from harness.running.basis import Basis, code_identity, identity_of
from harness.store import PlanRow, Tuned, twins

if TYPE_CHECKING:
    from harness.plugin.method import Sampler


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
    the protocol's, in the training that it starts from too; schedule: how often the epochs of each training
    are passed, where `method` is the baseline and this is its twin (`harness.store.twins`).
    """

    name: str
    method: str
    sampler: Sampler | None = None
    shuffled: bool = False
    starts_from: str | None = None
    hyper_parameters: Mapping[str, Any] = field(default_factory=dict)
    selection: Selection | None = None
    schedule: twins.Schedule = ()


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
    most: int | None = None
    """Samples of a batch whose graph is held at a time, 0 for all, None for as many as the device turns out
    to hold: this machine's affair, not the trial's."""
    cards: int = 1
    """That share its training: this machine's affair as well."""
    again: bool = False
    """Is done, and trained once more for its weights alone: its record stays as it is."""

    @property
    def finetunes(self) -> bool:
        """Whether it begins with another's weights, and so has the recipe's part for that."""
        return self.starts_from is not None and self.about.takes != "logits"

    @property
    def label(self) -> str:
        """What a person calls it: `groupdro race seed 0`, and the values that are not its defaults."""
        defaults = self.about.defaults
        set_here = [f"{k}={v}" for k, v in self.hyper_parameters.items() if v != defaults.get(k)]
        what = self.control or ", ".join(set_here)
        fold = self.protocol.split.fold
        tested = "" if fold is None else f"fold {fold[1]}"
        parts = (self.plugin.name, f"({what})" if what else "", self.attribute, f"seed {self.seed}", tested)
        return plain(" ".join(part for part in parts if part))


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
    texts = {str(path): identity.read(path) for path in identity.method_files(plugin.file)}
    digest = identity.digest_texts(texts)
    if tuned is not None:
        if tuned.source_digest != digest:
            raise HarnessError(
                f"{plugin.name}: {plugin.file.name} is not what was tuned; run harness tune again."
            )
        given |= tuned.values
    source = texts[str(plugin.file.resolve())].decode(errors="replace")
    values = check_hyper_parameters(about, plugin, given, where)
    asks.of(about, values, f"{where}: {plugin.name}")
    return Candidate(plugin, about, values, digest, source)


def build(
    basis: Basis,
    candidates: Mapping[str, Candidate],
    wanted: Iterable[str],
    controls: bool = False,
    twinned: bool = False,
) -> Plan:
    """Return the plan for the `wanted` methods and those whose weights they start from.

    `twinned`: with ERM at the schedule of each of them, a row of its own; `controls`: with what shows where
    a gain of the wanted methods comes from.
    """
    planner, protocol, wanted = _Planner(basis, candidates), basis.protocol, list(wanted)
    names = _with_origins(wanted, candidates)
    cells = [(name, "", Twin("", name)) for name in names]
    if twinned and BASELINE in candidates:
        cells += [(twin.name, "", twin) for twin in baseline_twins(names, candidates, protocol)]
    if controls:
        found = [
            (name, one) for name in wanted for one in controls_of(name, candidates[name].about, protocol)
        ]
        cells += [(f"{name}: {one.name}", name, one) for name, one in found]
    rows = [
        PlanRow(
            method=shown,
            attribute=attribute,
            seed=seed,
            trial=planner.add(twin, attribute, seed, fold),
            control_of=control_of,
            fold=fold,
        )
        for shown, control_of, twin in cells
        for attribute in protocol.attributes
        for seed in protocol.seeds
        for fold in range(protocol.split.folds)
    ]
    return Plan(planner.trials, tuple(rows))


def baseline_twins(
    names: Iterable[str], candidates: Mapping[str, Candidate], protocol: Protocol
) -> list[Twin]:
    """Return the twins of ERM that methods are compared with: one for each schedule that is not ERM's own."""
    known = {name: one.about for name, one in candidates.items()}
    schedules = dict.fromkeys(twins.schedule_of(name, known) for name in names)
    return [_twin_of(schedule) for schedule in schedules if schedule is not None and schedule != twins.PLAIN]


def _twin_of(schedule: twins.Schedule) -> Twin:
    return Twin(twins.name_of(schedule), BASELINE, schedule=schedule)


def controls_of(name: str, method: About, protocol: Protocol) -> list[Twin]:
    """Return a method's controls, from what it declares.

    A gain that survives shuffled groups is not fairness learning; one that ERM has too, given the same
    sampler or the same further steps after the same method, is the sampler's or the steps'; one that goes
    with the other rule for the checkpoint, where there are validation patients to choose it by, is the
    rule's.
    """
    found = []
    if method.reads_attribute:
        found.append(Twin("shuffled groups", name, shuffled=True))
    if method.sampler != "uniform":
        found.append(Twin(f"ERM with a {method.sampler} sampler", BASELINE, sampler=method.sampler))
    # After ERM itself it is a twin (`baseline_twins`), a row of its own.
    if method.starts_from not in (None, BASELINE):
        found.append(Twin("ERM with the same extra steps", BASELINE, starts_from=method.starts_from))
    found += [Twin(key, name, hyper_parameters=values) for key, values in method.controls.items()]
    if protocol.split.validation > 0:
        other: Selection = "last" if protocol.recipe.selection == "best-validation" else "best-validation"
        found.append(Twin(CHECKPOINTS[other], name, selection=other))
    return found


def _with_origins(wanted: Iterable[str], candidates: Mapping[str, Candidate]) -> list[str]:
    """Put the methods that others start from first, and in.

    Raises HarnessError where one starts from a method with layers of its own.
    """
    names: dict[str, None] = {}
    for name in wanted:
        chain = [name]
        while (origin := candidates[chain[-1]].about.starts_from) is not None:
            if candidates[origin].about.adapts:
                raise HarnessError(
                    f"{candidates[chain[-1]].plugin.file}: starts_from = '{origin}', which has layers of its "
                    "own that no other network has; start from a method without."
                )
            chain.append(origin)
        names.update(dict.fromkeys(reversed(chain)))
    return list(names)


class _Planner:
    def __init__(self, basis: Basis, candidates: Mapping[str, Candidate]) -> None:
        self.basis = basis
        self.candidates = candidates
        self.trials: dict[str, Trial] = {}
        self.codes: dict[tuple[str, str], dict[str, Any]] = {}

    def add(self, twin: Twin, attribute: str, seed: int, fold: int) -> str:
        """Add a trial and the one that it starts from; return its id."""
        chosen = self.candidates[twin.method]
        origin = twin.starts_from or chosen.about.starts_from
        basis = self.basis.of_fold(seed, fold)
        protocol, before = basis.protocol, Twin("", origin or "")
        if twin.schedule:
            protocol = _passed(protocol, twin.schedule)
            *earlier, _ = twin.schedule
            origin = BASELINE if earlier else None
            same = tuple(earlier)
            # Plain ERM is the method itself, and no control of it.
            before = Twin("", BASELINE) if same in ((), twins.PLAIN) else _twin_of(same)
        if twin.selection is not None:
            recipe = protocol.recipe.model_copy(update={"selection": twin.selection})
            protocol = protocol.model_copy(update={"recipe": recipe})
            before = Twin(twin.name, origin or "", selection=twin.selection)
        starts_from = None if origin is None else self.add(before, attribute, seed, fold)
        read = attribute if chosen.about.reads_attribute or twin.sampler is not None else None
        hyper_parameters = chosen.hyper_parameters | dict(twin.hyper_parameters)
        made = identity_of(
            basis,
            protocol,
            at_test=chosen.about.reads_attribute_at_test,
            method={"name": twin.method, "source": chosen.digest, "hyper_parameters": hyper_parameters},
            attribute=read,
            seed=seed,
            starts_from=starts_from,
            control=(twin.sampler, twin.shuffled),
        )
        made |= self._code(chosen, protocol)
        trial = identity.trial_id(made)
        self.trials[trial] = Trial(
            id=trial,
            protocol=protocol,
            plugin=chosen.plugin,
            about=chosen.about,
            hyper_parameters=hyper_parameters,
            attribute=read,
            seed=seed,
            starts_from=starts_from,
            identity=made,
            sampler=twin.sampler,
            shuffled=twin.shuffled,
            control=_difference(twin, self.basis.protocol),
            source=chosen.source,
        )
        return trial

    def _code(self, chosen: Candidate, protocol: Protocol) -> dict[str, Any]:
        """Return the code and the libraries of a method's trials, worked out once for all of them."""
        key = (chosen.plugin.name, protocol.recipe.selection)
        if key not in self.codes:
            found = code_identity(protocol, chosen.plugin.file)
            # The versions of what a method requires are those where it runs: in a container, maybe.
            found["libraries"] |= chosen.about.packages
            self.codes[key] = found
        return self.codes[key]


def _passed(protocol: Protocol, schedule: twins.Schedule) -> Protocol:
    """Return a protocol with the epochs of a schedule's last training passed as often as it says.

    The horizon of the learning rate goes along, its warm-up stays.
    """
    *earlier, passes = schedule
    if passes == 1:
        return protocol
    spec = protocol.recipe.finetune if earlier else protocol.recipe
    horizon = None if spec.planned_epochs is None else passes * spec.planned_epochs
    more = spec.model_copy(update={"epochs": passes * spec.epochs, "planned_epochs": horizon})
    recipe = protocol.recipe.model_copy(update={"finetune": more}) if earlier else more
    return protocol.model_copy(update={"recipe": recipe})


def _difference(twin: Twin, protocol: Protocol) -> str:
    """Return what a trial's record and label say of its control, "" for a method as it is."""
    if not twin.name or not twin.schedule:
        return twin.name
    return twins.described(twin.schedule, protocol.recipe.model_dump())
