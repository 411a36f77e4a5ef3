"""Measure whether the intervals cover and the tests reject as often as they say, on simulated cohorts.

    python tests/benchmarks/calibration.py [--cohorts 1000] [--resamples 1000] [--jobs 2]
        [--only null|gap|few|seeds]

Prints the tables of docs/equity.md, the same however many jobs there are, and what they cost. A patient's
error is gamma distributed (mean 0.15, deviation 0.08, a long tail of bad cases), times log-normal factors of
mean 1: the method's way with the patient (13%), the seed (3%), the seed's way with a group (0 or 3%) and the
single trial's noise (20%). The methods are alike; claims about their differences are measured by `claims.py`.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # a process is a core's; more threads would wait for each other

import numpy as np
import pandas as pd
from scipy import stats

from harness.equity import Scores, many, noise_floor, resample, summarise
from harness.equity.quantities import quantities

ERROR, DEVIATION = 0.15, 0.08
Errors = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


@dataclass(frozen=True)
class Setting:
    """A kind of cohort: patients a group, and by how much each group's mean score is lower."""

    name: str
    sizes: tuple[int, ...]
    lower: tuple[float, ...] = ()
    seeds: int = 3
    by_seed: float = 0.03
    by_seed_and_group: float = 0.0


NULL = (
    Setting("250 / 250", (250, 250)),
    Setting("10 / 490 (2%)", (10, 490)),
    Setting("40 / 60 / 400", (40, 60, 400)),
    Setting("40 x 5", (40,) * 5),
    Setting("40 / 60 / 400, 5 seeds", (40, 60, 400), seeds=5),
    Setting("40 / 60 / 400, seeds alike", (40, 60, 400), by_seed=0.0),
    Setting("40 / 60 / 400, unfair seeds", (40, 60, 400), by_seed_and_group=0.03),
)
GAP = (
    Setting("250 / 250, gap 0.02", (250, 250), (0.02, 0)),
    Setting("40 / 60 / 400, gap 0.02", (40, 60, 400), (0.02, 0, 0)),
    Setting("40 / 60 / 400, gap 0.05", (40, 60, 400), (0.05, 0, 0)),
    Setting("40 / 60 / 400, gap 0.05, one between", (40, 60, 400), (0.05, 0.02, 0)),
)


