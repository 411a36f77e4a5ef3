"""Templates' bytecode is kept beside them, and is never that of another text."""

import sys
from pathlib import Path

import jinja2
import pytest

from leaderboard.write.compiled import Compiled


@pytest.fixture
def templates(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setattr(sys, "pycache_prefix", None)
    (tmp_path / "page.j2").write_text("<p>{{ said }}</p>")
    return tmp_path


def environment(templates: Path, **syntax) -> jinja2.Environment:
    env = jinja2.Environment(loader=jinja2.FileSystemLoader(templates), **({"autoescape": True} | syntax))
    env.bytecode_cache = Compiled(templates, env)
    return env


def rendered(env: jinja2.Environment) -> str:
    return env.get_template("page.j2").render(said="a < b")


def never(*args, **kwargs):
    pytest.fail("it was compiled before")


def test_what_was_compiled_is_not_compiled_again(templates, monkeypatch):
    assert rendered(environment(templates)) == "<p>a &lt; b</p>"
    (kept,) = (templates / "__pycache__").iterdir()
    again = environment(templates)
    monkeypatch.setattr(again, "compile", never)
    assert rendered(again) == "<p>a &lt; b</p>"
    assert list((templates / "__pycache__").iterdir()) == [kept]


def test_another_text_and_another_syntax_are_compiled_anew(templates):
    rendered(environment(templates))
    assert rendered(environment(templates, autoescape=False)) == "<p>a < b</p>"
    (templates / "page.j2").write_text("<b>{{ said }}</b>")
    assert rendered(environment(templates)) == "<b>a &lt; b</b>"


def test_no_damage_is_ever_run(templates):
    rendered(environment(templates))
    (kept,) = (templates / "__pycache__").iterdir()
    whole = kept.read_bytes()
    for at in range(0, len(whole), 7):
        for spoilt in (whole[:at], whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :]):
            kept.write_bytes(spoilt)
            assert rendered(environment(templates)) == "<p>a &lt; b</p>"
            assert kept.read_bytes() == whole


def test_where_nothing_can_be_kept_each_process_compiles(templates):
    (templates / "__pycache__").write_text("where the folder should be")
    assert rendered(environment(templates)) == "<p>a &lt; b</p>"
    assert sorted(path.name for path in templates.iterdir()) == ["__pycache__", "page.j2"]
