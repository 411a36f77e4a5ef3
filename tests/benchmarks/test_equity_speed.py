import time

import numpy as np

from harness.equity import Scores, compare, noise_floor, rank, resample, summarise


def board(methods=20, seeds=5, patients=2000):
    rng = np.random.default_rng(0)
    groups = rng.choice(np.array(["Asian", "Black", "White"]), patients, p=[0.08, 0.12, 0.80])
    base = 0.85 + 0.08 * rng.uniform(-1, 1, patients)
    scores = {
        "erm" if m == 0 else f"m{m}": np.clip(base + 0.03 * rng.standard_normal((seeds, patients)), 0, 1)
        for m in range(methods)
    }
    return Scores(scores, groups, np.arange(patients))


def by_a_loop(scores, resamples):
    """Resample seeds, then patients within group, method by method, as one would write it down."""
    rng = np.random.default_rng(0)
    members = [np.flatnonzero(scores.groups == group) for group in scores.order]
    for _ in range(resamples):
        for values in scores.by_method.values():
            rows = values[rng.integers(0, len(values), len(values))]
            drawn = [rows[:, rng.choice(m, len(m))].mean(axis=0) for m in members]
            means, overall = np.array([d.mean() for d in drawn]), np.concatenate(drawn).mean()
            overall / (1 + np.abs(means - overall).sum())


def seconds(function, *arguments, **options):
    # Time of the processor: other tests may run beside this one.
    start = time.process_time()
    result = function(*arguments, **options)
    return time.process_time() - start, result


def test_a_large_board_takes_seconds_where_a_loop_takes_minutes():
    scores = board()
    drawing, draws = seconds(resample, scores)
    times = {f.__name__: seconds(f, draws)[0] for f in (summarise, noise_floor, compare, rank)}
    loop = seconds(by_a_loop, scores, 20)[0] * draws.resamples / 20
    total = drawing + sum(times.values())
    print(f"\nresample {drawing:.2f} s, loop {loop:.0f} s ({loop / drawing:.0f} times)", end="")
    print("".join(f", {name} {took:.2f} s" for name, took in times.items()), f"total {total:.1f} s", sep=", ")
    assert drawing < loop / 20
    assert total < loop / 5
