"""The worked page of the docs prints what it shows."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

TEXT = (Path(__file__).parents[2] / "docs" / "predictions.md").read_text(encoding="utf-8")


def agree(one: str, other: str) -> bool:
    try:
        return float(one) == pytest.approx(float(other), abs=0.003)
    except ValueError:
        return one == other


def test_the_notebook_prints_what_the_page_shows():
    names: dict = {}
    shown_at_all = 0
    for code, shown in re.findall(r"```python\n(.*?)```\n(?:\n```text\n(.*?)```)?", TEXT, re.DOTALL):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code, names)
        words, expected = printed.getvalue().split(), shown.split()
        assert len(words) == len(expected), printed.getvalue()
        assert all(map(agree, words, expected)), printed.getvalue()
        shown_at_all += len(expected)
    assert shown_at_all > 15
