"""What a run needs before its first trial: the methods, the cohort, the plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness import backbones, cohorts
from harness.backbones import weights
from harness.cohorts.cohort import Cohort
from harness.errors import HarnessError, did_you_mean
from harness.plugin import declared, discovery
from harness.protocol import BASELINE, ORACLE, Protocol
from harness.running import plan
from harness.running.basis import Basis
from harness.running.paths import Paths
from harness.running.plan import Plan
from harness.store import Store, Tuned

if TYPE_CHECKING:
    import torch

Describe = Callable[[Sequence[discovery.Plugin]], tuple[dict[str, declared.About], list[discovery.Broken]]]


@dataclass(frozen=True)
class Prepared:
    """A run before its first trial: what will run, on what, and which plugins cannot."""

    protocol: Protocol
    cohort: Cohort
    plan: Plan
    broken: tuple[discovery.Broken, ...]
    paths: Paths
    tuned: Mapping[str, Tuned] = field(default_factory=dict)
    basis: Basis | None = None
    """None for what only lays out a board's rows."""
    whole: Plan | None = None
    """The plan for every attribute, where `plan` is for some."""

    @property
    def store(self) -> Store:
        """The records that the run reads and writes."""
        return Store(self.paths.runs)


def prepare(
    protocol: Protocol,
    names: Sequence[str],
    paths: Paths,
    where: str,
    controls: bool = False,
    describe: Describe = discovery.describe_all,
    tuned: Mapping[str, Tuned] | None = None,
    device: torch.device | None = None,
    attributes: Sequence[str] = (),
    cohort: Cohort | None = None,
    twinned: bool = False,
) -> Prepared:
    """Find the methods (all, where no name is given), the cohort and the plan, with controls if asked.

    `twinned`: with the ERM that each method is compared with on a board, where that is not ERM as it is.

    `describe` imports the plugins: here, or in a sandbox; `tuned`: what `harness tune` chose; `device`: the
    one that trains, None for the CPU; `attributes`: those to run, of the protocol's, all where none is
    given: the split stays that of all; `cohort`: the protocol's, where it was read before. Raises
    HarnessError for a cohort, a protocol or weights that do not fit; a plugin that does not import is among
    `broken` and the rest go on.
    """
    tuned = tuned or {}
    backbones.check_name(protocol.backbone)
    cohort = cohort or cohorts.load(protocol, paths.data, paths.cache)
    digest = weights_digest(protocol, paths.cache)
    # Last, because importing the plugins imports torch: whatever else does not fit is said before.
    candidates, wanted, broken = find_methods(protocol, names, where, controls, describe, tuned, twinned)
    basis = Basis.of(protocol, cohort, paths.cache, digest, kind_of(device))
    made = plan.build(basis, candidates, wanted, controls, twinned)
    used = {name: tuned[name] for name in candidates if name in tuned}
    own = _of_attributes(made, attributes) if attributes else made
    return Prepared(protocol, cohort, own, tuple(broken), paths, used, basis, made)


def in_slices(prepared: Prepared, most: int | None) -> Prepared:
    """Return a run whose batches go through the backbone so many samples at a time; see `Trial.most`."""
    trials = {name: replace(one, most=most) for name, one in prepared.plan.trials.items()}
    return replace(prepared, plan=replace(prepared.plan, trials=trials))


def on_cards(prepared: Prepared, cards: int) -> Prepared:
    """Return a run whose trainings are shared by so many cards each."""
    trials = {name: replace(one, cards=cards) for name, one in prepared.plan.trials.items()}
    return replace(prepared, plan=replace(prepared.plan, trials=trials))


def kind_of(device: torch.device | None) -> str:
    """Return the kind of device that an identity holds."""
    return "cpu" if device is None else str(device.type)


def _of_attributes(made: Plan, attributes: Sequence[str]) -> Plan:
    """Return the part of a plan that is about some attributes, with what its trials start from."""
    rows = tuple(row for row in made.rows if row.attribute in attributes)
    wanted: set[str] = set()
    for row in rows:
        trial: str | None = row.trial
        while trial is not None:
            wanted.add(trial)
            trial = made.trials[trial].starts_from
    return Plan({name: one for name, one in made.trials.items() if name in wanted}, rows)


