"""Sets of predictions that cannot be right as read: labels shifted, pictures turned, names mixed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import linear_sum_assignment

from harness.errors import HarnessError
from harness.predictions.scored import Pair
from harness.protocol import IGNORED

LOOKED_AT = 24
"""Cases, spread over all, of which a small picture is kept."""
_SIDE = 48
_LEAST_CASES = 4
_HARDLY, _BETTER, _WELL = 0.4, 0.2, 0.7
_LEAST_TO_SAY, _NEARLY_ALL, _A_LITTLE = 8, 0.9, 0.02


@dataclass
class Suspicion:
    """Gathers from each pair what a whole set of them tells; `check` raises HarnessError.

    names: of the cases to look at; labels: those that classes from 1 stand for.
    """

    names: frozenset[str]
    confusion: dict[tuple[int, int], int] = field(default_factory=dict)
    small: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    labels: tuple[int, ...] = ()
    overlaps: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    """Predicted and true structure to pixels in both, and in either one plus the other."""
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @staticmethod
    def of(cases: Sequence[str], labels: tuple[int, ...] = ()) -> Suspicion:
        """Return one that looks at cases spread over all of them."""
        at = np.unique(np.linspace(0, len(cases) - 1, min(LOOKED_AT, len(cases))).astype(int))
        return Suspicion(frozenset(cases[i] for i in at), labels=labels)

    def see(self, name: str, pair: Pair) -> None:
        """Take in a pair; of most cases nothing."""
        if name not in self.names:
            return
        counts = np.bincount(pair.predicted.ravel().astype(np.int64) * 256 + pair.true.ravel(), minlength=1)
        small = (_small(pair.predicted > 0), _small((pair.true > 0) & (pair.true != IGNORED)))
        with self.lock:
            for key in np.flatnonzero(counts):
                where = divmod(int(key), 256)
                self.confusion[where] = self.confusion.get(where, 0) + int(counts[key])
            self.small[name] = small
            for names, (both, sizes) in _overlaps(pair).items():
                before = self.overlaps.get(names, (0, 0))
                self.overlaps[names] = before[0] + both, before[1] + sizes

    def check(self, where: str, relabelled: bool = False) -> tuple[str, ...]:
        """Return what may be wrong with the set.

        Raises HarnessError where it makes sense read otherwise, and not as it was read.
        """
        if not relabelled:
            self._check_labels(where)
            self._check_structures(where)
        if len(self.small) < _LEAST_CASES:
            return ()
        own = self._agreement(lambda one: one)
        self._check_turned(where, own)
        self._check_names(where, own)
        return self._perhaps_turned(where)

    def _check_structures(self, where: str) -> None:
        """Look whether structures that lie over each other fit under each other's names: cup and disc."""
        names = list(dict.fromkeys(name for name, _ in self.overlaps))
        if not names:
            return
        fits = np.array([[_share(*self.overlaps[p, t]) for t in names] for p in names])
        one, other = linear_sum_assignment(-fits)
        if fits[one, other].mean() > max(fits.diagonal().mean() + _BETTER, _WELL):
            moved = [(names[p], names[t]) for p, t in zip(one, other, strict=True) if p != t]
            said = ", ".join(f"'{own}' as '{theirs}'" for own, theirs in moved)
            raise HarnessError(
                f"{where}: structures look exchanged (they fit with {said}); give channels in the "
                "structures' order, map labels with --relabel, or say with --relabel 1=1 that they are right."
            )

    def _perhaps_turned(self, where: str) -> tuple[str, ...]:
        """Say where nearly every case fits a little better turned: round structures hardly show it."""
        if len(self.small) < _LEAST_TO_SAY:
            return ()
        own = np.array([_dice(p, t) for p, t in self.small.values()])
        for name, turn in _TURNS.items():
            turned = np.array([_dice(turn(p), t) for p, t in self.small.values()])
            if (turned > own).mean() >= _NEARLY_ALL and turned.mean() > own.mean() + _A_LITTLE:
                return (
                    f"{where}: {int((turned > own).sum())} of {len(own)} predictions looked at fit their "
                    f"truths better {name} (Dice {turned.mean():.2f}, {own.mean():.2f} as they are): look "
                    "whether they lie the same way.",
                )
        return ()

    def _check_labels(self, where: str) -> None:
        """Look whether the predicted classes make sense under other names, the background's among them."""
        present = sorted({key for pair in self.confusion for key in pair} - {IGNORED})
        counts = np.array([[self.confusion.get((p, t), 0) for t in present] for p in present], float)
        sums = counts.sum(axis=1)[:, None] + counts.sum(axis=0)
        fits = np.divide(2 * counts, sums, out=np.zeros_like(counts), where=sums > 0)
        one, other = linear_sum_assignment(-fits)
        # The background fits itself whatever the others do.
        inside = np.flatnonzero((counts.sum(axis=0) > 0) & (np.array(present) > 0))
        own = float(fits.diagonal()[inside].mean()) if len(inside) else 1.0
        found = float(np.mean([fits[p, t] for p, t in zip(one, other, strict=True) if t in inside] or [0]))
        if found > own + _BETTER and own < _HARDLY:
            moved = [(p, t) for p, t in zip(one, other, strict=True) if p != t and fits[p, t] > 0]
            said = ", ".join(f"{self._name(present[p])} as {self._name(present[t])}" for p, t in moved)
            raise HarnessError(
                f"{where}: labels look shifted, swapped or inverted (they fit with {said}); map them with "
                "--relabel 1=2,2=1, or say with --relabel 1=1 that they are right."
            )

    def _name(self, index: int) -> str:
        return str(self.labels[index - 1]) if 0 < index <= len(self.labels) else str(index)

    def _agreement(self, turn: Callable[[np.ndarray], np.ndarray]) -> float:
        return float(np.mean([_dice(turn(p), t) for p, t in self.small.values()]))

    def _check_turned(self, where: str, own: float) -> None:
        best, said = own, ""
        for name, turn in _TURNS.items():
            found = self._agreement(turn)
            if found > best:
                best, said = found, name
        if best > own + _BETTER and best > 0.5:
            raise HarnessError(
                f"{where}: the predictions fit their truths {said} (Dice {best:.2f} of all structures "
                f"together, "
                f"{own:.2f} as they are); mend their orientation."
            )

    def _check_names(self, where: str, own: float) -> None:
        """Look whether most predictions fit the truth of another case, and that no two the same one."""
        names = sorted(self.small)
        fits = np.array([[_dice(self.small[a][0], self.small[b][1]) for b in names] for a in names])
        best = fits.argmax(axis=1)
        others = np.flatnonzero(
            (best != np.arange(len(names))) & (fits.max(axis=1) > fits.diagonal() + _BETTER)
        )
        if len(others) > len(names) / 2 and len(set(best[others].tolist())) > 0.8 * len(others):
            one = int(others[0])
            raise HarnessError(
                f"{where}: {len(others)} of {len(names)} predictions looked at fit the truth of another case "
                f"better than their own ('{names[one]}' that of '{names[best[one]]}'); are their names "
                f"mixed up?"
            )


