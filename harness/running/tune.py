"""Choose hyper-parameters on training patients alone, with the same number of tries for every method."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, ValidationError

from harness import cohorts, seeds
from harness.cohorts.cohort import Cohort
from harness.errors import HarnessError
from harness.protocol import Protocol
from harness.running import plan
from harness.running.basis import Basis
from harness.running.paths import Paths
from harness.running.plan import Candidate, Plan, Trial
from harness.running.prepare import Prepared, find_methods, kind_of, weights_digest
from harness.store import Damaged, Store, Try, Tuned, claims, files

if TYPE_CHECKING:
    import torch

    from harness.plugin.method import Range

SHARE = 0.25
"""Share of the training patients that a try is scored on."""

FOLDER = "tuning"
"""Where tries keep their records under the folder of runs: the leaderboard does not look there."""

_DIGITS = 4  # of a value that is tried


@dataclass(frozen=True)
class Attempt:
    """One set of hyper-parameters of a method, and its trials by attribute and seed."""

    method: str
    hyper_parameters: dict[str, Any]
    trials: dict[tuple[str, int], Trial]


@dataclass(frozen=True)
class Search:
    """A tuning before its first trial."""

    budget: int
    prepared: Prepared
    candidates: Mapping[str, Candidate]
    attempts: tuple[Attempt, ...]


class Tuning(BaseModel):
    """The file that `harness tune` writes and `harness run --tuned` reads."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    protocol: str
    fixed: str
    """Digest of what the protocol holds fixed, without hyper-parameters and seeds."""
    budget: int
    seeds: tuple[int, ...]
    methods: dict[str, Tuned] = {}
    earlier: dict[str, tuple[Tuned, ...]] = {}
    """Method to what was tried of it before, with other code or with trials that failed; oldest first."""


def without_test(protocol: Protocol) -> Protocol:
    """Return the protocol that tries run under: `SHARE` of the training patients stand in for the test's."""
    split = protocol.split.model_copy(update={"tuning": SHARE})
    return protocol.model_copy(update={"name": f"{protocol.name}-tuning", "split": split})


def prepare_tuning(
    protocol: Protocol,
    names: Sequence[str],
    paths: Paths,
    where: str,
    budget: int,
    device: torch.device | None = None,
    cohort: Cohort | None = None,
) -> Search:
    """Plan `budget` tries of each method; of all methods, where no name is given.

    The protocol's test patients are left out; `SHARE` of its training patients are scored in their stead.
    `cohort`: that of `without_test`, where it was read before. Raises HarnessError as
    `harness.running.prepare.prepare` does.
    """
    inner = without_test(protocol)
    within = replace(paths, runs=paths.runs / FOLDER)
    cohort = cohort or cohorts.load(inner, paths.data, paths.cache)
    digest = weights_digest(inner, paths.cache)
    candidates, wanted, broken = find_methods(inner, names, where)
    basis = Basis.of(inner, cohort, paths.cache, digest, kind_of(device))
    trials: dict[str, Trial] = {}
    attempts = []
    for name in wanted:
        for values in points(candidates[name], budget):
            tried = dict(candidates) | {name: replace(candidates[name], hyper_parameters=values)}
            made = plan.build(basis, tried, [name])
            trials |= made.trials
            own = {(r.attribute, r.seed): made.trials[r.trial] for r in made.rows if r.method == name}
            attempts.append(Attempt(name, values, own))
    prepared = Prepared(inner, cohort, Plan(trials, ()), tuple(broken), within, basis=basis)
    return Search(budget, prepared, candidates, tuple(attempts))


def points(candidate: Candidate, budget: int) -> list[dict[str, Any]]:
    """Return what is tried: the values as they are, then a scrambled Halton sequence over the ranges.

    Halton (Numer. Math. 1960) spreads few points more evenly than chance does. A method that declares no
    range has nothing to choose and is tried once. The same method gets the same points everywhere.
    """
    from scipy.stats import qmc

    ranges = sorted(candidate.about.search.items())
    found = [dict(candidate.hyper_parameters)]
    if ranges:
        source = qmc.Halton(len(ranges), scramble=True, seed=seeds.generator("tune", candidate.plugin.name))
        for shares in source.random(budget - 1):
            moved = {
                name: _rounded(one, share, candidate.about.kinds.get(name))
                for (name, one), share in zip(ranges, shares, strict=True)
            }
            found.append(candidate.hyper_parameters | moved)
    return found


def _rounded(one: Range, share: float, kind: str | None) -> float | int:
    value = one.at(float(share))
    if kind == "int":
        return round(value)
    return min(max(float(f"{value:.{_DIGITS}g}"), one.low), one.high)


def choose(search: Search) -> tuple[dict[str, Tuned], dict[str, str]]:
    """Score every try and return what is best of each method; and why, of a method none of whose tries ended.

    Of equal scores the earlier try wins, so that a method keeps its defaults unless something beats them.
    """
    chosen: dict[str, Tuned] = {}
    failed: dict[str, str] = {}
    cohort, protocol = search.prepared.cohort, search.prepared.protocol
    patients = int(cohort.subjects["patient"].iloc[cohort.rows("test")].nunique())
    for name in dict.fromkeys(attempt.method for attempt in search.attempts):
        tries = tuple(_scored(search.prepared, a) for a in search.attempts if a.method == name)
        scores = np.array([-np.inf if one.score is None else one.score for one in tries])
        if not np.isfinite(scores).any():
            failed[name] = tries[0].error
            continue
        chosen[name] = Tuned(
            budget=search.budget,
            seeds=protocol.seeds,
            patients=patients,
            source_digest=search.candidates[name].digest,
            tries=tries,
            chosen=int(scores.argmax()),
        )
    return chosen, failed


