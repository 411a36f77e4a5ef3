"""What a method's file says as it is written: read in its syntax tree, nothing of it executed."""

from __future__ import annotations

import ast
from pathlib import Path

from harness import identity
from harness.errors import HarnessError
from harness.plugin import requires


def requirements(file: Path) -> tuple[str, ...]:
    """Return the packages that a method's file declares in `requires`, without executing it.

    Raises SyntaxError for a file that does not parse, HarnessError for what is not names and versions.
    """
    for node in ast.walk(identity.parse(file)):
        if (value := _given(node, "requires")) is not None:
            return _listed(value, f"{file}:{value.lineno}")
    return ()


def reads_at_test(text: bytes, name: str) -> bool:
    """Return whether a method's source declares `reads_attribute_at_test`, without executing it.

    `name` is what an error calls the file. Raises SyntaxError for a file that does not parse, HarnessError
    for a declaration that is not True or False, written out once.
    """
    found: list[ast.expr | None] = []
    for node in ast.walk(identity.parse_text(text, name)):
        value = getattr(node, "value", None)
        found += [value for target in _targets(node) if target == "reads_attribute_at_test"]
    if len(found) > 1 or any(not _is_flag(value) for value in found):
        raise HarnessError(
            f"{name}: reads_attribute_at_test is True or False, written out once in the body of the class."
        )
    return any(isinstance(value, ast.Constant) and value.value is True for value in found)


def _targets(node: ast.AST) -> list[str]:
    """Return the names that a statement gives a value to; of an attribute, its own."""
    targets = node.targets if isinstance(node, ast.Assign) else []
    if isinstance(node, ast.AnnAssign | ast.AugAssign | ast.NamedExpr):
        targets = [node.target]
    return [str(getattr(one, "id", getattr(one, "attr", ""))) for one in targets]


def _is_flag(value: ast.expr | None) -> bool:
    return isinstance(value, ast.Constant) and isinstance(value.value, bool)


def titles(file: Path) -> list[str]:
    """Return the titles that a file's calls of `Card` are given. Raises SyntaxError, OSError."""
    return [title for node in ast.walk(identity.parse(file)) if (title := _title(node))]


def origins(file: Path) -> set[str]:
    """Return the texts that a file gives to `starts_from`. Raises SyntaxError, OSError."""
    return {name for node in ast.walk(identity.parse(file)) if (name := _origin(node))}


def _title(node: ast.AST) -> str:
    """Return the title that a call of `Card` is given, "" for any other node."""
    if not isinstance(node, ast.Call) or getattr(node.func, "id", "") != "Card":
        return ""
    given = [one.value for one in node.keywords if one.arg == "title"] + node.args[:1]
    return str(given[0].value) if given and isinstance(given[0], ast.Constant) else ""


def _origin(node: ast.AST) -> str:
    """Return the text that a statement gives to `starts_from`, "" for any other."""
    value = _given(node, "starts_from")
    return value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else ""


def _given(node: ast.AST, name: str) -> ast.expr | None:
    """Return what a statement gives to a plain name, None for any other statement."""
    targets = node.targets if isinstance(node, ast.Assign) else []
    targets = [node.target] if isinstance(node, ast.AnnAssign) else targets
    named = any(isinstance(one, ast.Name) and one.id == name for one in targets)
    return node.value if named and isinstance(node, ast.Assign | ast.AnnAssign) else None


def _listed(value: ast.expr, where: str) -> tuple[str, ...]:
    try:
        texts = ast.literal_eval(value)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        texts = None
    # A lone text is a sequence too, of letters that may well be packages.
    if not isinstance(texts, tuple | list):
        raise HarnessError(f"{where}: requires is a tuple of requirements like 'scikit-image>=0.22'.")
    try:
        return tuple(requires.all_named(texts))
    except HarnessError as error:
        raise HarnessError(f"{where}: requires: {error}") from None
