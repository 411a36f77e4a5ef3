"""Numbers and findings as a person reads them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from markupsafe import Markup

from harness.equity import LEAST_SEEDS, MIN_PATIENTS
from harness.equity.comparison import ALPHA
from harness.protocol import BASELINE, ScoringSpec
from harness.store import twins
from leaderboard.compute import tracks
from leaderboard.compute.across import Line
from leaderboard.compute.metrics import DICE
from leaderboard.compute.row import Difference, Family, Number, Row
from leaderboard.compute.sections import Section
from leaderboard.read.boards import Board

MISSING = "–"
_FROM_THE_RIGHT = re.compile(
    "[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]"
)
_TINY = 1e-6
"""Apart by less are two numbers that were reckoned from the same scores."""
TOLERANCE = ScoringSpec().tolerance
"""Of NSD where a protocol says nothing else."""

OBTAINED = {
    "run": "run here",
    "verified": "verified from predictions",
    "predictions": "predictions only",
    "reported": "self-reported",
}


def number(value: float, digits: int = 3) -> str:
    """Return a fraction with three digits, or a dash."""
    return MISSING if math.isnan(value) else f"{value:z.{digits}f}"


def sortable(value: float) -> str:
    """Return a number for the page's scripts, empty where there is none."""
    return "" if math.isnan(value) else f"{value:.6g}"


def data(value: float, low: float = math.nan, high: float = math.nan) -> Markup:
    """Return a number and its interval as attributes of a cell, for the scripts that sort and export."""
    ends = "" if math.isnan(low) else f' data-low="{low:.6g}" data-high="{high:.6g}"'
    return Markup(f' data-v="{sortable(value)}"{ends}')


def signed(value: float, digits: int = 3) -> str:
    """Return a difference with its sign, a true minus among them; ±0.000 where its digits are all zero."""
    if math.isnan(value):
        return MISSING
    said = f"{value:+.{digits}f}".replace("-", "−")
    return said if said.strip("+−0.") else f"±{said[1:]}"


def isolated(text: str) -> str:
    """Return a name for a sentence: one in Arabic or Hebrew letters must not turn the numbers beside it."""
    return f"\u2068{text}\u2069" if _FROM_THE_RIGHT.search(text) else text


def shows(value: float, digits: int = 3) -> bool:
    """Return whether a fraction above 0 is more than 0 in its digits."""
    return round(value, digits) > 0


