"""Edits of a copy of the tree: each must change the ids of the trials that it can reach, and of no other."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

MINE = """from harness import Card, Method, segmentation_loss
from helper import scaled


class Mine(Method):
    card = Card(title="Mine")

    def loss(self, batch, output):
        return scaled(segmentation_loss(output.logits, batch.masks, self.task.dice_weight))
"""
HELPER = "from deeper import FACTOR\n\n\ndef scaled(loss):\n    return FACTOR * loss\n"

UNET = {"unet erm", "unet groupdro", "unet febs", "unet mine", "chosen erm"}
ALL = UNET | {"frozen erm"}
ERM = {"unet erm", "unet febs", "frozen erm", "chosen erm"}  # FEBS starts from ERM's weights


@dataclass(frozen=True)
class Edit:
    """In `file`, `old` becomes `new`; where `old` is "", the file is new or `new` goes at its end."""

    what: str
    file: str
    old: str
    new: str
    changes: frozenset[str] = frozenset()


def edit(what: str, file: str, old: str, new: str, changes: set[str] = frozenset()) -> Edit:
    return Edit(what, file, old, new, frozenset(changes))


MUST = [
    edit(
        "the encoder is unfrozen where networks are built",
        "harness/backbones/__init__.py",
        "    return network\n",
        "    return network.requires_grad_(True)\n",
        ALL,
    ),
    edit("warm-up", "harness/training/fit.py", "factor = (step + 1) / warmup", "factor = step / warmup", ALL),
    edit("the rate's decay", "harness/training/fit.py", "** job.recipe.power", "** 1.0", ALL),
    edit("a method's own step", "harness/training/side.py", "        optimizer.step()\n", "        optimizer.step()\n        optimizer.step()\n", ALL),
    edit("a sharper step", "harness/training/sharpness.py", "radius / length", "radius * length", ALL),
    edit("an average", "harness/training/averaging.py", ") / taken", ") / (taken + 1)", ALL),
    edit("a mix", "harness/training/mixing.py", "(1 - shares) * others", "shares * others", ALL),
    edit("the rule of weights", "harness/training/optimiser.py", '"base_lr"] * factor', '"base_lr"] * 2 * factor', ALL),
    edit("the way back", "harness/training/passes.py", "[gradient for _, gradient in pairs]", "[2 * gradient for _, gradient in pairs]", ALL),
    edit("scaling of pixels", "harness/training/feed.py", ".float().div_(255)", ".float().div_(256)", ALL),
    edit("a variant fewer", "harness/training/augment.py", '"flip": 2', '"flip": 1', ALL),
    edit("rotation", "harness/training/augment.py", "variant // 2, (-2, -1)", "variant // 2, (-1, -2)", ALL),
    edit("a sampler", "harness/training/sampling.py", "= round(draws", "= int(draws", ALL),
    edit("shuffling", "harness/training/sampling.py", "np.unique(patients", "np.unique(patients[::-1]", ALL),
    edit("the loss's constant", "harness/plugin/losses.py", "_SMOOTH = 1e-5", "_SMOOTH = 1e-4", ALL),
    edit("a default of the contract", "harness/plugin/method.py", '[Sampler] = "uniform"', '[Sampler] = "group-balanced"', ALL),
    edit("an export that points elsewhere", "harness/__init__.py", "return getattr(importlib", 'name = "cross_entropy" if name == "soft_dice_loss" else name\n    return getattr(importlib', ALL | {"scores"}),
    edit("a package that sets a default", "harness/training/__init__.py", "", "import torch\n\ntorch.set_flush_denormal(True)\n", ALL),
    edit("tf32", "harness/training/device.py", "matmul.allow_tf32 = False", "matmul.allow_tf32 = True", ALL),
    edit("unknown groups", "harness/training/train.py", "np.full(len(rows), -1)", "np.full(len(rows), 0)", ALL),
    edit("prediction's batch", "harness/training/predict.py", "_BATCH = 16", "_BATCH = 8", ALL),
    edit("the upsampling", "harness/backbones/resize.py", "+ 0.5) * source", "+ 0.4) * source", ALL),
    edit("a backbone's contract", "harness/backbones/backbone.py", "", "\n\nBackbone.extra = 1\n", ALL),
    edit("the U-Net's features", "harness/backbones/unet.py", "last.mean((2, 3))", "last.amax((2, 3))", UNET),
    edit("LoRA's start", "harness/backbones/lora.py", "a=math.sqrt(5)", "a=1.0", {"frozen erm"}),
    edit("SAM's resampling", "harness/backbones/sam.py", 'mode="linear"', 'mode="nearest"', {"frozen erm"}),
    edit("the decoder", "harness/backbones/prompt_free.py", "STRIDE", "STRIDE_", {"frozen erm"}),
    edit("the encoder's batch", "harness/training/encode.py", "BATCH = 4", "BATCH = 2", {"frozen erm"}),
    edit("the checkpoint's score", "harness/training/validate.py", "np.mean(found)", "np.median(found)", {"chosen erm"}),
    edit("Dice", "harness/metrics/overlap.py", "return 2 * common /", "return 1.9 * common /", {"chosen erm", "scores"}),
    edit("a distance", "harness/metrics/surface.py", "np.percentile(self._pooled, 95)", "np.percentile(self._pooled, 90)", {"chosen erm", "scores"}),
    edit("what is scored", "harness/metrics/score.py", "return 0.0 if", "return 0.5 if", {"scores"}),
    edit("a method's default", "methods/groupdro.py", "step_size: float = 0.01", "step_size: float = 0.02", {"unet groupdro"}),
    edit("a method's loss", "methods/febs.py", "clamp(min=1e-6)", "clamp(min=1e-5)", {"unet febs"}),
    edit("ERM, where FEBS starts", "methods/erm.py", "self.task.dice_weight", "0.5 * self.task.dice_weight", ERM),
    edit("a helper of a method", "elsewhere/helper.py", "FACTOR * loss", "FACTOR + loss", {"unet mine"}),
    edit("a helper two imports away", "elsewhere/deeper.py", "FACTOR = 2", "FACTOR = 3", {"unet mine"}),
    edit("the order of rows", "harness/cohorts/cohort.py", '.to_numpy() == split)', '.to_numpy() == split)[::-1]', ALL | {"scores"}),
    edit("groups' codes", "harness/cohorts/cohort.py", "column.codes.astype", "column.codes[::-1].astype", {"unet groupdro", "unet febs", "unet mine"}),
    edit("stored images", "harness/cohorts/__init__.py", "images=entry.images", "images=255 - entry.images", ALL),
    edit("stored masks", "harness/cohorts/__init__.py", "masks=entry.masks", "masks=entry.masks % 2", ALL | {"scores"}),
    edit("what is drawn", "harness/cohorts/fundus.py", "rng.uniform(0.13, 0.165)", "rng.uniform(0.14, 0.165)", ALL | {"scores"}),
    edit("the split", "harness/cohorts/split.py", "0.5 - share", "0.4 - share", ALL | {"scores"}),
    edit("seeds", "harness/seeds.py", '"big") >> 1', '"big") >> 2', ALL | {"scores"}),
    edit("a recipe's default", "harness/protocol.py", "ge=0)] = 0.1", "ge=0)] = 0.2", ALL),
    edit("what a mask's labels become", "harness/protocol.py", "self.label_values.index(label) + 1", "self.label_values.index(label)", {"chosen erm", "scores"}),
]  # fmt: skip

NEVER = [
    edit("a docstring of a module", "harness/training/train.py", '"""One training', '"""Just one training'),
    edit("a docstring of a function", "harness/running/trial.py", '"""Run a trial and', '"""Do run a trial and'),
    edit("a docstring of a method", "methods/febs.py", '"""Fair error-bound', '"""The fair error-bound'),
    edit("a docstring below an attribute", "harness/training/augment.py", '"""Augmentation to the', '"""An augmentation to the'),
    edit("a comment", "harness/metrics/surface.py", "import numpy as np\n", "import numpy as np  # arrays\n"),
    edit("a comment in a cohort's code", "harness/cohorts/grid.py", "import numpy as np\n", "import numpy as np  # arrays\n"),
    edit("blank lines", "harness/training/feed.py", "\n\n\n", "\n\n\n\n\n"),
    edit("an argument's annotation", "harness/training/fit.py", "step: int, per_epoch: int", 'step: "int", per_epoch: object'),
    edit("what a function returns, annotated", "harness/training/fit.py", ") -> Iterator[np.ndarray]:", ") -> object:"),
    edit("a local annotation", "harness/training/fit.py", "seen: list[np.ndarray] = []", "seen = []"),
    edit("an import for type checkers", "harness/training/train.py", "if TYPE_CHECKING:\n", "if TYPE_CHECKING:\n    from harness.cli import cli\n"),
    edit("an empty file among the networks", "harness/backbones/notes.py", "", ""),
    edit("a new network", "harness/backbones/new_net.py", "", "def build(spec, n_classes, size, weights):\n    return None\n"),
    edit("a new method", "methods/new_method.py", "", "VALUE = 1\n"),
    edit("another network", "harness/backbones/mobile_sam.py", "import re\n", "import re\n\nEXTRA = 1\n"),
    edit("a checkpoint's address", "harness/backbones/weights.py", "_TIMEOUT = 10", "_TIMEOUT = 20"),
    edit("the command line", "harness/cli.py", "", "\nEXTRA = 1\n"),
    edit("what a run shows", "harness/commands/display.py", "WIDE = 1_000", "WIDE = 2_000"),
    edit("the store", "harness/store/store.py", "", "\nEXTRA = 1\n"),
    edit("how files are written", "harness/store/files.py", "", "\nEXTRA = 1\n"),
    edit("a column that is described", "harness/store/schema.py", "SCHEMA_VERSION = 1", "SCHEMA_VERSION = 1 + 0"),
    edit("a statistic", "harness/equity/scores.py", "", "\nEXTRA = 1\n"),
    edit("the adjustment of p-values", "harness/multiplicity.py", "(len(order) - rank)", "(len(order) + 1 - rank)"),
    edit("the site", "leaderboard/__init__.py", "", "\nEXTRA = 1\n"),
    edit("who reads a published board", "harness/client.py", "", "\nEXTRA = 1\n"),
    edit("the door to who reads it", "harness/moved.py", "", "\nEXTRA = 1\n"),
    edit("the schedule", "harness/running/queue.py", "SHOW_SECONDS = 0.25", "SHOW_SECONDS = 0.5"),
    edit("how a label reads", "harness/running/plan.py", 'f"seed {self.seed}"', 'f"seed: {self.seed}"'),
    edit("the sandbox", "harness/sandbox/limits.py", "", "\nEXTRA = 1\n"),
    edit("the line to a method", "harness/sandbox/line.py", "TEXT = 4_000", "TEXT = 5_000"),
    edit("the method elsewhere", "harness/sandbox/remote.py", "START_SECONDS = 300.0", "START_SECONDS = 200.0"),
    edit("what ERM would take", "harness/training/pace.py", "_STEPS = 3", "_STEPS = 4"),
    edit("harness check", "harness/check/bench.py", "", "\nEXTRA = 1\n"),
    edit("an error's sentence", "harness/errors.py", "Did you mean", "Do you mean"),
    edit("where embeddings lie", "harness/training/embed.py", '"embeddings"', '"maps"'),
    edit("another source of cohorts", "harness/cohorts/fairseg.py", "", "\nEXTRA = 1\n"),
    edit("the audit of cohorts", "harness/cohorts/audit.py", "", "\nEXTRA = 1\n"),
    edit("a title", "harness/protocols/quick.toml", 'title = "', 'title = "Another '),
    edit("how plugins are found", "harness/plugin/discovery.py", "", "\nEXTRA = 1\n"),
    edit("what a plugin declares", "harness/plugin/declared.py", "", "\nEXTRA = 1\n"),
]  # fmt: skip

LAYOUT = ("harness/training/fit.py", "harness/training/sampling.py", "methods/adv.py", "methods/groupdro.py")


class Trees:
    """Copies of the tree, and the process that says which ids each gives its trials."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # One cache for all of the copies: a cohort is read anew exactly where its own code changed.
        self.cache = folder / "cache"
        script = str(Path(__file__).with_name("identity_ids.py"))
        self.process = subprocess.Popen(
            [sys.executable, "-B", script],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder,
            env=os.environ | {"PYTHONPATH": ""},
        )  # fmt: skip
        self.count = 0
        self.before = self.ids(lambda tree: None)

    def ids(self, change: Callable[[Path], object]) -> dict[str, str]:
        self.count += 1
        tree = self.folder / f"tree{self.count}"
        ignore = shutil.ignore_patterns("__pycache__", "*.js", "*.css", "*.j2")
        for name in ("harness", "methods", "leaderboard"):
            shutil.copytree(ROOT / name, tree / name, ignore=ignore)
        (tree / "elsewhere").mkdir()
        for name, text in {"mine": MINE, "helper": HELPER, "deeper": "FACTOR = 2\n"}.items():
            (tree / "elsewhere" / f"{name}.py").write_text(text)
        change(tree)
        self.process.stdin.write(json.dumps([str(tree), str(self.cache)]) + "\n")
        self.process.stdin.flush()
        said = json.loads(self.process.stdout.readline())
        shutil.rmtree(tree)
        assert "error" not in said, said
        return said

    @cached_property
    def by_all_that_never(self) -> set[str]:
        """What the edits that change no id change together: none takes back what another did."""
        return self.changed(*NEVER)

    def changed(self, *edits: Edit) -> set[str]:
        def change(tree: Path) -> None:
            for edit in edits:
                file = tree / edit.file
                text = file.read_text() if file.exists() else ""
                assert edit.old in text, f"{edit.what}: {edit.file} has no {edit.old!r}"
                file.write_text(text.replace(edit.old, edit.new) if edit.old else text + edit.new)

        after = self.ids(change)
        return {name for name in self.before if after[name] != self.before[name]}


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    made = Trees(tmp_path_factory.mktemp("trees"))
    yield made
    made.process.stdin.close()
    made.process.wait()


