"""`harness.read_board`: what a published board says, as one tidy frame, from an address or a folder."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError

if TYPE_CHECKING:
    import pandas as pd

FILE = "leaderboard.json"
"""What a site calls its results; its schema lies beside it. A version of a large board has them packed."""

PACKED = f"{FILE}.gz"

READS = (2,)
"""Versions of the schema that are read. A version only gains fields: what another has is another thing."""

MOST_BYTES = 1 << 30
SECONDS = 60
"""Of silence, after which an address is said not to answer."""

_METHOD = ("method", "title", "status", "obtained", "rank", "rank_low", "rank_high", "p_best", "letters")
_NUMBER = ("estimate", "low", "high", "corrected", "note")
_WHOLE = ("rank", "rank_low", "rank_high")

COLUMNS = (
    *("protocol", "attribute", "structure", "track"),
    *_METHOD,
    *("metric", "quantity", "group"),
    *_NUMBER,
)
"""Columns of the frame."""


def read_board(where: str | Path) -> pd.DataFrame:
    """Read a published board: one row a method, attribute, structure, metric and quantity or group.

    Parameters
    ----------
    where
        The address (http, https, file) or path of a site, of a page of it, of one of its versions (`v/3/`) or
        of a leaderboard.json.

    Returns
    -------
    pandas.DataFrame
        Always the columns `COLUMNS`. `quantity` is that of the number (`overall`, `es_sum`, `gap`, ...;
        `mean` for a group's own score, and then `group` names it). A method without a finished trial has one
        row, with its status and no number. `attrs` holds `source`, `schema_version` and `definition_digest`.

    Raises
    ------
    HarnessError
        Where there is no board, or one of a version that this harness does not read.

    Examples
    --------
    >>> board = read_board("site")                                                  # doctest: +SKIP
    >>> board.query("metric == 'dice' and quantity == 'es_sum'")                    # doctest: +SKIP
    """
    import pandas as pd

    source, text = _fetched(str(where)) if "://" in str(where) else _read(Path(where))
    found = _parsed(source, _unpacked(source, text))
    try:
        frame = pd.DataFrame(_rows(found), columns=list(COLUMNS))
        frame = frame.astype(dict.fromkeys(_WHOLE, "Int64"))
        frame = frame.astype(dict.fromkeys(("p_best", *_NUMBER[:-1]), float))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise HarnessError(f"{source}: not what the schema says ({error!r}); build the site again.") from None
    frame.attrs |= {
        "source": source,
        "schema_version": found["schema_version"],
        "definition_digest": found.get("definition_digest", ""),
    }
    return frame


def _rows(found: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    for protocol in found["protocols"]:
        for section in protocol["sections"]:
            place = (protocol["name"], section["attribute"], section["structure"], section["track"])
            for method in section["methods"]:
                told = (*place, *(method[name] for name in _METHOD))
                yield from (told + number for number in _numbers(method))


def _numbers(method: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    """Yield metric, quantity, group and the number; one line of nothing for a method without any."""
    if not method["scores"] and not method["groups"]:
        yield ("", "", "", *(None,) * (len(_NUMBER) - 1), "")
    for metric, numbers in method["scores"].items():
        for quantity, number in numbers.items():
            yield (metric, quantity, "", *(number[name] for name in _NUMBER))
    for metric, numbers in method["groups"].items():
        for group, number in numbers.items():
            yield (metric, "mean", group, *(number[name] for name in _NUMBER))


def _unpacked(source: str, text: bytes) -> bytes:
    if not source.partition("?")[0].endswith(".gz"):
        return text
    import zlib
    from gzip import GzipFile
    from io import BytesIO

    try:
        found = GzipFile(fileobj=BytesIO(text)).read(MOST_BYTES + 1)
    except (OSError, EOFError, zlib.error):
        raise HarnessError(f"{source}: cannot be unpacked; give the address or folder of a site.") from None
    return _bounded(source, found)


def _bounded(source: str, text: bytes) -> bytes:
    if len(text) > MOST_BYTES:
        raise HarnessError(f"{source}: larger than {MOST_BYTES >> 30} GiB, which no board is.")
    return text


def _parsed(source: str, text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise HarnessError(f"{source}: not JSON; give the address or folder of a site.") from None
    version = found.get("schema_version") if isinstance(found, dict) else None
    if version is None:
        raise HarnessError(f"{source}: no results of a board: there is no schema_version in it.")
    if version not in READS:
        known = ", ".join(map(str, READS))
        raise HarnessError(
            f"{source}: schema {version}, this harness reads {known}; take the other's release."
        )
    return dict(found)


def _read(path: Path) -> tuple[str, bytes]:
    if path.suffix == ".html":
        path = path.parent
    if path.is_dir():
        path = path / (PACKED if (path / PACKED).is_file() else FILE)
    try:
        return str(path), path.read_bytes()
    except OSError as error:
        said = f"{path}: {error.strerror or error}; give a site that harness report or publish built."
        raise HarnessError(said) from None


def _fetched(address: str) -> tuple[str, bytes]:
    """Return the address of the results and what lies there."""
    from urllib.error import HTTPError
    from urllib.parse import urlsplit, urlunsplit
    from urllib.request import url2pathname

    try:
        parts = urlsplit(address)
    except ValueError as error:
        raise HarnessError(f"{address}: no address ({error}).") from None
    if parts.scheme == "file":
        return _read(Path(url2pathname(parts.path)))
    if parts.scheme not in ("http", "https"):
        raise HarnessError(f"{address}: give an address that begins with https://, http:// or file://.")
    place = _place(parts.path)
    source, packed = (
        urlunsplit((parts.scheme, parts.netloc, path, parts.query, "")) for path in (place, f"{place}.gz")
    )
    try:
        return source, _answer(source)
    except HTTPError as error:
        with error, suppress(HTTPError):  # the error holds the connection
            if error.code == 404:
                return packed, _answer(packed)
        raise _unanswered(source, f"{error.code} {error.reason}") from None


def _answer(source: str) -> bytes:
    from http.client import HTTPException
    from urllib.error import HTTPError, URLError
    from urllib.request import urlopen

    try:
        with urlopen(source, timeout=SECONDS) as answer:
            return _bounded(source, answer.read(MOST_BYTES + 1))
    except HTTPError:
        raise
    except (OSError, ValueError, HTTPException) as error:
        raise _unanswered(source, error.reason if isinstance(error, URLError) else error) from None


def _unanswered(source: str, why: object) -> HarnessError:
    return HarnessError(f"{source}: {why}; give the address of a published board.")


def _place(path: str) -> str:
    """Return the path of the results: beside a page, in a folder, or the one given."""
    if path.endswith((".json", ".gz")):
        return path
    folder, _, last = path.rpartition("/")
    # `.../v/3` is a folder whose slash was left out; only a page has an ending.
    return f"{folder}/{FILE}" if last.endswith(".html") or not last else f"{path}/{FILE}"