def counted(count: int, what: str) -> str:
    """Return "1 seed", or "2 seeds"."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def interval(n: Number, digits: int = 3) -> str:
    """Return "low–high", or why there is none."""
    if not n.there:
        return n.note
    if math.isnan(n.low):
        return "no interval: too few patients"
    low, high = number(n.low, digits), number(n.high, digits)
    return f"{low} to {high}"


def p_value(p: float) -> str:
    """Return "p = 0.03" with two digits, or "p < 0.001"."""
    if math.isnan(p):
        return ""
    if p < 0.001:
        return "p < 0.001"
    return f"p = {p:.2f}" if p >= 0.0995 else f"p = {p:.2g}"


def percent(share: float) -> str:
    """Return a probability; never 0% or 100%, which no resampling can show."""
    if math.isnan(share):
        return MISSING
    if share < 0.01:
        return "<1%"
    return ">99%" if share > 0.99 else f"{100 * share:.0f}%"


def rank(row: Row | Line | Family) -> str:
    """Return a rank as a range."""
    if row.rank_low is None:
        return MISSING
    return f"{row.rank_low}" if row.rank_low == row.rank_high else f"{row.rank_low}–{row.rank_high}"


def duration(seconds: float) -> str:
    """Return seconds, minutes or hours."""
    if seconds < 9.95:
        return f"{seconds:.1f} s" if shows(seconds, 1) else "under 0.1 s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.1f} h"


def size(n_bytes: float) -> str:
    """Return bytes as MB or GB; a dash for none, which nobody measured."""
    if not n_bytes:
        return MISSING
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.0f} MB"


def listed(names: Sequence[str], most: int = 4) -> str:
    """Return "a, b and c", or "a, b, c and 9 others"."""
    shown = list(names) if len(names) <= most else [*names[: most - 1], f"{len(names) - most + 1} others"]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def headline(section: Section) -> str:
    """Say which method is fairest and how sure we are."""
    ranked = section.ranked
    if not ranked:
        return nothing(section)
    top = ranked[0]
    es = top.number("dice", "es_sum")
    score = f"ES-Dice {number(es.value)} (95% interval {interval(es)})"
    if identical(section):
        return f"{_all(len(ranked))} methods have the same {score}: there is nothing to tell apart."
    if len(ranked) == 1:
        how = "can be ranked" if any(row.done for row in section.rows if row is not top) else "has finished"
        return f"Only {_named(top)} {how}: {score}. There is nothing to compare it with yet."
    twin = top.versus.baseline if top.versus is not None else ""
    level = [row for row in ranked[1:] if _same(row, top)]
    alike = [row for row in ranked[1:] if set(row.letters) & set(top.letters) and row not in level]
    # Its twin first: what the further epochs are worth is what a reader has to know of the lead.
    tied = [_named(row) for row in sorted(alike, key=lambda row: row.method != twin)]
    sure = f"first in {percent(top.p_best)} of resamples of patients and seeds"
    if top.done < 2:
        sure = (
            f"first in {percent(top.p_best)} of resamples of patients (one seed: another training may differ)"
        )
    if top.best:
        gap = ""
        if top.versus is not None and top.versus.verdict.startswith("gap wider"):
            wider = f"Its gap is wider than {_whose(top.versus)}"
            gap = f" {wider}: higher Dice makes it best, not more equal Dice."
        of = "" if section.track == tracks.MAIN else f" of those that read {section.attribute} at test time"
        others = "better than every other method in paired tests"
        return f"{isolated(top.title)} is best{of}: {score}, {sure}, and {others}.{gap}"
    alone = ""
    if top.versus is not None and not top.versus.number.there:
        alone = f" What its further epochs are worth is not known: {top.versus.than} has not run here."
    few = " on fewer than three seeds" if top.done < LEAST_SEEDS else ""
    if level:
        share = f"{listed([_named(row) for row in (top, *level)])} share the highest {score}, each {sure}"
        others = f": paired tests do not tell them apart from {listed(tied)}{few}" if tied else ""
        return f"{share}; none is shown to be best{others}.{alone}"
    if tied:
        return (
            f"{_named(top)} has the highest {score} and is {sure}, but is not shown to be best: "
            f"paired tests do not tell it apart from {listed(tied)}{few}.{alone}"
        )
    highest = f"{_named(top)} has the highest {score}, is {sure}"
    return f"{highest}, and better than every other in paired tests.{alone}"


def _whose(versus: Difference) -> str:
    """Return the possessive of what a method is compared with."""
    return "ERM’s" if versus.than == "ERM" else f"that of {versus.than}"


def _named(row: Row) -> str:
    title = isolated(row.title)
    return f"{title} (self-reported)" if row.obtained == "reported" else title


def identical(section: Section) -> bool:
    """Whether all methods scored the same: not one more than another, and no pair that varies."""
    ranked = section.ranked
    if len(ranked) < 2 or not section.enough or section.enough[0]["detectable"] > _TINY:
        return False
    return all(_same(row, ranked[0]) for row in ranked)


def _same(row: Row, other: Row) -> bool:
    own, theirs = (one.number("dice", "es_sum").value for one in (row, other))
    return math.isclose(own, theirs, rel_tol=0, abs_tol=_TINY)


def _all(count: int) -> str:
    return "Both" if count == 2 else f"All {count}"


def nothing(section: Section) -> str:
    """Say why a section ranks nothing."""
    done = [row for row in section.rows if row.done]
    if not done:
        return "No trial has finished yet."
    for part in ("the table", DICE.name):
        if part in section.why:
            return f"Nothing can be ranked here: {section.why[part]}"
    if not any(row.ranks for row in done):
        return f"Predictions alone, of fewer than {LEAST_SEEDS} trainings, are shown and not ranked."
    large = [group for group in section.groups if section.counts[group][1] >= MIN_PATIENTS]
    there = f"only {isolated(large[0])} has" if len(large) == 1 else "none has"
    takes = f"it takes {MIN_PATIENTS} test patients in each of two groups, and {there} that many"
    return f"Too few patients to rank anything: {takes}."


def better_than_erm(section: Section) -> list[Row]:
    """Return the rows that are better than ERM given as many epochs, by rank.

    Left out is ERM itself with more of them, what stands on its submitter's word alone, and what is higher in
    ES-Dice though every group lost.
    """
    return [
        row
        for row in section.ranked
        if row.versus is not None
        and row.versus.better
        and row.versus.lost is None
        and twins.schedule_in(row.method) is None
        and row.obtained != "reported"
    ]


def gap_above(row: Row) -> bool | None:
    """Return whether a gap is more than chance makes, in these trainings and in others; None where unknown.

    The relabelling knows these trainings alone, and takes the groups' scores for equally spread; the
    interval does neither, so both must agree.
    """
    noise, gap = row.noise.get("dice"), row.number("dice", "gap")
    if noise is None or not gap.there or math.isnan(noise.p):
        return None
    return noise.p_adjusted <= ALPHA and gap.low > 0


def gap_finding(row: Row) -> str:
    """Say whether a method's gap is more than chance makes, "" where that is not known."""
    above = gap_above(row)
    if above is None:
        return ""
    return f"{_against_chance(row, above)} ({p_value(row.noise['dice'].p_adjusted)})"


