"""The rooms of the house: the import rule bites at every boundary, docs/architecture.md lists them all."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

PLANTED = {
    "a network that uses the command line": ("harness/backbones/unet.py", "from harness.cli import cli"),
    "a statistic that uses a trial": ("harness/equity/scores.py", "from harness.running.trial import run"),
    "a cohort that uses a method": ("harness/cohorts/grid.py", "from methods.erm import ERM"),
    "a cohort that uses a statistic": ("harness/cohorts/audit.py", "from harness.equity import resample"),
    "the store using a metric": ("harness/store/store.py", "from harness.metrics.score import score"),
    "a training that uses a plan": ("harness/training/fit.py", "from harness.running.plan import Trial"),
    "the identity using a protocol": ("harness/identity/digests.py", "from harness.protocol import Protocol"),
    "the sandbox using a submission": ("harness/sandbox/runs.py", "from harness.submission import pack"),
    "predictions that use a sandbox": ("harness/predictions/make.py", "from harness.sandbox import runs"),
    "a training that uses predictions": ("harness/training/fit.py", "from harness.predictions import ids"),
    "a check that uses a submission": ("harness/check/bench.py", "from harness.submission import pack"),
    "a method that uses an inner room": ("methods/erm.py", "from harness.training import fit"),
    "the site using a training": ("leaderboard/__init__.py", "from harness.training import fit"),
    "a record that is read with what is computed": (
        "leaderboard/read/boards.py",
        "from leaderboard.compute import words",
    ),
    "a number that is drawn": ("leaderboard/compute/words.py", "from leaderboard.draw import svg"),
    "a figure that writes a page": ("leaderboard/draw/svg.py", "from leaderboard.write import pages"),
    "a statistic that needs torch": ("harness/equity/noise.py", "import torch"),
    "a module outside of every room": ("harness/loose.py", "VALUE = 1"),
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("rooms")
    for name in ("harness", "methods", "leaderboard"):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def lint(tree: Path) -> subprocess.CompletedProcess[str]:
    tool = str(Path(sys.executable).with_name("lint-imports"))
    command = [tool, "--cache-dir", str(tree / "cache")]
    return subprocess.run(command, cwd=tree, capture_output=True, text=True, env={"PATH": ""})


def test_the_tree_as_it_is_keeps_every_rule(tree):
    done = lint(tree)
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


@pytest.mark.parametrize("what", PLANTED)
def test_an_import_across_a_boundary_is_refused(tree, what):
    name, line = PLANTED[what]
    file = tree / name
    text = file.read_text() if file.exists() else ""
    file.write_text(f"{text}\n{line}\n")
    done = lint(tree)
    file.write_text(text) if text else file.unlink()
    assert done.returncode == 1, done.stdout
    said = done.stdout + done.stderr
    assert "BROKEN" in said or "not declared" in said or "could not be" in said.lower(), said


def test_the_architecture_page_lists_every_room_and_no_other():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    listed = set(
        re.findall(r"^\| `(harness/[a-z_/.]+|methods/|leaderboard/|docker/|tests/)`", page, re.MULTILINE)
    )
    rooms = {
        f"harness/{path.name}/" for path in (ROOT / "harness").iterdir() if (path / "__init__.py").is_file()
    }
    files = {f"harness/{path.name}" for path in (ROOT / "harness").glob("*.py") if path.stem != "__init__"}
    # A folder of data beside the rooms.
    rooms.add("harness/protocols/")
    assert listed == rooms | files | {"methods/", "leaderboard/", "docker/", "tests/"}


@pytest.mark.slow
def test_names_of_before_the_rooms_still_import_and_are_the_same_modules():
    script = (
        "import importlib, sys\n"
        "from harness.moved import MOVED\n"
        "for old in MOVED:\n"
        "    assert importlib.import_module(old) is importlib.import_module(MOVED[old]), old\n"
        "from harness import plugins\n"
        "from harness.losses import segmentation_loss\n"
        "from harness import segmentation_loss as again\n"
        "assert plugins.load and segmentation_loss is again\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
