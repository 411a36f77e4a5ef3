"""The commands of the documentation: each exists as it is written, and those of the six pages are run."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest
from blocks import PAGES, ROOT, Block, blocks
from make_records import World, make_store
from PIL import Image

import harness
from harness.cli import cli

RUN = ("board.md", "data.md", "reading.md", "submit.md")
"""Pages of which something is run here; the others say block by block who runs it."""


def named(page: Path) -> str:
    return page.name


def unknown(words: list[str]) -> str:
    """What of a harness command does not exist, "" for one that does."""
    command, context = cli, click.Context(cli)
    rest = words[1:]
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        found = command.get_command(context, rest[0])
        if found is None:
            return rest[0]
        command, rest = found, rest[1:]
    known = {name for one in command.params for name in one.opts}
    return " ".join({word for word in rest if word.startswith("--")} - known)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_command_exists_with_its_options(page):
    for block in blocks(page):
        for words in block.commands if block.kind == "sh" else ():
            if words[0].rpartition("/")[2] == "harness":
                assert unknown(words) == "", " ".join(words)
            if words[0] == "make":
                assert f"\n{words[1]}:" in (ROOT / "Makefile").read_text()


def test_a_command_that_does_not_exist_is_seen():
    assert unknown(["harness", "publsh", "public"]) == "publsh"
    assert unknown(["harness", "board", "lst"]) == "lst"
    assert unknown(["harness", "publish", "public", "--dif"]) == "--dif"
    assert unknown(["harness", "publish", "public", "--diff"]) == ""


@pytest.mark.parametrize("page", [page for page in PAGES if page.parent.name == "docs"], ids=named)
def test_every_block_of_commands_is_run_here_or_says_why_not(page):
    for block in blocks(page):
        if block.kind == "sh":
            assert block.why or page.name in RUN, block.text
            for name in block.why.replace(",", " ").replace(";", " ").split():
                assert not name.startswith("tests/") or (ROOT / name).exists(), name


def images(folder: Path) -> None:
    """Twenty-four patients with an image, a mask and a line of a table each."""
    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    rows = ["id,patient,sex,age"]
    for i in range(24):
        mask = np.zeros((48, 48), np.uint8)
        mask[12 : 30 + i % 6, 14:34] = 255
        image = np.clip(rng.normal(90, 20, mask.shape) + mask // 3, 0, 255).astype(np.uint8)
        Image.fromarray(image).save(folder / "images" / f"p{i:02d}.png")
        Image.fromarray(mask).save(folder / "masks" / f"p{i:02d}.png")
        rows.append(f"p{i:02d},p{i:02d},{'female' if i % 2 else 'male'},{30 + 2 * i}")
    (folder / "patients.csv").write_text("\n".join(rows) + "\n")


def records(folder: Path) -> None:
    world = World(
        methods=("erm", "febs"), attributes=("race",), structures=("cup",), seeds=(0, 1), samples=60
    )
    make_store(folder / "runs", world)


def board(folder: Path) -> None:
    records(folder)
    harness_at(folder, "report --no-images")


WORLDS = {
    "data.md": lambda folder: images(folder / "path" / "to" / "folder"),
    "board.md": records,
    "reading.md": board,
    "submit.md": lambda folder: None,
}
"""What somebody has who comes to a page."""


def is_published(folder: Path) -> None:
    public = folder / "public"
    assert {"v", "versions.html", "feed.xml", "embed"} <= {path.name for path in public.iterdir()}
    assert "zenodo.1234567" in (public / "v" / "1" / "index.html").read_text()
    assert not (public / "v" / "2").exists()
    assert len(harness.read_board(public / "v" / "1")) > 10


def is_on_the_board(folder: Path) -> None:
    assert set(harness.read_board(folder / "board-site")["method"]) == {"erm", "lab.my-method"}


AFTERWARDS = {
    "data.md": lambda folder: None,
    "board.md": is_published,
    "reading.md": lambda folder: None,
    "submit.md": is_on_the_board,
}
"""What a page promises of where its commands have been run."""


def harness_at(folder: Path, command: str) -> None:
    line = [sys.executable, "-m", "harness", *command.split()]
    subprocess.run(line, cwd=folder, check=True, env=environment(folder))


def environment(folder: Path) -> dict[str, str]:
    """The environment of a shell in which `harness` is this tree's."""
    tools = folder / ".tools"
    tools.mkdir(exist_ok=True)
    (tools / "harness").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m harness "$@"\n')
    (tools / "harness").chmod(0o755)
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    return os.environ | {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": paths}


def shell(block: Block, folder: Path) -> None:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block.text],
        cwd=folder, env=environment(folder), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{block.text}\n{done.stdout}\n{done.stderr}"


@pytest.mark.slow
@pytest.mark.timeout(1800)  # several commands each, beside whatever else a machine does
@pytest.mark.parametrize("name", RUN)
def test_what_a_page_says_to_do_works_as_it_is_written(name, tmp_path, monkeypatch):
    WORLDS[name](tmp_path)
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in blocks(ROOT / "docs" / name):
        if block.file:
            (tmp_path / block.file).write_text(block.text)
        elif block.kind == "sh" and not block.why:
            shell(block, tmp_path)
        elif block.kind == "python":
            with contextlib.redirect_stdout(io.StringIO()) as said:
                exec(block.text, names)
            assert "erm" in said.getvalue()
    AFTERWARDS[name](tmp_path)
