import contextlib
import io
import re
from pathlib import Path

import pytest

TEXT = (Path(__file__).parents[2] / "docs" / "equity.md").read_text(encoding="utf-8")


def agree(one, other):
    try:
        return float(one) == pytest.approx(float(other), abs=0.003, nan_ok=True)
    except ValueError:
        return one == other


def test_the_worked_example_prints_what_the_page_shows():
    names = {}
    for code, shown in re.findall(r"```python\n(.*?)```\n(?:\n```text\n(.*?)```)?", TEXT, re.DOTALL):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code, names)  # the page's own code
        words, expected = printed.getvalue().split(), shown.split()
        assert len(words) == len(expected)
        assert all(map(agree, words, expected))
    assert len(names["draws"].scores.methods) == 3
