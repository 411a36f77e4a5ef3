"""What a trial is: the hash of everything that can change its predictions, and of nothing else.

- *Data* enter by content: the bytes that a trial reads, sample by sample, never by the code that made them.
- *Code* enters by meaning: the syntax tree, without docstrings, comments, annotations and layout, of every
  module that is reached by import from what fits and predicts.
- *Values* enter as they are: recipe, hyper-parameters, seed, kind of device, versions of libraries.

This module knows how to say each of the three; `harness.running.plan` puts them together.
"""

from __future__ import annotations

import ast
import hashlib
import json
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.metadata import PackageNotFoundError, packages_distributions, requires, version
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

SCHEME = 2
"""Of identities; records whose identity has another, or none, stay and are never taken for these."""

HARNESS = Path(__file__).resolve().parent

INSTALLED = HARNESS.parent / "equity_leaderboard"
"""Where an installed copy has `methods` and `leaderboard`; a clone has them beside the harness."""

METHODS = "methods"
"""The package of the shipped methods; every method's file is executed as if it lay there."""

# The floor under a training: it raises, names and writes, and what it holds enters as data or values.
_FLOOR = ("errors.py", "identity.py", "moved.py", "protocol.py", "store")

# Libraries that only carry data to and fro, whose arithmetic is in no prediction.
_CARRIERS = {"docker", "packaging", "pandas", "platformdirs", "pyarrow", "pydantic", "rich", "safetensors"}

# Where one of these is read, annotations and docstrings are not for readers alone.
_READS_TEXT = {"__annotations__", "__doc__", "get_annotations", "get_type_hints", "jit", "signature"}

# Decorators under which an annotation stays a note.
_PLAIN = {"abstractmethod", "cache", "classmethod", "contextmanager", "inference_mode", "no_grad", "override"}
_PLAIN |= {"property", "staticmethod"}

# CPython 3.11 counts the parser's depth once a process: two threads that parse at a time raise SystemError.
_PARSING = threading.Lock()

MOST_LEVELS = 10
"""Folders that a relative import may go up."""

_LONGEST_PART = 100  # of a module's name: file systems refuse, with an error of their own, what is longer

MOST_SOURCE = 1 << 20
"""Bytes of a Python file that is read: far more than a person writes, far less than costs memory."""


def trial_id(identity: Mapping[str, Any]) -> str:
    """Return the id of a trial with this identity: the first 20 digits of the SHA-256 of its JSON."""
    return _sha(json.dumps(identity, sort_keys=True).encode())[:20]


def sample_digests(array: np.ndarray) -> np.ndarray:
    """Return the BLAKE2b-128 of each sample's bytes: uint8 [N, 16] of an array [N, ...]."""
    rows = (hashlib.blake2b(np.ascontiguousarray(one).tobytes(), digest_size=16).digest() for one in array)
    return np.frombuffer(b"".join(rows), np.uint8).reshape(len(array), 16)


def data_digest(array: np.ndarray | Iterable[str]) -> str:
    """Return the SHA-256 over an array's shape and bytes, or over texts, in their order."""
    if not isinstance(array, np.ndarray):
        return _sha(json.dumps(list(array)).encode())
    return _sha(f"{array.dtype.str} {array.shape}".encode() + np.ascontiguousarray(array).tobytes())


def parse(file: Path) -> ast.Module:
    """Return a Python file's syntax tree, whatever other threads do. Raises SyntaxError."""
    return parse_text(read(file), str(file))


def read(file: Path) -> bytes:
    """Return the content of a Python file, which is a regular one and of a size that a person can read.

    Raises SyntaxError for any other, and OSError where the system does not give it.
    """
    if not file.is_file():
        raise _unparsed(str(file), "it is no regular file")
    with file.open("rb") as opened:
        text = opened.read(MOST_SOURCE + 1)
    return _bounded(text, str(file))


def parse_text(text: bytes, name: str) -> ast.Module:
    """Return the syntax tree of a file's content; `name` is what a SyntaxError calls it."""
    with _parsing(name), _PARSING:
        return ast.parse(_bounded(text, name), filename=name)


