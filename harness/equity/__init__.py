"""Per-sample scores and groups in, tidy tables out: how equitable each method is, and how surely.

    scores = Scores({"erm": dice_of_erm, "adv": dice_of_adv}, groups, patients)
    draws = resample(scores, seed=0)
    summarise(draws), noise_floor(draws), compare(draws, baseline="erm"), rank(draws)

or `tables(scores, baseline="erm")` for all of them together, as the board shows them.
Needs numpy, pandas and scipy alone. docs/equity.md has a worked example and the measured calibration.
"""

from harness.equity.across import ACROSS, across
from harness.equity.cells import shrunk
from harness.equity.comparison import COMPARISON, compare
from harness.equity.family import FAMILY
from harness.equity.noise import NOISE, noise_floor
from harness.equity.power import POWER, enough
from harness.equity.quantities import (
    es_penalty,
    es_std,
    es_sum,
    gap,
    skewed_error_ratio,
    spread,
    sum_gap,
)
from harness.equity.ranking import PAIRS, RANKING, pairwise, rank
from harness.equity.reference import MARGIN
from harness.equity.resampling import RESAMPLES, Draws, resample
from harness.equity.scores import MIN_PATIENTS, Scores, from_frame
from harness.equity.summary import SUMMARY, summarise
from harness.equity.tables import FEWER, LEAST_SEEDS, TIDY, Tables, tables
from harness.equity.unknown import UNKNOWN, unknown

__all__ = [
    "ACROSS",
    "COMPARISON",
    "FAMILY",
    "FEWER",
    "LEAST_SEEDS",
    "MARGIN",
    "MIN_PATIENTS",
    "NOISE",
    "PAIRS",
    "POWER",
    "RANKING",
    "RESAMPLES",
    "SUMMARY",
    "TIDY",
    "UNKNOWN",
    "Draws",
    "Scores",
    "Tables",
    "across",
    "compare",
    "enough",
    "es_penalty",
    "es_std",
    "es_sum",
    "from_frame",
    "gap",
    "noise_floor",
    "pairwise",
    "rank",
    "resample",
    "shrunk",
    "skewed_error_ratio",
    "spread",
    "sum_gap",
    "summarise",
    "tables",
    "unknown",
]
