"""Cohorts of methods that are alike, or of which one differs, drawn apart from the project's own
calibration."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.equity import Scores

_MEAN = 0.15


@dataclass(frozen=True)
class World:
    """A law that cohorts are drawn from: how many, how the scores lie, and what seeds do.

    sizes: patients a group; kind: smooth, zero-inflated, one-inflated or heavy-tailed; by_seed, by_group:
    deviations of Dice of seed x method and seed x method x group; unstable: times as much for the last
    method; better: how much higher the first method's scores are; gap: how much lower the first group's are
    in every method but the first; turned: how much lower the first group's are in every other method, and
    the last group's in the rest: in groups of one size all are equally fair, and none like the next.
    calm: how much of the first method's errors differ from their mean, 0 for scores that are all the same.
    views: tables, of two attributes that have nothing to do with one another and as many structures as
    it takes. folds: how many models a seed has, each tested on its own patients: then what seeds do is each
    model's own. training: deviation of Dice of what a training set does to all of a model's scores, and as
    much again to each group's; same_folds: whether the folds, and so the training sets, are the same under
    every seed.
    """

    methods: int = 6
    seeds: int = 3
    sizes: tuple[int, ...] = (40, 60, 400)
    kind: str = "smooth"
    by_seed: float = 0.0
    by_group: float = 0.0
    samples: int = 1
    unstable: float = 1.0
    better: float = 0.0
    gap: float = 0.0
    turned: float = 0.0
    calm: float = 1.0
    views: int = 1
    folds: int = 1
    training: float = 0.0
    same_folds: bool = False

    def __str__(self) -> str:
        said = [
            f"{self.methods} methods, {self.seeds} seeds, {' / '.join(map(str, self.sizes))}, {self.kind}"
        ]
        said += [f"seeds {self.by_seed:g}"] * (self.by_seed > 0) + [f"by group {self.by_group:g}"] * (
            self.by_group > 0
        )
        said += [f"1 to {self.samples} samples"] * (self.samples > 1)
        said += [f"one method's seeds {self.unstable:g} times"] * (self.unstable != 1)
        said += [f"first better by {self.better:g}"] * (self.better > 0)
        said += [f"others' gap {self.gap:g}"] * (self.gap > 0)
        said += [f"turned {self.turned:g}"] * (self.turned > 0)
        said += [f"first spreads {self.calm:g} times as much"] * (self.calm != 1)
        said += [f"{self.views} views"] * (self.views > 1)
        dealt = "the same for all seeds" if self.same_folds else "dealt anew"
        said += [f"{self.folds} folds {dealt}"] * (self.folds > 1)
        said += [f"training sets {self.training:g}"] * (self.training > 0)
        return ", ".join(said)


def draw(world: World, rng: np.random.Generator) -> Scores:
    """Draw one cohort's scores: a patient's difficulty is the same for every method."""
    return draw_views(world, rng)[0]


def draw_views(world: World, rng: np.random.Generator) -> list[Scores]:
    """Draw one cohort's scores in every view; what seeds do to a structure is its own."""
    first = np.repeat(np.arange(len(world.sizes)), world.sizes)
    held = rng.integers(1, world.samples + 1, len(first))
    patient = np.repeat(np.arange(len(first)), held)
    hard = _difficulty(world.kind, rng, len(held))[patient] * rng.gamma(25, 1 / 25, len(patient))
    attributes = [first, *(rng.permutation(first) for _ in range(min(world.views, 2) - 1))]
    fold = _folds(world, first, rng)[:, patient]
    groups = [attribute[patient] for attribute in attributes]
    names = ["erm", *(f"m{i}" for i in range(1, world.methods))]
    found: list[Scores] = []
    while len(found) < world.views:
        by_method = dict(zip(names, _structure(world, hard, groups, fold, rng), strict=True))
        found += [Scores(by_method, np.char.add("g", own.astype(str)), patient) for own in groups]
    return found[: world.views]


def _structure(
    world: World,
    hard: np.ndarray,
    groups: list[np.ndarray],
    fold: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return the scores of one structure, float [M, S, N], of samples in groups by every attribute."""
    n, shape = len(hard), (world.methods, world.seeds)
    error = hard * np.exp(0.13 * rng.standard_normal((world.methods, 1, n)))
    error = error * np.exp(0.2 * rng.standard_normal((*shape, n)))
    if world.kind == "heavy-tailed":  # some are missed, by one method and seed more than by another
        error = np.where(_happens(rng, 0.03, (*shape, n)), 1.0, error)
    error[0] = _MEAN + world.calm * (error[0] - _MEAN)
    unstable = np.ones((world.methods, 1, 1, 1))
    unstable[-1] = world.unstable
    error = error + _of_models(world.by_seed * unstable, fold, [np.zeros(n, int)], rng)
    error = error + _of_models(world.by_group * unstable, fold, groups, rng)
    if world.training:
        sets = fold if world.same_folds else fold + world.folds * np.arange(world.seeds)[:, None]
        for own in (np.zeros(n, int), *groups):
            effect = rng.standard_normal((world.methods, sets.max() + 1, own.max() + 1))
            error = error + world.training * effect[:, sets, own]
    score = 1 - error
    score[0] += world.better
    for group in groups:
        score[1:, :, group == 0] -= world.gap
        score[::2, :, group == 0] -= world.turned
        score[1::2, :, group == len(world.sizes) - 1] -= world.turned
    score = score.clip(0, 1)
    if world.kind == "zero-inflated":  # an empty truth: 1 or 0, by whether something was predicted
        score = np.where(rng.random(n) < 0.4, _happens(rng, 0.5, (*shape, n)), score)
    if world.kind == "one-inflated":
        score = np.where(_happens(rng, 0.3, (*shape, n)), 1.0, score)
    return score


def _folds(world: World, group: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return each patient's fold under each seed, every group spread evenly: int [S, P]."""
    fold = np.zeros((world.seeds, len(group)), int)
    if world.folds > 1:
        for row in fold:
            for g in range(group.max() + 1):
                own = np.flatnonzero(group == g)
                row[own] = rng.permutation(np.arange(len(own)) % world.folds)
        if world.same_folds:
            fold[:] = fold[0]
    return fold


def _of_models(
    deviation: np.ndarray, fold: np.ndarray, groups: list[np.ndarray], rng: np.random.Generator
) -> np.ndarray:
    """Return what the trained models do to the samples of a group, by every attribute: float [M, S, N]."""
    seed, found = np.arange(len(fold))[:, None], np.zeros(())
    for own in groups:
        shape = (len(deviation), len(fold), fold.max() + 1, own.max() + 1)
        found = found + (deviation * rng.standard_normal(shape))[:, seed, fold, own]
    return found


def _difficulty(kind: str, rng: np.random.Generator, n: int) -> np.ndarray:
    if kind == "heavy-tailed":
        return np.exp(rng.normal(np.log(_MEAN) - 0.32, 0.8, n))
    return rng.gamma(3.5, _MEAN / 3.5, n)


def _happens(rng: np.random.Generator, share: float, shape: tuple[int, int, int]) -> np.ndarray:
    """Return which happen, by sample and method and, in part, by seed: bool [M, S, N]."""
    methods, _, n = shape
    tendency = rng.standard_normal(n) + rng.standard_normal((methods, 1, n)) + rng.standard_normal(shape)
    limit = np.sqrt(3) * {0.5: 0.0, 0.3: 0.5244, 0.03: 1.8808}[share]
    return tendency > limit
