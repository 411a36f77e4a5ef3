"""The packages that a trial needs, at the versions installed here: what the sandbox's image is made of."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

DISTRIBUTION = "equity-leaderboard"

# For the site, for names and for talking to a Docker engine: nothing that a method's training reads.
_OUTSIDE_ONLY = frozenset({"confusable-homoglyphs", "docker", "vl-convert-python"})


def pinned() -> list[str]:
    """Return `name==version` of everything that the harness needs, sorted; the harness itself is mounted."""
    found: dict[str, str] = {}
    _walk(DISTRIBUTION, "", found, set())
    return sorted(f"{name}=={number}" for name, number in found.items())


def _walk(name: str, extra: str, found: dict[str, str], seen: set[tuple[str, str]]) -> None:
    if (name, extra) in seen:
        return
    seen.add((name, extra))
    for required in _required(name, extra):
        key = canonicalize_name(required.name)
        if key in _OUTSIDE_ONLY:
            continue
        try:
            found[key] = version(key)
        except PackageNotFoundError:
            continue
        for part in ("", *required.extras):
            _walk(key, part, found, seen)


def _required(name: str, extra: str) -> Iterator[Requirement]:
    for text in requires(name) or []:
        required = Requirement(text)
        if required.marker is None or required.marker.evaluate({"extra": extra}):
            yield required
