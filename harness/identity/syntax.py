"""What a module means, by its syntax tree, and what it imports."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from harness.identity.digests import sha256
from harness.identity.source import parse_text, parsing

# Where one of these is read, annotations and docstrings are not for readers alone.
_READS_TEXT = {"__annotations__", "__doc__", "get_annotations", "get_type_hints", "jit", "signature"}

# Decorators under which an annotation stays a note.
_PLAIN = {"abstractmethod", "cache", "classmethod", "contextmanager", "inference_mode", "no_grad", "override"}
_PLAIN |= {"property", "staticmethod"}


def outline(text: bytes, name: str) -> dict[str, str]:
    """Return what a module means, by definition: `FEBS.loss` to a digest; "" is all that is outside of them.

    Two texts have the same outline exactly where they differ in no more than docstrings, comments, layout and
    those annotations that nothing reads. Raises SyntaxError.
    """
    return dict(module_of(text, name).outline)


def meaning(text: bytes, name: str) -> str:
    """Return the digest of what a module means: its `outline` as one text. Raises SyntaxError."""
    return sha256(json.dumps(sorted(outline(text, name).items())).encode())


@dataclass(frozen=True)
class Module:
    """A parsed file: its outline, the dotted names that it imports, relative ones with their dots.

    lazy: the modules of the harness that a package spells out to find its names when they are asked for.
    """

    outline: tuple[tuple[str, str], ...]
    imported: tuple[str, ...]
    lazy: tuple[str, ...]


@lru_cache(maxsize=4096)
def module_of(text: bytes, name: str) -> Module:
    """Return what is read off a file's content; `name` is what a SyntaxError calls it."""
    with parsing(name):
        return _understood(text, name)


def _understood(text: bytes, name: str) -> Module:
    tree = _Meaning(parse_text(text, name)).tree
    finds = any(isinstance(node, ast.FunctionDef) and node.name == "__getattr__" for node in tree.body)
    lazy = set(filter(None, map(_module_name, ast.walk(tree)))) if finds else set()
    return Module(
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
    return {name: sha256(json.dumps(dumped).encode())[:16] for name, dumped in parts.items()}


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