def _against_chance(row: Row, above: bool) -> str:
    """Say where a gap stands; one above its floor that a test does not tell from chance is not within it."""
    within = row.number("dice", "gap").value <= row.noise["dice"].floor_95
    return "above chance" if above else "within chance" if within else "may be chance"


def over_views(row: Row) -> str:
    """Say what of a method's findings stands where all tables of the board are one family."""
    own = row.family
    if own is None:
        return ""
    said = []
    if not math.isnan(own.p_versus) and row.versus is not None:
        side = "better" if row.versus.number.value > 0 else "worse"
        than = row.versus.than
        finding = f"{side} than {than}" if own.p_versus <= ALPHA else f"not told apart from {than}"
        said.append(f"{finding} ({p_value(own.p_versus)})")
    if not math.isnan(own.p_gap):
        gap = "no change of the gap beyond chance"
        if own.p_gap <= ALPHA:
            verdict = "" if row.versus is None else row.versus.verdict
            gap = "gap changed" if not verdict else f"gap {'wider' if 'wider' in verdict else 'narrower'}"
        said.append(f"{gap} ({p_value(own.p_gap)})")
    if not math.isnan(own.p_above):
        sure = own.p_above <= ALPHA and row.number("dice", "gap").low > 0
        said.append(f"gap {_against_chance(row, sure)} ({p_value(own.p_above)})")
    return "; ".join(said)


def difference_finding(row: Row, under_erm: bool = False) -> str:
    """Say whether a method is better than the baseline; under_erm: below a heading that names ERM already."""
    if row.versus is None:
        return "the baseline" if row.method == BASELINE else ""
    if not row.versus.tested:
        return row.versus.number.note
    p, than = p_value(row.versus.p), row.versus.than
    unsaid = under_erm and than == "ERM"
    if row.versus.told == "equivalent":
        to = "" if unsaid else f" to {than}"
        return f"equivalent{to} within {row.versus.margin:g} ({p} for a difference)"
    if row.versus.better is None:
        return f"not told apart{'' if unsaid else f' from {than}'} ({p})"
    return f"{'better' if row.versus.better else 'worse'}{'' if unsaid else f' than {than}'} ({p})"


