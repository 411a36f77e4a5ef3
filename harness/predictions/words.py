"""Each number as a sentence for a reader who is no statistician: what it means, and what it cannot say."""

from __future__ import annotations

import math
from typing import Any

from harness.equity import MIN_PATIENTS
from harness.predictions.evaluation import METRICS, REPORTED, Evaluation

Row = dict[str, Any]
ALPHA = 0.05

METRIC_NAMES = {
    "dice": "Dice", "iou": "IoU", "nsd": "Surface Dice (NSD)", "hd95": "HD95", "hd95_max": "HD95 (MONAI)",
    "asd": "Average surface distance",
}  # fmt: skip

DEFINITIONS = {
    "Dice": "Twice the overlap of prediction and truth over their sizes together: 1 is perfect, 0 no "
    "overlap. Nothing found where nothing is counts as 1, a miss or a false alarm as 0.",
    "IoU": "The overlap over what either has: 1 is perfect; below Dice wherever it is not.",
    "Surface Dice (NSD)": "The share of both outlines that lies within the tolerance of the other: 1 is "
    "perfect.",
    "HD95": "The distance within which 95% of both outlines lie of each other; smaller is better. MONAI "
    "takes the larger of the two directions.",
    "Average surface distance": "How far the two outlines lie apart on average; smaller is better.",
    "Gap": "The best group's mean score less the worst group's.",
    "95% interval": "Where the true value for people like these is to be expected, by resampling patients; "
    "an interval made so misses it in 5 of 100 studies.",
    "ES-Dice": "Dice / (1 + the sum over groups of how far each is from the mean of all): FairSeg's "
    "equity-scaled score (Tian et al., ICLR 2024). It falls where groups differ.",
    "Noise floor": "The gap that chance alone stays below in 95% of cases, if groups of these sizes were "
    "dealt to the patients at random.",
    "p": "How often chance alone makes a difference at least as large as the one seen: p = 0.03 is 3 times "
    "in 100. Adjusted where several models stand in one table.",
    "Gap that would be seen": "If the true gap were this large, data like these would show it above the "
    "noise floor in 80 of 100 studies. A smaller one may be there and go unseen.",
    "Too few": f"A group of fewer than {MIN_PATIENTS} patients has no number: its mean would say more of "
    "chance than of the group.",
}

LIMITS = (
    "These numbers are of the people in this table. Of other hospitals, scanners and times they say nothing.",
    "A gap says that groups are served differently, not why: groups also differ in disease, size and images.",
    "No gap beyond chance is no proof that there is none: see the smallest gap that would have been seen.",
    "Agreement with the truth is agreement with whoever drew it; if the truth is worse for a group, so "
    "is this.",
)


def number(value: float, metric: str = "dice") -> str:
    """Return a score as text, three digits of a fraction, two of a distance; a dash for none."""
    if value is None or math.isnan(value):
        return "–"
    return f"{value:.3f}" if METRICS.get(metric, True) else f"{value:.2f}"


def signed(value: float, metric: str = "dice") -> str:
    """Return a difference as text with its sign, as "+0.012"; a dash for none."""
    if math.isnan(value):
        return "–"
    text = number(abs(value), metric)
    return text if float(text) == 0 else f"{'+' if value > 0 else '−'}{text}"


def interval(row: Row, metric: str = "dice") -> str:
    """Return "0.812 to 0.846", or why there is none."""
    if math.isnan(row["low"]):
        return "too few"
    return f"{number(row['low'], metric)} to {number(row['high'], metric)}"


def p_value(p: float) -> str:
    """Return "p = 0.03", "p < 0.001", or a dash."""
    if math.isnan(p):
        return "–"
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def standing(evaluation: Evaluation) -> str:
    """Say what was scored, and how."""
    table = evaluation.people.table
    cases, patients = len(table), table["patient"].nunique()
    how = "Scores were computed here from the predictions."
    if evaluation.obtained == REPORTED:
        how = (
            "Self-reported scores: they were computed elsewhere and taken as they are; no image was touched."
        )
    return f"{cases:,} cases of {patients:,} patients. {how}"


