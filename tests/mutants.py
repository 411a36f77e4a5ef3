"""Submissions altered at random: bits, lengths, fields, members, and what a zip or a JSON can be made of."""

from __future__ import annotations

import copy
import hashlib
import json
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from forge import flipped

from harness.identity import trial_id
from harness.submission import archive
from harness.submission.archive import Submission

ODD: list[Any] = [
    None, True, False, 0, -1, 1, 2**63, 10**30, 10**4000, 0.5, -0.0, 1e308, float("nan"), float("inf"), "",
    "x", "erm", "ERM", "\ud800", "\0", "\x1b[2J", "\u202e", "=1+1", "../x", "x" * 100_000, [], {}, [[]],
    {"": None}, [0] * 1000, "9" * 5000, "0" * 64, "0123456789abcdef0123", "nan", b"\xff".decode("latin-1"),
]  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """What was done, and the bytes of the file."""

    kind: str
    raw: bytes


def mutant(honest: Submission, seed: int) -> Mutant:
    """The mutant of a seed: the same one every time."""
    rng = random.Random(seed)
    kind = rng.choice(sorted(_KINDS))
    return Mutant(kind, _KINDS[kind](honest, rng))


def _bits(honest: Submission, rng: random.Random) -> bytes:
    data = honest.raw
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        data = flipped(data, rng.randrange(8 * len(data)))
    return data


def _structure(honest: Submission, rng: random.Random) -> bytes:
    """Flip bits where a zip says what it holds: the directory, its end, a member's header."""
    data, at = honest.raw, honest.raw.find(b"PK\1\2")
    for _ in range(rng.choice((1, 2, 4))):
        data = flipped(
            data, 8 * rng.choice((rng.randrange(at, len(data)), rng.randrange(64))) + rng.randrange(8)
        )
    return data


def _truncated(honest: Submission, rng: random.Random) -> bytes:
    cut = honest.raw[: rng.randrange(len(honest.raw))]
    return (
        cut
        if rng.random() < 0.5
        else cut + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 9, 9, len(cut) // 2, 0, 0)
    )


def _spliced(honest: Submission, rng: random.Random) -> bytes:
    """Cut a piece out, put it elsewhere, or put noise in."""
    data, at = honest.raw, sorted(rng.randrange(len(honest.raw)) for _ in range(3))
    piece = data[at[0] : at[1]] if rng.random() < 0.5 else rng.randbytes(rng.randrange(1, 500))
    return data[: at[0]] + data[at[1] : at[2]] + piece + data[at[2] :]


def _members(honest: Submission, rng: random.Random) -> bytes:
    """Swap, lose, double or fill members, and recompute the hashes."""
    members = dict(honest.members)
    one, other = rng.sample(sorted(members), 2)
    action = rng.randrange(4)
    if action == 0:
        members[one], members[other] = members[other], members[one]
    elif action == 1:
        del members[one]
    elif action == 2:
        members[rng.choice(("source/more.py", f"records/{'0' * 20}/log.txt"))] = members[one]
    else:
        members[one] = rng.choice((b"", rng.randbytes(100), b"\0" * 10_000, b"{}", b"[" * 5000))
    return _packed(honest, members)


def _content(honest: Submission, rng: random.Random) -> bytes:
    """Flip bits or cut within one file of a record, and recompute every hash."""
    members = dict(honest.members)
    name = rng.choice([one for one in sorted(members) if one.startswith(("records/", "source/"))])
    data = members[name]
    if rng.random() < 0.3:
        data = data[: rng.randrange(max(1, len(data)))]
    for _ in range(rng.choice((1, 1, 4, 32))):
        data = flipped(data, rng.randrange(8 * len(data))) if data else data
    members[name] = data
    return _packed(honest, _rehashed(members))


