"""Run a part of a check in a fresh process, with a time limit, watched by an audit hook."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from harness.check import events
from harness.check.subject import Line, Subject
from harness.plugin import discovery
from harness.plugin.discovery import Plugin

_START = "from harness.check.child import main; main()"


@dataclass
class Child:
    """A running part of a check. `finish` waits for it and says what came of it."""

    process: subprocess.Popen[bytes]
    folder: Path
    deadline: float
    limit: float

    def finish(self) -> Result:
        """Wait until the process ends or its time is up."""
        problem = ""
        try:
            self.process.wait(max(0.0, self.deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            problem = f"did not end within {self.limit:.0f} s; look for an endless loop or a wait"
        finally:
            self.kill()
        return _result(self.folder, problem or self._death())

    def kill(self) -> None:
        """End the process and all that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def _death(self) -> str:
        code = self.process.returncode
        if code == 0:
            return ""
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"exited with status {code}"
        said = (self.folder / "output.txt").read_text(errors="replace").strip().splitlines()
        return f"its process {how}" + (f"; its last line: {said[-1][:200]}" if said else "")


@dataclass
class Result:
    """What a child left: lines, values, incidents, and what ended it early."""

    lines: list[Line] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)
    incidents: list[tuple[str, str]] = field(default_factory=list)
    problem: str = ""


def start(subject: Subject, task: str, *args: str, limit: float, hash_seed: int = 0) -> Child:
    """Start `task` ("module:function" under `harness.check`) in a new process.

    The task is called with plugin, scratch folder and `args`, and yields Lines or a dict of values.
    """
    number = len(list(subject.scratch.glob("child-*")))
    folder = subject.scratch / f"child-{number}"
    (folder / "cwd").mkdir(parents=True)
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        # Threads that a plugin asks for sleep where they wait: on a busy machine spinning outlasts the limit.
        "OMP_WAIT_POLICY": "passive",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": str(hash_seed),
    }
    plugin = subject.plugin
    command = [sys.executable, "-c", _START, task, plugin.name, str(plugin.file), str(folder), *args]
    with (folder / "output.txt").open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder / "cwd",
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    return Child(process, folder, time.monotonic() + limit, limit)


def call(subject: Subject, task: str, *args: str, limit: float, hash_seed: int = 0) -> Result:
    """Run a task and wait for it; its incidents are noted with the subject."""
    result = start(subject, task, *args, limit=limit, hash_seed=hash_seed).finish()
    subject.incidents += result.incidents
    return result


def main() -> None:
    """Be the child: `TASK NAME FILE FOLDER ARGS...` on the command line."""
    task, name, file, folder, *args = sys.argv[1:]
    plugin = Plugin(name, Path(file))
    handle = os.open(Path(folder) / "result.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def tell(kind: str, value: Any) -> None:
        os.write(handle, (json.dumps([kind, value]) + "\n").encode())

    events.install(plugin, Path(folder) / "cwd", lambda kind, text: tell("incident", [kind, text]))
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    module, function = task.split(":")
    try:
        for item in getattr(importlib.import_module(f"harness.check.{module}"), function)(
            plugin, Path(folder).parent, *args
        ):
            tell("line", asdict(item)) if isinstance(item, Line) else tell("values", item)
    except BaseException as error:  # noqa: BLE001 - a plugin may raise anything
        tell("problem", discovery.describe_error(error, plugin.file))
    # What a plugin left running must not keep the process alive.
    os._exit(0)


def _end_with_parent(parent: int) -> None:
    """End this process, and what it started, once nobody waits for it: Ctrl-C does not reach its session."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os.killpg(0, signal.SIGKILL)


def _result(folder: Path, problem: str) -> Result:
    result = Result(problem=problem)
    for kind, value in _entries(folder / "result.jsonl"):
        if kind == "line":
            result.lines.append(Line(**value))
        elif kind == "values":
            result.values |= value
        elif kind == "incident":
            result.incidents.append((value[0], value[1]))
        else:
            result.problem = result.problem or value
    return result


def _entries(path: Path) -> Iterator[list[Any]]:
    if path.is_file():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            yield json.loads(line)
