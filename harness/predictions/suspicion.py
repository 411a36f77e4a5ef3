"""Sets of predictions that cannot be right as read: labels shifted, pictures turned, names mixed."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from harness.errors import HarnessError
from harness.predictions.scored import Pair

LOOKED_AT = 24
"""Cases, spread over all, of which a small picture is kept."""
_SIDE = 48
_LEAST_CASES = 4
_MOSTLY, _HARDLY = 0.6, 0.1
_BETTER = 0.2


@dataclass
class Suspicion:
    """Gathers from each pair what a whole set of them tells; `check` raises HarnessError.

    names: of the cases to keep a small picture of.
    """

    names: frozenset[str]
    confusion: dict[tuple[int, int], int] = field(default_factory=dict)
    small: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    structures: dict[str, tuple[int, ...]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @staticmethod
    def of(cases: Sequence[str]) -> Suspicion:
        """Return one that looks at cases spread over all of them."""
        at = np.unique(np.linspace(0, len(cases) - 1, min(LOOKED_AT, len(cases))).astype(int))
        return Suspicion(frozenset(cases[i] for i in at))

    def see(self, name: str, pair: Pair) -> None:
        """Take in a pair; of most cases nothing."""
        if name not in self.names:
            return
        counts = np.bincount(pair.predicted.ravel().astype(np.int64) * 256 + pair.true.ravel(), minlength=1)
        small = (_small(pair.predicted > 0), _small((pair.true > 0) & (pair.true < 255)))
        with self.lock:
            self.structures = pair.structures
            for key in np.flatnonzero(counts):
                where = divmod(int(key), 256)
                self.confusion[where] = self.confusion.get(where, 0) + int(counts[key])
            self.small[name] = small

    def check(self, where: str, relabelled: bool = False) -> None:
        """Raise HarnessError where the set makes sense read otherwise, and not as it was read."""
        if not relabelled:
            self._check_labels(where)
        if len(self.small) >= _LEAST_CASES:
            own = self._agreement(lambda one: one)
            self._check_turned(where, own)
            self._check_names(where, own)

    def _check_labels(self, where: str) -> None:
        classes = sorted({key for pair in self.confusion for key in pair} - {255})
        swapped = {
            one: other for one in classes if one and (other := self._is_other(one, classes)) is not None
        }
        if swapped:
            said = ", ".join(f"{one} lies where the truth has {other}" for one, other in swapped.items())
            raise HarnessError(
                f"{where}: labels look shifted or swapped (counted from 1 among those declared, label "
                f"{said}); "
                "map them with --relabel 1=2,2=1, or with --relabel 1=1 say that they are right."
            )

    def _is_other(self, one: int, classes: list[int]) -> int | None:
        """Return the true class that nearly all of a predicted class is, where it is hardly ever its own."""
        total = sum(self.confusion.get((one, true), 0) for true in classes)
        if total == 0 or self.confusion.get((one, one), 0) > _HARDLY * total:
            return None
        found = max(classes, key=lambda true: self.confusion.get((one, true), 0) if true else -1)
        mostly = self.confusion.get((one, found), 0) > _MOSTLY * total
        return found if found and mostly and found != one else None

    def _agreement(self, turn: object) -> float:
        return float(np.mean([_dice(turn(p), t) for p, t in self.small.values()]))  # type: ignore[operator]

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


_TURNS = {
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
