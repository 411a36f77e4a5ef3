"""The one door for a board: all tables of a structure, metric and attribute, from the same draws."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.extensions import take

from harness.equity import many
from harness.equity.comparison import COMPARISON, compare
from harness.equity.family import FAMILY, of_pairs, over_views
from harness.equity.keep import Keep, anew
from harness.equity.noise import noise_floor
from harness.equity.options import flag, made, text, whole
from harness.equity.quantities import quantities
from harness.equity.ranking import PAIRS, RANKING, pairwise, rank
from harness.equity.reference import MARGIN, checked, least_common
from harness.equity.resampling import RESAMPLES, resample
from harness.equity.scores import Scores
from harness.equity.summary import SUMMARY, mean_interval, summarise
from harness.equity.twins import Twins, compared, known, pairs_without_loans, without_loans

FEWER = 1_000
"""Resamples of what is shown beside the ranking: intervals need fewer than tests of all pairs."""

LEAST_SEEDS = 3
"""With fewer seeds in common no two methods are told apart: two trainings that come out alike by luck hide
how much a third would differ. On two seeds a null board called ERM better than GroupDRO at p = 0.0002."""

_KEYS = ("method", "quantity", "group")
_FROM_NOISE = ("floor", "floor_95", "p", "detectable")
_FROM_COMPARISON = ("difference", "difference_low", "difference_high", "p_adjusted", "better", "verdict")
_FROM_RANKING = ("rank", "rank_low", "rank_high", "p_best", "letters")
_FROM_FAMILY = FAMILY[FAMILY.index("views") :]

TIDY = (
    *SUMMARY[: SUMMARY.index("note")],
    *_FROM_NOISE,
    *_FROM_COMPARISON,
    *_FROM_RANKING,
    *_FROM_FAMILY,
    "note",
)
"""Columns of `Tables.tidy`, as in the table that each is from; difference_low and difference_high are the
comparison's low_adjusted and high_adjusted."""


@dataclass(frozen=True)
class Tables:
    """What a board's table says of its methods; each frame has the columns of its name in capitals.

    The summary of what is ranked has one quantity more than `summarise`: "median", of all samples and seeds.
    Without rows are the ranking and the family of what is not ranked, the comparison where nothing is
    compared, and the pairs of very many methods. Of a method that has a twin the comparison is with the twin;
    ranks, letters and pairs are those of `harness.equity.twins`.
    """

    summary: pd.DataFrame
    noise: pd.DataFrame
    ranking: pd.DataFrame
    comparison: pd.DataFrame
    pairs: pd.DataFrame
    family: pd.DataFrame

    @property
    def tidy(self) -> pd.DataFrame:
        """All but the pairs as one: a row a method, quantity and group; of `TIDY` those that have rows."""
        named = {"difference_low": "low_adjusted", "difference_high": "high_adjusted"}
        numbers = [name for name in SUMMARY if name not in _KEYS]
        sources = (
            (self.summary, numbers), (self.noise, _FROM_NOISE), (self.comparison, _FROM_COMPARISON),
            (self.ranking, _FROM_RANKING), (self.family, _FROM_FAMILY),
        )  # fmt: skip
        places = [_places(frame) for frame, _ in sources]
        rows = sorted({*places[0], *places[1]})
        columns: dict[str, Any] = {key: [row[i] for row in rows] for i, key in enumerate(_KEYS)}
        for (frame, names), place in zip(sources, places, strict=True):
            at = np.array([place.get(row, -1) for row in rows], int)
            for name in names if place else ():
                columns[name] = take(frame[named.get(name, name)].array, at, allow_fill=True)
        return pd.DataFrame(columns)


def _places(frame: pd.DataFrame) -> dict[tuple[str, ...], int]:
    """Return the place of each method, quantity and group in a table; those of all groups have no group."""
    keys = [frame[name].tolist() if name in frame else [""] * len(frame) for name in _KEYS]
    return {row: i for i, row in enumerate(zip(*keys, strict=True))}


