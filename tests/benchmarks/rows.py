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
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
import energy
import numpy as np
import pandas as pd

# Before the tests' own modules, some of which look for these in their own tree: PYTHONPATH may name another.
import harness
import leaderboard
from harness.store import Store

TESTS = Path(__file__).resolve().parents[1]
sys.path += [str(TESTS), str(TESTS / "leaderboard")]

PAIRS = 5
LARGER = (1, 4, 16)

Work = Callable[[], object]


@dataclass
class Row:
    """One line: the seconds of each pair; same: how many times the baseline's work ours is.

    joules: of ours once, of each device that tells.
    """

    what: str
    baseline: str
    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)
    same: float = 1.0
    joules: dict[str, float] = field(default_factory=dict)

    @property
    def ratios(self) -> list[float]:
        """Ours over the baseline's, pair by pair, in ascending order."""
        return sorted(a / b / self.same for a, b in zip(self.ours, self.theirs, strict=True))

    def measure(self, ours: Work, theirs: Work, pairs: int = PAIRS) -> Row:
        """Time both by turns, after one of each that is not counted."""
        for counted in range(-1, pairs):
            took = (_seconds(ours), _seconds(theirs))
            if counted >= 0:
                self.ours.append(took[0])
                self.theirs.append(took[1])
        return self


def _seconds(work: Work) -> float:
    return _both(work)[0]


def _both(work: Work) -> tuple[float, float]:
    """Return the seconds that something takes, of processors and by the clock."""
    began, clock = os.times(), time.perf_counter()
    work()
    return sum(os.times()[:4]) - sum(began[:4]), time.perf_counter() - clock


def twice(
    what: str, baseline: str, ours: Work, theirs: Work, pairs: int, before: Work = lambda: None
) -> list[Row]:
    """Return two rows of the same pairs, by processors and by the clock; `before` precedes each of ours."""
    rows = [Row(what + how, baseline) for how in ("", ", by the clock")]
    for counted in range(-1, pairs):
        before()
        for row, mine, other in zip(rows, _both(ours), _both(theirs), strict=True):
            if counted >= 0:
                row.ours.append(mine)
                row.theirs.append(other)
    return rows


