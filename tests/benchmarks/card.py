"""The FairSeg study's steps on a GPU: seconds and memory of every method, slices on a small card, TransUNet.

    python tests/benchmarks/card.py --out FOLDER [--seconds 240] [--eager]

Weights are random, and so are the images: neither changes what a step costs. One Markdown table goes to
standard output, the same as JSON to FOLDER/card.json after each row. `--eager` compiles nothing; `--rehearse`
goes through all of it on a CPU, small.
"""

from __future__ import annotations

import argparse
import functools
import gc
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import energy  # noqa: E402
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import torch  # noqa: E402

from harness import backbones, protocol  # noqa: E402
from harness.backbones.backbone import Backbone  # noqa: E402
from harness.cohorts.cohort import Cohort  # noqa: E402
from harness.plugin import asks, declared, discovery  # noqa: E402
from harness.training import fit, side  # noqa: E402
from harness.training.checkpoint import Checkpoint  # noqa: E402
from harness.training.compiling import compile_parts, seconds  # noqa: E402
from harness.training.device import device_name, prepare_torch  # noqa: E402
from harness.training.job import Job, Schedule  # noqa: E402
from harness.training.train import Inputs, Setting, job_of  # noqa: E402

STEPS = 10
SMALL = 22 * 2**30
"""Bytes of a card of 24 GB that a process may have."""
GIB = 2**30


@dataclass
class Row:
    """One line of the table."""

    what: str
    batch: int = 0
    slice: int = 0
    precision: str = ""
    step: float = 0.0
    memory: float = 0.0
    joules: float = 0.0
    compiling: float = 0.0
    note: str = ""


@dataclass
class Bench:
    """What the rows share: the device, the budget, what was measured so far."""

    device: torch.device
    out: Path
    until: float
    small: bool
    eager: bool = False
    rows: list[Row] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)

    def row(self, what: str, measure: Callable[[Row], None]) -> None:
        """Measure a row, whatever becomes of it, and write all that there are."""
        row = Row(what)
        if time.monotonic() > self.until:
            row.note = "left out: no time was left"
        else:
            self.free()
            began, compiled = time.monotonic(), seconds()
            try:
                measure(row)
            except Exception as error:  # noqa: BLE001 - the others go on
                row.note = f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')[:160]}"
            row.compiling = round(seconds() - compiled, 1)
            said = f"{what}: {row.step:.3f} s a step, {row.memory:.1f} GiB, {row.note}"
            print(f"[{time.monotonic() - began:5.1f} s] {said}", file=sys.stderr, flush=True)
        self.rows.append(row)
        self.write()

    def free(self) -> None:
        """Give back the GPU's memory and measure its peak anew."""
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)

    def peak(self) -> float:
        """Return the most that was allocated, in GiB."""
        return torch.cuda.max_memory_allocated(self.device) / GIB if self.device.type == "cuda" else 0.0

    def write(self) -> None:
        """Write the JSON."""
        self.out.mkdir(parents=True, exist_ok=True)
        told = {
            "device": device_name(self.device),
            "torch": torch.__version__,
            "rows": [vars(r) for r in self.rows],
        }
        (self.out / "card.json").write_text(json.dumps(told, indent=1))

    def table(self) -> str:
        """Return the Markdown table."""
        lines = [
            f"{device_name(self.device)}, torch {torch.__version__}, {STEPS} steps a row, the median of the "
            f"last {STEPS - 3}; SAM and TransUNet with random weights",
            "",
            "| what | batch | slice | precision | s a step | peak GiB | J a step | compiling s | |",
            "| --- | ---: | ---: | --- | ---: | ---: | ---: | ---: | --- |",
        ]
        for row in self.rows:
            held = "whole" if row.batch and not row.slice else str(row.slice or "")
            step, memory, joules = (f"{one:.3g}" if one else "" for one in (row.step, row.memory, row.joules))
            cells = (
                row.what,
                row.batch or "",
                held,
                row.precision,
                step,
                memory,
                joules,
                row.compiling or "",
                row.note,
            )
            lines.append("| " + " | ".join(map(str, cells)) + " |")
        return "\n".join(lines)


