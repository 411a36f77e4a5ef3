"""What was seen of each sample as it was read, and what of it would make a number meaningless."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.cohorts.cohort import Remark
from harness.cohorts.source import Sample
from harness.errors import HarnessError
from harness.protocol import IGNORED, Protocol

_MOST = 0.5
"""Share of the picture and of its outline that a structure covers in a mask that looks inverted."""
_LEAST = 0.05
"""Share of the outline that it covers at most in one that does not."""
_NEARLY_ALL = 0.9
"""Share of the masks from which on not some are inverted but all may be."""


@dataclass(frozen=True)
class Seen:
    """What was seen of a sample.

    areas: int64 [classes], pixels of each on the grid; lost: structures that the file has and the grid has
    not; covered, outlined: share of the picture, and of its outermost pixels, that any structure covers;
    contrast: mean brightness within less that without, 0 where there is no such; place: a row of
    `Cohort.places`.
    """

    sample: str
    areas: np.ndarray
    lost: tuple[str, ...]
    covered: float
    outlined: float
    contrast: float
    place: dict[str, Any]


def seen(name: str, sample: Sample, classes: np.ndarray, mask: np.ndarray, protocol: Protocol) -> Seen:
    """Return what is to be remembered of a sample: its classes as in the file, and its mask on the grid."""
    before = np.bincount(classes.ravel(), minlength=IGNORED + 1)
    after = np.bincount(mask.ravel(), minlength=IGNORED + 1)
    own = {structure: list(protocol.classes(structure)) for structure in protocol.structures}
    lost = tuple(one for one, parts in own.items() if before[parts].any() and not after[parts].any())
    there = (classes > 0) & (classes != IGNORED)
    edge = np.concatenate([there[0], there[-1], there[:, 0], there[:, -1]])
    grey = sample.image if sample.image.ndim == 2 else sample.image.mean(axis=2)
    both = bool(there.any()) and not there.all()
    side = min(classes.shape) if sample.fit == "crop" else max(classes.shape)
    step = side / protocol.cohort.size
    depth, rows, columns = sample.spacing
    return Seen(
        name,
        after[: protocol.n_classes].astype(np.int64),
        lost,
        float(there.mean()),
        float(edge.mean()),
        float(grey[there].mean() - grey[~there].mean()) if both else 0.0,
        {"y": rows * step, "x": columns * step, "z": depth, "volume": sample.volume, "slice": sample.slice},
    )


def of_pixels(found: Sequence[Seen], protocol: Protocol) -> Iterator[Remark]:
    """Yield what is to be said of the samples. Raises HarnessError where nothing can be scored."""
    if not any(one.covered for one in found):
        raise HarnessError(
            f"All {len(found)} masks are empty (first: '{found[0].sample}'), so there is nothing to learn "
            "or to "
            "score; is the structure another label, or in another channel?"
        )
    known = [not np.isnan([one.place["y"], one.place["x"]]).any() for one in found]
    if any(known) and not all(known):
        raise HarnessError(
            f"The sample '{found[known.index(False)].sample}' has no spacing and others have; distances "
            "cannot be "
            "mm for some: declare [cohort] spacing, or give files with headers."
        )
    yield from _lost(found, protocol)
    yield from _polarity(found)


def _lost(found: Sequence[Seen], protocol: Protocol) -> Iterator[Remark]:
    own = [one for one in found if one.lost]
    if own:
        names = ", ".join(sorted({f"'{name}'" for one in own for name in one.lost}))
        message = (
            f"In {len(own)} of {len(found)} masks a structure ({names}) is lost by resizing or cropping to "
            f"{protocol.cohort.size} pixels (first: '{own[0].sample}'), and would be scored as absent: raise "
            "[cohort] size."
        )
        samples = tuple(one.sample for one in own)
        yield Remark("resize", message, samples, True, f"[cohort] size = {2 * protocol.cohort.size}")


def _polarity(found: Sequence[Seen]) -> Iterator[Remark]:
    """Find masks whose structure lies at the border and has the others' other brightness."""
    usual = [one for one in found if 0 < one.covered < _MOST and one.outlined <= _LEAST]
    large = [one for one in found if one.covered > _MOST and one.outlined > _MOST]
    if len(large) > _NEARLY_ALL * len(found):
        message = (
            f"In {len(large)} of {len(found)} masks the structures cover most of the picture and its border "
            f"(first: '{large[0].sample}'): is the polarity right, and the background's label?"
        )
        yield Remark(
            "polarity", message, tuple(one.sample for one in large), False, "[labels] background = ..."
        )
    if not usual or not large:
        return
    sign = np.sign(np.median([one.contrast for one in usual]))
    agree = np.mean([np.sign(one.contrast) == sign for one in usual])
    turned = [one for one in large if np.sign(one.contrast) == -sign]
    # A lesion that fills the picture is as bright as other lesions; an inverted one is as bright as the rest.
    if sign and agree >= 0.7 and turned:
        message = (
            f"{len(turned)} of {len(found)} masks have the other polarity (first: '{turned[0].sample}'): "
            "their "
            "structure is at the border and has the brightness of the others' background. Invert those files."
        )
        yield Remark("polarity", message, tuple(one.sample for one in turned), True)