def step() -> Iterator[Row]:
    """An epoch of a frozen encoder's decoder in the harness's loop, and in a loop that does nothing else."""
    import torch
    from card import made_up

    from harness import backbones, protocol
    from harness.plugin import declared, discovery
    from harness.plugin.losses import segmentation_loss
    from harness.training import fit, optimiser, side
    from harness.training.checkpoint import Checkpoint
    from harness.training.device import prepare_torch
    from harness.training.train import Inputs, Setting, job_of

    chosen = protocol.load("quick")
    recipe = chosen.recipe.model_copy(update={"epochs": 1})
    size, batch, steps = chosen.cohort.size, recipe.batch_size, 30
    prepare_torch(1)
    torch.manual_seed(0)
    network = backbones.build(chosen.backbone, 3, size, None)
    start = fit.trained_state(network)
    cohort = made_up(steps * batch, size)
    images = torch.from_numpy(np.ascontiguousarray(cohort.images)).movedim(-1, 1).float() / 255
    with torch.no_grad():
        maps = [torch.cat(parts) for parts in zip(*map(network.encode, images.split(batch)), strict=True)]
    about = declared.of(kind := discovery.load(plugin := discovery.find("erm")), plugin)
    setting = Setting(
        backbone=chosen.backbone, recipe=recipe, n_classes=3, size=size, name="erm",
        hyper_parameters=about.defaults, attribute=None, seed=0, finetunes=False,
    )  # fmt: skip
    inputs = Inputs(cohort, [one.numpy()[None] for one in maps], None, None)
    cpu = torch.device("cpu")

    def ours() -> None:
        fit.load_trained(network, start)
        with tempfile.TemporaryDirectory() as folder:
            kept = Checkpoint(Path(folder) / "none.pt")
            make = lambda told: side.build(kind, told)  # noqa: E731
            fit.fit(job_of(setting, make, inputs, network, cpu, kept, lambda *_: None, None))

    def theirs() -> None:
        fit.load_trained(network, start)
        network.train()
        weights = [{"params": [one for one in network.parameters() if one.requires_grad]}]
        rule = optimiser.build(recipe, weights, recipe.learning_rate)
        for at in range(0, steps * batch, batch):
            logits, _ = network.decode(tuple(one[at : at + batch] for one in maps))
            small = [slice(None, None, size // side) for side in logits.shape[-2:]]
            masks = torch.from_numpy(cohort.masks[at : at + batch][:, *small].copy()).long()
            rule.zero_grad(set_to_none=True)
            segmentation_loss(logits, masks, recipe.dice_weight).backward()
            rule.step()

    yield Row(
        "an epoch of MobileSAM's decoder, 256 px, batch 8", "forward, loss, backward and optimiser alone"
    ).measure(ours, theirs, 3)


def decoder() -> Iterator[Row]:
    """A step of MobileSAM's decoder, and the same where somebody listens to its parts: as SAM computes it."""
    import torch

    from harness import backbones, protocol
    from harness.plugin.losses import segmentation_loss
    from harness.training import optimiser
    from harness.training.device import prepare_torch

    prepare_torch(1)
    for name in ("quick", "planted"):
        chosen = protocol.load(name)
        side = chosen.cohort.size // 16
        batch = chosen.recipe.batch_size
        maps = torch.randn(batch, 256, side, side)
        masks = torch.randint(0, 3, (batch, 4 * side, 4 * side))

        def steps(listened: bool, size: int, maps: torch.Tensor, masks: torch.Tensor) -> Work:
            torch.manual_seed(0)
            network = backbones.build(chosen.backbone, 3, size, None).train()  # noqa: B023 - called at once
            if listened:
                for part in (network.mask_decoder.transformer, network.mask_decoder.output_upscaling):
                    part.register_forward_hook(lambda *_: None)
            weights = [{"params": [one for one in network.parameters() if one.requires_grad]}]
            rule = optimiser.build(chosen.recipe, weights, 1e-4)  # noqa: B023

            def work() -> None:
                for _ in range(4):
                    rule.zero_grad(set_to_none=True)
                    segmentation_loss(network.decode((maps,))[0], masks, 0.8).backward()
                    rule.step()

            return work

        size = chosen.cohort.size
        row = Row(f"a step of MobileSAM's decoder, {size} px", "as segment_anything computes it")
        yield row.measure(steps(False, size, maps, masks), steps(True, size, maps, masks), 7)


def encoder() -> Iterator[Row]:
    """A batch of images through MobileSAM's encoder, and the same where somebody listens: as timm has it."""
    import torch

    from harness import backbones, protocol
    from harness.training.device import prepare_torch
    from harness.training.encode import BATCH, encode

    prepare_torch(1)
    for name in ("quick", "planted"):
        chosen = protocol.load(name)
        size, cpu = chosen.cohort.size, torch.device("cpu")
        images = np.random.default_rng(0).integers(0, 256, (BATCH, size, size, 3), np.uint8)
        plain, listened = (backbones.build(chosen.backbone, 3, size, None).eval() for _ in "ab")
        listened.encoder.vit.patch_embed.register_forward_hook(lambda *_: None)

        def through(network: backbones.Backbone, images: np.ndarray = images) -> Work:
            return lambda: [encode(network, images, 0, False, cpu) for _ in range(4)]  # noqa: B023 - the CPU

        row = Row(f"{BATCH} images of {size} px through MobileSAM's encoder", "as timm computes it")
        yield row.measure(through(plain), through(listened), 7)


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
    one.__name__: one for one in (encoder, decoder, step, trial, scores, view, site, larger)
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
