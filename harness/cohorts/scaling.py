"""One scale from pixel values to 8 bits for a whole cohort, declared or found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from harness.cohorts.cohort import Remark
from harness.errors import HarnessError

_SPOTS = 4_000_000
"""Pixel values that percentiles are found from, over all files, evenly spaced in each."""


class Window(BaseModel):
    """`window`: a CT window, in the files' units. `{ level = 40, width = 400 }` shows -160 to 240."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    level: float
    width: Annotated[float, Field(gt=0)]


class ScaleOptions(BaseModel):
    """The keys of `[cohort]` that say which pixel values are black and white; one of them, or none."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    window: Window | None = None
    scale: tuple[float, float] | None = None
    """The values that are black and white."""
    percentiles: (
        tuple[Annotated[float, Field(ge=0, le=100)], Annotated[float, Field(ge=0, le=100)]] | None
    ) = None
    """The percentiles of the pixels' values that are black and white."""
    percentiles_of: Literal["cohort", "patient", "image"] = "cohort"
    """Whose values; "patient" or "image" where the values have no common unit, as in MRI: differences of
    brightness between them are lost then."""

    @model_validator(mode="after")
    def _one(self) -> ScaleOptions:
        given = [key for key in ("window", "scale", "percentiles") if getattr(self, key) is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} both say which values are black and white; keep one")
        for key in ("scale", "percentiles"):
            pair = getattr(self, key)
            if pair is not None and not pair[0] < pair[1]:
                raise ValueError(f"{key} has black first and white second, and black is the lower")
        return self


@dataclass(frozen=True)
class Scale:
    """Values at which 8 bits begin and end; what is outside is cut off. low 0 and high 255 is as it is.

    by_format: whether files of 8 bits among the others keep theirs.
    """

    low: float
    high: float
    by_format: bool = False

    def apply(self, array: np.ndarray, where: str) -> np.ndarray:
        """Return any array as uint8. Raises HarnessError for what is no finite number."""
        if array.dtype == np.uint8 and (self.by_format or (self.low, self.high) == (0, 255)):
            return array
        if array.dtype == bool:
            return array.astype(np.uint8) * np.uint8(255)
        values = finite(array, where).astype(np.float64)
        scaled = (values - self.low) / (self.high - self.low) * 255
        return np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)


BYTES = Scale(0, 255, by_format=True)
UNIT = Scale(0, 1, by_format=True)


@dataclass(frozen=True)
class Look:
    """What one image's pixels are like, to find a scale by.

    kind: "bytes" (8 bits or fewer), "integer" or "float"; spots: float64 [n], some of the values.
    """

    kind: Literal["bytes", "integer", "float"]
    low: float = 0.0
    high: float = 255.0
    fractions: bool = False
    spots: np.ndarray | None = None


