"""People whose group nobody recorded: whether they are different, and what gap they could hide."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from harness.equity.noise import between_groups
from harness.equity.options import made
from harness.equity.scores import Scores

UNKNOWN = (
    *("method", "samples", "patients", "known", "unknown"),
    *("difference", "low", "high", "p", "gap", "gap_low", "gap_high", "all_in_low", "all_in_high"),
)
"""Columns of `unknown`: samples, patients: those of unknown group; known, unknown: the means of both;
difference: unknown minus known, with the 95% interval and p-value for all methods together; gap: as seen;
gap_low, gap_high: the least and the most that it would be, were all of them of one group, and all_in_low,
all_in_high: which group that is."""

_KNOWN, _UNKNOWN = "known", "unknown"


def unknown(scores: Scores) -> pd.DataFrame:
    """Return how people of unknown group differ from the others, a row a method; columns are `UNKNOWN`.

    Without rows where nobody's group is unknown. Fewer than `min_patients` of them have no numbers: a mean
    of so few says nothing, as a group's. The test is that of two groups in `noise_floor`'s "above chance".
    """
    made("scores", scores, Scores, "what `Scores` or `from_frame` makes")
    hidden = np.array([group is None for group in scores.groups])
    samples, patients = int(hidden.sum()), len(set(scores.patients[hidden].tolist()))
    rows = [dict.fromkeys(UNKNOWN, np.nan) | {"method": m} for m in scores.methods if samples]
    frame = pd.DataFrame(rows, columns=list(UNKNOWN)).assign(samples=samples, patients=patients)
    frame[["all_in_low", "all_in_high"]] = ""
    two = replace(scores, groups=np.where(hidden, _UNKNOWN, _KNOWN), order=(_UNKNOWN, _KNOWN))
    if samples and len(two.kept) == 2:
        _compare(two, frame)
        if len(scores.kept) > 1:
            _bound(scores, hidden, frame)
    return frame


def _compare(two: Scores, frame: pd.DataFrame) -> None:
    """Write the two means, their difference and what is known of it."""
    apart, limit, p = (values[:, 0] for values in between_groups(two))
    hidden = two.groups == _UNKNOWN
    for name, rows in (("unknown", hidden), ("known", ~hidden)):
        frame[name] = [float(np.nanmean(scores[:, rows])) for scores in two.by_method.values()]
    frame["difference"], frame["p"] = apart, p
    frame["low"], frame["high"] = apart - limit, apart + limit


def _bound(scores: Scores, hidden: np.ndarray, frame: pd.DataFrame) -> None:
    """Write the gap as it is, and the least and the most were all of unknown group of one group."""
    for i, rows in enumerate(scores.by_method.values()):
        sample = np.nanmean(rows, axis=0)
        gaps = {group: _gap(scores, sample, hidden, group) for group in ("", *scores.kept)}
        frame.loc[i, "gap"] = gaps.pop("")
        for end, which in (
            ("low", min(gaps, key=gaps.__getitem__)),
            ("high", max(gaps, key=gaps.__getitem__)),
        ):
            frame.loc[i, f"gap_{end}"] = gaps[which]
            frame.loc[i, f"all_in_{end}"] = which


def _gap(scores: Scores, sample: np.ndarray, hidden: np.ndarray, into: str) -> float:
    means = [sample[(scores.groups == group) | (hidden & (group == into))].mean() for group in scores.kept]
    return float(max(means) - min(means))