def levelled(row: Row) -> str:
    """Say where a higher ES-Dice than the baseline's hides that every group lost; "" elsewhere."""
    if row.versus is None or row.versus.lost is None:
        return ""
    beyond = f"{row.versus.lost} of them beyond chance" if row.versus.lost else "each within chance"
    return (
        f"higher ES than {_whose(row.versus)}, though every group’s Dice is lower ({beyond}): levelled down"
    )


def status(row: Row) -> str:
    """Say what became of a method's trials."""
    if row.status == "done" and not row.ranks:
        return "not ranked: one training" if row.done == 1 else f"not ranked: {row.done} trainings"
    if row.status == "done":
        return counted(row.done, "seed")
    if row.status == "not run yet":
        return "not run yet"
    failed = f", {len(row.errors)} failed" if row.errors else ""
    waiting = row.planned - row.done - len(row.errors)
    more = f", {waiting} not run yet" if waiting else ""
    return f"{row.done} of {counted(row.planned, 'seed')}{failed}{more}"


def obtained(row: Row) -> str:
    """Say how a method's records came here, "" where there is none."""
    return "" if row.obtained is None else OBTAINED[row.obtained]


def trained(row: Row) -> str:
    """Say whose loop trained a method, "" where its records do not tell.

    That it was the harness's is only known of what ran here: of a submission it is the submitter's word.
    """
    if row.trained == "by itself":
        return "trains its own model"
    if row.trained == "by the harness" and row.obtained is not None:
        return "trained by the harness" if row.obtained == "run" else "trained by the harness, it is said"
    return ""


def chosen(board: Board, method: str) -> str:
    """Say where a method's hyper-parameters are from, "" where it has none or nothing has run."""
    if tuned := board.record.tuned.get(method):
        tries = len(tuned.tries)
        return f"best of {tries} tries" if tries > 1 else "nothing to tune"
    info = board.entries[method].info
    if not info.hyper_parameters:
        return ""
    changed = any(value != info.defaults.get(name, value) for name, value in info.hyper_parameters.items())
    return "set by the protocol" if changed else "defaults"


def in_units(text: str, board: Board) -> str:
    """Return what is said of a metric with the board's unit of distances and tolerance of NSD."""
    if not board.in_mm and board.tolerance == TOLERANCE:
        return text
    unit, units = ("mm", "mm") if board.in_mm else ("px", "pixels")
    text = text.replace(f"{TOLERANCE:g} px", f"{board.tolerance:g} {unit}")
    text = text.replace(f"{TOLERANCE:g} pixels", f"{board.tolerance:g} {units}")
    return text.replace("in pixels", f"in {units}").replace(", px", f", {unit}")


def maybe(value: float | None) -> str:
    """Return a fraction, or a dash where there is none."""
    return MISSING if value is None else number(value)


def unranked(row: Row) -> str:
    """Say why a method has no rank."""
    return "too few patients in the groups to rank it" if row.done and row.ranks else status(row)


def standing(row: Row, section: Section) -> str:
    """Say where a method stands in a section, in one sentence."""
    if row.rank is None:
        return f"{unranked(row)}."
    es = row.number("dice", "es_sum")
    place = f"rank {rank(row)} of {len(section.ranked)}"
    said = f"{place}, ES-Dice {number(es.value)} (95% interval {interval(es)}), {status(row)}"
    gap = row.number("dice", "gap")
    if gap.there:
        said += f"; gap {number(gap.value)}, {gap_finding(row)}"
    if row.versus is not None:
        said += f"; {difference_finding(row)}"
    if levelled(row):
        said += f"; {levelled(row)}"
    return said + "."


def needed(count: float, unit: str) -> str:
    """Return "5 seeds", or that no number of them is enough."""
    return f"no number of {unit}s that was tried" if math.isnan(count) else counted(round(count), unit)
