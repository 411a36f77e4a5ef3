"""The columns of the board: name, definition, unit, digits, value and where it is shown, declared once.

To add one, declare it in `COLUMNS`. It is then in the tables, in the menu that hides columns, in what a
reader takes away (CSV, JSON, LaTeX) and, as far as its declaration says so, on the methods' pages, among the
definitions and in leaderboard.json. All that `harness.equity.tables` gives is in leaderboard.csv and
leaderboard.json whether it has a column or not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from leaderboard.compute import words
from leaderboard.compute.column import Column, Fact, Quantity
from leaderboard.compute.metrics import DICE, HD95, IOU, METRICS, Definition, Metric
from leaderboard.compute.row import Noise, Number, Row
from leaderboard.compute.sections import Section


def _of(metric: Metric, quantity: str) -> Callable[[Row], Number]:
    return lambda row: row.number(metric.key, quantity)


def _noise(row: Row) -> Noise:
    return row.noise.get("dice", Noise())


def _of_family(name: str) -> Callable[[Row], Any]:
    return lambda row: None if row.family is None else getattr(row.family, name)


COLUMNS: tuple[Column, ...] = (
    Column(
        "rank",
        "Rank",
        "range that cannot be excluded",
        cell="rank",
        fixed=True,
        at_first=True,
        ascending=True,
        on_method=10,
        defined=Definition(
            160,
            "1 + methods that beat it, to number of methods − methods that it beats",
            "The ranks that cannot be excluded. One method beats another in a paired test over the same "
            "patients and seeds, at 5% for all pairs together; with few seeds, the least stable method's "
            "seeds set what can be told, and with fewer than three in common no two methods are told apart.",
            "Mogstad et al., Rev. Econ. Stud. 2024",
        ),
    ),
    Column(
        "method", "Method", "and its finished seeds", cell="method", fixed=True, at_first=True, ascending=True
    ),
    Column(
        "es_sum",
        "ES-Dice (sum)",
        "Dice / (1 + Σ |Dice − group’s Dice|)",
        _of(DICE, "es_sum"),
        cell="score",
        metric=DICE,
        at_first=True,
        on_method=20,
        defined=Definition(
            80,
            "I / (1 + Σ<sub>g</sub> |I − I<sub>g</sub>|)",
            "Equity-scaled score: the ranking score. 1 is perfect and equal. It falls with the number of "
            "groups and, through noise, with small groups. Its interval is free of what noise takes, so that "
            "the score itself may lie below it.",
            "Tian et al., FairSeg, ICLR 2024",
        ),
    ),
    Column(
        "gap",
        "Gap",
        "best minus worst; floor: by chance",
        cell="gap",
        metric=DICE,
        at_first=True,
        ascending=True,
        on_method=60,
        defined=Definition(
            110,
            "max<sub>g</sub> I<sub>g</sub> − min<sub>g</sub> I<sub>g</sub>",
            "Noise alone makes a gap: read it beside its noise floor.",
        ),
        facts=(
            Fact(
                "gap_noise_floor",
                float | None,
                lambda row: _noise(row).floor_95,
                "95th percentile of the Dice gap under relabelling",
            ),
            Fact("gap_p", float | None, lambda row: _noise(row).p),
            Fact(
                "gap_p_adjusted",
                float | None,
                lambda row: _noise(row).p_adjusted,
                "adjusted over the section's methods",
                later=True,
            ),
            Fact(
                "gap_detectable",
                float | None,
                lambda row: _noise(row).detectable,
                "smallest true gap that the test set shows above the floor with probability 0.8",
                later=True,
            ),
        ),
    ),
    Column(
        "p_best",
        "First",
        "share of resamples in which it is first",
        lambda row: row.p_best,
        cell="share",
        metric=DICE,
        defined=Definition(
            150,
            "share of resamples of patients and seeds in which the method is first",
            "“Best” is written only from 0.95 on, and only for a method that beats every other in the paired "
            "tests.",
        ),
    ),
    Column(
        "dice",
        "Dice",
        "mean over all test samples",
        _of(DICE, "overall"),
        metric=DICE,
        at_first=True,
        on_method=40,
    ),
    Column(
        "median",
        "Median Dice",
        "of all samples and seeds",
        _of(DICE, "median"),
        metric=DICE,
        on_method=45,
        defined=Definition(
            75,
            "m, with half of the Dice of all test samples under all seeds below it and half above",
            "The typical case: a few missed structures move the mean and leave the median where it is. Far "
            "above the mean, it says that some cases fail. Its interval is that of the share of samples "
            "below m, by the mean’s bootstrap of patients and seeds, read off the ordered scores.",
            "Woodruff, J. Am. Stat. Assoc. 1952",
        ),
    ),
    Column(
        "groups",
        "Dice",
        "mean over the samples of one group",
        lambda row, group: row.group("dice", group),
        cell="group",
        metric=DICE,
        style="group",
        menu="Dice of every group",
        by_group=True,
        on_method=50,
        defined=Definition(
            70,
            "I<sub>g</sub> = mean of I over the samples of group g",
            "Samples of unknown group count in the overall mean I and in no group. A group with fewer than "
            "10 patients says “too few” and is left out of gap and ES.",
            name="Group's score",
        ),
    ),
    Column(
        "worst",
        "Worst group",
        "lowest group’s Dice",
        _of(DICE, "worst_group"),
        metric=DICE,
        defined=Definition(
            100,
            "min<sub>g</sub> I<sub>g</sub>",
            "For a distance, the group with the largest mean.",
        ),
    ),
    Column(
        "corrected",
        "Corrected for noise",
        "ES-Dice (sum) and gap without what noise takes and adds",
        cell="corrected",
        metric=DICE,
        defined=Definition(
            130,
            "the true value under which the bootstrap’s median is the estimate",
            "Noise adds to a gap and so takes from ES. These are the same quantities without that, and the "
            "better guess of what a far larger test set would show.",
            "Efron and Tibshirani 1993",
        ),
    ),
    Column(
        "versus",
        "Against ERM",
        "of ES-Dice (sum), paired",
        cell="versus",
        metric=DICE,
        at_first=True,
        defined=Definition(
            180,
            "ES-Dice (sum) of the method minus that of ERM with as many epochs, same patients and seeds",
            "A method that starts from another’s weights, or passes over a batch more than once, is "
            "compared with its twin: ERM given as many epochs, a row of its own. Nor do ranks and letters "
            "tell rows of unlike epochs apart where neither is told from its own ERM. Interval and p-value "
            "are those of ranks and letters, for all pairs together: the interval "
            "excludes 0 where the two are told apart. What became of the gap is told at 5% for all methods "
            "of the table. Levelling down: the gap closed because the best group got worse, and "
            "not because the worst got better.",
        ),
        facts=(
            Fact(
                "es_dice_minus_baseline",
                Number | None,
                lambda row: row.versus.number if row.versus else None,
            ),
            Fact(
                "es_dice_baseline",
                str,
                lambda row: row.versus.baseline if row.versus else "",
                "the method that it is compared with: erm, or for one that trains longer ERM with as many "
                "epochs; empty for the baseline",
                later=True,
            ),
            Fact("es_dice_p_adjusted", float | None, lambda row: row.versus.p if row.versus else None),
            Fact("gap_verdict", str, lambda row: row.versus.verdict if row.versus else ""),
            Fact(
                "es_dice_verdict",
                str,
                lambda row: row.versus.told if row.versus else "",
                "better, worse, equivalent within the margin, or cannot tell; empty where not tested",
                later=True,
            ),
            Fact(
                "groups_lost_beyond_chance",
                int | None,
                lambda row: row.versus.lost if row.versus else None,
                "where ES-Dice is higher than the baseline's though every group's Dice is lower; else null",
                later=True,
            ),
        ),
    ),
    Column(
        "views",
        "Rank, all tables",
        "the same, at 5% for all attributes and structures of the board together",
        cell="views",
        ascending=True,
        defined=Definition(
            162,
            "the rank, its letters and what is said against ERM and chance, at 5% / V for each of V tables",
            "A reader of V tables sees V times as many claims. What stands here is wrong somewhere on the "
            "board in at most 5%; what stands within a table, somewhere in that table. V is attributes times "
            "structures, of one track, known before anything is run.",
            "Bonferroni",
        ),
        facts=(
            Fact("rank_low_views", int | None, _of_family("rank_low"), "over all tables", later=True),
            Fact("rank_high_views", int | None, _of_family("rank_high"), "over all tables", later=True),
            Fact("letters_views", str | None, _of_family("letters"), "over all tables", later=True),
            Fact(
                "es_dice_p_views",
                float | None,
                _of_family("p_versus"),
                "against the baseline, over all tables",
                later=True,
            ),
            Fact(
                "gap_verdict_p_views",
                float | None,
                _of_family("p_gap"),
                "that the gap is not the baseline's, over all tables",
                later=True,
            ),
            Fact("gap_p_views", float | None, _of_family("p_above"), "over all tables", later=True),
        ),
    ),
    Column("iou", "IoU", "mean over all test samples", _of(IOU, "overall"), metric=IOU, on_method=70),
    Column(
        "es_iou",
        "ES-IoU (sum)",
        "IoU / (1 + Σ |IoU − group’s IoU|)",
        _of(IOU, "es_sum"),
        cell="debiased",
        metric=IOU,
    ),
    Column(
        "es_std",
        "ES-Dice (std)",
        "Dice / (1 + standard deviation over groups)",
        _of(DICE, "es_std"),
        cell="debiased",
        metric=DICE,
        on_method=30,
        defined=Definition(
            90,
            "I / (1 + σ<sub>g</sub>), σ<sub>g</sub> the population standard deviation of I<sub>g</sub> over "
            "groups",
            "The other definition in use; it does not fall with the number of groups. Never compare one with "
            "the other.",
            "Jin et al., FairMedFM, NeurIPS 2024",
        ),
    ),
    Column(
        "hd95",
        HD95.name,
        "95th percentile of both directions’ boundary distances together",
        _of(HD95, "overall"),
        metric=HD95,
        menu=HD95.short,
        ascending=True,
        on_method=80,
    ),
    Column(
        "hd95_gap",
        "HD95 gap",
        "worst minus best group’s HD95",
        _of(HD95, "gap"),
        metric=HD95,
        ascending=True,
    ),
    Column(
        "missed",
        "Missed",
        "cases where just one of truth and prediction is empty",
        cell="missed",
        ascending=True,
        on_method=90,
        defined=Definition(
            60,
            "cases where exactly one of P and T is empty",
            "Counted over test samples and seeds, so that no average hides them.",
        ),
        facts=(
            Fact(
                "missed",
                int,
                lambda row: row.missed,
                "cases where just one of truth and prediction is empty, over all seeds",
            ),
            Fact("scored", int, lambda row: row.scored),
        ),
    ),
    Column(
        "cost",
        "Training",
        "a seed; memory",
        lambda row: row.cost,
        cell="cost",
        own_unit="s",
        at_first=True,
        ascending=True,
        defined=Definition(
            195,
            "mean wall time of a seed, and the largest memory that one took",
            "With that of the model it starts from; in a sandbox with start and prediction.",
        ),
        facts=(
            Fact(
                "fit_seconds",
                float | None,
                lambda row: row.cost.fit_seconds if row.cost else None,
                "mean over seeds",
            ),
            Fact(
                "peak_memory_bytes", int | None, lambda row: row.cost.peak_memory_bytes if row.cost else None
            ),
        ),
    ),
)
"""In the order of the tables."""

BESIDE = (
    Definition(
        120,
        "95th percentile of the gap when group labels are dealt anew to the patients, in groups of the same "
        "sizes",
        "What this test set shows where there is nothing to find. Beside it stands the "
        "larger of two p-values: the share of these relabellings with at least the observed gap, by Holm's "
        "correction over the methods, and that two groups differ by more than patients and seeds make, for "
        "all methods together. Neither is corrected for the number of tables.",
        "permutation test",
        name="Noise floor",
    ),
    Definition(
        140,
        "95%, by inverting a bootstrap of patients within group and of seeds",
        "Patients are drawn with all their samples. With one seed it cannot cover another training, and says "
        "so.",
        "Efron and Tibshirani 1993",
        name="Interval",
    ),
    Definition(
        170,
        "one letter for every largest set of methods of which no two differ",
        "Methods that share a letter cannot be told apart.",
        "Piepho, J. Comput. Graph. Stat. 2004",
        name="Letters",
    ),
    Definition(
        190,
        "run here, verified from predictions, or self-reported",
        "Run here: trained by whoever built this board. Verified: trained elsewhere, every score recomputed "
        "here from the submitted predictions. Self-reported: taken without recomputing. Of several trials "
        "the weakest is said.",
        name="Obtained",
    ),
)
"""What is defined and stands in the cells of several columns, or beside the method's name."""

