"""A submission says in its records what its source declares: whether it needs the attribute to predict."""

from __future__ import annotations

import pytest
from forge import rewritten, with_records

from harness.submission import archive
from harness.submission.rerun import _other_method
from harness.submission.verify import verify

OWN = """
from harness import Batch, Card, Method, Output, segmentation_loss

class Mine(Method):
    \"\"\"A head whose logits are moved by group.\"\"\"

    card = Card(title="Moved by group", authors="A", paper="P", licence="MIT")
    trains_own_model = True
    reads_attribute_at_test = True

    def adapt(self, backbone, groups):
        plain = backbone.decode

        def decode(maps):
            logits, features = plain(maps)
            return logits + 0.1 * groups()[:, None, None, None], features

        backbone.decode = decode
        return backbone

    def loss(self, batch, output):
        return segmentation_loss(output.logits, batch.masks, self.task.dice_weight)
"""


def failed(submission, yardstick) -> dict[str, str]:
    return {finding.what: finding.why for finding in verify(submission, yardstick).failed}


def test_records_that_claim_the_attribute_where_the_source_declares_nothing_are_refused(world):
    def claim(record) -> None:
        record["method"]["reads_attribute_at_test"] = True

    told = failed(with_records(world.submission, claim), world.yardstick)
    assert "does not declare reads_attribute_at_test, and the record says otherwise" in told["source"]


def test_records_that_hide_what_the_source_declares_are_refused(world):
    submission = world.submission
    name = submission.manifest.plugin
    text = submission.members[name].replace(b"    card =", b"    reads_attribute_at_test = True\n    card =")
    members = submission.members | {name: text}
    changed = rewritten(submission, members, members=archive.digests(members))
    told = failed(changed, world.yardstick)
    assert "source declares reads_attribute_at_test, and the record says otherwise" in told["source"]


def test_a_declaration_that_must_be_executed_is_refused(world):
    submission = world.submission
    name = submission.manifest.plugin
    text = submission.members[name].replace(b"    card =", b"    reads_attribute_at_test = 1 > 0\n    card =")
    members = submission.members | {name: text}
    changed = rewritten(submission, members, members=archive.digests(members))
    assert "True or False, written out once" in failed(changed, world.yardstick)["source"]


def test_a_rerun_compares_the_declaration(world):
    record = next(iter(world.prepared.store.records()))
    other = record.method.model_copy(update={"reads_attribute_at_test": True})
    assert _other_method(record.model_copy(update={"method": other}), record) == "reads attribute at test"


@pytest.mark.slow
def test_one_that_declares_it_is_confirmed_and_its_test_groups_are_in_its_identity(
    world, submission_of, tmp_path
):
    file = tmp_path / "mine.py"
    file.write_text(OWN)
    submission = submission_of(file, tmp_path)
    assert failed(submission, world.yardstick) == {}

    def of_others(record) -> None:
        record["identity"]["attribute"]["test codes"] = "0" * 64

    told = failed(with_records(submission, of_others), world.yardstick)
    assert "attribute differ from what this machine gives" in told["identity"]

    def by_the_harness(record) -> None:
        record["trained"] = "by the harness"

    told = failed(with_records(submission, by_the_harness), world.yardstick)
    assert "says that it reads none or is trained by the harness" in told["records"]
