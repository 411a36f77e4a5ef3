"""Checks that a submission agrees with this machine: its identities, its curves, and every score."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from harness import identity
from harness.running.basis import code_identity, identity_of
from harness.running.scoring import score
from harness.store import SCORES, PlanRow, Record
from harness.submission.findings import Case, Finding
from harness.submission.yardstick import Yardstick

TOLERANCE = 1e-9
"""Of a recomputed score: the same predictions give the same numbers but for the last bits of a library."""

_FILE = re.compile(r"[A-Za-z0-9_./-]{1,200}")

# Parts of an identity that may differ between honest machines.
_MACHINE = ("code", "libraries")

DEVICES = ("cpu", "cuda", "mps")
"""Kinds of device that a trial may have run on."""


def records(case: Case) -> Iterator[Finding]:
    """What record.json says beside the identity agrees with it and with the plan."""
    hyper_parameters = []
    manifest = case.submission.manifest
    for row in manifest.plan:
        record = case.parsed[row.trial].record
        wrong = _disagreement(record, row, case.yardstick)
        if wrong:
            yield Finding("records", "failed", f"records/{row.trial}/record.json: {wrong}")
            return
        hyper_parameters.append(record.method.hyper_parameters)
    given = case.yardstick.protocol.methods.get(manifest.method, {})
    tuned = manifest.tuned.get(manifest.method)
    if tuned is not None:
        given = given | tuned.values
    if any(values != hyper_parameters[0] for values in hyper_parameters):
        yield Finding("records", "failed", "hyper-parameters differ between trials; a method has one setting")
    elif tuned is not None and tuned.source_digest != identity.digest_texts(case.submission.source):
        yield Finding("records", "failed", "what was tuned is a source other than the enclosed one")
    elif any(hyper_parameters[0].get(name) != value for name, value in given.items()):
        whose = "the protocol gives" if tuned is None else "tuning gave"
        yield Finding("records", "failed", f"hyper-parameters are not those that {whose} this method")
    else:
        yield Finding("records", "confirmed", "all trials are of one method with the same hyper-parameters")


def _disagreement(record: Record, row: PlanRow, yardstick: Yardstick) -> str:
    identity, info = record.identity, record.method
    own = {"name": info.name, "source": info.source_digest, "hyper_parameters": info.hyper_parameters}
    read = row.attribute if info.reads_attribute else None
    stated = identity.get("attribute")
    name = stated.get("name") if isinstance(stated, dict) else None
    if identity.get("method") != own or info.name != row.method:
        return "its method is not the one in its identity"
    if (record.seed, identity.get("seed")) != (row.seed, row.seed):
        return f"its seed is not {row.seed}, as the manifest's plan says"
    if (record.attribute, name) != (read, read):
        return f"its attribute is not '{read}', as the manifest's plan says"
    if record.groups != (yardstick.groups[read] if read else ()):
        return "its groups are not those of the cohort"
    if info.reads_attribute_at_test and (not info.reads_attribute or record.trained == "by the harness"):
        return "it reads the attribute at test time, and says that it reads none or is trained by the harness"
    if record.started_from != identity.get("starts_from"):
        return "it did not start from the trial in its identity"
    if (record.started_from is None) != (info.starts_from is None):
        return "it names a trial that it started from, but no method, or the other way round"
    return ""


def stated_identity(case: Case) -> Iterator[Finding]:
    """What was hashed into the ids is what this machine gives, versions aside."""
    cohort, differing = case.yardstick.cohort, set()
    if cohort is None:
        yield Finding(
            "identity", "could not confirm", "without the cohort only the board's own copy was used"
        )
        return
    code = code_identity(case.yardstick.protocol, None)
    basis = case.yardstick.basis("cpu")
    for trial, parsed in case.parsed.items():
        record = parsed.record
        made = identity_of(
            basis,
            case.yardstick.protocol,
            record.identity["method"],
            record.attribute,
            record.seed,
            record.started_from,
            at_test=record.method.reads_attribute_at_test,
        )
        made |= {"code": _as_stated(record, code["code"]), "device": _known(record)}
        # Packages of the method's own are compared with those installed here.
        libraries = record.identity.get("libraries")
        named = identity.versions(libraries) if isinstance(libraries, dict) else {}
        made["libraries"] = named | code["libraries"]
        expected: dict[str, Any] = json.loads(json.dumps(made))
        wrong = {key for key in expected.keys() | record.identity.keys() if _differ(key, expected, record)}
        if wrong - set(_MACHINE):
            names = ", ".join(sorted(wrong - set(_MACHINE)))
            yield Finding(
                "identity", "failed", f"records/{trial}: {names} differ from what this machine gives"
            )
            return
        differing |= wrong
    yield Finding("identity", "confirmed", "cohort, groups, recipe and backbone are what this machine gives")
    if differing:
        names = " and ".join(sorted(differing))
        yield Finding("versions", "could not confirm", f"ran with another version of {names} than are here")
    else:
        yield Finding("versions", "confirmed", "harness and numeric libraries are the versions that are here")


def _known(record: Record) -> str:
    """Return the kind of device that a record states, if there is such a kind: machines differ in it."""
    stated = record.identity.get("device")
    return str(stated) if stated in DEVICES else "none"


def _as_stated(record: Record, code: dict[str, str]) -> dict[str, str]:
    """Return the code that a record should state: also what its method imports of the harness beside it."""
    stated = record.identity.get("code")
    extra = sorted(stated.keys() - code.keys()) if isinstance(stated, dict) else []
    # A name that is endless or none is no file; the system would say so with an error of its own.
    files = [identity.HARNESS.parent / name for name in extra if _FILE.fullmatch(name)]
    inside = [file for file in files if file.is_file() and identity.HARNESS in file.resolve().parents]
    return code | identity.code([file.resolve() for file in inside])


def _differ(key: str, expected: dict[str, Any], record: Record) -> bool:
    return bool(expected.get(key) != record.identity.get(key))


def curves(case: Case) -> Iterator[Finding]:
    """A learning curve has a loss for every epoch that the recipe prescribes."""
    recipe = case.yardstick.protocol.recipe
    for trial, parsed in case.parsed.items():
        epochs = recipe.finetune.epochs if parsed.record.started_from else recipe.epochs
        whole = parsed.curve[(parsed.curve["quantity"] == "loss") & (parsed.curve["attribute"] == "")]
        if list(whole["epoch"]) != list(range(epochs)):
            yield Finding(
                "curves", "failed", f"records/{trial}/curve.csv: not one loss for each of {epochs} epochs"
            )
            return
    yield Finding("curves", "confirmed", "every learning curve has one loss an epoch, all finite")


def scores(case: Case) -> Iterator[Finding]:
    """The scores follow from the predictions under this machine's masks."""
    if case.yardstick.cohort is None:
        yield Finding("scores", "could not confirm", "not recomputed: this machine's masks were not used")
        return
    count = 0
    for done, (trial, parsed) in enumerate(case.parsed.items()):
        case.progress("Recomputing the scores, trials", done, len(case.parsed))
        computed = recompute(parsed.labels, case.yardstick)
        wrong = _first_difference(parsed.scores, computed)
        if wrong:
            yield Finding("scores", "failed", f"records/{trial}/scores.parquet: {wrong}")
            return
        count += len(computed) * (len(SCORES) - 2)
    yield Finding(
        "scores", "confirmed", f"all {count} recomputed from the predictions and this machine's masks"
    )


