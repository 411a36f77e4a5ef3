"""Notice, and refuse, what a plugin has no business doing: the network, other processes, stray files."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from harness import identity
from harness.plugin.discovery import Plugin

_NETWORK = {
    "socket.bind",
    "socket.connect",
    "socket.getaddrinfo",
    "socket.gethostbyname",
    "socket.sendmsg",
    "socket.sendto",
}
_PROCESSES = {
    "os.exec",
    "os.fork",
    "os.forkpty",
    "os.posix_spawn",
    "os.spawn",
    "os.system",
    "pty.spawn",
    "subprocess.Popen",
}
_FILES = {
    "os.chmod",
    "os.chown",
    "os.link",
    "os.mkdir",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.symlink",
    "os.truncate",
}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def install(plugin: Plugin, folder: Path, tell: Callable[[str, str], None]) -> None:
    """Watch this process from now on; whatever is told is also refused with a PermissionError.

    Only what the plugin's own files do, directly or through a library that they call, is looked at.
    Writing is allowed inside `folder`. tell: called with "network", "process" or "files" and a phrase.
    """
    own = _own_files(plugin)
    allowed = os.path.realpath(folder) + os.sep

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        what = _offence(event, arguments, allowed)
        if what is not None and _called_from(own, sys._getframe(1)):
            tell(*what)
            raise PermissionError(f"harness check refuses this: the plugin {what[1]}")

    sys.addaudithook(hook)


def _own_files(plugin: Plugin) -> set[str]:
    try:
        return {str(path) for path in (plugin.file, *identity.method_files(plugin.file))}
    except (SyntaxError, OSError, ValueError):
        return {str(plugin.file)}


def _offence(event: str, arguments: tuple[Any, ...], allowed: str) -> tuple[str, str] | None:
    if event in _NETWORK:
        where = (
            arguments[1]
            if event.startswith(("socket.bind", "socket.connect", "socket.send"))
            else arguments[0]
        )
        return "network", f"called {event} on {where!r}"[:200]
    if event in _PROCESSES:
        return "process", f"called {event} {arguments[0] if arguments else ''!r}".strip()[:200]
    if event in _FILES or (event == "open" and _writes(arguments)):
        path = arguments[0]
        if isinstance(path, int) or path is None or os.path.realpath(path) == os.devnull:
            return None
        outside = not os.path.realpath(path).startswith(allowed)
        return ("files", f"called {event} on {os.fsdecode(path)}"[:200]) if outside else None
    return None


def _writes(arguments: tuple[Any, ...]) -> bool:
    _, mode, flags = arguments
    if isinstance(mode, str) and set(mode) & set("wax+"):
        return True
    return isinstance(flags, int) and bool(flags & _WRITES)


def _called_from(own: set[str], frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename in own:
            return True
        frame = frame.f_back
    return False
