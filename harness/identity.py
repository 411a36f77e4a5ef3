"""The source that a result depends on: a Python file and the local modules that it imports."""

from __future__ import annotations

import ast
import hashlib
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path, PurePath

HARNESS = Path(__file__).parent

METHODS = "methods"
"""The package of the shipped methods; every method's file is executed as if it lay there."""

# Modules whose change cannot change a result: what they decide is hashed as data.
_NOT_IN_A_RESULT = {"__init__", "errors", "schema", "store", "files", "protocol", "identity"}


# CPython 3.11 counts the parser's depth once a process: two threads that parse at a time raise SystemError.
_PARSING = threading.Lock()


def parse(file: Path) -> ast.Module:
    """Return a Python file's syntax tree, whatever other threads do. Raises SyntaxError."""
    text = file.read_bytes()
    try:
        with _PARSING:
            return ast.parse(text, filename=str(file))
    except (RecursionError, MemoryError, ValueError) as error:
        # Thousands of nested operators, or a null byte, which is a SyntaxError from Python 3.12 on.
        raise SyntaxError(
            f"cannot be parsed: {error or 'nested too deeply'}", (str(file), 1, None, None)
        ) from None


def local_files(file: Path, roots: Iterable[Path], package: str = "") -> list[Path]:
    """Return `file` and every local file that it imports, directly or not, sorted.

    A module is local if it is found under one of `roots`; imports anywhere in a file count. `package`:
    where `file` is executed, if that is not where it lies; its relative imports count from there too.
    Raises SyntaxError for a file that does not parse.
    """
    roots = [root.resolve() for root in roots]
    found: set[Path] = set()
    waiting = [file.resolve()]
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.add(path)
        executed_in = package if path == file.resolve() else ""
        for name in _imports(path, roots, executed_in):
            waiting.extend(_resolve(name, roots))
    return sorted(found)


def digest(files: Iterable[Path]) -> str:
    """Return the SHA-256 over the files' names and contents, in the order of their names."""
    return digest_texts({str(path): path.read_bytes() for path in files})


def digest_texts(texts: Mapping[str, bytes]) -> str:
    """Return the digest of files whose contents are at hand: path, with slashes, to bytes.

    Only the last part of a path is hashed, so that a method has one digest wherever it lies.
    """
    sha = hashlib.sha256()
    for name, text in sorted((PurePath(path).name, text) for path, text in texts.items()):
        sha.update(name.encode() + b"\0" + text + b"\0")
    return sha.hexdigest()


def method_digest(file: Path) -> str:
    """Return the digest of a method's file and the local modules it imports, the harness aside."""
    return digest(method_files(file))


def method_files(file: Path) -> list[Path]:
    """Return a method's file and the local modules that it imports, the harness aside, sorted."""
    roots = [file.parent]
    if (file.parent / "__init__.py").is_file():
        roots.append(file.parent.parent)
    roots += [folder.parent for folder in method_folders()]
    harness = HARNESS.resolve()
    return [f for f in local_files(file, roots, METHODS) if harness not in f.parents]


def places(file: Path) -> dict[str, Path]:
    """Return the files of a method by where they belong below one folder, from which it can be imported."""
    file = file.resolve()
    root = file.parent.parent if (file.parent / "__init__.py").is_file() else file.parent
    roots = [root, *(folder.parent for folder in method_folders())]
    return {
        next(path.relative_to(r).as_posix() for r in roots if path.is_relative_to(r)): path
        for path in method_files(file)
    }


@cache
def method_folders() -> list[Path]:
    """Return the folders of the `methods` package: one in a clone, none without."""
    with suppress(ModuleNotFoundError, ValueError):
        spec = find_spec(METHODS)
        if spec is not None and spec.submodule_search_locations:
            return [Path(p).resolve() for p in spec.submodule_search_locations]
    return []


@cache
def engine_digest() -> str:
    """Return the digest of the harness's own code that a trial runs."""
    files = set(local_files(HARNESS / "running" / "trial.py", [HARNESS.parent]))
    files |= {path.resolve() for path in HARNESS.glob("backbones/*.py")}
    cohorts = (HARNESS / "cohorts").resolve()
    return digest(f for f in files if f.stem not in _NOT_IN_A_RESULT and cohorts not in f.parents)


def _imports(file: Path, roots: list[Path], package: str) -> Iterator[str]:
    """Yield the dotted names that a file imports, relative ones made absolute, by `package` too."""
    for node in ast.walk(parse(file)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = {""}
            if node.level:
                parents = {_dotted(file.parents[node.level - 1], roots), package}
            for parent in sorted(parents):
                base = ".".join(part for part in (parent, node.module) if part)
                yield base
                yield from (f"{base}.{alias.name}" if base else alias.name for alias in node.names)


def _dotted(folder: Path, roots: list[Path]) -> str:
    for root in sorted(roots, key=lambda r: len(r.parts)):
        if folder.is_relative_to(root):
            return ".".join(folder.relative_to(root).parts)
    return ""


def _resolve(name: str, roots: list[Path]) -> list[Path]:
    """Return the file of a dotted name and the `__init__` files on the way to it."""
    parts = [part for part in name.split(".") if part]
    for root in roots:
        module = root.joinpath(*parts)
        hits = [p for p in (module.with_suffix(".py"), module / "__init__.py") if parts and p.is_file()]
        if hits:
            packages = [root.joinpath(*parts[:n], "__init__.py") for n in range(1, len(parts))]
            return hits + [p for p in packages if p.is_file()]
    return []
