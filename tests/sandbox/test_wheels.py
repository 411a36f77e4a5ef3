"""Fetching what a method requires: wheels by name, and nothing of a package is executed on this machine."""

from __future__ import annotations

import tarfile
import zipfile

import pytest

from harness.errors import HarnessError
from harness.sandbox import wheels


def wheel(folder, name: str, *needs: str, version: str = "1.0") -> None:
    """Write a package without code as a wheel, by hand."""
    about = f"{name}-{version}.dist-info"
    lines = "".join(f"Requires-Dist: {need}\n" for need in needs)
    head = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nProvides-Extra: more\n{lines}"
    files = {
        f"{about}/METADATA": head,
        f"{about}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for file, text in files.items():
            archive.writestr(file, text)


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder that pip takes for the whole world."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def sdist(folder, name: str, mark) -> None:
    """Write a package whose build leaves a mark."""
    top = folder / f"{name}-1.0"
    top.mkdir()
    (top / "setup.py").write_text(
        f"open({str(mark)!r}, 'w')\nfrom setuptools import setup\nsetup(name={name!r}, version='1.0')\n"
    )
    with tarfile.open(folder / f"{name}-1.0.tar.gz", "w:gz") as archive:
        archive.add(top, top.name)


def test_what_a_package_requires_is_fetched_too_and_what_is_in_the_image_is_not(index, tmp_path):
    wheel(
        index, "outer", "middle>=1", "numpy>=1.20", 'absent; extra == "more"', 'absent; python_version < "3"'
    )
    wheel(index, "middle", "inner[more]")
    wheel(index, "inner", 'further; extra == "more"')
    wheel(index, "further")
    wheels.fetch(["outer>=1"], ["numpy==2.0"], tmp_path / "wheels")
    found = {file.name.partition("-")[0] for file in (tmp_path / "wheels").iterdir()}
    assert found == {"outer", "middle", "inner", "further"}


def test_an_address_among_the_requirements_of_a_wheel_is_refused_and_nothing_is_built(index, tmp_path):
    sdist(tmp_path, "evil", tmp_path / "built")
    wheel(index, "outer", f"evil @ file://{tmp_path}/evil-1.0.tar.gz")
    with pytest.raises(HarnessError, match=r"outer-1.0-py3-none-any.whl: requires 'evil @ file:.*an address"):
        wheels.fetch(["outer"], [], tmp_path / "wheels")
    assert not (tmp_path / "built").exists()


def test_a_package_that_has_to_be_built_is_not_fetched(index, tmp_path):
    sdist(index, "evil", tmp_path / "built")
    with pytest.raises(HarnessError, match="pip cannot fetch the wheels"):
        wheels.fetch(["evil"], [], tmp_path / "wheels")
    assert not (tmp_path / "built").exists()


def test_nothing_is_fetched_for_what_the_image_has(index, tmp_path):
    wheels.fetch(["numpy>=1"], ["numpy==2.0"], tmp_path / "wheels")
    assert list((tmp_path / "wheels").iterdir()) == []