BY_METRIC = (
    Quantity("es_sum", "ES (sum)"),
    Quantity("es_std", "ES (std)"),
    Quantity("worst_group", "Worst group"),
    Quantity("gap", "Gap"),
    Quantity("spread", "Standard deviation over groups"),
    Quantity("skewed_error_ratio", "Skewed error ratio", 2),
)
"""What the methods' pages say of every metric, beside the mean of all samples and of each group."""


def of_section(section: Section) -> list[Column]:
    """Return the columns of a section's table, one a group for those by group."""
    return [one for column in COLUMNS for one in _each(column, section)]


def of_method(section: Section) -> list[Column]:
    """Return the columns of the table on the method's page, in their order there."""
    shown = [(column.on_method, column) for column in COLUMNS if column.on_method is not None]
    shown.sort(key=lambda found: found[0])
    return [one for _, column in shown for one in _each(column, section)]


def hideable() -> list[Column]:
    """Return the columns that a reader may hide."""
    return [column for column in COLUMNS if not column.fixed]


def scores() -> list[Metric]:
    """Return the metrics that the columns are of, each once."""
    return list(dict.fromkeys(column.metric for column in COLUMNS if column.metric is not None))


def definitions() -> list[tuple[str, Definition]]:
    """Return what the protocol's page defines, each with its name, in the page's order."""
    found = [(metric.name, metric.definition) for metric in METRICS]
    found += [(column.name, column.defined) for column in COLUMNS if column.defined is not None]
    found += [("", definition) for definition in BESIDE]
    named = [(definition.name or name, definition) for name, definition in found]
    return sorted(named, key=lambda one: one[1].place)


def facts() -> list[Fact]:
    """Return what the columns add to a method's entry in leaderboard.json, in its order."""
    return [fact for column in COLUMNS for fact in column.facts]


def _each(column: Column, section: Section) -> Iterator[Column]:
    if not column.by_group:
        yield column
        return
    for i, group in enumerate(section.groups):
        samples, patients = section.counts[group]
        yield replace(
            column,
            key=f"group-{i}",
            name=f"{column.name}, {group}",
            definition=f"{words.counted(samples, 'sample')} of {words.counted(patients, 'patient')}",
            value=column.value and partial(column.value, group=group),
            part_of=column.key,
        )
