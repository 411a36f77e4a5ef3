"""Checks of a plugin's file: it imports alone, stays within the public names, and says what it is."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import harness
from harness import identity
from harness.check import hooks
from harness.check.child import call
from harness.check.subject import Line, Subject, verdict
from harness.errors import HarnessError
from harness.plugin import declared, discovery
from harness.plugin.discovery import Plugin

LIMIT = 60.0
"""Seconds that importing may take, on a machine that is busy with other things."""

NAMES = ("imports alone", "is a method", "public names only", "card", "hyper-parameters", "hooks")


def check(subject: Subject) -> Iterator[Line]:
    """Yield the lines of the file itself; the plugin is imported in a fresh process."""
    result = call(subject, "plugin_file:examine", limit=LIMIT)
    yield from result.lines
    missing = [name for name in NAMES if name not in {line.name for line in result.lines}]
    if result.problem:
        # What has been imported once is said to import, whatever comes after.
        imports = NAMES[0] not in missing
        fix = "" if imports else " Mend the file until `python FILE` runs."
        subject.stopped = "mend the failure above first" if imports else "the file does not import"
        yield Line(missing.pop(0), "failed", f"{result.problem.rstrip('.')}.{fix}")
    elif missing:
        subject.stopped = "the file holds no method that can be used"
    yield from (Line(name, "skipped", subject.stopped) for name in missing)


def examine(plugin: Plugin, scratch: Path) -> Iterator[Line]:
    """Be the child of `check`."""
    module = discovery.imported(plugin)
    yield Line("imports alone", "ok")
    try:
        method = discovery.method_of(module, plugin)
    except HarnessError as error:
        yield Line("is a method", "failed", str(error))
        return
    yield Line("is a method", "ok")
    yield verdict("public names only", _private_imports(plugin))
    card = method.card
    yield verdict("card", _card_problem(vars(card), method.__doc__))
    yield verdict("hyper-parameters", _hyper_parameter_problem(method, plugin))
    yield verdict("hooks", hooks.problem(method, plugin))


def _private_imports(plugin: Plugin) -> str:
    for path in identity.method_files(plugin.file):
        for node in ast.walk(identity.parse(path)):
            for name in _harness_names(node):
                if name not in harness.__all__:
                    return (
                        f"{path.name}:{getattr(node, 'lineno', 0)} imports '{name}' from inside the harness, "
                        f"which may change any day. Use only {', '.join(harness.__all__)}."
                    )
    return ""


def _harness_names(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (a.name for a in node.names if a.name.startswith("harness."))
    elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module is not None:
        if node.module == "harness":
            yield from (alias.name for alias in node.names)
        elif node.module.startswith("harness."):
            yield node.module


def _card_problem(card: dict[str, Any], doc: str | None) -> str:
    empty = [name for name in ("title", "authors", "licence") if not str(card[name]).strip()]
    if not str(card["paper"]).strip() and not str(card["url"]).strip():
        empty.append("paper or url")
    if empty:
        return (
            f"{', '.join(empty)} {'is' if len(empty) == 1 else 'are'} empty. Fill in the card of the class."
        )
    if card["url"] and urlsplit(card["url"]).scheme not in ("http", "https"):
        return f"url {card['url']!r} is no web address. Begin it with https://."
    if not (doc or "").strip():
        return "the class has no docstring. Say what it minimises and where that is published."
    return ""


def _hyper_parameter_problem(method: Any, plugin: Plugin) -> str:
    for name, value in declared.hyper_parameters(method, plugin).items():
        try:
            again = json.loads(json.dumps(value, allow_nan=False))
        except (TypeError, ValueError):
            again = None if value is not None else 0
        if again != value or type(again) is not type(value):
            return (
                f"the default of '{name}', {value!r}, does not survive a round trip through JSON. Use "
                "numbers, texts, booleans, None or lists of them."
            )
    hints = method.__init__.__annotations__
    bare = [name for name in declared.hyper_parameters(method, plugin) if name not in hints]
    return f"'{bare[0]}' has no annotation. Write its type, as in `{bare[0]}: float = 0.1`." if bare else ""
