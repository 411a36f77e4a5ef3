"""Look for what would spoil any ranking on a cohort: leaks between splits, wrong labels, drift."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
import pandas as pd
from scipy.stats import chi2_contingency

from harness.cohorts.cohort import SPLITS, Cohort, Remark
from harness.cohorts.survey import Survey, survey
from harness.multiplicity import holm
from harness.protocol import Protocol

Check = str
"""The kind of a finding: one of `_EFFECTS`, also of a remark that was made as the cohort was read."""

EXAMPLES = 3
LEAST_PATIENTS = 5
"""With fewer test patients no comparison of two methods reaches 5%, not even one that was asked one way: that
all four patients favour the same has the probability 1 / 2^4 = 0.06."""

_DIFFERENT = 0.08  # share of bits that may differ in a candidate
_SAME = 0.98  # correlation of two thumbnails from which on they show the same image
_ALPHA = 0.05
_BATCH = 256


@dataclass(frozen=True)
class Finding:
    """What is wrong, one finding a kind; `samples` are all that it concerns.

    spoils: whether a ranking on this cohort cannot be trusted before it is mended; the others are to be
    looked at. count: how many cases there are of it, and examples: at most `EXAMPLES` of them, in words;
    effect: what it does to the numbers; fix: what to do.
    """

    check: Check
    spoils: bool
    message: str
    samples: tuple[str, ...]
    count: int = 1
    examples: tuple[str, ...] = ()
    effect: str = ""
    fix: str = ""


_EFFECTS: dict[Check, tuple[str, str]] = {
    "patient": (
        "A patient that was trained on is tested: Dice is too high, and a gap may hide or show by who leaks.",
        "Write one id for each patient throughout; where the ids are right, give all samples of a patient "
        "the same value in the column 'split', or leave the column out.",
    ),
    "duplicate": (
        "What is tested was trained on: Dice is too high, most for the methods that memorise.",
        "Keep one of each pair, or give both the same patient or split.",
    ),
    "polarity": (
        "In these samples the model is taught, and scored on, the background: Dice falls, or a method that "
        "learns both is ranked first.",
        "Invert those files.",
    ),
    "resize": (
        "What is lost on the grid is scored as absent: finding it counts as a miss, missing it as Dice 1.",
        "Raise [cohort] size.",
    ),
    "swapped": (
        "Two structures are each scored against the other in these samples: Dice falls for every method.",
        "Mend the masks, or the labels in [structures].",
    ),
    "never": (
        "Dice of such a structure is 1 wherever nothing is predicted and 0 elsewhere: it measures nothing.",
        "Take the structure out of [structures], or mend its label.",
    ),
    "few": (
        "No difference between two methods can reach 5% here, and no group has a number.",
        "Test on more patients: a larger [split] test, or [split] folds, where each is tested once.",
    ),
    "spelling": (
        "One group is counted as several: each has fewer patients, a gap between them is chance, and ES "
        "falls with the number of groups.",
        "Merge them in [attributes], as said.",
    ),
    "unknown": (
        "What stands for unknown and is taken for a group gets a score, and a gap, of its own.",
        "Say in [attributes] which values are unknown.",
    ),
    "age": (
        "A number that is no age puts its patient into the first or the last bin.",
        "Mend the rows, or say that the value is unknown.",
    ),
    "twice": (
        "One file that is several samples counts several times: intervals are too narrow, and it may be "
        "trained on and tested.",
        "Name each file once.",
    ),
    "empty": (
        "Agreement on nothing counts as Dice 1 and one wrong pixel as 0: the mean over all samples moves "
        "with how many are empty, and a group with more of them looks better or worse for it.",
        "Make sure that they are empty on purpose; if so, read Dice where the structure is there.",
    ),
    "constant": (
        "There is nothing in these images to segment from: they add failures, or luck, to their group.",
        "Replace the files or take the rows out of the manifest.",
    ),
    "scale": (
        "Brightness is what one scaling makes it: with another, groups that were imaged otherwise are told "
        "apart by it more or less.",
        "Declare the scale that was found, or another.",
    ),
    "drift": (
        "A group is trained on more, or tested more, than its share: a gap may be the split's.",
        "Leave the column 'split' out, so that patients are split evenly by every attribute.",
    ),
}
"""Check, most harmful first, to what it does to the numbers and what to do."""


def audit(
    cohort: Cohort,
    protocol: Protocol,
    seen: Survey | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Finding]:
    """Return what is wrong with a cohort, most harmful first and one finding a kind; [] for a sound one.

    A patient in two splits; the same image, but for noise, size or encoding, in two splits; structures
    whose labels look swapped or that are never there; a test set too small for any test; samples without
    any label; images of one grey; groups whose shares differ between splits. `seen`: the cohort's survey,
    made here where it is not given; `progress` is told how many of the checks are done.
    """
    seen = seen or survey(cohort, protocol)
    checks: list[Callable[[Cohort, Protocol, Survey], Iterator[Finding]]] = [
        _patients_in_two_splits,
        _images_in_two_splits,
        _swapped_labels,
        _never_there,
        _too_few,
        _empty_masks,
        _constant_images,
        _drift,
    ]
    found = [_remarked(cohort.remarks, kind) for kind in dict.fromkeys(one.kind for one in cohort.remarks)]
    for done, check in enumerate(checks):
        progress(done, len(checks))
        found += check(cohort, protocol, seen)
    harm = {check: place for place, check in enumerate(_EFFECTS)}
    one_each = [_together([one for one in found if one.check == kind]) for kind in _kinds(found)]
    return sorted(one_each, key=lambda one: (not one.spoils, harm.get(one.check, len(harm))))


def _kinds(found: Sequence[Finding]) -> list[Check]:
    return list(dict.fromkeys(one.check for one in found))


def _together(found: Sequence[Finding]) -> Finding:
    """Return findings of one kind, one of the reading and one of the looking, as one."""
    samples = dict.fromkeys(sample for one in found for sample in one.samples)
    return replace(
        found[0],
        spoils=any(one.spoils for one in found),
        message=" ".join(one.message for one in found),
        samples=tuple(samples),
        count=sum(one.count for one in found),
        examples=tuple(example for one in found for example in one.examples)[:EXAMPLES],
        fix=" ".join(dict.fromkeys(one.fix for one in found)),
    )


def _remarked(remarks: Sequence[Remark], kind: str) -> Finding:
    """Return what was remarked of one kind as the cohort was read, as one finding."""
    own = [one for one in remarks if one.kind == kind]
    samples = list(dict.fromkeys(sample for one in own for sample in one.samples))
    found = _finding(
        kind,
        any(one.spoils for one in own),
        " ".join(one.message for one in own),
        samples,
        [f"'{one}'" for one in samples],
        len(samples),
    )
    written = " ".join(dict.fromkeys(one.fix for one in own if one.fix))
    return replace(found, fix=f"Write: {written}") if written else found


def _finding(
    check: Check, spoils: bool, message: str, samples: Iterable[str], examples: Sequence[str], count: int = 0
) -> Finding:
    effect, fix = _EFFECTS.get(check, ("", "See above."))
    shown = tuple(examples[:EXAMPLES])
    return Finding(check, spoils, message, tuple(samples), count or len(examples), shown, effect, fix)


def _patients_in_two_splits(cohort: Cohort, protocol: Protocol, seen: Survey) -> Iterator[Finding]:
    places: defaultdict[str, set[str]] = defaultdict(set)
    for patient, split in zip(cohort.subjects["patient"], cohort.subjects["split"], strict=True):
        places[patient].add(split)
    torn = {
        patient: [split for split in SPLITS if split in own]
        for patient, own in places.items()
        if len(own & set(SPLITS)) > 1
    }
    examples = [f"'{patient}' is in {' and '.join(own)}" for patient, own in torn.items()]
    if examples:
        more = f", and {len(torn) - 1} more are in two" if len(torn) > 1 else ""
        message = f"The patient {examples[0]}{more}: put all samples in one split."
        samples = cohort.subjects.loc[cohort.subjects["patient"].isin(list(torn)), "sample"]
        yield _finding("patient", True, message, samples, examples)


def _images_in_two_splits(cohort: Cohort, protocol: Protocol, seen: Survey) -> Iterator[Finding]:
    """Find images of one side that are also on the other; in folds, each patient is a side of its own."""
    in_folds = protocol.split.folds > 1
    sides, names = (
        cohort.subjects[column].to_numpy() for column in ("patient" if in_folds else "split", "sample")
    )
    pairs = list(_alike(seen, sides if in_folds else np.where(np.isin(sides, SPLITS), sides, "")))
    examples = [
        f"'{names[one]}' ({sides[one]}) and '{names[other]}' ({sides[other]})" for one, other in pairs
    ]
    if pairs:
        more = f" ({len(pairs) - 1} more such pairs)" if len(pairs) > 1 else ""
        where = "give both one patient" if in_folds else "put both in one split"
        message = f"{examples[0]} show nearly the same image{more}: keep one, or {where}."
        yield _finding(
            "duplicate", True, message, [names[row] for row in sorted(set(chain(*pairs)))], examples
        )


def _alike(seen: Survey, sides: np.ndarray) -> Iterator[tuple[int, int]]:
    """Find pairs by a difference hash, each then confirmed by the correlation of its thumbnails.

    Only samples of different sides are compared, and none of the side "". An image of one grey is like every
    other: it is left out.
    """
    bits = np.sign(np.diff(seen.thumbnails.astype(np.int16), axis=2)).reshape(len(sides), -1)
    there = np.flatnonzero(bits.any(axis=1) & (sides != ""))
    # The largest side is compared with the rest and not with itself: most of the work is saved.
    names, codes = np.unique(sides[there].astype(str), return_inverse=True)
    largest = codes == (np.bincount(codes).argmax() if len(names) else -1)
    theirs, thumbnails = bits[there].astype(np.float32).T, _standardised(seen.thumbnails[there])
    level = np.abs(theirs).sum(axis=0)
    mine = np.flatnonzero(~largest)
    for some in np.array_split(mine, -(-len(mine) // _BATCH) or 1):
        # A bit is +1 or -1, and 0 on level ground (black margins), which speaks neither for nor against.
        least = (1 - 2 * _DIFFERENT) * np.minimum(level[some, None], level)
        at, other = np.nonzero((theirs.T[some] @ theirs >= least) & (codes[some, None] != codes))
        at = some[at]
        # Of two that are both compared with all, one is enough.
        keep = largest[other] | (other < at)
        at, other = at[keep], other[keep]
        same = (thumbnails[at] * thumbnails[other]).sum(axis=1) >= _SAME
        pairs = np.sort(there[np.column_stack([at[same], other[same]])], axis=1)
        yield from ((int(one), int(two)) for one, two in pairs)


def _standardised(thumbnails: np.ndarray) -> np.ndarray:
    """Return thumbnails of which the product is their correlation; level ones are 0, like nothing."""
    flat = thumbnails.reshape(len(thumbnails), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    found: np.ndarray = np.divide(flat, length, out=np.zeros_like(flat), where=length > 0)
    return found


def _empty_masks(cohort: Cohort, protocol: Protocol, seen: Survey) -> Iterator[Finding]:
    lost = {sample for one in cohort.remarks if one.kind == "resize" for sample in one.samples}
    empty = seen.empty & ~cohort.subjects["sample"].isin(lost).to_numpy(bool)
    if empty.any():
        samples = tuple(cohort.subjects["sample"][empty])
        share = f", {empty.mean():.0%}" if len(samples) > 1 else ""
        message = (
            f"{len(samples)} of {len(seen.empty)} masks are empty{share} (first: '{samples[0]}'): make sure "
            "that nothing is there to be segmented."
        )
        yield _finding("empty", bool(seen.empty.all()), message, samples, [f"'{one}'" for one in samples])


def _never_there(cohort: Cohort, protocol: Protocol, seen: Survey) -> Iterator[Finding]:
    """Find structures that are in no mask at all, in none that is trained on, or in none that is tested."""
    if seen.empty.all():
        return
    examples = []
    for structure in protocol.structures:
        there = seen.size(protocol, structure) > 0
        rows = {split: cohort.rows(split) for split in ("train", "test")}
        without = [split for split, own in rows.items() if len(own) and not there[own].any()]
        if not there.any():
            examples.append(f"'{structure}' is in none of {len(there)} masks")
        elif without:
            examples.append(f"'{structure}' is in no {' and no '.join(without)} mask")
    if examples:
        ranked = any(example.startswith(f"'{protocol.ranked_by}' ") for example in examples)
        message = f"{'; '.join(examples[:EXAMPLES])}: is its label right?"
        yield _finding("never", ranked, message, (), examples)


def _too_few(cohort: Cohort, protocol: Protocol, seen: Survey) -> Iterator[Finding]:
    patients = int(cohort.subjects["patient"].iloc[cohort.rows("test")].nunique())
    if patients < LEAST_PATIENTS:
        samples = cohort.subjects["sample"].iloc[cohort.rows("test")]
        named = cohort.subjects["patient"].iloc[cohort.rows("test")].unique()
        message = f"The test set has {patients} patients, too few to tell anything from chance."
        yield _finding("few", True, message, samples, [f"'{one}'" for one in named], patients)


def _constant_images(cohort: Cohort, protocol: Protocol, seen: Survey) -> Iterator[Finding]:
    if seen.constant.any():
        samples = tuple(cohort.subjects["sample"][seen.constant])
        message = (
            f"{len(samples)} of {len(seen.constant)} images are constant, one grey throughout (first: "
            f"'{samples[0]}')."
        )
        yield _finding("constant", False, message, samples, [f"'{one}'" for one in samples])


def _swapped_labels(cohort: Cohort, protocol: Protocol, seen: Survey) -> Iterator[Finding]:
    """Find samples in which a structure that lies inside another lies around the rest of it.

    Which of two parts is the inner one follows from most of the samples; a cup is always inside its disc.
    """
    said, samples = [], []
    for pair, (inner, outer) in enumerate(seen.nested):
        swapped = seen.outside[:, pair]
        if swapped.any() and (inner == "cup" or swapped.mean() < 0.5):
            names = list(cohort.subjects["sample"][swapped])
            samples += names
            said.append(
                f"In {len(names)} of {len(swapped)} masks '{inner}' lies around the rest of '{outer}' "
                f"instead of inside (first: '{names[0]}')"
            )
    if said:
        message = f"{'; '.join(said)}: are labels swapped?"
        samples = list(dict.fromkeys(samples))
        yield _finding("swapped", True, message, samples, [f"'{one}'" for one in samples])


def _drift(cohort: Cohort, protocol: Protocol, seen: Survey) -> Iterator[Finding]:
    """Test whether groups, unknown being one, have the same shares of patients in each split."""
    patients = cohort.subjects.drop_duplicates("patient")
    tables = {
        name: pd.crosstab(patients[name].where(patients[name].notna(), "unknown"), patients["split"])
        for name in protocol.attributes
    }
    tables = {name: table for name, table in tables.items() if min(table.shape) > 1}
    p = holm(np.array([chi2_contingency(table).pvalue for table in tables.values()]))
    examples = []
    for (name, table), adjusted in zip(tables.items(), p, strict=True):
        if adjusted < _ALPHA:
            share = table / table.sum()
            row = int((share.max(axis=1) - share.min(axis=1)).argmax())
            shares = ", ".join(
                f"{share[split].iloc[row]:.0%} of {split}" for split in SPLITS if split in share
            )
            examples.append(
                f"'{name}' is not the same in all splits (chi-square, p = {adjusted:.2g} after Holm): "
                f"'{share.index[row]}' is {shares}"
            )
    if examples:
        yield _finding("drift", False, f"The attribute {'; '.join(examples[:EXAMPLES])}.", (), examples)
