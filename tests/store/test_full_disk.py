"""A disk that is full, or read-only, at any write: one sentence, nothing half, and the next run completes."""

from __future__ import annotations

import errno
import os
import shutil

import pytest
from power import CALLS
from test_run import Inline
from tiny import CPU, Silent

from harness.running import provenance, trial
from harness.running.paths import Paths
from harness.running.prepare import Prepared
from harness.running.schedule import execute
from harness.store import Store, files

WRITES = [name for name in CALLS if name != "_remove"]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(provenance, "git_state", lambda _: {})


class Disk:
    """Refuses the `refused`-th call that changes it, and all that follow."""

    def __init__(self, refused: int, number: int) -> None:
        self.left, self.number = refused, number

    def plug_in(self, patched: pytest.MonkeyPatch) -> None:
        for name in WRITES:
            real = getattr(files, name)
            patched.setattr(files, name, lambda *args, real=real: self._call(real, *args))

    def _call(self, real, *args):
        if self.left == 0:
            raise OSError(self.number, os.strerror(self.number), str(args[-1]))
        self.left -= 1
        return real(*args)


def run(ran, folder):
    from dataclasses import replace

    prepared: Prepared = replace(ran.prepared, paths=ran.paths(folder))

    def run_one(one, paths: Paths, device):
        with Store(paths.runs).claimed(one.id) as own:
            return trial.run(one, paths, device, lambda *_: ran.fitted) if own else "elsewhere"

    return execute(prepared, Inline(), Silent(), 1, CPU, run_one=run_one)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_whichever_write_is_refused_nobody_is_blamed_and_the_next_run_completes(ran, tmp_path, number):
    one, ended = ran.one, set()
    for refused in range(0, 200, 5):
        folder = tmp_path / "disk"
        with pytest.MonkeyPatch.context() as patched:
            Disk(refused, number).plug_in(patched)
            try:
                outcome = run(ran, folder)
                ended |= set(outcome.by_status)
                said = outcome.errors
            except OSError as error:  # before the first trial: the command says it in one sentence
                said = [str(error)]
        store = Store(folder / "runs")
        assert store.status(one.id) in ("none", "done")
        if store.status(one.id) == "none":
            assert len(said) == 1
            assert any(word in said[0] for word in ("disk is full", "No space left", "Read-only"))
        assert run(ran, folder).count("done") == 1
        left = [path for path in store.root.rglob("*") if path.name.endswith(files.PART)]
        assert left == []
        shutil.rmtree(folder)
        if not said:
            break
    assert ended >= {"stopped", "done"}
    assert refused >= 10
