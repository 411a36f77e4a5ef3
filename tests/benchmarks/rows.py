"""What our own work costs, as ratios to a baseline of the same run: rows.py [ROW] [--out FILE].

Each row is measured in pairs, ours and then the baseline, so that what else a machine does meets both; a
ratio is told with its spread over the pairs. Times are of processors, those of children among them, but for
rows that say "by the clock". `--against FILE` sets what was written of another commit
beside it, and the exit status is 1 where a row is slower than there beyond both spreads.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
import numpy as np
import pandas as pd

# Before the tests' own modules, some of which look for these in their own tree: PYTHONPATH may name another.
import harness
import leaderboard
from harness.store import Store

TESTS = Path(__file__).resolve().parents[1]
sys.path += [str(TESTS), str(TESTS / "leaderboard")]

import energy  # noqa: E402
from network_rows import decoder, encoder, step, vit  # noqa: E402
from pairs import Row, Work, twice  # noqa: E402

LARGER = (1, 4, 16)


def trial() -> Iterator[Row]:
    """A trial as long as one of `quick`, and its fit alone: beside it are start, predictions, scores."""
    import torch
    from card import made_up

    from harness import protocol
    from harness.plugin import declared, discovery
    from harness.running import scoring
    from harness.training import fit, side, train
    from harness.training.checkpoint import Checkpoint

    chosen = protocol.load("quick")
    whole = made_up(560, chosen.cohort.size)
    whole.subjects["split"] = np.where(np.arange(560) < 240, "train", "test")
    maps = [np.random.default_rng(0).normal(0, 0.3, (1, 560, 256, 16, 16)).astype(np.float16)]
    kind = discovery.load(plugin := discovery.find("erm"))
    setting = train.Setting(
        backbone=chosen.backbone, recipe=chosen.recipe, n_classes=3, size=chosen.cohort.size, name="erm",
        hyper_parameters=declared.of(kind, plugin).defaults, attribute=None, seed=0, finetunes=False,
    )  # fmt: skip
    inputs, cpu = train.Inputs(whole, maps, None, None), torch.device("cpu")
    make = lambda told: side.build(kind, told)  # noqa: E731
    quiet = lambda *_: None  # noqa: E731

    def ours() -> None:
        with tempfile.TemporaryDirectory() as folder:
            made = train.train_and_predict(setting, make, inputs, cpu, Path(folder) / "none.pt", quiet)
        scoring.score(chosen, whole, made.labels)

    network = train.build_backbone(chosen.backbone, 3, chosen.cohort.size, 0, None)
    start = fit.trained_state(network)

    def theirs() -> None:
        fit.load_trained(network, start)
        with tempfile.TemporaryDirectory() as folder:
            kept = Checkpoint(Path(folder) / "none.pt")
            fit.fit(train.job_of(setting, make, inputs, network, cpu, kept, quiet, None))

    row = Row("a trial of quick in its process: network, fit, predictions, scores", "its fit alone")
    row.measure(ours, theirs, 3)
    _, row.joules = energy.spent(ours, energy.counters())
    yield row


def scores() -> Iterator[Row]:
    """Every score of one structure of one sample, and medpy's of the same names."""
    from medpy.metric import binary

    from harness.metrics import score_structure

    rows, columns = np.ogrid[:512, :512]
    angle, radius = np.arctan2(rows - 256, columns - 256), np.hypot(rows - 256.0, columns - 256.0)
    true = radius < 105 * (1 + 0.03 * np.sin(9 * angle))
    predicted = radius < 102 * (1 + 0.05 * np.sin(7 * angle))

    def ours() -> None:
        for _ in range(20):
            score_structure(predicted, true)

    def theirs() -> None:
        for one in (binary.dc, binary.jc, binary.hd95, binary.assd):
            one(predicted, true)

    row = Row("Dice, IoU, HD95, ASD, NSD of a structure, 512 px", "medpy, without NSD", same=20)
    yield row.measure(ours, theirs)


def view() -> Iterator[Row]:
    """A table of 20 methods, 2,000 patients, 5 seeds; a loop of its resamples, for the overall mean alone."""
    from test_equity_speed import board, by_a_loop

    from harness.equity import compare, noise_floor, rank, resample, summarise

    given, drawn = board(), 10_000
    few = 5

    def ours() -> None:
        draws = resample(given, resamples=drawn)
        for one in (summarise, noise_floor, compare, rank):
            one(draws)

    row = Row("a view of 20 methods, 2,000 patients, 10,000 resamples", "numpy, resample by resample")
    yield Row(row.what, row.baseline, same=drawn / few).measure(ours, lambda: by_a_loop(given, few), 3)


def site() -> Iterator[Row]:
    """Sites of made-up records, and reading those records with json and pandas alone."""
    from make_records import GROUPS, World, make_store

    names = ("erm", *(f"m{i}" for i in range(10)))
    plain = World(
        methods=names, attributes=tuple(GROUPS)[:1], structures=("cup", "disc"), seeds=range(3), samples=300
    )
    pictured = World(
        methods=names[:6], attributes=("race", "gender"), images=True, controls={"m1": ("groups shuffled",)}
    )
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        few, many = (make_store(root / name, world) for name, world in (("few", plain), ("many", pictured)))
        out, cache = root / "site", root / "cache"
        new = next(one for one in many.records() if (one.method.name, one.seed) == ("m3", 2))

        def build(store: Store, kept: Path | None = None) -> Work:
            return lambda: leaderboard.build(store.root, out, cache=kept)

        def without_one() -> None:
            shutil.rmtree(cache, ignore_errors=True)
            away = many.path(new.id).rename(root / "away")
            build(many, cache)()
            away.rename(many.path(new.id))

        yield from twice("the site of 33 records", READ, build(few), reading(few.root), 3)
        what = f"the site of {len(many.ids())} records and their pictures"
        yield from twice(f"{what}, from nothing", READ, build(many), reading(many.root), 3)
        one_more = f"{what}, one of them new"
        yield from twice(one_more, READ, build(many, cache), reading(many.root), 3, without_one)
        yield from twice(f"{what}, nothing new", READ, build(many, cache), reading(many.root), 3)


