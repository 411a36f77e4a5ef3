"""`harness new`: what it writes works at once, and it never writes over anything."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import forked
import pytest
from click.testing import CliRunner

from harness.cli import cli
from harness.errors import HarnessError
from harness.plugin import declared, discovery
from harness.plugin.new import suggest_name, write_method


def run_by_pytest(test: Path, folder: Path) -> forked.Done:
    """How pytest finds it, in a process of its own."""
    alone = ["-q", "--rootdir", str(folder), "-p", "no:cacheprovider"]
    return forked.command("pytest", *alone, str(test), cwd=folder)


def test_the_method_is_found_and_its_test_passes(tmp_path, server_of_processes):
    file, test = write_method("my-method", tmp_path / "methods")
    plugin = discovery.find(str(file))
    assert plugin.name == "my-method"
    method = discovery.load(plugin)
    assert method.__name__ == "MyMethod"
    assert declared.hyper_parameters(method, plugin) == {"scale": 1.0}
    assert test == tmp_path / "tests" / "methods" / "test_my_method.py"
    done = run_by_pytest(test, tmp_path)
    assert "2 passed" in done.stdout, done.stdout


def test_the_test_fails_once_the_loss_is_another(tmp_path, server_of_processes):
    file, test = write_method("mine", tmp_path / "methods")
    file.write_text(file.read_text().replace("return self.scale *", "return 2 * self.scale *"))
    done = run_by_pytest(test, tmp_path)
    assert "test_loss_is_what_a_hand_calculation_gives" in done.stdout
    assert "1 failed, 1 passed" in done.stdout


def test_in_a_clone_the_test_imports_from_the_package(tmp_path):
    (tmp_path / "methods").mkdir()
    (tmp_path / "methods" / "__init__.py").write_text("")
    _, test = write_method("fair-one", tmp_path / "methods")
    assert "from methods.fair_one import FairOne\n" in test.read_text()


@pytest.mark.parametrize("folder", ["clone", "scratch"])
def test_what_is_written_is_formatted_and_without_mistakes(tmp_path, folder):
    (tmp_path / "methods").mkdir()
    if folder == "clone":
        (tmp_path / "methods" / "__init__.py").write_text("")
    written = [str(path) for path in write_method("my-method", tmp_path / "methods")]
    for rules in (["check", "--select=E,F,W,B,UP"], ["format", "--check"]):
        command = [sys.executable, "-m", "ruff", *rules, "--isolated", "--no-cache", "--line-length=110"]
        done = subprocess.run([*command, *written], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("existing", ["methods/mine.py", "tests/methods/test_mine.py"])
def test_nothing_is_overwritten(tmp_path, existing):
    path = tmp_path / existing
    path.parent.mkdir(parents=True)
    path.write_text("precious")
    with pytest.raises(HarnessError, match="is already there and is not overwritten"):
        write_method("mine", tmp_path / "methods")
    assert path.read_text() == "precious"
    assert [p for p in tmp_path.rglob("*.py") if p != path] == []


def test_the_name_of_a_shipped_method_is_refused_wherever_it_would_go(tmp_path):
    with pytest.raises(HarnessError, match="'erm' is a method that is there already"):
        write_method("erm", tmp_path / "methods")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "better"),
    [
        ("MyMethod", "my-method"),
        ("my_method", "my-method"),
        ("My method!", "my-method"),
        ("my_method.py", "my-method"),
        ("2fair", "fair"),
        ("../evil", "evil"),
        ("class", "class-method"),
        ("--", ""),
    ],
)
def test_a_name_that_is_none_is_answered_with_one_that_is(tmp_path, name, better):
    assert suggest_name(name) == better
    with pytest.raises(HarnessError, match=f"Try '{better}'" if better else "is no method's name"):
        write_method(name, tmp_path / "methods")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("My_CVaR", "my-cvar"),
        ("GroupDRO2", "group-dro2"),
        ("fair_loss.py", "fair-loss"),
        ("My-Method", "my-method"),
        ("febs2", "febs2"),
    ],
)
def test_another_way_to_write_a_name_is_taken_for_it_and_said(tmp_path, monkeypatch, name, wanted):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli, ["new", name])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "methods" / f"{wanted.replace('-', '_')}.py").is_file()
    assert (f"'{name}' is '{wanted}'." in done.output) == (name != wanted)
    assert f"harness run {wanted} --seeds 0" in done.output


@pytest.mark.parametrize("name", ["Class", "my method", "../evil", "9lives"])
def test_what_says_something_else_is_still_refused(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli, ["new", name])
    assert isinstance(done.exception, HarnessError)
    assert not list(tmp_path.iterdir())


def test_away_from_a_clone_what_it_writes_is_found_by_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    CliRunner().invoke(cli, ["new", "my-cvar"], catch_exceptions=False)
    found = discovery.find("my-cvar")
    assert found.file == tmp_path / "methods" / "my_cvar.py"
    assert discovery.load(found).__name__ == "MyCvar"
    assert "erm" in discovery.discover()  # what is shipped is there beside it


def test_files_in_a_folder_of_that_name_that_are_no_methods_are_left_alone(tmp_path, monkeypatch):
    (tmp_path / "methods").mkdir()
    (tmp_path / "methods" / "payment.py").write_text("raise SystemExit('not yours')\n")
    monkeypatch.chdir(tmp_path)
    assert "payment" not in discovery.discover()


def test_a_name_that_is_shipped_is_never_taken_for_it_in_silence(tmp_path, monkeypatch):
    shipped = discovery.find("adv").file
    (tmp_path / "methods").mkdir()
    own = tmp_path / "methods" / "adv.py"
    own.write_text(shipped.read_text())
    monkeypatch.chdir(tmp_path)
    assert discovery.find("adv").file == shipped  # another clone's copy of the same
    own.write_text(shipped.read_text() + "\n# mine\n")
    with pytest.raises(HarnessError, match=r"are both the method 'adv'; rename one of them"):
        discovery.find("adv")


def test_the_next_commands_are_printed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli, ["new", "my-method"])
    assert done.exit_code == 0
    assert "harness check my-method" in done.output
    assert "harness run my-method --seeds 0" in done.output
    elsewhere = CliRunner().invoke(cli, ["new", "my-other", "--folder", "else where"])
    assert "harness check 'else where/my_other.py'" in elsewhere.output
