"""What a method requires is names and versions: no address, path or option, and one word to a shell."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import HarnessError
from harness.plugin import discovery, requires, written
from harness.plugin.discovery import Plugin


@pytest.mark.parametrize("text", ["scikit-image>=0.22", "monai", "a_b.c==1.0+cpu", "x>=1,!=1.5,<2", "y~=1.4"])
def test_a_name_and_versions_are_a_requirement(text):
    assert str(requires.named(text)) == str(requires.named(str(requires.named(text))))


@pytest.mark.parametrize(
    "text",
    [
        "pkg @ https://example.org/pkg.tar.gz",
        "pkg@file:///tmp/pkg",
        "git+https://example.org/pkg",
        "./pkg",
        "/tmp/pkg.whl",
        "../pkg",
        "--index-url=https://example.org",
        "-e .",
        "-r other.txt",
        "pkg --global-option=x",
        "pkg; python_version > '$(id)'",
        "pkg[extra]",
        "pkg===$(id)",
        "pkg===`id`",
        "pkg>=1\n--index-url=https://example.org",
        "pkg>=$(id)",
        "pkg'; id; '",
        "",
        "p" * 1000,
        "pkg\x00",
        "рkg",
        5,
        None,
    ],
)
def test_whatever_else_is_refused_in_one_sentence(text):
    with pytest.raises(HarnessError, match="is a name and versions") as caught:
        requires.named(text)
    assert "\n" not in str(caught.value)


@settings(deadline=None)
@given(st.text(max_size=60))
def test_what_is_taken_is_one_word_to_a_shell_and_no_option(text):
    try:
        taken = str(requires.named(text))
    except HarnessError:
        return
    assert shlex.split(requires.quoted([taken])) == [taken]
    assert not taken.startswith("-")
    assert not set(taken) & set("/\\@;'\"$`()|&\n ")


def test_the_address_of_a_package_is_never_printed_as_a_command(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text('requires = ("pkg @ https://example.org/x.tar.gz",)\n')
    with pytest.raises(HarnessError, match=r"mine.py:1: requires: .*without address") as caught:
        discovery.load(Plugin("mine", file))
    assert "pip" not in str(caught.value)


def test_the_command_that_is_printed_takes_wheels_alone_and_quotes(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text('requires = ("no-such-package>=1,<2",)\n')
    with pytest.raises(
        HarnessError, match=r"run `pip install --only-binary :all: 'no-such-package[<>=,12]+'`"
    ):
        discovery.load(Plugin("mine", file))


@pytest.mark.parametrize("value", ["5", '"letters"', "{'a': 1}", "[x for x in y]", "(1,)", "('a',) * 3"])
def test_a_value_that_is_no_list_of_texts_is_refused(tmp_path, value):
    file = tmp_path / "mine.py"
    file.write_text(f"requires = {value}\n")
    with pytest.raises(HarnessError, match=r"mine.py:1: requires"):
        written.requirements(file)


def test_more_packages_than_a_method_can_need_are_refused(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(f"requires = {tuple(f'p{i}' for i in range(21))}\n")
    with pytest.raises(HarnessError, match="requires 21 packages; at most 20"):
        written.requirements(file)
