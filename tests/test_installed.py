"""A wheel beside a package with a `methods` and a `leaderboard` of its own: same ids, and a site."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
import tomli_w
from tiny import PROTOCOL

from harness.identity import HARNESS

pytestmark = pytest.mark.slow

CLONE = HARNESS.parent

IDS = """
import json, sys
from pathlib import Path
from harness import protocol
from harness.running.paths import Paths
from harness.running.prepare import prepare
chosen = protocol.load(sys.argv[1])
made = prepare(chosen, [], Paths(Path("ids"), None, Path(sys.argv[2])), sys.argv[1], controls=True)
print(json.dumps({f"{one.label} from {one.starts_from}": name for name, one in made.plan.trials.items()}))
"""


def called(*words: str | Path, cwd: Path = CLONE, **env: str) -> str:
    """Call a program as from a shell in which nothing says where Python looks; return what it said."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")} | env
    done = subprocess.run([str(one) for one in words], capture_output=True, text=True, cwd=cwd, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel of a copy of this clone, in which somebody has begun a method."""
    copy, out = tmp_path_factory.mktemp("clone"), tmp_path_factory.mktemp("wheel")
    for name in called("git", "ls-files", cwd=CLONE).splitlines():
        if (CLONE / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(CLONE / name, copy / name)
    called("git", "init", "-q", cwd=copy)
    called("git", "add", "-A", cwd=copy)
    (copy / "methods" / "begun.py").write_text("begun = True\n")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    called(*pip, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", out, copy)
    (made,) = out.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def place(wheel, tmp_path_factory) -> Path:
    """A fresh environment with the wheel, what it needs, and other packages of those two names."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder / "env", with_pip=False, symlinks=True)
    python = folder / "env" / "bin" / "python"
    packages = Path(called(python, "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])").strip())
    for name in ("methods", "leaderboard"):
        (packages / name).mkdir()
        (packages / name / "__init__.py").write_text("raise ImportError('another package')\n")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python]
    called(*pip, "install", "--no-deps", "--no-index", wheel)
    # Only now: pip would take the clone that is installed there for this wheel.
    (packages / "needs.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    table = PROTOCOL | {
        "attributes": {"race": {}},
        "seeds": [0],
        "recipe": PROTOCOL["recipe"] | {"epochs": 1},
    }
    (folder / "tiny.toml").write_text(tomli_w.dumps(table))
    return folder


def installed(place: Path, *words: str | Path) -> str:
    """Call a program of the environment away from the clone."""
    return called(place / "env" / "bin" / words[0], *words[1:], cwd=place)


def test_no_name_of_the_wheel_collides_and_nothing_untracked_is_in_it(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {
        "harness",
        "equity_leaderboard",
    }
    packed = {Path(name).name for name in names if name.startswith("equity_leaderboard/methods/")}
    tracked = called("git", "ls-files", "methods", cwd=CLONE).splitlines()
    assert packed == {Path(name).name for name in tracked}


def test_an_installed_copy_has_the_clones_ids(place):
    script = place / "ids.py"
    script.write_text(IDS)
    words = (script, place / "tiny.toml", place / "cache")
    mine = installed(place, "python", *words)
    clones = called(sys.executable, *words, cwd=place, PYTHONPATH=str(CLONE))
    assert json.loads(mine) == json.loads(clones)
    assert len(json.loads(mine)) > 8


def test_an_installed_copy_lists_runs_and_reports(place):
    listed = installed(place, "harness", "list", "methods").splitlines()
    assert [line.split()[0] for line in listed] == sorted(
        path.stem.replace("_", "-") for path in (CLONE / "methods").glob("[a-z]*.py")
    )
    rest = ["--protocol", "tiny.toml", "--cache", "cache", "--device", "cpu"]
    # With ERM given the epochs that FEBS takes beside it.
    assert "3 done" in installed(place, "harness", "run", "erm", "febs", *rest)
    assert "Wrote" in installed(place, "harness", "report")
    (board,) = json.loads((place / "site" / "leaderboard.json").read_text())["protocols"]
    assert {one["method"] for one in board["sections"][0]["methods"]} == {"erm", "erm+1", "febs"}


def test_a_method_made_beside_an_installed_copy_is_found_by_its_name(place):
    installed(place, "harness", "new", "own-idea")
    said = installed(
        place, "harness", "run", "own-idea", "--protocol", "tiny.toml", "--cache", "cache", "--dry-run"
    )
    assert "own-idea race seed 0" in said
