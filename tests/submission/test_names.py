"""A submission speaks of itself alone, under a name that is nobody else's; who signed it is said."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace

import pytest
from click.testing import CliRunner
from forge import rewritten, with_records

import leaderboard
from harness.cli import cli
from harness.errors import HarnessError
from harness.plugin import discovery
from harness.plugin.discovery import Plugin
from harness.running.boards import withdraw
from harness.running.trial import Paths
from harness.store import Store
from harness.submission import archive, signature
from harness.submission.submit import Signed, duplicates, submit
from harness.submission.verify import verify


def failed(submission, world) -> list[tuple[str, str]]:
    return [(one.what, one.why) for one in verify(submission, world.yardstick).failed]


def told(**changes):
    return lambda record: record["method"].update(changes)


@pytest.mark.parametrize(
    "title", ["", "   ", "Group DRO", "GR0UP DRО", "Empirical risk minirnisation", "x" * 200]
)
def test_a_title_that_is_taken_or_says_nothing_fails(world, title):
    ((what, why),) = failed(with_records(world.submission, told(title=title)), world)
    assert what == "names"
    assert "title" in why


@pytest.mark.parametrize("method", ["", "a b", "Еrm", "x" * 100_000, "a/b", "../x", "x\n"])
def test_a_method_or_a_namespace_of_other_characters_is_refused(world, method):
    table = json.loads(archive.manifest_bytes(world.submission.manifest))
    for key in ("method", "namespace"):
        with pytest.raises(HarnessError, match=f"manifest.json: {key}"):
            archive.parsed_json(json.dumps(table | {key: method}).encode(), archive.Manifest, "manifest.json")


@pytest.mark.parametrize("namespace", ["erm", "groupdr0", "official"])
def test_a_namespace_that_reads_like_what_is_here_fails(world, namespace):
    ((what, why),) = failed(rewritten(world.submission, world.submission.members, namespace=namespace), world)
    assert (what, "is taken" in why) == ("names", True)


def test_a_shipped_name_over_other_code_fails(world):
    def called(record):
        record["method"]["name"] = record["identity"]["method"]["name"] = "ERM"

    renamed = with_records(world.submission, called)
    plan = tuple(row.model_copy(update={"method": "ERM"}) for row in renamed.manifest.plan)
    members = renamed.members
    found = failed(rewritten(renamed, members, plan=plan, method="ERM"), world)
    assert ("names", "the name 'ERM' is taken by the shipped method 'erm'") in found


def test_a_broken_file_among_the_methods_here_costs_no_strangers_verification(world, tmp_path, monkeypatch):
    broken = tmp_path / "broken.py"
    broken.write_text("x = $\n")
    here = discovery.shipped()
    monkeypatch.setattr(discovery, "shipped", lambda: here | {"broken": Plugin("broken", broken)})
    assert not verify(world.submission, world.yardstick).failed


def test_nothing_in_a_manifest_or_a_record_speaks_of_another_method(world):
    first, *rest = world.submission.manifest.plan
    rows = (first.model_copy(update={"control_of": "erm"}), *rest)
    assert failed(rewritten(world.submission, world.submission.members, plan=rows), world)
    ((what, why),) = failed(
        with_records(world.submission, lambda record: record.update(control="ERM, but better")), world
    )
    assert (what, "control of another" in why) == ("names", True)


def submitted(world, store, submission=None, **by) -> None:
    submission = submission or world.submission
    report = verify(submission, world.yardstick)
    paths = Paths(store.root, None, world.paths.cache)
    submit(submission.manifest, report, world.yardstick, paths, Signed(**by))


def test_a_row_keeps_the_day_of_its_first_submission_and_what_was_packed(world, board):
    submitted(world, board)
    first = board.protocol("tiny").arrivals["guest.my-method"]
    assert len(first.when) == 10
    assert (len(first.digest), first.key) == (64, "")
    changed = board.protocol("tiny").model_copy(
        update={"arrivals": {"guest.my-method": first.model_copy(update={"when": "2020-01-01"})}}
    )
    board.board_file("tiny").write_text(changed.model_dump_json())
    submitted(world, board, corrects="a typing error in the card", who="A. Author")
    after = board.protocol("tiny")
    assert after.arrivals["guest.my-method"].when == "2020-01-01"
    (line,) = after.withdrawn
    assert (line.what, line.who, line.why) == ("corrected", "A. Author", "a typing error in the card")
    assert len([row for row in after.plan if row.method == "guest.my-method"]) == 2


def test_only_what_is_there_can_be_corrected(world, board):
    with pytest.raises(HarnessError, match="the board has no method 'guest.my-method' to correct"):
        submitted(world, board, corrects="why not")


def test_a_name_or_a_title_that_reads_like_another_rows_is_refused(world, board):
    submitted(world, board)
    other = rewritten(world.submission, world.submission.members, namespace="guest-")
    with pytest.raises(HarnessError, match="reads like 'guest.my-method' on this board"):
        submitted(world, board, other)


def test_a_namespace_belongs_to_the_key_that_signed_its_first_row(world, board):
    own = rewritten(world.submission, world.submission.members, namespace="lab")
    submitted(world, board, own, key="SHA256:one")
    for key in ("", "SHA256:two"):
        with pytest.raises(HarnessError, match="belongs to the key SHA256:one, which did not sign"):
            submitted(world, board, own, corrects="mine now", key=key)
    submitted(world, board, own, corrects="really mine", key="SHA256:one")


def test_the_namespace_of_guests_belongs_to_nobody(world, board):
    submitted(world, board, key="SHA256:one")
    submitted(world, board, corrects="another guest's", key="")
    assert board.protocol("tiny").arrivals["guest.my-method"].key == ""


def test_the_same_predictions_and_the_same_source_under_another_name_are_named(world, board, tmp_path):
    submitted(world, board)
    copied = rewritten(world.submission, world.submission.members, namespace="copycat")
    said = duplicates(board, copied.manifest, verify(copied, world.yardstick), world.yardstick)
    assert "its source is that of 'guest.my-method'" in said
    assert "predictions of it are those of 'guest.my-method' to the bit" in said
    withdraw(board, "tiny", "erm", "an example <b>", "A. Keeper")
    leaderboard.build(board.root, tmp_path / "site")
    page = (tmp_path / "site" / "tiny" / "guest.my-method.html").read_text()
    assert "First on this board" in page
    assert "Predictions" in page
    index = (tmp_path / "site" / "index.html").read_text()
    assert "withdrawn on 20" in index
    assert "A. Keeper" in index
    assert "an example &lt;b&gt;" in index


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    for name in ("mine", "other"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", folder / name], check=True
        )
    return folder


def test_a_signature_names_its_key_and_holds_for_these_bytes_alone(keys):
    made = signature.sign(b"the file", keys / "mine")
    shown = subprocess.check_output(["ssh-keygen", "-lf", keys / "mine.pub"], text=True)
    assert signature.signed_by(b"the file", made) == shown.split()[1]
    for data, sig in ((b"the fil3", made), (b"the file", made[:-40]), (b"the file", b"nonsense")):
        with pytest.raises(HarnessError, match="the signature is"):
            signature.signed_by(data, sig)


def test_a_signature_for_another_purpose_is_none_of_a_submission(keys):
    command = ["ssh-keygen", "-Y", "sign", "-f", keys / "mine", "-n", "git"]
    made = subprocess.check_output(command, input=b"x", stderr=subprocess.DEVNULL)
    with pytest.raises(HarnessError, match="another purpose"):
        signature.signed_by(b"x", made)


def test_from_a_signed_pack_to_a_row_with_its_key_on_the_command_line(world, keys, tmp_path):
    def harness(*args):
        return CliRunner().invoke(cli, [*map(str, args)], catch_exceptions=False)

    at = ["--protocol", world.folder / "tiny.toml", "--cache", world.paths.cache]
    file = tmp_path / "mine.zip"
    given = ["--runs", world.paths.runs, "--out", file, "--namespace", "lab", "--sign", keys / "mine"]
    assert "its signature" in harness("pack", world.plugin.file, *at, *given).output
    key = signature.signed_by(file.read_bytes(), (tmp_path / "mine.zip.sig").read_bytes())
    assert f"signed by the key {key}" in harness("verify", file, *at).output
    signers = tmp_path / "signers"
    signers.write_text(f"author@example.org {(keys / 'mine.pub').read_text()}")
    assert (
        f"signed by author@example.org, key {key}"
        in harness("verify", file, *at, "--signers", signers).output
    )
    signers.write_text(f"author@example.org {(keys / 'other.pub').read_text()}")
    done = harness("verify", file, *at, "--signers", signers)
    assert (done.exit_code, "which signers does not have" in done.output) == (1, True)
    done = harness("submit", file, *at, "--runs", tmp_path / "runs")
    assert "of 'lab.my-method'" in done.output
    assert Store(tmp_path / "runs").protocol("tiny").arrivals["lab.my-method"].key == key
    (tmp_path / "mine.zip.sig").write_bytes(b"garbage")
    assert harness("verify", file, *at).exit_code == 1


def test_a_file_that_nobody_signed_is_said_to_be(world, tmp_path):
    found, key = signature.finding(world.file, world.submission.raw, None)
    assert (found.verdict, key) == ("could not confirm", "")
    assert replace(found, why="") != found
