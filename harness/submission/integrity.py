"""Checks that a submission is whole and agrees with itself: file, hashes, schema, coverage, source, ids."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from harness import identity
from harness.errors import HarnessError
from harness.plugin import discovery, written
from harness.plugin import naming as names_of
from harness.store import names
from harness.submission import archive, contents
from harness.submission.archive import PROTOCOL
from harness.submission.findings import Case, Finding, Parsed
from harness.submission.yardstick import Yardstick


def whole_file(case: Case) -> Iterator[Finding]:
    """Any bit of the file that is not content is what `pack` writes there."""
    submission = case.submission
    about = f"{len(submission.members) + 1} members, {len(submission.raw) / 1e6:.1f} MB"
    if archive.encode(submission.manifest, submission.members) == submission.raw:
        yield Finding("file", "confirmed", f"{about}, byte for byte as `harness pack` writes them")
    else:
        yield Finding(
            "file", "failed", "its bytes are not those that its members pack to: the file was altered"
        )


def hashes(case: Case) -> Iterator[Finding]:
    """Every member is the one whose SHA-256 the manifest has."""
    stated, found = case.submission.manifest.members, archive.digests(case.submission.members)
    for name in sorted(stated.keys() ^ found.keys()):
        where = (
            "in the file but not in the manifest" if name in found else "in the manifest but not in the file"
        )
        yield Finding("hashes", "failed", f"{name} is {where}")
        return
    changed = [name for name in stated if stated[name] != found[name]]
    if changed:
        yield Finding(
            "hashes",
            "failed",
            f"{changed[0]} was altered after packing: its SHA-256 is {found[changed[0]][:12]}..., the "
            f"manifest says {stated[changed[0]][:12]}...",
        )
    else:
        yield Finding("hashes", "confirmed", f"the SHA-256 of all {len(stated)} members are the manifest's")


def protocol(case: Case) -> Iterator[Finding]:
    """The enclosed protocol and its cohort are this machine's."""
    ours = case.yardstick.protocol.model_dump(mode="json")
    theirs = archive.load_json(case.submission.members.get(PROTOCOL, b""), PROTOCOL)
    told = {"name", "title", "description", "seeds"}
    for key in sorted((ours.keys() | theirs.keys()) - told):
        if ours.get(key) != theirs.get(key):
            yield Finding("protocol", "failed", f"{PROTOCOL}: '{key}' is not that of this machine's protocol")
            return
    if case.submission.manifest.protocol_digest != case.yardstick.digest:
        yield Finding("protocol", "failed", "the cohort, its split or its groups are not this machine's")
        return
    name, digest = case.yardstick.protocol.name, case.yardstick.digest[:12]
    yield Finding("protocol", "confirmed", f"'{name}' with this machine's cohort and split, digest {digest}")


def coverage(case: Case) -> Iterator[Finding]:
    """There is a trial for every attribute and seed of the protocol, and nothing else."""
    manifest, protocol = case.submission.manifest, case.yardstick.protocol
    cells = [(row.attribute, row.seed) for row in manifest.plan]
    wanted = [(attribute, seed) for attribute in protocol.attributes for seed in protocol.seeds]
    missing = [cell for cell in wanted if cell not in cells]
    if missing:
        attribute, seed = missing[0]
        yield Finding("coverage", "failed", f"no trial for {attribute} seed {seed}; run it and pack again")
    elif sorted(cells) != sorted(wanted) or {row.method for row in manifest.plan} != {manifest.method}:
        yield Finding("coverage", "failed", "the manifest's plan has cells that the protocol does not have")
    elif any(row.control_of for row in manifest.plan):
        yield Finding("coverage", "failed", "the manifest's plan has controls; a submission is of one method")
    elif {row.trial for row in manifest.plan} != case.submission.records.keys():
        yield Finding("coverage", "failed", "the records are not those of the manifest's plan")
    else:
        axes = f"{len(protocol.attributes)} attributes x {len(protocol.seeds)} seeds"
        yield Finding("coverage", "confirmed", f"{len(case.submission.records)} trials cover {axes}")


def schema(case: Case) -> Iterator[Finding]:
    """Parse every record, so that the checks after this one have data and no bytes."""
    for trial, files in sorted(case.submission.records.items()):
        try:
            case.parsed[trial] = _parse(trial, files, case.yardstick)
        except HarnessError as error:
            yield Finding("schema", "failed", f"records/{trial}/{error}")
            return
    yield Finding("schema", "confirmed", "every file of every record is well formed, none holds a pickle")


