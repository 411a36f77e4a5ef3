"""The children of a check, for tests: on a smaller network, and forked from a server in place of started.

What fails on the smaller network does so on any. As it is, `harness check` is tested by its command line.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

from harness.check import child

START = "import children; children.main()"
"""What a started child runs in place of `child.main`; it needs this folder on its path."""


def shrink() -> None:
    """Give the bench of this process the smaller network."""
    from harness.check import bench

    backbone = bench.PROTOCOL.backbone.model_copy(update={"variant": "tu-mobilenetv3_small_050"})
    bench.PROTOCOL = bench.PROTOCOL.model_copy(update={"backbone": backbone})


def main() -> None:
    """Be a child of a check."""
    if not sys.argv[1].startswith("plugin_file:"):
        shrink()
    child.main()


class Forked:
    """Stands in for `subprocess.Popen` where a child is started: torch is imported already."""

    def __init__(
        self, command: list[str], cwd: Path, env: dict[str, str], stdout: IO[bytes], **_: Any
    ) -> None:
        arguments = (["-c", *command[3:]], cwd, env, stdout.name)
        self.process = multiprocessing.get_context("forkserver").Process(target=_be, args=arguments)
        self.process.start()
        self.pid = self.process.pid

    @property
    def returncode(self) -> int | None:
        return self.process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> None:
        self.process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired("a forked child", timeout)


def _be(arguments: list[str], cwd: Path, env: dict[str, str], output: str) -> None:
    os.setsid()
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    for number, name, how in (0, os.devnull, os.O_RDONLY), (1, output, os.O_WRONLY), (2, output, os.O_WRONLY):
        os.dup2(os.open(name, how | os.O_APPEND), number)
    sys.argv, sys.dont_write_bytecode = arguments, True
    main()
