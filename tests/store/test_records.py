"""The store: a folder is replaced whole, whatever the file system can, and one writer at a time."""

from __future__ import annotations

import ctypes
import threading

import pytest

from harness.errors import HarnessError
from harness.store import Store, files, writing


def write(store: Store, text: str) -> None:
    with writing(store.path("one")) as folder:
        (folder / "record.json").write_text(text)


@pytest.mark.parametrize("can_swap", [True, False])
def test_a_record_is_replaced_whole_and_nothing_is_left_beside_it(tmp_path, monkeypatch, can_swap):
    if not can_swap:
        monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    store = Store(tmp_path)
    for text in ("old", "new"):
        write(store, text)
    assert (store.path("one") / "record.json").read_text() == "new"
    assert [path.name for path in (tmp_path / "records").iterdir()] == ["one"]


def test_a_writing_looks_at_some_of_its_neighbours_for_what_the_dead_left_and_a_run_at_all(
    tmp_path, monkeypatch
):
    store = Store(tmp_path)
    write(store, "old")
    left = files.probe(tmp_path / "records")
    left.mkdir()
    (left / "lock").touch()  # nobody holds it: its process is gone
    monkeypatch.setattr(files, "_NEIGHBOURS", 0)
    write(store, "new")
    assert left.is_dir()  # as where it stands behind thousands of records
    store.sweep()
    assert not left.exists()


def test_there_is_always_a_record_while_it_is_replaced(tmp_path):
    store = Store(tmp_path)
    write(store, "0")
    writer = threading.Thread(target=lambda: [write(store, str(i)) for i in range(50)])
    writer.start()
    missing = 0
    while writer.is_alive():
        missing += not store.has("one")
    assert missing == 0


def test_a_protocol_is_locked_for_others_and_let_go_after(tmp_path):
    store, order = Store(tmp_path), []

    def second() -> None:
        with store.locked("tiny"):
            order.append("second")

    with store.locked("tiny"):
        other = threading.Thread(target=second)
        other.start()
        other.join(0.2)
        order.append("first")
    other.join()
    assert order == ["first", "second"]
    assert store.protocols() == []


def test_a_file_in_place_of_the_folder_is_told(tmp_path):
    (tmp_path / "runs").write_text("")
    with pytest.raises(HarnessError, match=r"--runs .*runs: a file; give the folder of the records"):
        Store(tmp_path / "runs")