def gap(row: Row, metric: str = "dice") -> str:
    """Say what a gap means beside what chance makes, and what it cannot say."""
    if math.isnan(row["estimate"]):
        which = f"Fewer than two groups of '{row['attribute']}' have {MIN_PATIENTS} patients"
        return f"{which}: nothing can be said."
    seen = (
        f"The best group ({row['best']}) and the worst ({row['worst']}) differ by "
        f"{number(row['estimate'], metric)}"
    )
    floor = number(row["floor_95"], metric)
    if _above(row):
        least = f"; the true gap is at least {number(row['low'], metric)}" if row["low"] > 0 else ""
        return (
            f"{seen}, more than chance makes ({p_value(row['p_adjusted'])}; noise floor {floor}){least}. "
            f"It does "
            "not say why."
        )
    # A gap far below its noise has a short interval; what could hide is what the test would miss.
    most = number(max(row["high"], row["detectable"]), metric)
    return (
        f"{seen}, which chance alone can make ({p_value(row['p_adjusted'])}; noise floor {floor}). That "
        f"is no "
        f"proof of equal service: a true gap of up to about {most} could go unseen here."
    )


def _above(row: Row) -> bool:
    return bool(row["p_adjusted"] <= ALPHA and row["low"] > 0)


def details(row: Row, metric: str = "dice") -> str:
    """Say what the numbers around a gap mean, each in its own sentence; "" where there is no gap."""
    if math.isnan(row["estimate"]):
        return ""
    said = [
        f"For people like these the gap is to be expected between {number(row['low'], metric)} "
        f"and {number(row['high'], metric)} (95% interval).",
        "Were the groups dealt at random, half of the deals would show a gap above "
        f"{number(row['floor'], metric)} and one in twenty above {number(row['floor_95'], metric)} (the "
        "noise floor).",
    ]
    if not math.isnan(row["corrected"]):
        said.append(f"Less what such noise adds on average, the gap is {number(row['corrected'], metric)}.")
    if not math.isnan(row["detectable"]):
        said.append(
            f"A true gap of {number(row['detectable'], metric)} would be seen in 80 of 100 studies like this."
        )
    return " ".join(said) + (f" {_capital(row['note'])}." if row["note"] else "")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def equity_scaled(row: Row, overall: float) -> str:
    """Say what the equity-scaled score is beside the mean that it scales."""
    return (
        f"Equity-scaled Dice {number(row['estimate'])} ({interval(row)}): the mean of everybody, "
        f"{number(overall)}, lowered by how far the groups lie from it. Were all served alike, the two would "
        "be one; part of the difference is chance, as with the gap."
    )


def looks(evaluation: Evaluation) -> str:
    """Say how many gaps a page tests, and what that does to being beyond chance."""
    count = int(evaluation.gaps["p"].notna().sum()) if len(evaluation.gaps) else 0
    if count < 2:
        return ""
    said = f"{count} gaps are looked at here: of those that are not there, one in twenty is called "
    return said + "beyond chance."


def unknown(row: Row, metric: str = "dice") -> str:
    """Say whether people of unknown group are different."""
    who = f"{row['samples']} cases of {row['patients']} patients have no '{row['attribute']}'"
    if not row["samples"]:
        return ""
    if math.isnan(row["difference"]):
        return f"{who}: too few to say whether they are different."
    side = "higher" if row["difference"] > 0 else "lower"
    apart = f"their mean is {number(abs(row['difference']), metric)} {side} than that of the others"
    sure = "beyond chance" if row["p"] <= ALPHA else "within chance"
    hidden = "" if math.isnan(row["gap_high"]) else (
        f" Were they all of one group, the gap would be between {number(row['gap_low'], metric)} and "
        f"{number(row['gap_high'], metric)}."
    )  # fmt: skip
    return f"{who}: {apart}, {sure} ({p_value(row['p'])}).{hidden}"


def difference(row: Row, metric: str = "dice") -> str:
    """Say what a paired comparison of two models says."""
    sure = row["p_adjusted"] <= ALPHA if not math.isnan(row["p_adjusted"]) else False
    if math.isnan(row["difference"]):
        return "too few patients to compare"
    word = "higher" if row["difference"] > 0 else "lower"
    told = f"{number(abs(row['difference']), metric)} {word} than {row['baseline']}'s"
    if not sure:
        return f"{told}, which chance alone can make ({p_value(row['p_adjusted'])})"
    return f"{told}, beyond chance ({p_value(row['p_adjusted'])})"


def trainings(evaluation: Evaluation) -> str:
    """Say of what a comparison speaks: of these models, or of how they are trained."""
    seeds = evaluation.scores["seed"].nunique()
    if seeds < 3:
        return (
            "Each model stands for itself, as it was trained: whether another training of it would do as "
            "well, "
            "only several trainings tell (--name twice for two)."
        )
    return f"Over {seeds} trainings of each model."
