import pytest

from harness import sources


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "mine.py").write_text("import os\nimport torch\nfrom helper import x\n")
    (tmp_path / "helper.py").write_text("def x():\n    import deeper\n")
    (tmp_path / "deeper.py").write_text("VALUE = 1\n")
    (tmp_path / "unrelated.py").write_text("VALUE = 1\n")
    return tmp_path


def test_local_imports_are_followed_and_nothing_else(folder):
    files = sources.local_files(folder / "mine.py", [folder])
    assert [f.name for f in files] == ["deeper.py", "helper.py", "mine.py"]


def test_a_change_two_imports_away_changes_the_digest(folder):
    before = sources.method_digest(folder / "mine.py")
    (folder / "unrelated.py").write_text("VALUE = 2\n")
    assert sources.method_digest(folder / "mine.py") == before
    (folder / "deeper.py").write_text("VALUE = 2\n")
    assert sources.method_digest(folder / "mine.py") != before


def test_relative_imports_within_a_package_are_followed(tmp_path):
    package = tmp_path / "pack"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "mine.py").write_text("from . import near\nfrom .far import thing\n")
    (package / "near.py").write_text("")
    (package / "far.py").write_text("thing = 1\n")
    names = {f.name for f in sources.local_files(package / "mine.py", [package, tmp_path])}
    assert names == {"__init__.py", "far.py", "mine.py", "near.py"}


def test_the_engine_is_what_a_trial_runs_and_not_what_shows_it():
    files = sources.local_files(sources.HARNESS / "trial.py", [sources.HARNESS.parent])
    names = {f.relative_to(sources.HARNESS).as_posix() for f in files}
    assert {"fit.py", "predict.py", "score.py", "losses.py", "sampling.py"} <= names
    assert not {"cli.py", "display.py", "run.py", "equity.py"} & names