def tables(
    scores: Scores,
    baseline: str,
    *,
    ranked: bool = True,
    least_seeds: int = LEAST_SEEDS,
    margin: float = MARGIN,
    views: int = 1,
    twins: Twins = MappingProxyType({}),
    keep: Keep = anew,
) -> Tables:
    """Return all that a board says of these scores; the same input gives the same tables.

    More than `many.MANY` methods get normal errors instead of resampled ones. `ranked`: whether methods are
    put in order by es_sum, tested against one another and compared with the `baseline`, where it is one of
    several; with fewer than `least_seeds` in common no two are told apart. `margin`: of es_sum, within which
    two are equally fair. ES against the baseline stands
    under the same adjustment as ranks and letters: adjusted over the comparisons with the baseline alone, a
    method would now and then be better than it and share its letter. `views`: how many such tables a reader
    has before him, this one among them; `family` says what stands over all of them. `twins`: of methods that
    train longer than the baseline, the baseline at their schedule (`harness.equity.twins`). `keep`: where the
    numbers of a method's own draws may lie from before (`harness.equity.keep`), which changes none of them.
    Raises HarnessError for options that are no such thing.
    """
    made("scores", scores, Scores, "what `Scores` or `from_frame` makes")
    baseline, ranked = text("baseline", baseline, "a method's name"), flag("ranked", ranked)
    least_seeds, margin = least_common(least_seeds), checked(margin)
    views, twins = whole("views", views, 1), known(twins, scores.methods)
    if len(scores.methods) > many.MANY:
        return _approximate(scores, baseline, ranked, least_seeds, views, margin, twins)
    draws = resample(scores, resamples=RESAMPLES if ranked else FEWER, keep=keep)
    summary, noise = summarise(draws), noise_floor(draws)
    ranking, comparison, tested = _nothing(RANKING), _nothing(COMPARISON), _nothing(PAIRS)
    family = _nothing(FAMILY)
    if ranked:
        summary = _with_medians(summary, scores)
        tested = pairwise(draws, least_seeds=least_seeds, margin=margin)
        values = quantities(True)["es_sum"](draws.means @ draws.weights, draws.means[:, :-1])
        tested = pairs_without_loans(tested, values, scores.methods, baseline, twins)
        ranking = rank(draws, tested=tested)
        if len(scores.methods) > 1:
            one = partial(compare, draws, least_seeds=least_seeds, margin=margin)
            comparison = compared(one, scores.methods, baseline, twins)
        if ranking["rank"].notna().all():
            p = of_pairs(tested, list(ranking["method"]))
            family = over_views(ranking, p, noise, comparison, views)
    return Tables(summary, noise, ranking, comparison, tested, family)


def _approximate(
    scores: Scores,
    baseline: str,
    ranked: bool,
    least_seeds: int,
    views: int,
    margin: float,
    twins: Twins,
) -> Tables:
    source = many.errors(scores)
    summary, noise = many.summarise(source), many.noise_floor(source)
    ranking, comparison, family = _nothing(RANKING), _nothing(COMPARISON), _nothing(FAMILY)
    if ranked:
        summary = _with_medians(summary, scores)
        tested = many.pairwise(source, least_seeds=least_seeds)
        if source.draws.n_groups > 1:
            values = source.linear(quantities(True)["es_sum"]).estimates
            tested = without_loans(tested, values, scores.methods, baseline, twins)
        ranking = many.rank(source, tested=tested)
        one = partial(many.compare, source, least_seeds=least_seeds, margin=margin)
        comparison = compared(one, scores.methods, baseline, twins)
        if ranking["rank"].notna().all():
            order = [scores.methods.index(method) for method in ranking["method"]]
            family = over_views(ranking, tested[np.ix_(order, order)], noise, comparison, views)
    return Tables(summary, noise, ranking, comparison, _nothing(PAIRS), family)


def _nothing(columns: tuple[str, ...]) -> pd.DataFrame:
    return pd.DataFrame(columns=list(columns))


def _with_medians(summary: pd.DataFrame, scores: Scores) -> pd.DataFrame:
    """Return the summary with a row more for each method, its median over all samples and seeds.

    The interval is Woodruff's (J. Am. Stat. Assoc. 1952): that of a mean, the share of samples below the
    median, whose ends are read off the ordered scores. So patients, seeds and the noise of single samples
    count as they do for the mean, and no resample is sorted. Where scores are tied with the median, the
    lower end takes the share below it and the upper end the share up to it, so that each is the wider one.
    """
    ordered = [np.sort(rows[~np.isnan(rows)]) for rows in scores.by_method.values()]
    middle = [float(np.median(values)) for values in ordered]
    shares = {}
    for i, (rows, median) in enumerate(zip(scores.by_method.values(), middle, strict=True)):
        shares[f"{i} below"] = np.where(np.isnan(rows), np.nan, rows < median)
        shares[f"{i} up to"] = np.where(np.isnan(rows), np.nan, rows <= median)
    off = list(_off(replace(scores, by_method=shares, higher_is_better=True), len(ordered) > many.MANY))
    below, up_to = (np.clip(0.5 + np.array(side), 0, 1) for side in (off[::2], off[1::2]))
    low = [np.quantile(v, ends[0], method="lower") for v, ends in zip(ordered, below, strict=True)]
    high = [np.quantile(v, ends[1], method="higher") for v, ends in zip(ordered, up_to, strict=True)]
    overall = summary[summary["quantity"] == "overall"]
    medians = overall.assign(quantity="median", estimate=middle, low=low, high=high, corrected=np.nan)
    return pd.concat([summary, medians], ignore_index=True)


def _off(shares: Scores, approximate: bool) -> Iterator[tuple[float, float]]:
    """Yield how far each share as seen may be off the true one, down and up."""
    if approximate:
        half = many.errors(shares).linear(lambda overall, groups: overall).half
        yield from zip(-half, half, strict=True)
        return
    draws = resample(shares, resamples=FEWER)
    for method in range(len(shares.methods)):
        found = mean_interval(draws, method, draws.weights)
        yield found.estimate - found.high, found.estimate - found.low
