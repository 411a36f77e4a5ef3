"""A Python file that anybody may have written: read within bounds, parsed without harm."""

from __future__ import annotations

import ast
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# CPython 3.11 counts the parser's depth once a process: two threads that parse at a time raise SystemError.
_PARSING = threading.Lock()

MOST_SOURCE = 1 << 20
"""Bytes of a Python file that is read: far more than a person writes, far less than costs memory."""


def parse(file: Path) -> ast.Module:
    """Return a Python file's syntax tree, whatever other threads do. Raises SyntaxError."""
    return parse_text(read(file), str(file))


def read(file: Path) -> bytes:
    """Return the content of a Python file, which is a regular one and of a size that a person can read.

    Raises SyntaxError for any other, and OSError where the system does not give it.
    """
    if not file.is_file():
        raise unparsed(str(file), "it is no regular file")
    with file.open("rb") as opened:
        text = opened.read(MOST_SOURCE + 1)
    return _bounded(text, str(file))


def parse_text(text: bytes, name: str) -> ast.Module:
    """Return the syntax tree of a file's content; `name` is what a SyntaxError calls it."""
    with parsing(name), _PARSING:
        return ast.parse(_bounded(text, name), filename=name)


def _bounded(text: bytes, name: str) -> bytes:
    if len(text) > MOST_SOURCE:
        raise unparsed(name, f"it is larger than {MOST_SOURCE >> 20} MiB")
    return text


@contextmanager
def parsing(name: str) -> Iterator[None]:
    """Turn whatever Python raises over a stranger's file into a SyntaxError that names it.

    Its parser runs out of stack (MemoryError, RecursionError), meets a null byte or an encoding that it does
    not know (ValueError, LookupError), or is broken by what nobody has tried (SystemError, IndexError).
    """
    try:
        yield
    except SyntaxError as error:
        if error.filename:
            raise
        raise unparsed(name, error.msg) from None
    except (ArithmeticError, LookupError, MemoryError, RecursionError, SystemError, ValueError) as error:
        raise unparsed(name, str(error) or "nested too deeply") from None


def unparsed(name: str, why: str) -> SyntaxError:
    """Return the error that says why a file cannot be parsed."""
    return SyntaxError(f"cannot be parsed: {why}", (name, 1, None, None))
