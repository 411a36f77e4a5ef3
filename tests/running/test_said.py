"""What a maintainer's folder lacks, or has beside its boards, is said where it is read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from commands_at_random import METHOD, NAME, Prompt

from harness.running.boards import on_no_board, without_record
from harness.store import Store


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def prompt(tmp_path, cache) -> Prompt:
    return Prompt(tmp_path, cache)


def under(prompt: Prompt, protocol: str = "as-it-was") -> list[str]:
    rest = ["--runs", str(prompt.runs), "--cache", str(prompt.cache)]
    return ["--protocol", str(prompt.folder / f"{protocol}.toml"), *rest]


def typed(prompt: Prompt, *words: str) -> str:
    status, said = prompt.type(*words)
    assert status == 0, said
    return " ".join(said.split())


def test_records_from_another_machine_are_named_at_run_report_and_list(prompt, cache, tmp_path_factory):
    other = Prompt(tmp_path_factory.mktemp("other"), cache)
    typed(other, "run", "groupdro", *under(other))
    typed(prompt, "run", "erm", *under(prompt))
    shutil.copytree(other.runs / "records", prompt.runs / "records", dirs_exist_ok=True)
    named = "2 records are on no board here: 2 of groupdro (tiny)."
    runs = ["--runs", str(prompt.runs)]
    assert named in typed(prompt, "run", "erm", *under(prompt))
    assert named in typed(prompt, "list", "trials", *runs)
    assert named in typed(prompt, "report", "--out", str(prompt.site), *runs)
    # What its plan asks for goes on the board, and nothing is trained for it.
    assert "Nothing to do" in typed(prompt, "run", "groupdro", *under(prompt))
    assert on_no_board(Store(prompt.runs)) == []


def test_where_every_record_has_its_cell_none_is_read(prompt, monkeypatch):
    typed(prompt, "run", "febs", *under(prompt))
    monkeypatch.setattr("harness.running.boards._table", lambda *_: pytest.fail("a record was read"))
    assert on_no_board(Store(prompt.runs)) == []


def test_a_record_that_is_not_to_be_read_is_counted_too(prompt):
    typed(prompt, "run", "erm", *under(prompt))
    store = Store(prompt.runs)
    store.path("0" * 20).mkdir()
    (store.path("0" * 20) / "record.json").write_text("{")
    assert [one.method for one in on_no_board(store)] == ["damaged"]


def test_lost_records_of_a_submission_come_back_with_its_file(prompt, cache, tmp_path_factory):
    other = Prompt(tmp_path_factory.mktemp("submitter"), cache)
    file, packed = other.folder / "theirs.py", other.folder / "theirs.zip"
    file.write_text(METHOD.replace("EDIT", "7"))
    typed(other, "run", str(file), *under(other))
    typed(other, "pack", str(file), *under(other), "--out", str(packed))
    typed(prompt, "run", "erm", *under(prompt))
    typed(prompt, "submit", str(packed), *under(prompt))
    store = Store(prompt.runs)
    before = prompt.kept()
    for row in store.protocol(NAME).plan:
        if row.method == "guest.theirs":
            shutil.rmtree(store.path(row.trial))
    said = typed(prompt, "report", "--out", str(prompt.site), "--runs", str(prompt.runs))
    assert "2 of 4 cells of the board 'tiny' have no record: guest.theirs (2)." in said
    assert "come back when its file is submitted again" in said
    typed(prompt, "submit", str(packed), *under(prompt))
    assert prompt.kept().records == before.records
    assert without_record(store) == []


def test_scores_that_wait_for_other_code_are_said_before_anything_runs(prompt):
    mine = str(prompt.folder / "mine.py")
    typed(prompt, "run", mine, *under(prompt))
    prompt.write_method(2)
    said = typed(prompt, "run", mine, "--seeds", "0", *under(prompt))
    assert "1 scores of mine on the board 'tiny' were made with other code" in said
    assert "scores of mine" not in typed(prompt, "run", mine, *under(prompt))


def test_tries_of_other_code_stay_in_the_file(prompt):
    words = ("tune", str(prompt.folder / "mine.py"), "--budget", "2", *under(prompt))
    typed(prompt, *words)
    file = prompt.runs / "tuning" / "tiny.json"
    before = json.loads(file.read_text())["methods"]["mine"]
    prompt.write_method(2)
    assert "mine: was tuned before" in typed(prompt, *words)
    after = json.loads(file.read_text())
    assert after["earlier"]["mine"] == [before]
    assert after["methods"]["mine"]["source_digest"] != before["source_digest"]
    assert "was tuned before" not in typed(prompt, *words)


def test_a_submission_that_was_packed_is_not_overwritten(prompt):
    mine, out = str(prompt.folder / "mine.py"), prompt.folder / "mine.zip"
    pack = ("pack", mine, *under(prompt), "--out", str(out))
    typed(prompt, "run", mine, *under(prompt))
    typed(prompt, *pack)
    typed(prompt, *pack)
    before = out.read_bytes()
    prompt.write_method(2)
    typed(prompt, "run", mine, *under(prompt))
    status, said = prompt.type(*pack)
    assert (status, "holds something else" in said) == (1, True)
    assert out.read_bytes() == before


def test_a_submission_replaces_none_where_the_plain_name_was_set_aside(prompt, cache, tmp_path_factory):
    typed(prompt, "run", "erm", *under(prompt))
    typed(prompt, "run", "groupdro", *under(prompt, "one-epoch"))
    packed = []
    for edit in ("7", "8"):
        other = Prompt(tmp_path_factory.mktemp("submitter"), cache)
        file = other.folder / "theirs.py"
        file.write_text(METHOD.replace("EDIT", edit))
        typed(other, "run", str(file), *under(other, "one-epoch"))
        packed.append(str(other.folder / "theirs.zip"))
        typed(other, "pack", str(file), *under(other, "one-epoch"), "--out", packed[-1])
    typed(prompt, "submit", packed[0], *under(prompt, "one-epoch"))
    typed(prompt, "board", "archive", "tiny", "--runs", str(prompt.runs))
    before = prompt.kept()
    status, said = prompt.type("submit", packed[1], *under(prompt, "one-epoch"))
    assert (status, "the board has a method 'guest.theirs'" in said) == (1, True)
    assert prompt.kept() == before