def _bounded(text: bytes, name: str) -> bytes:
    if len(text) > MOST_SOURCE:
        raise _unparsed(name, f"it is larger than {MOST_SOURCE >> 20} MiB")
    return text


@contextmanager
def _parsing(name: str) -> Iterator[None]:
    """Turn whatever Python raises over a stranger's file into a SyntaxError that names it.

    Its parser runs out of stack (MemoryError, RecursionError), meets a null byte or an encoding that it does
    not know (ValueError, LookupError), or is broken by what nobody has tried (SystemError, IndexError).
    """
    try:
        yield
    except SyntaxError as error:
        if error.filename:
            raise
        raise _unparsed(name, error.msg) from None
    except (ArithmeticError, LookupError, MemoryError, RecursionError, SystemError, ValueError) as error:
        raise _unparsed(name, str(error) or "nested too deeply") from None


def _unparsed(name: str, why: str) -> SyntaxError:
    return SyntaxError(f"cannot be parsed: {why}", (name, 1, None, None))


def outline(text: bytes, name: str) -> dict[str, str]:
    """Return what a module means, by definition: `FEBS.loss` to a digest; "" is all that is outside of them.

    Two texts have the same outline exactly where they differ in docstrings, comments, layout and those
    annotations that nothing reads. Raises SyntaxError.
    """
    return dict(_module(text, name).outline)


def meaning(text: bytes, name: str) -> str:
    """Return the digest of what a module means: its `outline` as one text. Raises SyntaxError."""
    return _sha(json.dumps(sorted(outline(text, name).items())).encode())


def code(files: Iterable[Path]) -> dict[str, str]:
    """Return the files of the harness among `files`, by their path from the top, to their meaning."""
    inside = sorted(path for path in files if HARNESS in path.parents)
    return {
        path.relative_to(HARNESS.parent).as_posix(): meaning(read(path), str(path))[:16] for path in inside
    }


def reached(entries: Iterable[Path], method: Path | None = None) -> list[Path]:
    """Return the files that a run of the entries, and of a method, reaches by import, sorted.

    Left out is the floor under a training: what raises, names and writes cannot change a prediction.
    """
    found = _followed([entry.resolve() for entry in entries], _Roots([_root()]))
    found |= set(local_files(method)) if method is not None else set()
    return sorted(path for path in found if not _is_floor(path))


def libraries(files: Iterable[Path]) -> dict[str, str]:
    """Return the installed packages whose arithmetic the files reach by import, to their versions.

    What such a package requires counts too: a network of one is often made of layers of another.
    """
    files = list(files)
    names = {name for path in files for name in _module(read(path), str(path)).imported}
    tops = {name.split(".")[0] for name in names} - {"", HARNESS.name, METHODS, *sys.stdlib_module_names}
    beside = {part for path in files if HARNESS not in path.parents for part in (path.stem, path.parent.name)}
    # A module beside a method is no package, and need not be looked for among all that is installed.
    tops -= {top for top in tops & beside if _version(top) == "none"}
    direct = {dist for top in tops for dist in _distributions(top)}
    return versions(sorted((direct | _computing(direct)) - _CARRIERS))


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the version of each package that is installed here, "none" for one that is not."""
    return {name: _version(name) for name in packages}


def method_digest(file: Path) -> str:
    """Return the digest of what a method's file and the local modules that it imports mean."""
    return digest_texts({str(path): read(path) for path in method_files(file)})


def digest_texts(texts: Mapping[str, bytes]) -> str:
    """Return the digest of a method whose files are at hand: path, with slashes, to bytes.

    Only the last part of a path counts, so that a method has one digest wherever it lies. Raises
    SyntaxError for a file that does not parse.
    """
    parts = sorted((PurePath(path).name, meaning(text, path)) for path, text in texts.items())
    return _sha(json.dumps(parts).encode())


def method_files(file: Path) -> list[Path]:
    """Return a method's file and the local modules that it imports, the harness aside, sorted."""
    return [path for path in local_files(file) if HARNESS not in path.parents]


def places(file: Path) -> dict[str, Path]:
    """Return the files of a method by where they belong below one folder, from which it can be imported."""
    file = file.resolve()
    own = file.parent.parent if (file.parent / "__init__.py").is_file() else file.parent
    roots = [own, *(folder.parent for folder in method_folders())]
    return {
        next(path.relative_to(r).as_posix() for r in roots if path.is_relative_to(r)): path
        for path in method_files(file)
    }