def _parse(trial: str, files: dict[str, bytes], yardstick: Yardstick) -> Parsed:
    absent = [name for name in names.RECORD_FILES if name not in files]
    if absent:
        raise HarnessError(f"{absent[0]} is missing.")
    protocol = yardstick.protocol
    record = contents.parse_record(files[names.RECORD])
    if (record.id, record.status) != (trial, "done"):
        raise HarnessError("record.json: is of another trial, or of a failed trial.")
    return Parsed(
        record,
        contents.parse_predictions(
            files[names.PREDICTIONS], yardstick.samples, protocol.cohort.size, protocol.n_classes
        ),
        contents.parse_scores(files[names.SCORES], yardstick.scored, list(protocol.structures)),
        contents.parse_curve(files[names.CURVE]),
        contents.parse_log(files[names.LOG]),
    )


def files(case: Case) -> Iterator[Finding]:
    """Each record's files are the ones that its record.json hashes."""
    for trial, files in case.submission.records.items():
        found = {n: hashlib.sha256(d).hexdigest() for n, d in files.items() if n != names.RECORD}
        stated = case.parsed[trial].record.files
        changed = [name for name in found if stated.get(name) != found[name]]
        if changed or stated.keys() != found.keys():
            name = changed[0] if changed else "a file"
            yield Finding(
                "files", "failed", f"records/{trial}: {name} is not the one that record.json hashes"
            )
            return
    yield Finding("files", "confirmed", "each record's files are those that its record.json hashes")


def source(case: Case) -> Iterator[Finding]:
    """Every trial names and shows the enclosed source."""
    submission = case.submission
    own = submission.members.get(submission.manifest.plugin, b"").decode(errors="replace")
    try:
        digest = identity.digest_texts(submission.source)
    except SyntaxError as error:
        yield Finding("source", "failed", f"{error.filename}: the enclosed source does not parse")
        return
    try:
        at_test = written.reads_at_test(own.encode(), submission.manifest.plugin)
    except (SyntaxError, HarnessError) as error:
        yield Finding("source", "failed", str(error).rstrip("."))
        return
    for trial, parsed in case.parsed.items():
        if parsed.record.method.reads_attribute_at_test is not at_test:
            told = "declares" if at_test else "does not declare"
            why = f"the enclosed source {told} reads_attribute_at_test, and the record says otherwise"
            yield Finding("source", "failed", f"records/{trial}: {why}")
            return
        stated = parsed.record.identity.get("method")
        stated = stated.get("source") if isinstance(stated, dict) else None
        if (stated, parsed.record.method.source_digest) != (digest, digest):
            yield Finding("source", "failed", f"records/{trial}: ran a source other than the enclosed one")
            return
        if not _alike(parsed.record.method.source, own):
            yield Finding("source", "failed", f"records/{trial}: shows a source other than the enclosed one")
            return
    yield Finding("source", "confirmed", f"all trials name the enclosed source, digest {digest[:12]}")


def _alike(one: str, other: str) -> bool:
    """Tell whether two sources mean the same: a docstring may have been mended since the trial ran."""
    if one == other:
        return True
    try:
        return identity.meaning(one.encode(), "one") == identity.meaning(other.encode(), "other")
    except (SyntaxError, UnicodeEncodeError):
        return False


def naming(case: Case) -> Iterator[Finding]:
    """A submission speaks of itself alone, under a name and a title that nobody takes for another's."""
    manifest = case.submission.manifest
    own = {manifest.method} | {parsed.record.method.starts_from for parsed in case.parsed.values()}
    try:
        _check_names(case)
    except HarnessError as error:
        yield Finding("names", "failed", str(error))
        return
    if any(parsed.record.control for parsed in case.parsed.values()):
        yield Finding("names", "failed", "a record says that it is the control of another method")
    elif other := sorted(manifest.tuned.keys() - own):
        yield Finding("names", "failed", f"the manifest's tuning speaks of '{other[0]}', another method")
    else:
        yield Finding("names", "confirmed", f"'{manifest.method}' and its title are no shipped method's")


def _check_names(case: Case) -> None:
    manifest = case.submission.manifest
    shipped = discovery.shipped()
    mine = discovery.same_code(identity.digest_texts(case.submission.source))
    others = {name: title for name, title in discovery.titles().items() if name not in mine}
    if other := names_of.like(manifest.method, {*others, *mine} - (mine & {manifest.method})):
        raise HarnessError(f"the name '{manifest.method}' is taken by the shipped method '{other}'")
    if names_of.like(manifest.namespace, (*shipped, *names_of.RESERVED)):
        raise HarnessError(f"the namespace '{manifest.namespace}' is taken")
    titles = {parsed.record.method.title for parsed in case.parsed.values()}
    if len(titles) != 1:
        raise HarnessError("its records have several titles; a method has one")
    names_of.check_title(titles.pop(), others)


def ids(case: Case) -> Iterator[Finding]:
    """Each trial's id is the hash of its identity."""
    for trial, parsed in case.parsed.items():
        if identity.trial_id(parsed.record.identity) != trial:
            yield Finding(
                "ids", "failed", f"records/{trial}: the id is not the hash of the record's identity"
            )
            return
    yield Finding("ids", "confirmed", "every trial's id is the hash of its identity")