def main() -> None:
    """Print the tables that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cohorts", type=int, default=1000)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--only", choices=("null", "gap", "few", "seeds"))
    asked = parser.parse_args()
    tables = {
        "null": null_table,
        "gap": gap_table,
        "few": few_table,
        "seeds": seeds_table,
    }
    start = time.perf_counter()
    with ProcessPoolExecutor(asked.jobs) as pool:
        for name, table in tables.items():
            if asked.only in (None, name):
                made = table(pool, asked.cohorts, asked.resamples, asked.seed)
                print(f"{table.__doc__}\n\n{markdown(made)}\n", flush=True)
    used = sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(f"{used:.0f} seconds of CPU in {time.perf_counter() - start:.0f} by the clock.")


def null_table(pool: Executor, cohorts: int, resamples: int, seed: int) -> pd.DataFrame:
    """Null cohorts: coverage of 95% intervals, then rejections at 0.05, in percent."""
    columns = {}
    for setting, found in zip(NULL, simulated(pool, NULL, cohorts, resamples, seed), strict=True):
        columns[setting.name] = {
            name: 100 * np.mean(hits)
            for name, hits in found.items()
            if name.split()[0] in ("cover", "reject")
        }
    return pd.DataFrame(columns).round(1)


def gap_table(pool: Executor, cohorts: int, resamples: int, seed: int) -> pd.DataFrame:
    """Known gaps: the truth, plain and corrected estimates, coverage and power in percent."""
    rows = {}
    for setting, found in zip(GAP, simulated(pool, GAP, cohorts, resamples, seed), strict=True):
        true = truth(setting)
        for name in ("gap", "sum_gap", "es_sum", "es_std", "worst_group"):
            plain, corrected = np.array(found[f"bias {name}"]).T
            rows[f"{setting.name}: {name}"] = {
                "truth": true[name],
                "plain, mean": plain.mean(),
                "corrected, mean": corrected.mean(),
                "corrected, median": np.median(corrected),
                "coverage": f"{100 * np.mean(found[f'cover {name}']):.1f}",
            }
        rows[f"{setting.name}: power of the floor"] = {
            "coverage": f"{100 * np.mean(found['reject floor gap']):.1f}"
        }
    return pd.DataFrame(rows).T.map(
        lambda value: f"{value:.4f}" if isinstance(value, float) and value == value else value
    )


def few_table(pool: Executor, cohorts: int, resamples: int, seed: int) -> pd.DataFrame:
    """Small groups: coverage of a group's interval by number of patients and kind of errors, in percent."""
    shape, scale = (ERROR / DEVIATION) ** 2, DEVIATION**2 / ERROR
    kinds: dict[str, Errors] = {
        "normal": lambda rng, size: ERROR + 0.3 * DEVIATION * rng.standard_normal(size),
        "gamma": lambda rng, size: rng.gamma(shape, scale, size),
        "log-normal": lambda rng, size: np.exp(rng.normal(np.log(ERROR) - 0.32, 0.8, size)),
        "gamma, 3% missed": lambda rng, size: np.where(
            rng.random(size) < 0.03, 1, rng.gamma(shape, scale, size)
        ),
    }
    counts = (5, 10, 20, 40, 80, 160)
    return pd.DataFrame(
        {
            str(n): {k: _group_coverage(draw, n, cohorts, resamples, seed) for k, draw in kinds.items()}
            for n in counts
        }
    ).round(1)


def seeds_table(pool: Executor, cohorts: int, resamples: int, seed: int) -> pd.DataFrame:
    """Few seeds: coverage of the t interval, in percent, by the seeds' variance over the patients'."""
    rng = np.random.default_rng(seed)
    rows: dict[str, dict[str, float]] = defaultdict(dict)
    for count in (2, 3, 5):
        for ratio in (0, 0.25, 0.5, 1, 2, 5, 10, 30):
            estimated = ratio * rng.chisquare(count - 1, 400_000) / (count - 1)
            error = np.sqrt(1 + ratio) * np.abs(rng.standard_normal(400_000))
            for caution, name in ((1, "Satterthwaite"), (2.5, "ours")):
                freedom = (
                    (1 + caution * estimated) ** 2
                    * (count - 1)
                    / np.maximum((caution * estimated) ** 2, 1e-9)
                )
                limit = stats.t.ppf(0.975, np.minimum(freedom, 1e6)) * np.sqrt(1 + estimated)
                rows[f"{count} seeds, {name}"][str(ratio)] = 100 * (error <= limit).mean()
    return pd.DataFrame(rows).T.round(1)


def simulated(
    pool: Executor, settings: tuple[Setting, ...], cohorts: int, resamples: int, seed: int
) -> list[dict[str, list[object]]]:
    """Return `simulate` of each setting, a process a setting."""
    return list(pool.map(partial(simulate, cohorts=cohorts, resamples=resamples, seed=seed), settings))


def simulate(setting: Setting, cohorts: int, resamples: int, seed: int) -> dict[str, list[object]]:
    """Return, for each number of a table, its outcome in every cohort."""
    rng, true = np.random.default_rng(seed), truth(setting)
    found: dict[str, list[object]] = defaultdict(list)
    for cohort in range(cohorts):
        draws = resample(draw(setting, rng), resamples=resamples, seed=cohort)
        for row in of_erm(summarise(draws)):
            name = "smallest group" if row.group == "g0" else row.quantity
            if row.group in ("", "g0"):
                found[f"cover {name}"].append(row.low - 1e-9 <= true[name] <= row.high + 1e-9)
                found[f"bias {name}"].append((row.estimate, row.corrected))
        for row in of_erm(noise_floor(draws)):
            if row.group == "" and row.quantity != "es_penalty":
                found[f"reject floor {row.quantity}"].append(row.p <= 0.05)
        for name, hit in closed_form(draws.scores, true):
            found[f"{name}, closed form"].append(hit)
    return dict(sorted(found.items()))