def _record(honest: Submission, rng: random.Random) -> bytes:
    """Put something odd into fields of the records, and give the trials the ids of what they then say."""
    members = {name: data for name, data in honest.members.items() if not name.startswith("records/")}
    changes = rng.choice((1, 1, 2, 5))
    places = [(rng.random(), rng.choice(ODD)) for _ in range(changes)]
    renamed = {}
    for trial, files in honest.records.items():
        record = json.loads(files["record.json"])
        for share, value in places:
            record = _put(record, share, value)
        table = record if isinstance(record, dict) else {}
        renamed[trial] = trial_id(table.get("identity") or {}) if rng.random() < 0.8 else trial
        if isinstance(record, dict):
            record["id"] = renamed[trial]
        told = files | {"record.json": _json(record)}
        members |= {f"records/{renamed[trial]}/{name}": data for name, data in told.items()}
    plan = [row.model_dump() | {"trial": renamed[row.trial]} for row in honest.manifest.plan]
    return _packed(honest, members, lambda table: table | {"plan": plan})


def _manifest(honest: Submission, rng: random.Random) -> bytes:
    share, value = rng.random(), rng.choice(ODD)
    return _packed(honest, dict(honest.members), lambda table: _put(table, share, value))


def _protocol(honest: Submission, rng: random.Random) -> bytes:
    table = _put(json.loads(honest.members[archive.PROTOCOL]), rng.random(), rng.choice(ODD))
    return _packed(honest, honest.members | {archive.PROTOCOL: _json(table)})


def _any_json(honest: Submission, rng: random.Random) -> bytes:
    name = rng.choice([one for one in sorted(honest.members) if one.endswith(".json")])
    table = {rng.choice(("id", "seed", "method", "cost", "x")): _random_json(rng, 4) for _ in range(4)}
    return _packed(honest, _rehashed(honest.members | {name: _json(table)}))


def _random_json(rng: random.Random, levels: int) -> Any:
    kind = rng.randrange(4 if levels else 2)
    if kind < 2:
        return rng.choice(ODD)
    inner = [_random_json(rng, levels - 1) for _ in range(rng.randrange(5))]
    return inner if kind == 2 else {str(i): one for i, one in enumerate(inner)}


def _put(table: Any, share: float, value: Any) -> Any:
    """Put a value in place of the leaf that lies a share of the way through a table."""
    places = list(_places(table))
    path = places[int(share * len(places))]
    if not path:
        return value
    inner = table
    for key in path[:-1]:
        inner = inner[key]
    # A copy, or a later change would reach into the list of odd values itself.
    inner[path[-1]] = copy.deepcopy(value)
    return table


def _places(value: Any, path: tuple[Any, ...] = ()) -> Any:
    if path:
        yield path
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield from _places(inner, (*path, key))
    if not path:
        yield path


def _rehashed(members: dict[str, bytes]) -> dict[str, bytes]:
    """Let every record.json that still is one hash its own files."""
    for name in [one for one in members if one.endswith("/record.json")]:
        try:
            record = json.loads(members[name])
            for part in record["files"]:
                record["files"][part] = hashlib.sha256(members[name.replace("record.json", part)]).hexdigest()
            members[name] = _json(record)
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
    return members


def _packed(
    honest: Submission, members: dict[str, bytes], change: Callable[[Any], Any] = lambda table: table
) -> bytes:
    """Pack members as `harness pack` does, with a manifest that may be anything."""
    table = json.loads(archive.manifest_bytes(honest.manifest)) | {"members": archive.digests(members)}
    changed = change(table)
    text = (
        (json.dumps(changed, indent=1, sort_keys=True) + "\n").encode() if isinstance(changed, dict) else b"0"
    )
    return archive.zipped({archive.MANIFEST: text, **dict(sorted(members.items()))})


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


_KINDS: dict[str, Callable[[Submission, random.Random], bytes]] = {
    "bits": _bits,
    "structure": _structure,
    "truncated": _truncated,
    "spliced": _spliced,
    "members": _members,
    "content": _content,
    "record": _record,
    "manifest": _manifest,
    "protocol": _protocol,
    "any json": _any_json,
}
