"""What labels mean: which make up a structure, which are background, and as which class each is scored."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import HarnessError
from harness.predictions.ids import listed
from harness.protocol import IGNORED, Protocol, label_text

DATASET = "dataset.json"
"""What nnU-Net calls the file that names its labels."""
_UNDECLARED = IGNORED - 1
_OFTEN_IGNORED = 255
_MOST_LUT = 1 << 16
_MOST_BITS = 7
"""Structures that may lie over each other: each pixel's set of them is one class of a byte."""


@dataclass(frozen=True)
class Coding:
    """structures: name to the labels that make it up; background, ignored: labels of neither.

    told: where that is from, for errors.
    """

    structures: dict[str, tuple[int, ...]]
    background: tuple[int, ...] = (0,)
    ignored: tuple[int, ...] = ()
    told: str = "--structures"

    @cached_property
    def labels(self) -> tuple[int, ...]:
        """The labels of all structures, ascending; label k is class `labels.index(k) + 1`."""
        return tuple(sorted({label for own in self.structures.values() for label in own}))

    @cached_property
    def classes(self) -> dict[str, tuple[int, ...]]:
        """Structure to the classes that make it up."""
        return {
            name: tuple(self.labels.index(label) + 1 for label in own)
            for name, own in self.structures.items()
        }

    @property
    def declared(self) -> str:
        """All labels as an error names them."""
        known = [*self.background, *self.labels, *self.ignored]
        return ", ".join(map(label_text, known))

    @cached_property
    def _table(self) -> dict[int, int]:
        table = dict.fromkeys(self.background, 0) | dict.fromkeys(self.ignored, IGNORED)
        return table | {label: index for index, label in enumerate(self.labels, start=1)}

    @cached_property
    def _lut(self) -> np.ndarray:
        size = max((one for one in self._table if 0 <= one < _MOST_LUT), default=0) + 2
        lut = np.full(size, _UNDECLARED, np.uint8)
        for label, code in self._table.items():
            if 0 <= label < size:
                lut[label] = code
        return lut

    def codes(self, labels: np.ndarray, where: str, kind: str = "") -> np.ndarray:
        """Return labels as classes, uint8 of the same shape. Raises HarnessError for one not declared."""
        if len(self._table) >= _UNDECLARED:
            raise HarnessError(f"{self.told}: more than {_UNDECLARED - 1} labels; name fewer.")
        low, high = (int(labels.min()), int(labels.max())) if labels.size else (0, 0)
        if low >= 0 and high < _MOST_LUT and max(self._table) < _MOST_LUT:
            codes: np.ndarray = self._lut[np.minimum(labels, len(self._lut) - 1)]
        else:
            present, inverse = np.unique(labels, return_inverse=True)
            found = np.array([self._table.get(int(one), _UNDECLARED) for one in present], np.uint8)
            codes = found[inverse].reshape(labels.shape)
        if (codes == _UNDECLARED).any():
            raise self._undeclared(int(labels[codes == _UNDECLARED].ravel()[0]), where, kind)
        return codes

    def _undeclared(self, label: int, where: str, kind: str) -> HarnessError:
        shown = label_text(label)
        if kind:
            what = "a palette image, whose indices are no labels" if kind == "palette" else "a colour image"
            return HarnessError(
                f"{where}: {what}, and the colour {shown} is of no structure; save one channel of labels "
                f"(declared: {self.declared})."
            )
        one = self.labels[0] if len(self.labels) == 1 else 1
        often = label == _OFTEN_IGNORED or one == _OFTEN_IGNORED
        hint = f" If it is another writing of {one}, say --relabel {shown}={one}." if often else ""
        return HarnessError(
            f"{where}: has the label {shown}, which is of no structure (declared by {self.told}: "
            f"{self.declared}); are its labels shifted, or is a structure missing there?{hint}"
        )


def of_protocol(protocol: Protocol) -> Coding:
    """Return a protocol's labels."""
    structures = {
        name: tuple(protocol.label_values[index - 1] for index in protocol.classes(name))
        for name in protocol.structures
    }
    return Coding(structures, protocol.background, protocol.ignored, f"the protocol '{protocol.name}'")


def of_text(text: str) -> Coding:
    """Return the labels that `disc=1,2;cup=2` says, or those of a dataset.json. Raises HarnessError."""
    if text.endswith(".json"):
        return of_dataset(Path(text))
    structures: dict[str, tuple[int, ...]] = {}
    for part in filter(None, (one.strip() for one in text.split(";"))):
        name, sign, labels = part.partition("=")
        try:
            own = tuple(int(one) for one in labels.replace("+", ",").split(","))
        except ValueError:
            own = ()
        if not sign or not name.strip() or not own or min(own) < 0:
            raise HarnessError(
                f"--structures {text}: write name=labels with semicolons between them: 'disc=1,2;cup=2'."
            )
        if name.strip() in structures:
            raise HarnessError(f"--structures {text}: '{name.strip()}' is there twice; name it once.")
        structures[name.strip()] = own
    ignored = structures.pop("ignore", ())
    background = structures.pop("background", (0,))
    return _checked(Coding(structures, background, ignored), f"--structures {text}")


