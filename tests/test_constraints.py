"""The versions that a release was made with: what constraints.txt says, and whether it is what is here."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, version

import needs
from packaging.utils import canonicalize_name

from harness.identity import HARNESS
from harness.sandbox.requirements import pinned

FILE = HARNESS.parent / "constraints.txt"


def constrained() -> dict[str, str]:
    return dict(line.split("==") for line in FILE.read_text().splitlines())


def apart(wanted: dict[str, str]) -> list[str]:
    """Return the packages that are here in another version; one that is not here constrains nothing."""
    found = []
    for name, number in wanted.items():
        try:
            here = version(name).partition("+")[0]
        except PackageNotFoundError:
            continue
        if here != number:
            found.append(f"{name} {here} instead of {number}")
    return found


def test_the_file_holds_names_and_versions_alone():
    lines = FILE.read_text().splitlines()
    assert lines == sorted(lines)
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", line) for line in lines)


def test_all_that_a_training_reads_is_constrained():
    assert {canonicalize_name(line.split("==")[0]) for line in pinned()} <= constrained().keys()


def test_another_version_is_named():
    assert apart({"numpy": "0.1", "no-such-package": "1"}) == [f"numpy {version('numpy')} instead of 0.1"]


def test_what_is_installed_is_what_a_release_was_made_with():
    found = apart(constrained())
    if found:  # whoever works here may be ahead of the release; CI may not
        needs.missing(
            f"not what constraints.txt says: {', '.join(found)}",
            "`pip install -c constraints.txt -e '.[dev]'`, or write there what is meant to move",
        )
