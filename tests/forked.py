"""Commands of tests, forked from one server that has imported what they need: seconds less for each."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import sys
from dataclasses import dataclass
from multiprocessing import forkserver
from pathlib import Path

from harness.running.executors.local import LocalExecutor

PRELOAD = [
    "harness.cli",
    "harness.running.trial",
    *(f"harness.backbones.{name}" for name in ("mobile_sam", "sam", "unet")),
    # torch imports it when it is made deterministic.
    "torch._inductor.standalone_compile",
]


def start_server() -> None:
    """Start the server before the first executor does: what it imports at its start, it has."""
    with LocalExecutor([], preload=PRELOAD):
        forkserver.ensure_running()


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it printed."""

    returncode: int
    stdout: str
    stderr: str


def command(module: str, *args: str, cwd: Path, env: dict[str, str] | None = None) -> Done:
    """Run `python -m MODULE ARGS` in a process of its own and wait for it, five minutes at most."""
    files = [cwd / f".{name}-{os.getpid()}" for name in ("stdout", "stderr")]
    process = multiprocessing.get_context("forkserver").Process(
        target=_run, args=(module, args, cwd, env, files)
    )
    process.start()
    process.join(300)
    if process.exitcode is None:
        process.kill()
        process.join()
    printed = [file.read_text(encoding="utf-8") for file in files]
    for file in files:
        file.unlink()
    return Done(process.exitcode or 0, *printed)


def _run(
    module: str, args: tuple[str, ...], cwd: Path, env: dict[str, str] | None, files: list[Path]
) -> None:
    if env is not None:
        os.environ.clear()
        os.environ.update(env)
    os.chdir(cwd)
    for number, file in enumerate(files, start=1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), number)
    sys.argv = [module, *args]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