READ = "json and pandas read them"


def reading(root: Path) -> Work:
    """Return what reads all records below a folder with json and pandas alone."""

    def read() -> None:
        for one in sorted(root.rglob("record.json")):
            json.loads(one.read_text())
            for scores in one.parent.glob("*.parquet"):
                pd.read_parquet(scores)

    return read


def larger() -> Iterator[Row]:
    """What 4 and 16 times as much takes, over as many times what the least takes: 1 is linear."""
    from test_equity_speed import board

    from harness.equity import compare, noise_floor, rank, resample, summarise
    from harness.metrics import score_structure

    def table(methods: int = 4, patients: int = 500, resamples: int = 1_000) -> Work:
        def work() -> None:
            draws = resample(board(methods, 3, patients), resamples=resamples)
            for one in (summarise, noise_floor, compare, rank):
                one(draws)

        return work

    square = np.zeros((256, 256), bool)
    square[80:180, 90:170] = True

    def scored(samples: int) -> Work:
        return lambda: [score_structure(square, square.T) for _ in range(samples)]

    kinds: dict[str, tuple[int, Callable[[int], Work]]] = {
        "methods in a table": (4, lambda n: table(methods=n)),
        "patients in a table": (250, lambda n: table(patients=n)),
        "resamples of a table": (500, lambda n: table(resamples=n)),
        "samples that are scored": (50, scored),
    }
    for what, (least, make) in kinds.items():
        for times in LARGER[1:]:
            row = Row(f"{times} times the {what} ({least})", f"{times} times the time of {least}", same=times)
            yield row.measure(make(least * times), make(least), 3)


ROWS: dict[str, Callable[[], Iterator[Row]]] = {
    one.__name__: one for one in (encoder, decoder, vit, step, trial, scores, view, site, larger)
}


def shown(rows: list[Row], before: dict[str, list[float]]) -> tuple[str, int]:
    """Return the table, and how many rows are slower than before beyond both spreads."""
    told = any(row.joules for row in rows)
    heads = ["row", "baseline", "ratio", "spread", "ours, s", *(["ours, J"] if told else [])]
    heads += ["there", "change"] if before else []
    lines, slower = [heads, ["---"] * len(heads)], 0
    for row in rows:
        now = row.ratios
        cells = [
            row.what,
            row.baseline,
            f"{statistics.median(now):.3g}",
            f"{now[0]:.3g} to {now[-1]:.3g}",
            f"{statistics.median(row.ours):.3g}",
        ]
        if told:
            cells.append(", ".join(f"{name} {joules:.3g}" for name, joules in row.joules.items()))
        if before:
            then = before.get(row.what, [])
            cells += [f"{statistics.median(then):.3g}", changed(now, then)] if then else ["", "not there"]
            slower += bool(then) and changed(now, then).startswith("slower")
        lines.append(cells)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines), slower


def changed(now: list[float], then: list[float]) -> str:
    """Say how ratios differ from others, both in ascending order: not at all where their spreads overlap."""
    if now[0] <= then[-1] and then[0] <= now[-1]:
        return "within the spread"
    times = statistics.median(now) / statistics.median(then)
    return f"slower, {times:.2f} times" if times > 1 else f"faster, {times:.2f} times"


def main() -> int:
    """Measure the rows, write and print them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "rows", nargs="*", metavar="ROW", help=f"of {', '.join(ROWS)}; all where none is named"
    )
    parser.add_argument("--out", type=Path, help="a JSON file of what was measured")
    parser.add_argument("--against", type=Path, help="such a file, of another commit")
    asked = parser.parse_args()
    if unknown := set(asked.rows) - ROWS.keys():
        parser.error(f"there is no row {sorted(unknown)[0]}; there are {', '.join(ROWS)}")
    print(f"harness is {Path(harness.__file__).parent}", file=sys.stderr)
    found: list[Row] = []
    for name in asked.rows or ROWS:
        try:
            for row in ROWS[name]():
                found.append(row)
                print(f"{row.what}: {statistics.median(row.ratios):.3g}", file=sys.stderr, flush=True)
        except (ImportError, AttributeError, TypeError) as error:
            # An older tree has other parts, and the rest of its rows are worth as much.
            print(f"{name}: not measured on this tree: {error!r}", file=sys.stderr, flush=True)
    before = {}
    if asked.against is not None:
        told = json.loads(asked.against.read_text())["rows"]
        before = {one["what"]: Row(**one).ratios for one in told}
    if asked.out is not None:
        told = {"machine": platform.processor() or platform.machine(), "rows": [asdict(row) for row in found]}
        asked.out.write_text(json.dumps(told, indent=1))
    text, slower = shown(found, before)
    print(text)
    return 1 if slower or not found else 0


if __name__ == "__main__":
    sys.exit(main())