@cache
def method_folders() -> list[Path]:
    """Return the folders of the `methods` package: one in a clone or an installed copy, none without."""
    if (INSTALLED / METHODS).is_dir():
        return [INSTALLED / METHODS]
    with suppress(ModuleNotFoundError, ValueError):
        spec = find_spec(METHODS)
        if spec is not None and spec.submodule_search_locations:
            return [Path(p).resolve() for p in spec.submodule_search_locations]
    return []


def claim(name: str) -> None:
    """Let a package that an installed copy carries be importable by its name, in this process.

    Among installed packages `methods` and `leaderboard` may well be others', so these two lie elsewhere.
    """
    file = INSTALLED / name / "__init__.py"
    held = getattr(sys.modules.get(name), "__file__", None)
    if not file.is_file() or held == str(file):
        return
    spec = spec_from_file_location(name, file, submodule_search_locations=[str(file.parent)])
    if spec is not None and spec.loader is not None:
        module = module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)


def local_files(file: Path) -> list[Path]:
    """Return `file` and every local file that it imports, directly or not, sorted.

    Local are the harness, the shipped methods and what lies beside a file that is neither; imports anywhere
    in a file count, but for those that only a type checker follows. Raises SyntaxError.
    """
    start = file.resolve()
    return sorted(_followed([start], _Roots(_roots(start))))


def _followed(starts: list[Path], roots: _Roots) -> set[Path]:
    """Return the files at which imports start and all that they reach below the roots."""
    found: set[Path] = set()
    waiting = list(starts)
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            for name in _absolute(path, path in starts, roots):
                waiting.extend(roots.files(name))
    return found


@dataclass(frozen=True)
class _Module:
    """A parsed file: its outline, the dotted names that it imports, relative ones with their dots.

    lazy: the modules of the harness that a package spells out to find its names when they are asked for.
    """

    outline: tuple[tuple[str, str], ...]
    imported: tuple[str, ...]
    lazy: tuple[str, ...]


@dataclass(frozen=True)
class _Root:
    """A folder from which dotted names count; `only` is the one package there that is local, "" for any."""

    folder: Path
    only: str = ""


def _roots(file: Path) -> list[_Root]:
    own = []
    if HARNESS not in file.parents:
        beside = file.parent
        if (beside / "__init__.py").is_file():
            own = [_Root(beside), _Root(beside.parent, beside.name)]
        else:
            # Among installed packages a lone file has none of them for its own.
            own = [_Root(beside, file.stem if beside == HARNESS.parent else "")]
        own += [_Root(folder.parent, METHODS) for folder in method_folders()]
    return [*own, _root()]


def _root() -> _Root:
    return _Root(HARNESS.parent, HARNESS.name)


def _is_floor(path: Path) -> bool:
    return path.is_relative_to(HARNESS) and path.relative_to(HARNESS).parts[0] in _FLOOR


@lru_cache(maxsize=4096)
def _module(text: bytes, name: str) -> _Module:
    with _parsing(name):
        return _understood(text, name)


def _understood(text: bytes, name: str) -> _Module:
    tree = _Meaning(parse_text(text, name)).tree
    finds = any(isinstance(node, ast.FunctionDef) and node.name == "__getattr__" for node in tree.body)
    lazy = set(filter(None, map(_module_name, ast.walk(tree)))) if finds else set()
    return _Module(
        tuple(sorted(_outline(tree).items())), tuple(sorted(set(_imports(tree)))), tuple(sorted(lazy))
    )