def look(array: np.ndarray, images: int, where: str) -> Look:
    """Return what an image is like, as one of so many. Raises HarnessError as `Scale.apply` does."""
    if array.dtype in (np.uint8, np.bool_):
        return Look("bytes")
    values = finite(array, where).ravel()
    spots = values[:: max(1, values.size // max(256, _SPOTS // max(images, 1)))].astype(np.float64)
    is_float = values.dtype.kind == "f"
    fractions = bool(is_float and (values != np.rint(values)).any())
    return Look(
        "float" if is_float else "integer", float(values.min()), float(values.max()), fractions, spots
    )


def finite(array: np.ndarray, where: str) -> np.ndarray:
    """Return an array of finite numbers. Raises HarnessError for any other."""
    if array.dtype.kind not in "buif":
        raise HarnessError(f"{where}: pixels of type {array.dtype} are no image; give numbers.")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise HarnessError(f"{where}: has pixels that are not finite; replace NaN and infinity.")
    return array


def as_bytes(array: np.ndarray, where: str) -> np.ndarray:
    """Return an image as uint8 whose format fixes its scale: 8 bits, or floating point from 0 to 1.

    Raises HarnessError for anything wider, which no scale of the image's own is fair to.
    """
    if array.dtype == np.uint8:
        return array
    values = finite(array, where)
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    if values.dtype.kind == "f" and low >= -0.5 and high <= 1.5:
        return UNIT.apply(values, where)
    if low < -0.5 or high > 255.5:
        raise HarnessError(
            f"{where}: has values from {low:g} to {high:g}; an image has 8 bits, or values from 0 to 1."
        )
    return BYTES.apply(values, where)


def declared(options: ScaleOptions) -> Scale | None:
    """Return the scale that the protocol gives in values, None where it has to be found."""
    if options.window is not None:
        half = options.window.width / 2
        return Scale(options.window.level - half, options.window.level + half)
    return None if options.scale is None else Scale(*options.scale)


def by_percentiles(spots: Iterable[np.ndarray], percentiles: tuple[float, float], where: str) -> Scale:
    """Return the scale between two percentiles. Raises HarnessError where the two are one value."""
    low, high = np.percentile(np.concatenate(list(spots)), percentiles)
    if not low < high:
        raise HarnessError(
            f"{where}: percentiles {percentiles[0]:g} and {percentiles[1]:g} are both {low:g}; take them "
            "wider."
        )
    return Scale(float(low), float(high))


def find(looks: Sequence[Look], place: Callable[[int], str]) -> tuple[Scale, list[Remark]]:
    """Return the one scale of a cohort from a look at each of its images, with what is to be said of it.

    8 bits stay as they are, and so does what lies in 0 to 255; floats in 0 to 1, up to an interpolation's
    overshoot, are multiplied by 255; anything wider goes from 0 (or from the least value, where values are
    below 0 or far above) to the largest of the cohort. Raises HarnessError where the files are of several of
    these, because then no one scale is right; `place` names an image.
    """
    wide = [i for i, one in enumerate(looks) if one.kind != "bytes"]
    if not wide:
        return BYTES, []
    spots = np.concatenate([looks[i].spots for i in wide if looks[i].spots is not None])
    low, high = min(looks[i].low for i in wide), max(looks[i].high for i in wide)
    scale = _of_values(spots, low, high, any(looks[i].kind == "float" for i in wide))
    _check_one_kind(looks, wide, scale, place)
    return scale, _remarks(scale, spots, low, high, len(wide))


def _of_values(spots: np.ndarray, low: float, high: float, floats: bool) -> Scale:
    least, most = np.percentile(spots, [0.5, 99.5])
    if floats and high <= 2 and low >= -1 and least >= -0.02 and most <= 1.02:
        return UNIT
    if low >= -2 and high <= 300 and least >= 0 and most <= 255 and (floats or (low >= 0 and high <= 255)):
        return BYTES
    # From 0, so that ratios between images are kept; but not where that would leave hardly any grey levels.
    black = 0.0 if low >= 0 and np.percentile(spots, 0.1) < 0.5 * high else low
    return Scale(black, high if high > black else black + 1)


def _check_one_kind(
    looks: Sequence[Look], wide: Sequence[int], scale: Scale, place: Callable[[int], str]
) -> None:
    odd: list[int] = []
    if scale == BYTES:  # floats in 0 to 1 beside others in 0 to 255
        odd = [
            i for i in wide if looks[i].fractions and looks[i].high <= 1.5 and looks[i].high > looks[i].low
        ]
    elif scale != UNIT:
        odd = [i for i in wide if looks[i].fractions and -0.1 <= looks[i].low < looks[i].high <= 1.5]
        odd = odd if scale.low >= 0 else []
    rest = [i for i in range(len(looks)) if looks[i].kind == "bytes"] if scale not in (BYTES, UNIT) else []
    odd, other = (odd, [i for i in wide if i not in set(odd)]) if odd else (rest, list(wide))
    if odd and other:
        what = "8 bits" if odd is rest else "values from 0 to 1"
        raise HarnessError(
            f"{place(odd[0])}: has {what}, and {place(other[0])} has values up to "
            f"{looks[other[0]].high:g}; no one "
            "scale fits both. Save all images alike, or declare [cohort] scale = [black, white]."
        )


def _remarks(scale: Scale, spots: np.ndarray, low: float, high: float, count: int) -> list[Remark]:
    if scale in (UNIT, BYTES):
        if low >= scale.low and high <= scale.high:
            return []
        message = (
            f"Images have values from {low:g} to {high:g}: taken as {scale.low:g} to {scale.high:g}, and "
            "what is "
            "outside cut off."
        )
        return [Remark("scale", message, fix=f"[cohort] scale = [{scale.low:g}, {scale.high:g}]")]
    usual = float(np.percentile(spots, 99.9))
    message = (
        f"{count} images have more than 8 bits, with values from {low:g} to {high:g}: one scale for all "
        "makes "
        f"{scale.low:g} black and {scale.high:g} white; 99.9 % of the pixels are at most {usual:g}."
    )
    fix = f"[cohort] scale = [{scale.low:g}, {scale.high:g}]"
    if usual - scale.low < (scale.high - scale.low) / 4:
        message += " So nearly all is dark: a few pixels set the scale."
        fix = "[cohort] percentiles = [0.1, 99.9]"
    return [Remark("scale", message, fix=fix)]
