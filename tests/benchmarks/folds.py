"""Cross-validation on null cohorts: how often something is claimed where there is nothing.

Run as `python tests/benchmarks/folds.py [COHORTS]`. Needs no training: a trained model is what it does to
scores. What a training set does is a random function of who is in it, so that a new deal is a new
draw, and what all training sets share is there too (Bengio and Grandvalet, JMLR 2004).
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from harness.equity import MIN_PATIENTS, Scores, noise_floor, resample
from harness.equity.ranking import pairwise

Deal = Literal["one test set", "same folds for all seeds", "folds dealt anew"]
FOLDS = 5
GROUPS = 2


@dataclass(frozen=True)
class World:
    """A law that cohorts are drawn from: methods that are alike, and groups that are.

    patients: in all, half of them in each group. Standard deviations of Dice: patient, of a patient's
    difficulty, shared by all methods; taste, of a method's way with a patient; start, of what a training's
    random start does to the scores of a group; set_, of what a training set does beside, to all and to a
    group, by a function that jumps where a patient comes or goes; shared, of what the whole cohort does to a
    method in every training, which no folds can show.
    """

    patients: int = 60
    methods: int = 4
    seeds: int = 3
    deal: Deal = "folds dealt anew"
    patient: float = 0.12
    taste: float = 0.03
    start: float = 0.01
    set_: float = 0.02
    shared: float = 0.0


def draw(world: World, rng: np.random.Generator) -> Scores:
    """Draw one cohort's scores, float [seeds, tested patients] a method."""
    tested = world.patients // 4 if world.deal == "one test set" else world.patients
    shape = (world.methods, world.seeds, tested)
    group = np.arange(tested) % GROUPS
    hard = 0.7 + world.patient * rng.standard_normal(tested)
    taste = world.taste * rng.standard_normal((world.methods, 1, tested))
    fold = np.stack([_folds(world, tested, rng) for _ in range(world.seeds)])
    if world.deal != "folds dealt anew":
        fold[:] = fold[0]
    sets = FOLDS if world.deal != "folds dealt anew" else FOLDS * world.seeds
    which = fold if sets == FOLDS else fold + FOLDS * np.arange(world.seeds)[:, None]
    # By group too: what a model does better it does better for some.
    by_set = world.set_ * rng.standard_normal((world.methods, sets, GROUPS)) / np.sqrt(2)
    by_set += world.set_ * rng.standard_normal((world.methods, sets, 1)) / np.sqrt(2)
    by_start = world.start * rng.standard_normal((world.methods, world.seeds, FOLDS, GROUPS))
    seed = np.arange(world.seeds)[:, None]
    model = by_set[:, which, group] + by_start[:, seed, fold, group]
    cohort = world.shared * rng.standard_normal((world.methods, 1, 1))
    dice = hard + taste + cohort + model + 0.02 * rng.standard_normal(shape)
    scores = {f"m{i}": np.clip(own, 0, 1) for i, own in enumerate(dice)}
    names = np.array(["a", "b"], dtype=object)[group]
    return Scores(scores, names, np.arange(tested), min_patients=min(MIN_PATIENTS, tested // 2))


def _folds(world: World, tested: int, rng: np.random.Generator) -> np.ndarray:
    """Return each patient's fold, each group spread evenly; one and the same where there is one test set."""
    if world.deal == "one test set":
        return np.zeros(tested, int)
    fold = np.empty(tested, int)
    for group in range(GROUPS):
        own = np.flatnonzero(np.arange(tested) % GROUPS == group)
        fold[own] = rng.permutation(np.arange(len(own)) % FOLDS)
    return fold


def claims(world: World, cohorts: int, resamples: int = 1_000) -> dict[str, float]:
    """Return shares of cohorts: with two methods told apart, with a gap above chance; and a mean width."""
    told = above = 0
    widths = []
    for i in range(cohorts):
        draws = resample(draw(world, np.random.default_rng([i, world.seeds])), resamples=resamples)
        pairs = pairwise(draws, least_seeds=min(3, world.seeds))
        told += bool((pairs["better"] != "").any())
        widths.append(float((pairs["high"] - pairs["low"]).mean()))
        floor = noise_floor(draws)
        above += bool((floor["above"] == True).any())  # noqa: E712 - None where nothing is said
    return {
        "told apart": told / cohorts,
        "gap above chance": above / cohorts,
        "width": float(np.mean(widths)),
    }


def main(cohorts: int) -> None:
    """Print a table in Markdown."""
    print("| cohort | folds | seeds | two methods told apart | a gap above chance | width of ES |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, world in (
        ("60 patients", World()),
        ("60 patients, training sets matter more", World(set_=0.04)),
        ("60 patients, the cohort favours some by 0.01", World(shared=0.01)),
    ):
        for deal in ("one test set", "same folds for all seeds", "folds dealt anew"):
            for seeds in (3, 5):
                began = time.monotonic()
                found = claims(replace(world, deal=deal, seeds=seeds), cohorts)
                row = f"| {name} | {deal} | {seeds} | {100 * found['told apart']:.1f} % "
                row += f"| {100 * found['gap above chance']:.1f} % | {found['width']:.3f} |"
                print(row, flush=True)
                print(f"{time.monotonic() - began:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 400)
