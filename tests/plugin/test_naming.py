"""Names: those of shipped methods are taken, to the machine and to the eye."""

from __future__ import annotations

import shutil

import pytest

from harness import identity
from harness.errors import HarnessError
from harness.plugin import discovery, naming

SHIPPED = {"erm": "Empirical risk minimisation", "groupdro": "Group DRO"}


@pytest.mark.parametrize(
    "name",
    ["ERM", "erm", "e-r-m", "еrm", "errn", "ｅｒｍ", "ērm", "e\u200brm", "GroupDR0", "group_dro", "grоuрdrо"],
)
def test_what_reads_like_a_shipped_name_is_found_out(name):
    assert naming.like(name, SHIPPED) in SHIPPED


@pytest.mark.parametrize("name", ["erm2", "germ", "dro", "groupdro-plus", "term", "адв"])
def test_other_names_are_free(name):
    assert naming.like(name, SHIPPED) == ""


@pytest.mark.parametrize("name", ["", " ", "x" * 61, "-x", ".x", "a b", "é", "x\n", "a/b", "x\x1b[2J"])
def test_a_name_that_no_file_should_have_is_refused(name):
    with pytest.raises(HarnessError, match="is no name for a method"):
        naming.check_name(name)


@pytest.mark.parametrize(
    "title",
    ["", "  ", "\u3164", "---", "x" * 121, "GROUP DRO", "Group DRО", "erm", "Empirical risk minirnisation"],
)
def test_a_title_that_says_nothing_or_anothers_is_refused(title):
    with pytest.raises(HarnessError, match="title"):
        naming.check_title(title, SHIPPED)


def test_a_title_of_its_own_is_taken():
    naming.check_title("Gerechte Segmentierung, 公平", SHIPPED)


@pytest.mark.parametrize("name", ["erm", "ERM", "Errn", "group_dro", "febs"])
def test_a_strangers_file_never_takes_the_place_of_a_shipped_method(tmp_path, name):
    file = tmp_path / f"{name}.py"
    file.write_text(discovery.find("adv").file.read_text())
    with pytest.raises(HarnessError, match=r"is taken by a shipped method; rename the file"):
        discovery.find(str(file))


def test_the_very_same_code_is_the_shipped_method(tmp_path):
    shutil.copy(discovery.find("erm").file, tmp_path / "erm.py")
    assert discovery.find(str(tmp_path / "erm.py")).name == "erm"
    shutil.copy(discovery.find("erm").file, tmp_path / "errn.py")
    with pytest.raises(HarnessError, match="is taken"):
        discovery.find(str(tmp_path / "errn.py"))


def test_every_shipped_method_has_a_title_that_is_read_without_importing_it():
    files = [file for folder in identity.method_folders() for file in folder.glob("[a-z]*.py")]
    assert discovery.titles().keys() == {file.stem.replace("_", "-") for file in files}
    assert discovery.titles()["erm"] == "Empirical risk minimisation"