def find_methods(
    protocol: Protocol,
    names: Sequence[str],
    where: str,
    controls: bool = False,
    describe: Describe = discovery.describe_all,
    tuned: Mapping[str, Tuned] | None = None,
    twinned: bool = False,
) -> tuple[dict[str, plan.Candidate], list[str], list[discovery.Broken]]:
    """Return the methods and what they start from, the names of those that can run, and the broken.

    With `controls`, or `twinned` by a method that starts from another, ERM is among them too.
    """
    found = _asked(protocol, names, where)
    _check_values(protocol, found, where)
    methods, known, broken = _describe(found, controls, twinned, describe)
    candidates = {}
    for name, about in methods.items():
        try:
            candidates[name] = plan.candidate(known[name], about, protocol, where, (tuned or {}).get(name))
        except SyntaxError as error:  # of a file that the method imports only when it runs
            broken.append(
                discovery.Broken(known[name], discovery.describe_error(error, known[name].file), "")
            )
    for name in list(candidates):
        if reason := _never_starts(name, candidates):
            broken.append(discovery.Broken(known[name], f"{known[name].file}: {reason}", ""))
    stuck = {one.plugin.name for one in broken}
    candidates = {name: one for name, one in candidates.items() if name not in stuck}
    if controls and BASELINE not in candidates:
        raise HarnessError(f"--controls are made of '{BASELINE}', which is broken: {broken[0].error}")
    return candidates, [p.name for p in found if p.name in candidates], broken


def _asked(protocol: Protocol, names: Sequence[str], where: str) -> list[discovery.Plugin]:
    """Return the methods of these names, or all; HarnessError for an oracle that is told nothing."""
    told = ORACLE in protocol.methods
    if not names:
        return [plugin for plugin in discovery.discover().values() if plugin.name != ORACLE or told]
    found = discovery.distinct([discovery.find(name) for name in names])
    if not told and any(plugin.name == ORACLE for plugin in found):
        raise HarnessError(
            f"{where}: the oracle is told the cause of the gap in [methods.{ORACLE}], and this protocol "
            "tells it none; take the protocol 'planted'."
        )
    return found


def _check_values(protocol: Protocol, found: Sequence[discovery.Plugin], where: str) -> None:
    """Raise HarnessError where the protocol has hyper-parameters for a method that there is not."""
    known = {plugin.name for plugin in found} | discovery.discover().keys()
    for name in protocol.methods:
        if name not in known:
            raise HarnessError(f"{where}: [methods.{name}] names no method.{did_you_mean(name, known)}")


def _describe(
    found: Sequence[discovery.Plugin], controls: bool, twinned: bool, describe: Describe
) -> tuple[dict[str, declared.About], dict[str, discovery.Plugin], list[discovery.Broken]]:
    """Describe plugins, what they start from, what that starts from ..., and what controls are made of."""
    methods: dict[str, declared.About] = {}
    known: dict[str, discovery.Plugin] = {}
    broken: list[discovery.Broken] = []
    everywhere, waiting = discovery.discover(), list(found)
    if controls and BASELINE not in {plugin.name for plugin in found}:
        waiting.append(discovery.find(BASELINE))
    while waiting:
        known |= {plugin.name: plugin for plugin in waiting}
        described, also_broken = describe(waiting)
        methods |= described
        broken += also_broken
        origins = {about.starts_from for about in described.values()}
        if twinned and any(one.starts_from or one.passes != 1 for one in described.values()):
            origins.add(BASELINE)
        waiting = [everywhere[name] for name in everywhere if name in origins and name not in known]
    return methods, known, broken


def _never_starts(name: str, candidates: Mapping[str, plan.Candidate]) -> str:
    """Return why a method has nothing to start from, "" where it has or needs nothing."""
    chain = [name]
    while (origin := candidates[chain[-1]].about.starts_from) is not None:
        if origin in chain:
            return f"starts_from leads back: {' from '.join([*chain, origin])}; name another method."
        if origin not in candidates:
            known = discovery.discover()
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
    return weights.digest(name, cache)