def of_dataset(file: Path) -> Coding:
    """Return the labels and regions of nnU-Net's dataset.json, of version 2 or 1. Raises HarnessError."""
    table = read_json(file).get("labels")
    if not isinstance(table, dict) or not table:
        raise HarnessError(f"{file}: has no 'labels'; give the dataset.json of nnU-Net, or --structures.")
    if all(str(key).isdigit() for key in table) and not any(str(v).isdigit() for v in table.values()):
        table = {str(name): int(label) for label, name in table.items()}  # version 1 has it the other way
    structures: dict[str, tuple[int, ...]] = {}
    ignored: tuple[int, ...] = ()
    background: tuple[int, ...] = (0,)
    for name, given in table.items():
        labels = _labels(given, name, file)
        if name.lower() == "background":
            background = labels
        elif name.lower() == "ignore":
            ignored = labels
        else:
            structures[str(name)] = labels
    return _checked(Coding(structures, background, ignored, str(file)), str(file))


def discovered(labels: Sequence[int], where: str) -> Coding:
    """Return a structure for each label of truths beside 0. Raises HarnessError where there is none."""
    found = [label for label in sorted(labels) if label]
    if not found:
        raise HarnessError(f"{where}: every truth is empty, so there is nothing to score.")
    if len(found) > _UNDECLARED - 2:
        raise HarnessError(
            f"{where}: {len(found)} labels (pictures, not labels?); name them with --structures."
        )
    if len(found) > 1 and found[-1] == _OFTEN_IGNORED and found[-2] != _OFTEN_IGNORED - 1:
        others = ", ".join(map(label_text, found[:-1]))
        raise HarnessError(
            f"{where}: has the label {_OFTEN_IGNORED} beside {others}: is it what nobody scores, or another "
            f"writing of {found[0]}? Say it: --structures 'structure={found[0]};ignore={_OFTEN_IGNORED}' or "
            f"'structure={found[0]},{_OFTEN_IGNORED}'."
        )
    names = [f"label {label_text(one)}" for one in found] if len(found) > 1 else ["structure"]
    told = f"the truths in {where}; name others with --structures"
    return Coding({name: (one,) for name, one in zip(names, found, strict=True)}, told=told)


def beside(*places: Path) -> Path | None:
    """Return nnU-Net's dataset.json in one of the folders, or above the second and later ones."""
    for number, place in enumerate(places):
        for folder in (place, *([place.parent] if number else [])):
            if (folder / DATASET).is_file():
                return folder / DATASET
    return None


def relabelled(text: str) -> dict[int, int]:
    """Return what `1=2,2=1` says: a label of the predictions to that of the truth. Raises HarnessError."""
    try:
        pairs = [(int(one), int(other)) for one, other in (part.split("=") for part in text.split(","))]
        table = dict(pairs)
    except ValueError:
        raise HarnessError(f"--relabel {text}: write label=label with commas: '1=2,2=1'.") from None
    if len(table) < len(pairs):
        raise HarnessError(f"--relabel {text}: a label is there twice; say once what each becomes.")
    return table


def apply(table: Mapping[int, int], labels: np.ndarray) -> np.ndarray:
    """Return labels with each that the table names as what it becomes there, all at once."""
    if not table:
        return labels
    changed = labels.astype(np.int64)
    for one, other in table.items():
        changed[labels == one] = other
    return changed


def over_each_other(masks: Mapping[str, np.ndarray], where: str) -> np.ndarray:
    """Return masks, bool by structure, as one array of sets: bit k is the k-th structure, uint8."""
    if len(masks) > _MOST_BITS:
        raise HarnessError(f"{where}: {len(masks)} structures in files or channels of their own; score at "
                           f"most {_MOST_BITS} at a time with --structures.")  # fmt: skip
    sets = np.zeros(next(iter(masks.values())).shape, np.uint8)
    for bit, mask in enumerate(masks.values()):
        sets |= mask.astype(np.uint8) << bit
    return sets


def as_sets(codes: np.ndarray, coding: Coding) -> np.ndarray:
    """Return classes as the sets of structures that they belong to; what is ignored stays so."""
    table = np.zeros(256, np.uint8)
    table[IGNORED] = IGNORED
    for bit, classes in enumerate(coding.classes.values()):
        for one in classes:
            table[one] |= 1 << bit
    return np.asarray(table[codes])


def classes_of_sets(structures: Sequence[str], present: np.ndarray) -> dict[str, tuple[int, ...]]:
    """Return structure to the sets that it is in, of those there are; one that is nowhere has its own."""
    return {
        name: tuple(int(one) for one in present if one != IGNORED and one >> bit & 1) or (1 << bit,)
        for bit, name in enumerate(structures)
    }


def read_json(file: Path) -> dict[str, Any]:
    """Return a JSON object; NaN and Infinity, which nnU-Net writes, are read. Raises HarnessError."""
    try:
        found = json.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise HarnessError(f"{file}: {error.strerror}; give a file that can be read.") from None
    except (ValueError, RecursionError) as error:
        raise HarnessError(f"{file}: not JSON ({error}); replace the file.") from None
    if not isinstance(found, dict):
        raise HarnessError(f"{file}: not a JSON object; replace the file.")
    return found


def _labels(given: Any, name: str, file: Path) -> tuple[int, ...]:
    values = given if isinstance(given, list) else [given]
    if not values or not all(
        isinstance(one, int) and not isinstance(one, bool) and one >= 0 for one in values
    ):
        raise HarnessError(f"{file}: labels.{name} is {given!r}; give whole numbers from 0.")
    return tuple(values)


def _checked(coding: Coding, where: str) -> Coding:
    if not coding.structures:
        raise HarnessError(f"{where}: names no structure; name at least one.")
    both = set(coding.labels) & {*coding.background, *coding.ignored}
    if both:
        raise HarnessError(
            f"{where}: the label {min(both)} is of "
            f"{listed(n for n, own in coding.structures.items() if both & set(own))} "
            "and of the background or of what is ignored; keep one."
        )
    return coding