class _Meaning(ast.NodeTransformer):
    """Takes from a tree what only people and type checkers read."""

    def __init__(self, tree: ast.Module) -> None:
        names = {getattr(node, "id", getattr(node, "attr", "")) for node in ast.walk(tree)}
        self.keeps_text = bool(names & _READS_TEXT)
        # A class's annotations stay: a dataclass makes its fields of them.
        self.keeps_annotations = self.keeps_text
        self.tree = self.visit(tree)

    def visit_Module(self, node: ast.Module) -> ast.AST:
        return self._body(node, self.keeps_text)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        return self._body(node, True)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self._function(node)

    def visit_If(self, node: ast.If) -> Any:
        if getattr(node.test, "id", getattr(node.test, "attr", "")) == "TYPE_CHECKING":
            return [self.visit(one) for one in node.orelse]
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        if not self.keeps_annotations:
            if node.value is not None:
                return self.generic_visit(ast.Assign(targets=[node.target], value=node.value))
            node.annotation = ast.Constant(None)
        return self.generic_visit(node)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
        # Under a decorator (singledispatch, script) an annotation may decide what is called.
        keeps = self.keeps_text or not all(_called(one) in _PLAIN for one in node.decorator_list)
        if not keeps:
            node.returns = None
            for argument in ast.walk(node.args):
                if isinstance(argument, ast.arg):
                    argument.annotation = None
        return self._body(node, keeps)

    def _body(self, node: Any, keeps_annotations: bool) -> ast.AST:
        outside, self.keeps_annotations = self.keeps_annotations, keeps_annotations
        if not self.keeps_text:
            node.body = [one for one in node.body if not _is_text(one)]
        seen = self.generic_visit(node)
        self.keeps_annotations = outside
        return seen


def _is_text(node: ast.stmt) -> bool:
    """Tell whether a statement is a text alone: a docstring, or one that stands below an attribute."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _called(decorator: ast.expr) -> str:
    function = decorator.func if isinstance(decorator, ast.Call) else decorator
    return str(getattr(function, "id", getattr(function, "attr", "")))


def _outline(tree: ast.Module) -> dict[str, str]:
    """Return definition to digest; one of several under a name counts in their order."""
    parts: dict[str, list[str]] = {"": []}

    def add(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                parts.setdefault(prefix + node.name, []).append(_dump(node))
                parts[""].append(f"def {prefix}{node.name}")
            elif isinstance(node, ast.ClassDef):
                inner, node.body = node.body, []
                parts[""].append(f"class {prefix}{node.name}")
                parts.setdefault(prefix + node.name, []).append(_dump(node))
                node.body = inner
                add(inner, f"{prefix}{node.name}.")
            elif prefix:
                parts.setdefault(prefix[:-1], []).append(_dump(node))
            else:
                parts[""].append(_dump(node))

    add(tree.body, "")
    return {name: _sha(json.dumps(dumped).encode())[:16] for name, dumped in parts.items()}


def _dump(node: ast.AST) -> str:
    """Return a tree as text that is the same under every Python: fields that are empty are left out.

    Without recursion: a sum of a thousand terms is a tree as deep.
    """
    said: list[str] = []
    waiting: list[Any] = [node]
    while waiting:
        one = waiting.pop()
        if isinstance(one, ast.AST):
            fields = [(name, value) for name, value in ast.iter_fields(one) if value not in (None, [])]
            said.append(type(one).__name__ + "(")
            waiting.append(_END)
            for name, value in reversed(fields):
                if name not in ("ctx", "kind", "type_comment"):
                    waiting += [value, _Word(f"{name}=")]
        elif isinstance(one, list):
            said.append("[")
            waiting.append(_END)
            waiting += reversed(one)
        else:
            said.append(str(one) if isinstance(one, _Word) else repr(one))
    return " ".join(said)


class _Word(str):
    """A part of a dump, where a plain text is a name or a constant of the tree."""

    __slots__ = ()


_END = _Word(")")


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            # Of a package that was imported whole any name may be asked for.
            yield from (name for alias in node.names for name in (alias.name, f"{alias.name}.*"))
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            yield base
            joint = "" if base.endswith(".") else "."
            yield from (f"{base}{joint}{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and _called(node) in ("import_module", "__import__") and node.args:
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield first.value


def _module_name(node: ast.AST) -> str:
    """Return the module of the harness that a text spells out, "" for any other node."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("harness."):
        return node.value
    return ""