def _overlaps(pair: Pair) -> dict[tuple[str, str], tuple[int, int]]:
    if len(pair.structures) < 2:
        return {}
    known = pair.true != IGNORED
    predicted, true = (
        {name: np.isin(one, classes) & known for name, classes in pair.structures.items()}
        for one in (pair.predicted, pair.true)
    )
    sizes = [
        {name: int(np.count_nonzero(mask)) for name, mask in masks.items()} for masks in (predicted, true)
    ]
    return {
        (p, t): (int(np.count_nonzero(predicted[p] & true[t])), sizes[0][p] + sizes[1][t])
        for p in predicted
        for t in true
    }


def _share(both: int, sizes: int) -> float:
    return 2 * both / sizes if sizes else 0.0


def _small(mask: np.ndarray) -> np.ndarray:
    """Return a mask on a coarse grid, bool [48, 48] or [48, 48, 48]."""
    for axis in range(mask.ndim):
        at = ((np.arange(_SIDE) + 0.5) * mask.shape[axis] / _SIDE).astype(int)
        mask = np.take(mask, at, axis)
    return mask


def _dice(one: np.ndarray, other: np.ndarray) -> float:
    if one.shape != other.shape:
        return 0.0
    total = np.count_nonzero(one) + np.count_nonzero(other)
    return 2 * np.count_nonzero(one & other) / total if total else 0.0


_TURNS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "flipped along the first axis": lambda one: np.flip(one, 0),
    "flipped along the second axis": lambda one: np.flip(one, 1),
    "turned by half": lambda one: np.flip(one, (0, 1)),
    "with their first two axes exchanged": lambda one: np.swapaxes(one, 0, 1),
    "turned by a quarter": lambda one: np.flip(np.swapaxes(one, 0, 1), 0),
    "turned by three quarters": lambda one: np.flip(np.swapaxes(one, 0, 1), 1),
    "with their axes in reverse order": lambda one: np.transpose(one),
    "flipped along the last axis": lambda one: np.flip(one, -1),
}
"""How a picture may lie, to what undoes it."""