def _scored(prepared: Prepared, attempt: Attempt) -> Try:
    store, values = prepared.store, attempt.hyper_parameters
    found: dict[str, list[float]] = {}
    for (attribute, _), trial in attempt.trials.items():
        status = store.status(trial.id)
        if status != "done":
            error = store.record(trial.id).error if status == "failed" else "not run"
            return Try(hyper_parameters=values, error=error)
        try:
            found.setdefault(attribute, []).append(_es(store, trial, prepared.cohort, attribute))
        except Damaged as error:
            return Try(hyper_parameters=values, error=str(error))
    by_attribute = {attribute: float(np.mean(scores)) for attribute, scores in found.items()}
    score = float(np.mean(list(by_attribute.values())))
    return Try(hyper_parameters=values, score=score, by_attribute=by_attribute)


def _es(store: Store, trial: Trial, cohort: Cohort, attribute: str) -> float:
    """Return the ES-Dice (sum) of the structure that ranks, over all groups however small.

    Small groups bias it downwards, by about as much for every try on the same patients.
    """
    from harness import equity
    from harness.running import scoring

    protocol, scores = trial.protocol, store.scores(trial.id)
    scored = scoring.subjects(protocol, cohort)
    scored = scored[scored["split"] == "test"]
    there = scoring.ranks(protocol, scoring.sizes(protocol, cohort).set_index("sample")[protocol.ranked_by])
    dice = scores[scores["structure"] == protocol.ranked_by].set_index("sample")["dice"]
    rows = there.reindex(scored["sample"]).to_numpy(bool)
    own = dice.reindex(scored["sample"]).to_numpy(float)[rows]
    codes = pd.Categorical(scored[attribute], categories=list(cohort.groups[attribute])).codes[rows]
    groups = np.array([own[codes == code].mean() for code in np.unique(codes[codes >= 0])])
    return float(equity.es_sum(own.mean(), groups))


def fixed(protocol: Protocol) -> str:
    """Return the digest of what tuning holds fixed: all but names, hyper-parameters and seeds."""
    left_out = {"name", "title", "description", "seeds", "methods"}
    table = protocol.model_dump(mode="json", exclude=left_out)
    table["split"].pop("tuning")
    return hashlib.sha256(json.dumps(table, sort_keys=True).encode()).hexdigest()


def read(path: Path) -> Tuning:
    """Read what `harness tune` wrote. Raises HarnessError for a file that is missing or does not fit."""
    try:
        return Tuning.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise HarnessError(f"{path}: {error.strerror}; harness tune writes this file.") from None
    except (ValidationError, UnicodeDecodeError):
        raise HarnessError(
            f"{path}: not a file of harness tune; delete it and run harness tune again, which repeats no try."
        ) from None


def read_for(path: Path, protocol: Protocol) -> dict[str, Tuned]:
    """Return method -> what was chosen. Raises HarnessError where another protocol was tuned."""
    tuning = read(path)
    if tuning.fixed != fixed(protocol):
        raise HarnessError(
            f"{path}: tuned under '{tuning.protocol}', which is not '{protocol.name}' as it is now; "
            "run harness tune under this protocol."
        )
    return tuning.methods


def write(path: Path, protocol: Protocol, search: Search, chosen: Mapping[str, Tuned]) -> list[str]:
    """Write what was chosen; methods that were tuned before, under the same conditions, stay.

    Returns the methods that were tuned otherwise before: what was tried then stays as `earlier`. Raises
    HarnessError where the file's methods had another budget or other seeds: none may be tuned more.
    """
    own = Tuning(
        protocol=protocol.name,
        fixed=fixed(protocol),
        budget=search.budget,
        seeds=protocol.seeds,
        methods=dict(chosen),
    )
    again: list[str] = []
    files.make(path.parent)
    # Two searches that end at the same time add to one file.
    with claims.held(path.with_name(f".{path.name}.lock")):
        if path.is_file():
            check_same_terms(path, protocol, search.budget)
            old = read(path)
            again = [name for name, one in chosen.items() if old.methods.get(name, one) != one]
            earlier = {name: (*old.earlier.get(name, ()), old.methods[name]) for name in again}
            own = own.model_copy(
                update={"methods": old.methods | own.methods, "earlier": old.earlier | earlier}
            )
        files.write(path, files.as_json(own))
    return again


def check_writable(path: Path) -> None:
    """Raise HarnessError where a file could not be written, before hours of training go into it."""
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if path.parent.is_file():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise HarnessError(f"{path}: {error.strerror}; give another file with --out.") from None


def check_same_terms(path: Path, protocol: Protocol, budget: int) -> None:
    """Raise HarnessError where a file is of another protocol, budget or other seeds."""
    old = read(path)
    if (old.fixed, old.budget, old.seeds) != (fixed(protocol), budget, protocol.seeds):
        raise HarnessError(
            f"{path}: its methods were tuned under '{old.protocol}' with --budget {old.budget} and seeds "
            f"{', '.join(map(str, old.seeds))}; no method may be tuned more than another, so give the same "
            "ones or another --out."
        )