def recompute(labels: np.ndarray, yardstick: Yardstick) -> pd.DataFrame:
    """Return the scores of predicted label maps under this machine's masks; needs the cohort."""
    cohort, protocol = yardstick.cohort, yardstick.protocol
    if cohort is None:
        raise ValueError("a yardstick without a cohort has no masks")
    return score(protocol, cohort, labels)


def _first_difference(stated: pd.DataFrame, computed: pd.DataFrame) -> str:
    if list(stated) != list(computed):
        given, due = (", ".join(map(str, frame)) for frame in (stated, computed))
        return f"its columns are {given}; the predictions give {due}"
    for name in (name for name in computed if name not in ("sample", "structure")):
        theirs, ours = stated[name].to_numpy(float), computed[name].to_numpy(float)
        bad = np.flatnonzero(~np.isclose(theirs, ours, rtol=0, atol=TOLERANCE, equal_nan=True))
        if len(bad):
            row = bad[0]
            where = f"{computed['sample'][row]} {computed['structure'][row]}"
            return f"{name} of {where} is {theirs[row]:.6g}; the predictions give {ours[row]:.6g}"
    return ""


def provenance(case: Case) -> Iterator[Finding]:
    """What no computation here can confirm."""
    yield Finding(
        "provenance",
        "could not confirm",
        "commit, machine, cost, log and the tries of a tuning are the submitter's own words",
    )
