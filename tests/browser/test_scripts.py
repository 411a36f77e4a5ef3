"""The pages' scripts: what `make lint` refuses of them, and what they may take from each other."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import needs
import pytest

ROOT = Path(__file__).parents[2]
ASSETS = Path("leaderboard") / "assets"
SCRIPTS = sorted(path.stem for path in (ROOT / ASSETS).glob("*.js"))
HEAD = re.compile(r"^(?:Board\.(\w+) = )?\(\((.*?)\) => \{$", re.MULTILINE)


def copied(to: Path) -> Path:
    """Copy the scripts and what checks them."""
    if not (ROOT / "node_modules").is_dir():
        needs.missing("node_modules is not there", "`make lint`, where npm is installed")
    shutil.copytree(ROOT / ASSETS, to / ASSETS)
    for name in ("package.json", "biome.json", "tsconfig.json"):
        shutil.copy(ROOT / name, to)
    (to / "node_modules").symlink_to(ROOT / "node_modules")
    return to


def called(tree: Path, *command: str) -> tuple[int, str]:
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False, timeout=500)
    return done.returncode, done.stdout + done.stderr


def planted(tree: Path, faults: Iterable[tuple[str, str, str]]) -> Path:
    """Put each fault's statement at the beginning of its script's function."""
    for script, text, _ in faults:
        path = tree / ASSETS / f"{script}.js"
        source = path.read_text(encoding="utf-8")
        at = HEAD.search(source).end()
        path.write_text(source[:at] + f"\n  {text}" + source[at:], encoding="utf-8")
    return tree


@pytest.mark.slow
def test_the_scripts_are_clean_and_one_fault_is_enough(tmp_path):
    tree = copied(tmp_path)
    code, said = called(tree, "npm", "run", "--silent", "check")
    assert code == 0, said
    assert "error" not in said
    planted(tree, [LINTED["an unused variable"]])
    assert called(tree, "npm", "run", "--silent", "check")[0] != 0


TYPED = {
    "a misspelt global": ("board", "documnet.title;", "Cannot find name 'documnet'"),
    "a misspelt name of a global": ("board", "document.titel;", "Property 'titel' does not exist"),
    "a global made by accident": ("large", "leaked = 1;", "Cannot find name 'leaked'"),
    "a wrong type": (
        "whatif",
        'equity.preset("all");',
        "'string' is not assignable to parameter of type 'Scores'",
    ),
    "a wrong name in the page's data": (
        "equity",
        "/** @param {Scores} d */ (d) => d.seed;",
        "Property 'seed' does not exist on type 'Scores'",
    ),
    "a type that is not written down": ("compare", "(x) => x;", "'x' implicitly has an 'any' type"),
    "what may be null": ("takeaway", 'document.querySelector("h1").id;', "possibly 'null'"),
    "an unused variable": ("intervals", "const forgotten = 1;", "'forgotten' is declared but"),
    "an unused function": ("state", "function unneeded() {}", "'unneeded' is declared but"),
    "an unused parameter": ("equity", "/** @param {number} x */ (x) => 1;", "'x' is declared but"),
    "another file's private name": ("whatif", "equity.layoutOf;", "Property 'layoutOf' does not exist"),
    "another file's private name, bare": ("whatif", "layoutOf;", "Cannot find name 'layoutOf'"),
    "another file's private constant": ("equity", "intervals.LEVEL;", "Property 'LEVEL' does not exist"),
    "a name that no file adds": ("large", "Board.nothing;", "Property 'nothing' does not exist"),
    "a call without its argument": ("board", "large.lay();", "Expected 1 arguments, but got 0"),
}


@pytest.fixture(scope="module")
def types_say(tmp_path_factory) -> list[str]:
    tree = planted(copied(tmp_path_factory.mktemp("typed")), TYPED.values())
    code, said = called(tree, "node_modules/.bin/tsc")
    assert code != 0
    return said.splitlines()


@pytest.mark.parametrize(("script", "text", "said"), TYPED.values(), ids=TYPED)
def test_types_refuse(types_say, script, text, said):
    found = [line for line in types_say if said in line]
    assert [line.split("(")[0] for line in found] == [f"leaderboard/assets/{script}.js"]


LINTED = {
    "a misspelt global": ("board", "documnet.title;", "documnet variable is undeclared"),
    "another file's private name": ("whatif", "layoutOf;", "layoutOf variable is undeclared"),
    "an unused variable": ("intervals", "const forgotten = 1;", "variable forgotten is unused"),
    "an unused parameter": ("equity", "const f = (x) => 1;", "parameter x is unused"),
    "an equality that converts": ("compare", "if (button == dialog) pick(1);", "Using == may be unsafe"),
    "another layout": ("large", "lay( );", "Formatter would have printed"),
}


@pytest.fixture(scope="module")
def linter_says(tmp_path_factory) -> str:
    tree = planted(copied(tmp_path_factory.mktemp("linted")), LINTED.values())
    code, said = called(tree, "node_modules/.bin/biome", "check", "--max-diagnostics=100", "--colors=off")
    assert code != 0
    return said


@pytest.mark.parametrize(("script", "text", "said"), LINTED.values(), ids=LINTED)
def test_the_linter_refuses(linter_says, script, text, said):
    reports = re.split(r"^(?=leaderboard/assets/)", linter_says, flags=re.MULTILINE)
    assert any(said in report and f"/{script}.js" in report.splitlines()[0] for report in reports), (
        linter_says
    )


@pytest.mark.slow
def test_the_scores_of_a_built_site_have_the_type_that_the_scripts_expect(tmp_path, site):
    tree = copied(tmp_path)
    scores = (site.out / "quick" / "scores-race-cup.js").read_text(encoding="utf-8")
    (tree / ASSETS / "of-a-site.js").write_text(scores, encoding="utf-8")
    assert called(tree, "node_modules/.bin/tsc") == (0, "")
    (tree / ASSETS / "of-a-site.js").write_text(
        scores.replace('"scale":2000', '"scale":"2000"'), encoding="utf-8"
    )
    code, said = called(tree, "node_modules/.bin/tsc")
    assert code != 0
    assert "Type 'string' is not assignable to type 'number'" in said


def parts(script: str) -> tuple[str | None, set[str], str, str]:
    """Return what a script adds, what it takes, what stands before its function, and the function's body."""
    source = (ROOT / ASSETS / f"{script}.js").read_text(encoding="utf-8")
    code = re.sub(r"/\*.*?\*/|^\s*//.*?$", "", source, flags=re.DOTALL | re.MULTILINE)
    (head,) = HEAD.finditer(code)
    taken = re.sub(r":\s*\{[^}]*\}", "", head[2]).strip("{} ")
    body, end = code[head.end() :].split("\n}", 1)
    assert end in (")(Board);\n", ")();\n")
    takes = {name.strip() for name in taken.split(",") if name.strip()}
    return head[1], takes, " ".join(code[: head.start()].split()), body


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_is_one_function_that_says_what_it_adds_and_takes(script):
    adds, takes, before, body = parts(script)
    assert adds or takes
    assert before == '"use strict";' + (" const Board = {};" if script == "state" else "")
    assert not re.search(r"\bBoard\b", body)


@pytest.mark.parametrize("page", ["board", "overview"])
def test_a_page_has_every_script_after_those_it_takes_from(page):
    template = (ROOT / "leaderboard" / "templates" / f"{page}.html.j2").read_text(encoding="utf-8")
    order = re.findall(r'"(\w+)"', re.search(r"for script in \((.*?)\)", template)[1])
    there: set[str | None] = set()
    for script in order:
        adds, takes, *_ = parts(script)
        assert takes <= there, script
        there.add(adds)
    assert len(order) > 1