def _absolute(path: Path, starts: bool, roots: _Roots) -> Iterator[str]:
    """Yield the dotted names that a file imports; relative ones by where it lies and is executed.

    starts: a method's own file is executed as one of the package of methods, wherever it lies.
    """
    for name in _module(read(path), str(path)).imported:
        level = len(name) - len(name.lstrip("."))
        if not level:
            yield name
            continue
        if level > min(len(path.parents), MOST_LEVELS):
            raise _unparsed(str(path), f"an import goes {level} folders up")
        parents = {_dotted(path.parents[level - 1], roots.roots), *([METHODS] if starts else [])}
        yield from (".".join(part for part in (parent, name[level:]) if part) for parent in sorted(parents))


def _dotted(folder: Path, roots: list[_Root]) -> str:
    for root in sorted(roots, key=lambda one: len(one.folder.parts)):
        if folder.is_relative_to(root.folder):
            return ".".join(folder.relative_to(root.folder).parts)
    return ""


class _Roots:
    """The folders from which one look at imports counts; each name is looked for once a look."""

    def __init__(self, roots: list[_Root]) -> None:
        self.roots = roots
        self._found: dict[str, list[Path]] = {}
        self._modules: dict[str, list[Path]] = {}
        self._spelled: dict[str, list[Path]] = {}

    def files(self, name: str) -> list[Path]:
        """Return the files of a dotted name, or what a package of ours finds for it; none for others'."""
        if name not in self._found:
            self._found[name] = self._module(name) or self._lazy(name.rpartition(".")[0])
        return self._found[name]

    def _module(self, name: str) -> list[Path]:
        if name not in self._modules:
            self._modules[name] = _resolve(name, self.roots)
        return self._modules[name]

    def _lazy(self, package: str) -> list[Path]:
        """Return what a package finds for a name that is no module of it: all that it may find there."""
        if package not in self._spelled:
            files = self._module(package)[:1]
            spelled = [one for path in files for one in _module(read(path), str(path)).lazy]
            self._spelled[package] = [path for one in spelled for path in self._module(one)]
        return self._spelled[package]


def _resolve(name: str, roots: list[_Root]) -> list[Path]:
    """Return the file of a dotted name and the `__init__` files on the way to it."""
    parts = [part for part in name.split(".") if part]
    # A text given to `import_module` may be anything: what is no name is no path below the folder either.
    if not parts or not all(part.isidentifier() and len(part) <= _LONGEST_PART for part in parts):
        return []
    for root in roots:
        if root.only not in ("", parts[0]):
            continue
        module = root.folder.joinpath(*parts)
        hits = [p for p in (module.with_suffix(".py"), module / "__init__.py") if p.is_file()]
        if hits:
            packages = [root.folder.joinpath(*parts[:n], "__init__.py") for n in range(1, len(parts))]
            return [_inside(path, root) for path in (*hits, *packages) if path.is_file()]
    return []


def _inside(path: Path, root: _Root) -> Path:
    """Return the file of a module. Raises SyntaxError for a link to what lies outside of its folder."""
    found = path.resolve()
    if not found.is_relative_to(root.folder.resolve()):
        raise _unparsed(str(path), "it is a link to a file outside of its folder; put a copy there")
    return found


@cache
def _distributions(top: str) -> list[str]:
    """Return the distributions of a module's first name: nearly always the one that is called alike."""
    if _version(top) != "none":
        return [canonicalize_name(top)]
    # Reads the file lists of all that is installed: a second or more.
    return [canonicalize_name(name) for name in packages_distributions().get(top, ())]


def _computing(packages: Iterable[str]) -> set[str]:
    """Return those of the harness's computing libraries that packages require, directly or not."""
    found: set[str] = set()
    waiting = list(packages)
    while waiting:
        for name in _required(waiting.pop()) & _COMPUTE - found:
            found.add(name)
            waiting.append(name)
    return found


# Of what a package requires, the libraries that compute; the rest (requests, tqdm) does not.
_COMPUTE = {"numpy", "scipy", "segmentation-models-pytorch", "timm", "torch", "torchvision"}


@cache
def _required(package: str) -> set[str]:
    with suppress(PackageNotFoundError):
        wanted = [Requirement(text) for text in requires(package) or ()]
        here = (one for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""}))
        return {canonicalize_name(one.name) for one in here}
    return set()


def _version(package: str) -> str:
    try:
        return version(package)
    except (PackageNotFoundError, ValueError):
        return "none"


def _sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
