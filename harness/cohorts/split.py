"""Split a cohort into training, validation and test by patient, balanced over every attribute."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType

import numpy as np
import pandas as pd

from harness import seeds
from harness.cohorts.cohort import SPLITS
from harness.errors import HarnessError, did_you_mean
from harness.protocol import SplitSpec

LEFT_OUT = "left out"
"""The split of the test samples where hyper-parameters are chosen: nothing reads them."""

_Stratum = tuple[tuple[str, str | None], ...]


def make_split(
    samples: pd.DataFrame,
    groups: Mapping[str, tuple[str, ...]],
    spec: SplitSpec,
    place: Callable[[int], str] = lambda row: "",
    spellings: Mapping[str, Collection[str]] = MappingProxyType({}),
) -> np.ndarray:
    """Return each sample's split, one of SPLITS: object [N].

    Where `spec.tuning` is above 0, test samples are LEFT_OUT instead and training patients are "test".
    In folds, all are "test", and where `spec.fold` is given, those that it trains on are "train".
    `samples` has `sample`, `patient`, `split` (the source's own, or missing throughout) and a
    column per attribute; `place` says where a row of it is to be mended; `spellings`: groups of an attribute
    that are one with another, and may be in one split alone. A source's own split stands,
    but validation is cut from its training patients where it has none and the protocol asks for one.
    Raises HarnessError for a split that tears a patient apart or leaves a group without training or test
    samples.
    """
    strata = _strata(samples, sorted(groups))
    own = bool(samples["split"].notna().any())
    if spec.folds > 1:
        return _in_folds(samples, strata, groups, spec, own)
    assigned = _own_split(samples, place) if own else _hold_out(strata, spec.test, "test", spec.seed)
    if spec.tuning:
        assigned |= _tuning_split(assigned, strata, spec)
    if spec.validation and "validation" not in assigned.values():
        training = {patient: strata[patient] for patient, split in assigned.items() if split == "train"}
        assigned |= _hold_out(training, spec.validation, "validation", spec.seed)
    split = samples["patient"].map(assigned).to_numpy(dtype=object)
    checked = {
        name: tuple(one for one in order if one not in spellings.get(name, ()))
        for name, order in groups.items()
    }
    _check(samples, split, checked, own, "tuning" if spec.tuning else "test")
    return split


def _in_folds(
    samples: pd.DataFrame,
    strata: Mapping[str, _Stratum],
    groups: Mapping[str, tuple[str, ...]],
    spec: SplitSpec,
    own: bool,
) -> np.ndarray:
    """Return the split of one fold, or of all together, in which every patient is a test patient."""
    if own:
        raise HarnessError(
            "[split] folds deals the patients itself, and this cohort has a split of its own; take its "
            "column 'split' out, or folds."
        )
    if spec.tuning:
        raise HarnessError(
            "[split] folds tests every patient, so none is left to choose hyper-parameters on; tune under a "
            "protocol without folds."
        )
    for attribute, names in groups.items():
        for name in names:
            patients = samples.loc[samples[attribute] == name, "patient"].nunique()
            if patients < 2:
                raise HarnessError(
                    f"The group '{name}' of the attribute '{attribute}' has one patient, whom one fold tests "
                    f"and does not train on: merge it with another in [attributes.{attribute}]."
                )
    if len(strata) < spec.folds:
        raise HarnessError(
            f"[split] folds = {spec.folds}: there are {len(strata)} patients; take fewer folds."
        )
    assigned = dict.fromkeys(strata, "test")
    if spec.fold is not None:
        seed, tested = spec.fold
        dealt = deal(strata, spec.folds, seeds.derive("folds", spec.seed, seed))
        assigned = {patient: "test" if fold == tested else "train" for patient, fold in dealt.items()}
        if spec.validation:
            training = {patient: strata[patient] for patient, split in assigned.items() if split == "train"}
            assigned |= _hold_out(training, spec.validation, "validation", spec.seed)
    return np.asarray(samples["patient"].map(assigned).to_numpy(dtype=object))


def deal(strata: Mapping[str, _Stratum], folds: int, seed: int) -> dict[str, int]:
    """Return each patient's fold, 0 to folds - 1.

    Minimisation as in `_hold_out`, with a fold an arm: patients of the rarest groups first and by hash
    within; each goes where fewest of its groups (unknown being one), of their combination and of all are, a
    margin of n patients weighing 1/n. So a group is spread over the folds as evenly as its size allows.
    """
    margins = {patient: ["all", stratum, *stratum] for patient, stratum in strata.items()}
    size = Counter(margin for own in margins.values() for margin in own)
    rarest = {patient: min(size[group] for group in stratum) for patient, stratum in strata.items()}
    order = sorted(strata, key=lambda patient: (rarest[patient], seeds.derive("fold", seed, patient)))
    there: defaultdict[object, list[int]] = defaultdict(lambda: [0] * folds)
    dealt = {}
    for patient in order:
        crowd = [sum(there[m][fold] / size[m] for m in margins[patient]) for fold in range(folds)]
        # Of folds that are alike, which one follows from the patient too: else the first would fill up.
        turn = seeds.derive("turn", seed, patient)
        dealt[patient] = min(range(folds), key=lambda fold: (crowd[fold], (fold + turn) % folds))
        for margin in margins[patient]:
            there[margin][dealt[patient]] += 1
    return dealt


def _tuning_split(
    assigned: Mapping[str, str], strata: Mapping[str, _Stratum], spec: SplitSpec
) -> dict[str, str]:
    """Leave the test patients out and let training patients stand in for them."""
    training = {patient: strata[patient] for patient, split in assigned.items() if split == "train"}
    left_out = {patient: LEFT_OUT for patient, split in assigned.items() if split == "test"}
    return left_out | _hold_out(training, spec.tuning, "test", spec.seed)


def _strata(samples: pd.DataFrame, attributes: list[str]) -> dict[str, _Stratum]:
    """Return each patient's groups, those of its first sample by name."""
    first = samples.sort_values("sample").drop_duplicates("patient")
    rows = zip(first["patient"], first[attributes].itertuples(index=False, name=None), strict=True)
    return {patient: tuple(zip(attributes, values, strict=True)) for patient, values in rows}


def _hold_out(strata: Mapping[str, _Stratum], share: float, held: str, seed: int) -> dict[str, str]:
    """Assign a share of the patients to `held` and the others to "train".

    Minimisation (Pocock and Simon, Biometrics 1975) without its random element: patients come one
    after another, those of the rarest groups first and by hash within; each goes where the held
    shares of everyone, of its groups (unknown being one) and of their combination then
    stay closest to `share`, a margin of n patients weighing 1/n. So rare groups are split as
    evenly as their size allows, and neither rows nor attributes need a certain order.
    """
    margins = {patient: ["all", stratum, *stratum] for patient, stratum in strata.items()}
    size = Counter(margin for own in margins.values() for margin in own)
    rarest = {patient: min(size[group] for group in stratum) for patient, stratum in strata.items()}
    order = sorted(strata, key=lambda patient: (rarest[patient], seeds.derive(held, seed, patient)))
    excess: defaultdict[object, float] = defaultdict(float)
    assigned = {}
    for patient in order:
        # (d + 1 - share)^2 < (d - share)^2, summed over margins, after division by what is common
        pull = sum((excess[margin] + 0.5 - share) / size[margin] for margin in margins[patient])
        assigned[patient] = held if pull < 0 else "train"
        for margin in margins[patient]:
            excess[margin] += (pull < 0) - share
    return assigned


def _own_split(samples: pd.DataFrame, place: Callable[[int], str]) -> dict[str, str]:
    for row, (sample, split) in enumerate(zip(samples["sample"], samples["split"], strict=True)):
        if split not in SPLITS:
            named = isinstance(split, str)
            said = f"has the split '{split}'" if named else "has no split"
            raise HarnessError(
                f"The sample '{sample}' {said}; every sample needs one of {', '.join(SPLITS)}"
                f"{_at(place(row))}."
                f"{did_you_mean(split, SPLITS) if named else ''}"
            )
    pairs = samples[["patient", "split"]].drop_duplicates()
    torn = pairs[pairs["patient"].duplicated()]
    if len(torn):
        patient = torn["patient"].iloc[0]
        splits = " and ".join(sorted(pairs.loc[pairs["patient"] == patient, "split"]))
        raise HarnessError(
            f"The patient '{patient}' is in both {splits} ({len(torn)} such patients): "
            f"put all samples of a patient in one split{_at(_first_of(samples, patient, place))}."
        )
    return dict(zip(pairs["patient"], pairs["split"], strict=True))


def _at(place: str) -> str:
    return f" ({place})" if place else ""


def _first_of(samples: pd.DataFrame, patient: str, place: Callable[[int], str]) -> str:
    """Return where the first sample of a patient in each split is to be mended."""
    own = np.flatnonzero(samples["patient"] == patient)
    rows = {samples["split"].iloc[row]: int(row) for row in reversed(own)}
    return " and ".join(filter(None, (place(row) for row in sorted(rows.values()))))


def _check(
    samples: pd.DataFrame, split: np.ndarray, groups: Mapping[str, tuple[str, ...]], own: bool, scored: str
) -> None:
    fix = "mend the source's own split" if own else "change [split]"
    for part, word in (("train", "training"), ("test", scored)):
        inside = samples[split == part]
        if not len(inside):
            raise HarnessError(f"The cohort has no {word} samples; {fix}.")
        for attribute, names in groups.items():
            missing = [name for name in names if not (inside[attribute] == name).any()]
            if missing:
                there = samples.loc[samples[attribute] == missing[0], "patient"].nunique()
                raise HarnessError(
                    f"The group '{missing[0]}' of the attribute '{attribute}' has no {word} samples "
                    f"({there} patient{'s' if there != 1 else ''} in all): merge it with another in "
                    f"[attributes.{attribute}], or {fix}."
                )
