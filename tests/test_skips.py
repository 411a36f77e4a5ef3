"""A skipped test says what would make it run: the command or the folder, in backquotes."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import needs
import pytest

TESTS = Path(__file__).parent
SKIPS = {"skip", "skipif", "importorskip"}


def faults(source: str) -> list[str]:
    """Return the skips of a test file that go past `needs`, and those through it without a remedy."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr in SKIPS:
            found.append(f"line {node.lineno}: {ast.unparse(node)}; use needs.missing or needs.unless")
        names = {alias.name for alias in node.names} if isinstance(node, ast.ImportFrom) else set()
        if names & {*SKIPS, "missing", "unless"}:
            found.append(f"line {node.lineno}: {ast.unparse(node)}; import the module")
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("needs.missing", "needs.unless"):
            remedy = [*node.args, *(word.value for word in node.keywords)][-1]
            if not re.search(r"`[^`]+`", ast.unparse(remedy)):
                found.append(f"line {node.lineno}: its last argument names no command")
    return found


@pytest.mark.parametrize("path", sorted(TESTS.rglob("*.py")), ids=lambda path: str(path.relative_to(TESTS)))
def test_a_skip_says_what_would_make_it_run(path):
    assert path.name == "needs.py" or faults(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "line",
    [
        "pytest.skip('not today')",
        "pytest.importorskip('docker')",
        "pytestmark = pytest.mark.skipif(True, reason='no')",
        "from pytest import skip",
        "(pytest.fail if CI else pytest.skip)(why)",
        "needs.missing('no engine', 'install one')",
        "mark = needs.unless(False, what='no engine', remedy='start one')",
    ],
)
def test_a_skip_without_a_remedy_is_found(line):
    (fault,) = faults(line)
    assert fault.startswith("line 1: ")


def test_what_is_missing_is_skipped_here_and_fails_in_ci(monkeypatch):
    told = "no engine; to run this: `dockerd`"
    monkeypatch.setattr(needs, "CI", False)
    with pytest.raises(BaseException, match=told) as skipped:
        needs.missing("no engine", "`dockerd`")
    monkeypatch.setattr(needs, "CI", True)
    with pytest.raises(BaseException, match=told) as failed:
        needs.missing("no engine", "`dockerd`")
    assert [type(one.value).__name__ for one in (skipped, failed)] == ["Skipped", "Failed"]
    assert needs.unless(False, "no engine", "`dockerd`").kwargs["reason"] == told