class Study:
    """A shipped protocol with its network, built and compiled once, and images enough for ten steps."""

    def __init__(self, bench: Bench, name: str, **backbone: str) -> None:
        self.bench = bench
        self.protocol = protocol.load(name)
        spec = self.protocol.backbone.model_copy(update=backbone)
        self.size = self.protocol.cohort.size
        self.recipe = self.protocol.recipe
        if bench.small:
            self.size = 64
            spec = spec.model_copy(update={"variant": "tiny"} if spec.name == "sam" else {})
            recipe = self.recipe.model_copy(update={"batch_size": 4, "precision": "float32"})
            finetune = recipe.finetune.model_copy(update={"batch_size": 6})
            self.recipe = recipe.model_copy(update={"finetune": finetune})
        prepare_torch(1)
        torch.manual_seed(0)
        self.spec = spec
        self.network = backbones.build(spec, 3, self.size, None).to(bench.device)
        self.why = "as asked" if bench.eager else compile_parts(self.network, bench.device)
        # Every slice is a shape, and this process meets more of them than a training does.
        torch._dynamo.config.recompile_limit = 64
        self.start = fit.trained_state(self.network)
        batches = [self.recipe.batch_size, self.recipe.finetune.batch_size or 0]
        self.cohort = made_up(STEPS * max(batches), self.size)

    def measure(
        self, row: Row, method: str = "erm", most: int | None = None, precision: str | None = None
    ) -> list[float]:
        """Fill a row with ten steps of a method; return the losses of the steps."""
        fit.load_trained(self.network, self.start)
        recipe = self.recipe.model_copy(update={"precision": precision} if precision else {})
        job = self.job(method, recipe, most)
        losses, marks, drawn = watch(job, self.bench.device)
        with tempfile.TemporaryDirectory() as folder:
            fitted = fit.fit(replace(job, checkpoint=Checkpoint(Path(folder) / "x.pt")))
        per_step, energies = (
            [later - before for before, later in zip(told[-STEPS:], told[-STEPS + 1 :], strict=False)]
            for told in (marks, drawn)
        )
        row.batch, row.slice, row.precision = job.batch, fitted.most, recipe.precision
        row.step, row.memory = statistics.median(per_step[2:]), self.bench.peak()
        # Of a counter that moves in steps of a tenth of a second a mean says more than a median.
        row.joules = statistics.mean(energies[2:])
        row.note = f"not compiled: {self.why[:60]}" if self.why else row.note
        return losses[-STEPS:]

    def job(self, method: str, recipe: Any, most: int | None) -> Job:
        """Return ten steps of a method's training under the protocol."""
        plugin = discovery.find(method)
        kind = discovery.load(plugin)
        about = declared.of(kind, plugin)
        asked = asks.of(about, about.defaults, method)
        setting = Setting(
            backbone=self.spec,
            recipe=recipe,
            n_classes=3,
            size=self.size,
            name=method,
            hyper_parameters=about.defaults,
            attribute="race",
            seed=0,
            finetunes=about.finetunes,
            at_test=about.reads_attribute_at_test,
            sampler=about.sampler,
            most=most,
            asks=asked,
        )
        batch = Schedule.of(recipe, about.finetunes).batch_size
        rows = self.cohort.subjects.index < STEPS * batch
        cohort = replace(
            self.cohort, subjects=self.cohort.subjects.assign(split=np.where(rows, "train", "out"))
        )
        make = functools.partial(side.build, kind)
        kept = Checkpoint(Path("unused"))
        inputs = Inputs(cohort, [], None, None)
        job = job_of(setting, make, inputs, self.network, self.bench.device, kept, lambda *_: None, None)
        once = replace(job.schedule, epochs=1)
        teacher = self.teacher() if asked.taught else None
        return replace(job, schedule=once, teacher=teacher)

    def teacher(self) -> Backbone:
        """Return another network of the kind."""
        return backbones.build(self.spec, 3, self.size, None).to(self.bench.device).eval()


def made_up(samples: int, size: int) -> Cohort:
    """Return a cohort of noise with a disc and a cup in it, three groups."""
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 256, (samples, size, size, 1), np.uint8)
    y, x = np.mgrid[:size, :size] / size - 0.5
    radius = np.hypot(x, y)
    mask = np.where(radius < 0.1, 2, np.where(radius < 0.2, 1, 0)).astype(np.uint8)
    groups = ("Asian", "Black", "White")
    subjects = pd.DataFrame({"sample": np.arange(samples).astype(str), "split": "train"})
    subjects = subjects.assign(
        patient=subjects["sample"], race=rng.choice(groups, samples, p=[0.08, 0.12, 0.8])
    )
    masks = np.broadcast_to(mask, (samples, size, size))
    images = np.broadcast_to(grey, (samples, size, size, 3))
    return Cohort("made up", "", "", False, images, masks, subjects, {"race": groups}, "")


def watch(job: Job, device: torch.device) -> tuple[list[float], list[float], list[float]]:
    """Return the lists that fill with the losses of a job's steps, when each ended, and the joules by then.

    These are of all that the machine's devices have taken, 0 where none tells.
    """
    losses: list[float] = []
    marks: list[float] = []
    drawn: list[float] = []
    meters = energy.counters()
    own = job.side.answer

    def answer(*given: Any) -> Any:
        told = own(*given)
        losses.append(float(told.loss))
        return told

    def progress(stage: str, done: int, total: int) -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        marks.append(time.monotonic())
        drawn.append(sum(one.read() for one in meters))

    job.side.answer, job.progress = answer, progress
    return losses, marks, drawn


@contextmanager
def allowed(bench: Bench, size: int):
    """Let this process have no more of the card than `size` bytes."""
    total = torch.cuda.get_device_properties(bench.device).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, size / total), bench.device)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, bench.device)


def first_tier() -> list[str]:
    """Return the shipped methods that are a loss, ERM first."""
    found = []
    for name, plugin in discovery.discover().items():
        about = declared.of(discovery.load(plugin), plugin)
        if not (about.trains_own_model or about.adapts or about.reads_attribute_at_test):
            found.append(name)
    return sorted(found, key=lambda name: (name != "erm", not name.startswith("febs"), name))


