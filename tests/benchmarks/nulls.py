"""Cohorts of methods that are alike, or of which one differs, drawn apart from the project's own
calibration."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.equity import Scores


@dataclass(frozen=True)
class World:
    """A law that cohorts are drawn from: how many, how the scores lie, and what seeds do.

    sizes: patients a group; kind: smooth, zero-inflated, one-inflated or heavy-tailed; by_seed, by_group:
    deviations of Dice of seed x method and seed x method x group; unstable: times as much for the last
    method; better: how much higher the first method's scores are; gap: how much lower the first group's are
    in every method but the first; turned: how much lower the first group's are in every other method, and
    the last group's in the rest: in groups of one size all are equally fair, and none like the next.
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
        return ", ".join(said)


def draw(world: World, rng: np.random.Generator) -> Scores:
    """Draw one cohort's scores: a patient's difficulty is the same for every method."""
    group = np.repeat(np.arange(len(world.sizes)), world.sizes)
    held = rng.integers(1, world.samples + 1, len(group))
    patient = np.repeat(np.arange(len(group)), held)
    group, n, shape = group[patient], len(patient), (world.methods, world.seeds)
    hard = _difficulty(world.kind, rng, len(held))[patient] * rng.gamma(25, 1 / 25, n)
    error = hard * np.exp(0.13 * rng.standard_normal((world.methods, 1, n)))
    error = error * np.exp(0.2 * rng.standard_normal((*shape, n)))
    if world.kind == "heavy-tailed":  # some are missed, by one method and seed more than by another
        error = np.where(_happens(rng, 0.03, (*shape, n)), 1.0, error)
    unstable = np.ones((world.methods, 1, 1))
    unstable[-1] = world.unstable
    error = error + world.by_seed * unstable * rng.standard_normal((*shape, 1))
    error = error + (world.by_group * unstable * rng.standard_normal((*shape, len(world.sizes))))[..., group]
    score = 1 - error
    score[0] += world.better
    score[1:, :, group == 0] -= world.gap
    score[::2, :, group == 0] -= world.turned
    score[1::2, :, group == len(world.sizes) - 1] -= world.turned
    score = score.clip(0, 1)
    if world.kind == "zero-inflated":  # an empty truth: 1 or 0, by whether something was predicted
        score = np.where(rng.random(n) < 0.4, _happens(rng, 0.5, (*shape, n)), score)
    if world.kind == "one-inflated":
        score = np.where(_happens(rng, 0.3, (*shape, n)), 1.0, score)
    names = ["erm", *(f"m{i}" for i in range(1, world.methods))]
    return Scores(dict(zip(names, score, strict=True)), np.char.add("g", group.astype(str)), patient)


def _difficulty(kind: str, rng: np.random.Generator, n: int) -> np.ndarray:
    if kind == "heavy-tailed":
        return np.exp(rng.normal(np.log(0.15) - 0.32, 0.8, n))
    return rng.gamma(3.5, 0.15 / 3.5, n)


def _happens(rng: np.random.Generator, share: float, shape: tuple[int, int, int]) -> np.ndarray:
    """Return which happen, by sample and method and, in part, by seed: bool [M, S, N]."""
    methods, _, n = shape
    tendency = rng.standard_normal(n) + rng.standard_normal((methods, 1, n)) + rng.standard_normal(shape)
    limit = np.sqrt(3) * {0.5: 0.0, 0.3: 0.5244, 0.03: 1.8808}[share]
    return tendency > limit