def test_the_tables_are_long_enough():
    assert len(MUST) >= 20
    assert len(NEVER) >= 20


def sampled(table: list) -> list:
    """Every sixth in each run, the others with what takes minutes: each asks a copy of the tree for its ids."""
    return [one if i % 6 == 0 else pytest.param(one, marks=pytest.mark.slow) for i, one in enumerate(table)]


@pytest.mark.parametrize("edit", sampled(MUST), ids=lambda one: one.what)
def test_an_edit_that_can_change_a_result_changes_the_ids_that_it_reaches(trees, edit):
    changed = trees.changed(edit)
    print(f"\n{edit.what} | {edit.file} | may: {sorted(edit.changes)} | did: {sorted(changed)}")
    assert changed == edit.changes


@pytest.mark.parametrize("edit", NEVER, ids=lambda one: one.what)
def test_an_edit_that_changes_no_result_changes_no_id(trees, edit):
    # Where all of them together change nothing, each alone does not; else it is asked for by itself.
    changed = trees.by_all_that_never and trees.changed(edit)
    print(f"\n{edit.what} | {edit.file} | may: none | did: {sorted(changed) or 'none'}")
    assert changed == set()


@pytest.mark.parametrize("file", sampled(LAYOUT))
def test_a_file_that_was_laid_out_anew_is_the_same_code(trees, file):
    """`ast.unparse` throws comments away and moves every line."""

    def change(tree: Path) -> None:
        path = tree / file
        path.write_text(ast.unparse(ast.parse(path.read_text())))

    assert trees.ids(change) == trees.before
