"""A broken file is one line and the others run: whatever is in it, and whatever it is on the disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness import identity
from harness.cli import cli
from harness.errors import HarnessError
from harness.plugin import declared, discovery, written
from harness.plugin.discovery import Plugin

GOOD = """
from harness import Card, Method, segmentation_loss

class Mine(Method):
    card = Card(title="Mine")

    def loss(self, batch, output):
        return segmentation_loss(output.logits, batch.masks, self.task.dice_weight)
"""

RAISES = """
class Odd({base}):
    def __str__(self):
        raise RuntimeError("twice")
    @property
    def __notes__(self):
        raise RuntimeError("thrice")
raise Odd
"""

TEXTS = {
    "forty dots": b"from " + b"." * 40 + b" import x\n",
    "many dots": b"from " + b"." * 5000 + b"x import y\n",
    "nested": b"x = " + b"(" * 3000 + b")" * 3000 + b"\n",
    "operators": b"x = " + b"-" * 20_000 + b"1\n",
    "a sum": b"x = 1" + b" + 1" * 60_000 + b"\n",
    "attributes": b"x = a" + b".a" * 30_000 + b"\n",
    "a huge literal": b"x = 0x" + b"f" * 50_000 + b"\n",
    "a huge number": b"x = " + b"9" * 50_000 + b"\n",
    "an endless float": b"x = 1e999999\nraise ValueError\n",
    "tokens": b"x = $ ? \n\t'''",
    "an open text": b'x = """never closed',
    "tabs": b"if x:\n\ty\n        z\n",
    "null": b"x = 1\0\n",
    "no utf-8": b"x = '\xff\xfe'\n",
    "an encoding": b"# coding: nonsense\nx = 1\n",
    "an encoding that is no text": b"# coding: hex\nx = 1\n",
    "utf-7": b"# coding: utf-7\nx = 1\nraise ValueError\n",
    "utf-16": "x = 1\n".encode("utf-16"),
    "large": b"#" * (3 << 20),
    "empty": b"",
    "a surrogate": b"x = '\\ud800'\nraise ValueError(x)\n",
    "an escape": b"raise ValueError('\\x1b[2J\\x1b]8;;http://x\\x07')\n",
    "an error that cannot be told": RAISES.format(base="Exception").encode(),
    "no exception": RAISES.format(base="BaseException").encode(),
    "leaves": b"raise SystemExit\n",
    "a path as a module": b"import importlib\nimportlib.import_module('/etc/../etc/passwd')\n",
    "an endless name": b"import importlib\nimportlib.import_module('" + b"a" * 5000 + b"')\n",
    "an odd syntax error": b"raise SyntaxError('odd', (None, None, None, None))\n",
    "requires nested": b"requires = " + b"(" * 150 + b"'x'" + b")" * 150 + b"\n",
    "requires an operator": b"requires = (" + b"-" * 5000 + b"1,)\n",
}


def raised(read, *args) -> SyntaxError | HarnessError | None:
    """What a reader may raise; anything else comes through."""
    try:
        read(*args)
    except (SyntaxError, HarnessError) as error:
        return error
    return None


def one_line(broken) -> str:
    (found,) = broken
    assert "\n" not in found.error
    assert found.error.isprintable()
    assert 0 < len(found.error) <= declared.MOST_ERROR
    return found.error


@pytest.mark.parametrize("kind", TEXTS)
def test_a_broken_file_is_one_line_and_the_others_load(tmp_path, kind):
    (tmp_path / "ill.py").write_bytes(TEXTS[kind])
    (tmp_path / "well.py").write_text(GOOD)
    plugins = [Plugin(name, tmp_path / f"{name}.py") for name in ("ill", "well")]
    abouts, broken = discovery.describe_all(plugins)
    assert list(abouts) == ["well"]
    assert "ill.py" in one_line(broken)


@pytest.mark.parametrize("kind", TEXTS)
def test_whoever_parses_a_file_gets_a_syntax_error_or_a_sentence(tmp_path, kind):
    file = tmp_path / "ill.py"
    file.write_bytes(TEXTS[kind])
    for read in (identity.method_digest, identity.local_files, written.requirements, discovery.check_free):
        found = raised(read, file if read is not discovery.check_free else Plugin("ill", file))
        assert found is None or isinstance(found, HarnessError) or found.filename


SIGNS = st.text(alphabet="x=(.)[]{}'\"\\\n\t#:-+0fe @$", max_size=80)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.binary(max_size=80)
    | st.text(alphabet="x=(.)[]{}'\"\\\n\t#:-+0fe @$", max_size=80).map(str.encode)
)
def test_no_bytes_raise_anything_but_a_syntax_error_where_they_are_parsed(data):
    found = raised(identity.meaning, data, "ill.py")
    assert found is None or found.filename == "ill.py"


def unusual(folder: Path) -> None:
    """Things on a disk that are called like methods."""
    os.mkfifo(folder / "pipe.py")
    (folder / "folder.py").mkdir()
    (folder / "gone.py").symlink_to(folder / "nowhere")
    (folder / "device.py").symlink_to("/dev/zero")
    (folder / "loop.py").symlink_to(folder / "loop.py")


@pytest.mark.timeout(60)
def test_what_is_no_regular_file_is_never_opened(tmp_path, monkeypatch):
    (tmp_path / "methods").mkdir()
    unusual(tmp_path / "methods")
    (tmp_path / "methods" / "well.py").write_text(GOOD)
    monkeypatch.chdir(tmp_path)
    assert {"well"} == {"well", "pipe", "folder", "gone", "device", "loop"} & discovery.discover().keys()
    for name in ("pipe", "folder", "gone", "device", "loop"):
        with pytest.raises(HarnessError, match="no such file"):
            discovery.find(f"methods/{name}.py")


def test_a_link_to_a_file_outside_of_the_folder_is_refused_and_not_read(tmp_path):
    (tmp_path / "secret.py").write_text("KEY = 1\n")
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "helper.py").symlink_to(tmp_path / "secret.py")
    (tmp_path / "theirs" / "ill.py").write_text("import helper\n" + GOOD)
    with pytest.raises(SyntaxError, match="link to a file outside of its folder"):
        identity.places(tmp_path / "theirs" / "ill.py")


def test_a_text_that_is_no_name_of_a_module_leads_to_no_file(tmp_path):
    (tmp_path / "outside.py").write_text("x = 1\n")
    (tmp_path / "theirs").mkdir()
    file = tmp_path / "theirs" / "ill.py"
    file.write_text(f"import importlib\nimportlib.import_module({str(tmp_path / 'outside')!r})\n")
    assert identity.local_files(file) == [file]


def test_the_list_of_methods_names_the_broken_and_shows_the_rest(tmp_path, monkeypatch):
    (tmp_path / "methods").mkdir()
    (tmp_path / "methods" / "ill.py").write_bytes(b"import harness\n" + TEXTS["forty dots"])
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli, ["list", "methods"])
    assert done.exit_code == 1
    assert "groupdro" in done.output
    (line,) = [line for line in done.output.splitlines() if line.startswith("ill")]
    assert "broken" in line
