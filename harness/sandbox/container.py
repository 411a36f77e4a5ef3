"""Run one command in a container that can reach nothing, and say why if it dies."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, plain
from harness.sandbox import engine, reaping, staging
from harness.sandbox.inside import INSIDE
from harness.sandbox.limits import LOG_KEPT, WITHOUT_BASELINE, Limits

LABEL = "equity-sandbox"
NOBODY = "65534:65534"


@dataclass
class Ended:
    """How a container ended: what it wrote to its two streams, and one sentence where it was stopped.

    limit: the reason again where it went over a limit of its memory or of what it may write: that stands
    also of one that was ended from outside afterwards; seconds: from its start to its end; memory: the most
    bytes that its processes held, files that they map left out, in samples a second apart, 0 where the
    engine runs in a machine of its own. Both are measured outside.
    """

    out: bytes = b""
    log: str = ""
    reason: str = ""
    limit: str = ""
    seconds: float = 0.0
    memory: int = 0


@dataclass
class _Reader:
    """Takes a container's output in, up to the limits."""

    most: int
    limits: Limits
    out: list[bytes] = field(default_factory=list)
    taken: int = 0
    printed: int = 0
    log: bytes = b""
    reason: str = ""

    def take(self, out: bytes | None, err: bytes | None) -> bool:
        """Keep a piece of each stream; return False when there is too much of one."""
        if out:
            self.taken += len(out)
            self.out.append(out)
        if err:
            self.printed += len(err)
            self.log = (self.log + err)[-LOG_KEPT:]
        if self.taken > self.most:
            self.reason = f"it sent more than the {self.most:,} bytes of a result"
        elif self.printed > self.limits.log:
            self.reason = f"it printed more than {self.limits.log:,} bytes"
        return not self.reason


def execute(
    arguments: Sequence[str],
    mounts: Mapping[str, Path],
    image: str,
    limits: Limits,
    most: int,
    cpus: float,
    gpu: str = "",
    label: str = "",
    lease: Path = Path(),
    stop: threading.Event | None = None,
) -> Ended:
    """Run `python -m harness.sandbox.inside ARGUMENTS` in a fresh container and remove it.

    image: an id, never pulled; most: bytes that may come out; cpus: cores' worth of time; gpu: number or
    UUID of the one that it may see, "" for none; label: the run's, by which `remove_all` finds it; lease: the
    folder that this process holds, by which the next run tells whether it is dead; stop: set by another
    thread, ends it. Raises HarnessError where the engine cannot.
    """
    docker, client = engine.sdk(), engine.connect()
    try:
        with engine.answering():
            container = client.containers.create(
                image,
                ["python", "-m", "harness.sandbox.inside", *arguments],
                **_options(limits, cpus, gpu, {LABEL: label, **reaping.label(lease)}),
                mounts=staging.bind(staging.nearby(mounts, lease)),
            )
    except docker.errors.APIError as error:
        raise _unable(error) from None
    late, ended, stop = threading.Event(), threading.Event(), stop or threading.Event()

    def end() -> None:
        if not stop.wait(limits.seconds or WITHOUT_BASELINE):
            late.set()
        _kill(container)

    timer = threading.Thread(target=end, daemon=True)
    reader, held = _Reader(most, limits), [0]
    watcher = threading.Thread(target=_watch, args=(container, held, ended), daemon=True)
    try:
        with engine.answering():
            streams = container.attach(stdout=True, stderr=True, stream=True, logs=False, demux=True)
            container.start()
            began = time.monotonic()
            timer.start()
            watcher.start()
            for out, err in streams:
                # What comes after a limit is read and dropped: the engine waits for its reader.
                if not reader.reason and not reader.take(out, err):
                    _kill(container)
            status = int(container.wait()["StatusCode"])
            seconds = time.monotonic() - began
            container.reload()
            oom = bool(container.attrs["State"].get("OOMKilled"))
    except docker.errors.APIError as error:
        raise _unable(error) from None
    finally:
        ended.set()
        stop.set()
        with contextlib.suppress(Exception):
            container.remove(force=True, v=True)
    log = reader.log.decode("utf-8", errors="replace")
    reason = reader.reason or _reason(status, oom, late.is_set(), bool(reader.out), limits, log)
    limit = reason if reader.reason or oom else ""
    return Ended(b"".join(reader.out), log, reason, limit, seconds, max(held))


def _unable(error: Any) -> HarnessError:
    why = error.explanation or error
    return HarnessError(f"The Docker engine runs no container: {why}; mend it and run again.")


def remove_all(label: str) -> None:
    """Remove the containers of a run that was interrupted."""
    for container in engine.labelled(f"{LABEL}={label}"):
        with contextlib.suppress(Exception):
            container.remove(force=True, v=True)


def _options(limits: Limits, cpus: float, gpu: str, labels: dict[str, str]) -> dict[str, Any]:
    from docker.types import DeviceRequest, LogConfig, Ulimit

    return {
        "network_mode": "none",
        "read_only": True,
        "tmpfs": {"/tmp": f"size={limits.temporary},mode=1777,noexec,nosuid,nodev"},
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "pids_limit": limits.processes,
        "mem_limit": limits.memory,
        "memswap_limit": limits.memory,
        "nano_cpus": int(cpus * 1e9),
        "user": NOBODY,
        "ipc_mode": "private",
        "shm_size": limits.shared,
        "ulimits": [
            Ulimit(name="core", soft=0, hard=0),
            Ulimit(name="nofile", soft=4096, hard=4096),
            Ulimit(name="fsize", soft=limits.temporary, hard=limits.temporary),
        ],
        "init": True,
        "log_config": LogConfig(type=LogConfig.types.NONE),
        "environment": {
            "PYTHONPATH": INSIDE,
            "PYTHONDONTWRITEBYTECODE": "1",
            "HOME": "/tmp",
            "MALLOC_TRIM_THRESHOLD_": str(8 * 2**30),
            "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),
        },
        "working_dir": "/tmp",
        "hostname": "sandbox",
        "labels": labels,
        "device_requests": [DeviceRequest(device_ids=[gpu], capabilities=[["gpu"]])] if gpu else [],
    }


def _watch(container: Any, held: list[int], ended: threading.Event) -> None:
    """Add what a container's processes hold, once a second until it ends."""
    # Asked of the kernel: the engine's own statistics stop for everybody while a hostile container dies.
    with contextlib.suppress(Exception):
        container.reload()
        first = int(container.attrs["State"]["Pid"])
        while not ended.wait(1):
            held.append(sum(map(_anonymous, _family(first))))


def _family(first: int) -> Iterator[int]:
    """Yield a process and all that descend from it."""
    waiting = [first]
    while waiting:
        yield (process := waiting.pop())
        for children in Path(f"/proc/{process}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                waiting += map(int, children.read_text().split())


def _anonymous(process: int) -> int:
    """Return the bytes that a process holds beside the files that it maps; 0 for one that has ended."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    return 0


def _reason(status: int, oom: bool, timed_out: bool, said: bool, limits: Limits, log: str) -> str:
    """Say why a container ended, "" where it ended by itself and left a result."""
    if oom:
        return f"it ran out of its {limits.memory:,} bytes of memory"
    if timed_out:
        return f"it ran longer than {limits.seconds:g} s{limits.reckoned}"
    if status == 0 or said:
        return ""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    last = f"; its last line: {plain(lines[-1][:300])}" if lines else ""
    return f"it exited with status {status}{last}"


def _kill(container: Any) -> None:
    with contextlib.suppress(Exception):
        container.kill()
