"""Check that a method which starts from another's weights starts from those that this machine would train."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from harness.errors import HarnessError
from harness.plugin import discovery
from harness.running import plan
from harness.running.prepare import find_methods
from harness.submission.findings import Case, Finding


def origin(case: Case) -> Iterator[Finding]:
    """Each trial's origin is the trial of that method on this machine, by its id; nothing of it is trained.

    An id of another version of the harness or its libraries cannot be told from an invented one.
    """
    names = {parsed.record.method.starts_from for parsed in case.parsed.values()} - {None}
    if not names:
        return
    name = str(min(map(str, names)))
    try:
        ours = _trials(case, name)
    except HarnessError as error:
        yield Finding("origin", "could not confirm", f"what it starts from, '{name[:80]}': {error}")
        return
    for row in case.submission.manifest.plan:
        trial = ours[row.attribute, row.seed]
        record = case.parsed[row.trial].record
        if (record.method.starts_from, record.started_from) == (name, trial.id):
            continue
        if any(record.identity.get(key) != trial.identity[key] for key in ("code", "libraries")):
            why = f"the ids of '{name}' are of another version of the harness or its libraries"
            yield Finding("origin", "could not confirm", why)
        else:
            why = f"records/{row.trial}: did not start from '{name}' as this machine trains it"
            yield Finding("origin", "failed", why)
        return
    yield Finding("origin", "confirmed", f"every trial started from '{name}' as this machine trains it")


def _trials(case: Case, name: str) -> dict[tuple[str, int], plan.Trial]:
    """Return this machine's trials of a method by attribute and seed; HarnessError where it has none."""
    here, measured = discovery.discover(), case.yardstick
    if measured.cohort is None or name not in here:
        raise HarnessError("without the cohort" if measured.cohort is None else "no method here")
    # A submitted method may have values in the protocol, and is no method of this machine.
    given = {method: values for method, values in measured.protocol.methods.items() if method in here}
    protocol = measured.protocol.model_copy(update={"methods": given})
    tuned = case.submission.manifest.tuned
    candidates, _, broken = find_methods(protocol, [name], "the protocol", tuned=tuned)
    if broken:
        raise HarnessError(broken[0].error)
    device = next(str(parsed.record.identity.get("device")) for parsed in case.parsed.values())
    basis = replace(measured.basis(device), protocol=protocol)
    made = plan.build(basis, candidates, [name])
    return {(row.attribute, row.seed): made.trials[row.trial] for row in made.rows if row.method == name}
