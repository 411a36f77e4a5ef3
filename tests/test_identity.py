from pathlib import Path

import pytest
from tiny import parse

from harness import identity
from harness.running import basis


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "mine.py").write_text("import os\nimport torch\nfrom helper import x\n")
    (tmp_path / "helper.py").write_text("def x():\n    import deeper\n")
    (tmp_path / "deeper.py").write_text("VALUE = 1\n")
    (tmp_path / "unrelated.py").write_text("VALUE = 1\n")
    return tmp_path


def test_local_imports_are_followed_and_nothing_else(folder):
    files = identity.local_files(folder / "mine.py")
    assert [f.name for f in files] == ["deeper.py", "helper.py", "mine.py"]


def test_no_room_above_the_training_is_part_of_what_a_trial_is():
    # What plans, schedules, scores, compares or prints may change without anything training again.
    files = identity.reached(basis._entries(parse()), Path("methods/erm.py").resolve())
    rooms = {file.parent.name for file in files if "harness" in file.parts}
    assert rooms == {"harness", "backbones", "plugin", "training"}


def test_a_change_two_imports_away_changes_the_digest(folder):
    before = identity.method_digest(folder / "mine.py")
    (folder / "unrelated.py").write_text("VALUE = 2\n")
    assert identity.method_digest(folder / "mine.py") == before
    (folder / "deeper.py").write_text("VALUE = 2\n")
    assert identity.method_digest(folder / "mine.py") != before


def test_relative_imports_within_a_package_are_followed(tmp_path):
    package = tmp_path / "pack"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "mine.py").write_text("from . import near\nfrom .far import thing\n")
    (package / "near.py").write_text("")
    (package / "far.py").write_text("thing = 1\n")
    names = {f.name for f in identity.local_files(package / "mine.py")}
    assert names == {"__init__.py", "far.py", "mine.py", "near.py"}


@pytest.mark.parametrize("line", ["from methods.febs import FEBS", "from .febs import FEBS"])
def test_a_method_elsewhere_depends_on_the_shipped_one_that_it_imports(tmp_path, line):
    (tmp_path / "mine.py").write_text(f"{line}\n")
    assert set(identity.places(tmp_path / "mine.py")) == {"mine.py", "methods/__init__.py", "methods/febs.py"}
    assert identity.HARNESS.parent / "methods" / "febs.py" in identity.method_files(tmp_path / "mine.py")


def test_a_digest_does_not_depend_on_where_the_files_lie():
    files = {"a/__init__.py": b"1", "b/__init__.py": b"2"}
    moved = {"y/__init__.py": b"1", "x/__init__.py": b"2"}
    assert identity.digest_texts(files) == identity.digest_texts(moved)


def test_the_engine_is_what_a_trial_runs_and_not_what_shows_it():
    code = basis.code_identity(parse(backbone={"name": "unet", "adapt": "full"}), None)["code"]
    names = {name.removeprefix("harness/") for name in code}
    assert {"training/fit.py", "training/predict.py", "plugin/losses.py", "seeds.py"} <= names
    assert {"__init__.py", "training/__init__.py", "backbones/__init__.py", "backbones/unet.py"} <= names
    assert not {"backbones/sam.py", "training/embed.py", "training/validate.py"} & names
    rooms = {name.split("/")[0] for name in names if "/" in name}
    assert rooms == {"training", "plugin", "backbones"}
