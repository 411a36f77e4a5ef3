"""Which tests `make check` runs: those that reach what changed, nearest first, within half a minute."""

from __future__ import annotations

import subprocess

import affected
import pytest

FILES = {
    "pyproject.toml": '[project.scripts]\ntool = "engine.cli:main"\n'
    '[tool.pytest.ini_options]\npythonpath = [".", "tests"]\n',
    "engine/__init__.py": "from engine.core import Core\n",
    "engine/core.py": "from . import low\n\nclass Core: pass\n",
    "engine/low.py": "",
    "engine/other.py": "",
    "engine/cli.py": "def main():\n    from engine.lazy import work\n",
    "engine/lazy.py": "",
    "engine/text.py": "NAME = 'engine.other'\n",
    "engine/data/table.toml": "",
    "engine/reader.py": "FOLDER = 'data'\n",
    "docs/page.md": "",
    "tests/conftest.py": "",
    "tests/helper.py": "from engine import Core\n",
    "tests/test_core.py": "def test(): pass\n",
    "tests/test_helped.py": "import helper\n",
    "tests/test_command.py": "COMMAND = ['tool', '--help']\n",
    "tests/deep/conftest.py": "import engine.text\n",
    "tests/deep/test_deep.py": "",
    "tests/test_reader.py": "from engine import reader\n",
    "tests/test_page.py": "PAGE = 'docs/page.md'\n",
    "tests/test_broken.py": "def (:\n",
}


@pytest.fixture
def tree(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "add", ".")
    git(tmp_path, "-c", "user.name=A", "-c", "user.email=a@b.c", "commit", "-qm", "all")
    return affected.clone(tmp_path)


def git(folder, *words):
    subprocess.run(["git", *words], cwd=folder, check=True)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        # Its own test is nearest; the helper's import leads through the package to where the name is.
        ("engine/core.py", {"core": 0, "helped": 2}),
        ("engine/low.py", {"helped": 3}),
        ("engine/lazy.py", {"command": 2}),
        ("engine/other.py", {"deep": 3}),
        ("engine/data/table.toml", {"reader": 2}),
        ("docs/page.md", {"page": 1}),
        ("tests/deep/conftest.py", {"deep": 1}),
        ("tests/test_page.py", {"page": 0}),
        ("tests/test_broken.py", {"broken": 0}),
        ("engine/gone.py", {}),
    ],
)
def test_a_test_is_as_near_as_it_takes_steps_to_reach_what_changed(tree, changed, expected):
    found = {
        name.rpartition("test_")[2].removesuffix(".py"): at for name, at in tree.distances([changed]).items()
    }
    assert found == expected


def test_what_changed_is_what_differs_from_main_and_else_the_last_commit(tree):
    who = ("-c", "user.name=A", "-c", "user.email=a@b.c")
    git(tree.root, "checkout", "-qb", "mine")
    (tree.root / "engine/low.py").write_text("x = 1\n")
    git(tree.root, *who, "commit", "-qam", "mine")
    (tree.root / "engine/new.py").write_text("")
    (tree.root / "engine/lazy.py").write_text("y = 1\n")
    assert sorted(affected.changed_since(tree.root)) == ["engine/lazy.py", "engine/low.py", "engine/new.py"]
    assert sorted(affected.changed_since(tree.root, "HEAD")) == ["engine/lazy.py", "engine/new.py"]
    git(tree.root, "add", ".")
    git(tree.root, *who, "commit", "-qm", "more")
    git(tree.root, "checkout", "-q", "-B", "main")
    assert sorted(affected.changed_since(tree.root)) == ["engine/lazy.py", "engine/new.py"]


def test_the_nearest_are_chosen_as_long_as_they_fit():
    known = {"a::1": 9.0, "a::2": 1.0, "b::1": 20.0, "b::2": 7.0, "d::1": 8.0}
    known |= {f"c::{i}": 7.0 for i in range(3)}
    files, long, rest = affected.chosen({"d": 3, "c": 2, "new": 2, "b": 1, "a": 1}, known)
    # 1 s of a and 7 of b beside what is too long by itself, 5 guessed for the new one: 21 of c do not fit.
    assert (files, long, rest) == (["a", "b", "new", "d"], ["a::1", "b::1"], ["c"])


def test_a_nearest_file_that_takes_longer_than_all_is_run_alone():
    known = {f"a::{i}": 7.0 for i in range(9)}
    assert affected.chosen({"a": 0, "b": 1}, known)[0] == ["a"]