def sam_rows(bench: Bench) -> None:
    """Measure SAM ViT-B with LoRA at 512 pixels under `fairseg`."""
    study = Study(bench, "fairseg")
    half = None if bench.small else "bfloat16"
    bench.row("ERM", lambda row: study.measure(row) and None)
    bench.row("ERM, bfloat16", lambda row: study.measure(row, precision=half) and None)
    bench.row("FEBS, bfloat16", lambda row: study.measure(row, "febs", precision=half) and None)
    bench.row("ERM, 48 and 12 at a time: largest difference of loss", lambda row: equal(row, study, None))
    bench.row("the same, bfloat16", lambda row: equal(row, study, half))
    for what, method, precision in (
        ("ERM on 22 GiB", "erm", None),
        ("FEBS on 22 GiB", "febs", None),
        ("ERM on 22 GiB, bfloat16", "erm", half),
        ("FEBS on 22 GiB, bfloat16", "febs", half),
    ):
        bench.row(what, functools.partial(on_small_card, study, method, precision))
    transunet_rows(bench)
    itself(bench)
    for method in first_tier()[1:]:
        bench.row(method, functools.partial(any_method, study, method))


def any_method(study: Study, method: str, row: Row) -> None:
    """Measure a method as the protocol has it."""
    study.measure(row, method)


def on_small_card(study: Study, method: str, precision: str | None, row: Row) -> None:
    """Measure under a limit of 22 GiB, with the slice found by trying."""
    if study.bench.device.type != "cuda":
        study.measure(row, method, most=2, precision=precision)
        return
    with allowed(study.bench, SMALL):
        study.measure(row, method, precision=precision)


def equal(row: Row, study: Study, precision: str | None) -> None:
    """Compare the losses of ten steps in slices of 48 (or what the card holds) and of 12."""
    whole = study.measure(row, most=None, precision=precision)
    held = row.slice
    parts = study.measure(row, most=12 if not study.bench.small else 2, precision=precision)
    apart = max(abs(one - other) for one, other in zip(whole, parts, strict=True))
    row.note = (
        f"{apart:.1e}, of losses {whole[0]:.3f} to {whole[-1]:.3f} ({held or 'whole'} beside {row.slice})"
    )


def transunet_rows(bench: Bench) -> None:
    """Measure both variants of TransUNet under `fairseg-transunet`."""
    for variant in ("r50_b16", "b16"):
        bench.row(f"TransUNet {variant}", functools.partial(transunet, bench, variant))


def transunet(bench: Bench, variant: str, row: Row) -> None:
    """Measure a variant."""
    Study(bench, "fairseg-transunet", variant=variant).measure(row)


def itself(bench: Bench) -> None:
    """Compare SAM ViT-B at 1024 pixels with segment_anything's own model, the same random weights."""

    def measure(row: Row) -> None:
        from segment_anything import build_sam_vit_b

        torch.manual_seed(0)
        theirs = build_sam_vit_b().eval()
        for name, weight in theirs.image_encoder.named_parameters():
            if "pos" in name:
                torch.nn.init.normal_(weight, std=0.1)
        spec = protocol.BackboneSpec(name="sam", variant="vit_b", adapt="lora")
        with tempfile.TemporaryDirectory() as folder:
            torch.save(theirs.state_dict(), Path(folder) / "sam.pth")
            ours = backbones.build(spec, 4, 1024, Path(folder) / "sam.pth").eval().to(bench.device)
        theirs = theirs.to(bench.device)
        image = torch.rand(1, 3, 1024, 1024, device=bench.device)
        with torch.inference_mode():
            sparse, dense = theirs.prompt_encoder(points=None, boxes=None, masks=None)
            expected, _ = theirs.mask_decoder.predict_masks(
                image_embeddings=theirs.image_encoder(theirs.preprocess(255 * image)),
                image_pe=theirs.prompt_encoder.get_dense_pe(),
                sparse_prompt_embeddings=sparse,
                dense_prompt_embeddings=dense,
            )
            apart = float((ours(image)[0] - expected).abs().max())
        row.memory = bench.peak()
        row.note = f"{apart:.1e}, of logits up to {float(expected.abs().max()):.2f}"

    if not bench.small:
        bench.row("SAM ViT-B at 1024 px beside segment_anything: largest difference", measure)


def main(arguments: list[str] | None = None) -> int:
    """Measure all that there is time for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=240)
    parser.add_argument("--eager", action="store_true")
    parser.add_argument("--rehearse", action="store_true")
    given = parser.parse_args(arguments)
    if not given.rehearse and not torch.cuda.is_available():
        print("There is no CUDA device here; --rehearse goes through it on a CPU.", file=sys.stderr)
        return 1
    device = torch.device("cpu" if given.rehearse else "cuda")
    bench = Bench(device, given.out, time.monotonic() + given.seconds, given.rehearse, given.eager)
    try:
        sam_rows(bench)
    finally:
        print(bench.table())
    return 0


if __name__ == "__main__":
    sys.exit(main())