def closed_form(scores: Scores, true: dict[str, float]) -> Iterator[tuple[str, bool]]:
    """Yield what holds of the tables for boards of very many methods."""
    source = many.errors(scores)
    for row in of_erm(many.summarise(source)):
        if row.group == "":
            yield f"cover {row.quantity}", row.low - 1e-9 <= true[row.quantity] <= row.high + 1e-9
    for row in of_erm(many.noise_floor(source)):
        yield "reject floor gap", row.p <= 0.05


def of_erm(table: pd.DataFrame) -> list[Any]:
    """Return the rows of the first method."""
    return [row for row in table.itertuples() if row.method == "erm"]


def draw(setting: Setting, rng: np.random.Generator) -> Scores:
    """Draw one cohort of two methods."""
    group = np.repeat(np.arange(len(setting.sizes)), setting.sizes)
    common = rng.gamma((ERROR / DEVIATION) ** 2, DEVIATION**2 / ERROR, len(group))
    shape = (setting.seeds, len(group))
    by_method = {}
    for method in ("erm", "twin"):
        error = common * (1 + np.array(setting.lower or np.zeros(len(setting.sizes)))[group] / ERROR)
        unfair = _factor(rng, setting.by_seed_and_group, (setting.seeds, len(setting.sizes)))[:, group]
        seeds = _factor(rng, setting.by_seed, (setting.seeds, 1))
        errors = error * _factor(rng, 0.13, (1, len(group))) * seeds * unfair * _factor(rng, 0.2, shape)
        by_method[method] = np.clip(1 - errors, 0, 1)
    return Scores(by_method, np.char.add("g", group.astype(str)), np.arange(len(group)))


def truth(setting: Setting) -> dict[str, float]:
    """Return the true value of each quantity."""
    groups = 1 - ERROR - np.array(setting.lower or np.zeros(len(setting.sizes)))
    overall = np.array(groups @ setting.sizes / sum(setting.sizes))
    level = {name: float(quantity(overall, groups)) for name, quantity in quantities(True).items()}
    return level | {"overall": float(overall), "smallest group": float(groups[0])}


def markdown(frame: pd.DataFrame) -> str:
    """Return the frame as a Markdown table."""
    lines = [["", *map(str, frame.columns)], ["---"] * (len(frame.columns) + 1)]
    lines += [
        [str(name), *("" if pd.isna(v) else str(v) for v in row)]
        for name, row in zip(frame.index, frame.to_numpy(), strict=True)
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _factor(rng: np.random.Generator, deviation: float, shape: tuple[int, int]) -> np.ndarray:
    return np.exp(deviation * rng.standard_normal(shape) - deviation**2 / 2)


def _group_coverage(errors: Errors, n: int, cohorts: int, resamples: int, seed: int) -> float:
    """Return the percentage of cohorts, each a method of one call, whose group's interval holds the truth."""
    rng = np.random.default_rng(seed)
    true = 1 - np.clip(errors(rng, (1_000_000,)), 0, 1).mean()
    drawn = 1 - np.clip(errors(rng, (cohorts, n)), 0, 1)
    scores = Scores({str(i): row for i, row in enumerate(drawn)}, ["a"] * n, np.arange(n), min_patients=2)
    table = summarise(resample(scores, resamples=resamples, seed=seed)).query("quantity == 'group'")
    return float(100 * ((table["low"] <= true) & (true <= table["high"])).mean())


if __name__ == "__main__":
    main()
