"""What is told of a trial to what people watch trainings with, read back with their own readers, offline."""

from __future__ import annotations

import json
import sys
import time

import needs
import pytest
from commands_at_random import learned
from tiny import CPU, prepare

from harness.errors import HarnessError
from harness.running import trial, watchers
from harness.running.paths import Paths
from harness.store import files, names

SMALL = {"cohort": {"source": "synthetic", "size": 16, "samples": 24, "shift": 1.0, "seed": 0}, "seeds": [0]}


@pytest.fixture
def prepared(tmp_path):
    return prepare(["erm"], Paths(tmp_path / "runs", None, tmp_path / "cache"), **SMALL)


def watched(prepared, name: str):
    """Tell a watcher of a trial as a run does: two looks at its first epoch, its second, its end."""
    (one,) = prepared.plan.trials.values()
    watcher = watchers.find(name)(prepared.store)
    watcher.begin([one], 0, 1)
    with prepared.store.claimed(one.id):
        work = prepared.store.work(one.id)
        for losses in ([[0, 0.75]], [[0, 0.75]], [[0, 0.75], [1, 0.5]]):
            told = {"epoch": len(losses), "epochs": 2, "losses": losses}
            files.note(work / names.EPOCHS, json.dumps(told).encode())
            watcher.running([(one, {})])
    trial.run(one, prepared.paths, CPU, learned)
    watcher.finished(one, "done", 1.0)
    return one


def scores_of(prepared, one) -> dict[str, float]:
    frame = prepared.store.scores(one.id)
    return {f"dice/{name}": own["dice"].mean() for name, own in frame.groupby("structure")}


def test_tensorboard_reads_losses_scores_and_cost_from_its_files(prepared):
    from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer
    from tensorboard.util.tensor_util import make_ndarray

    one = watched(prepared, "tensorboard")
    read = EventMultiplexer().AddRunsFromDirectory(str(prepared.store.root / "tensorboard")).Reload()
    (run,) = read.Runs()
    assert run == f"{one.label} {one.id[:8]}"

    def values(name: str) -> list[tuple[int, float]]:
        return [(event.step, make_ndarray(event.tensor_proto).item()) for event in read.Tensors(run, name)]

    assert values("loss") == [(0, 0.75), (1, 0.5)]  # each epoch once, whatever the looks between
    for name, value in scores_of(prepared, one).items():
        assert values(name) == [(0, pytest.approx(value, rel=1e-6))]  # float32 in its files
    assert values("cost/fit_seconds")[0][1] == pytest.approx(
        prepared.store.record(one.id).cost.fit_seconds, rel=1e-6
    )


@pytest.mark.slow
def test_mlflow_reads_them_from_its_files_and_a_second_run_goes_on_in_the_same_place(prepared, monkeypatch):
    try:
        from mlflow import MlflowClient
    except ModuleNotFoundError:
        needs.missing("mlflow is not installed", "`pip install 'equity-leaderboard[mlflow]'`")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    one = watched(prepared, "mlflow")
    client = MlflowClient(tracking_uri=(prepared.store.root / "mlflow").as_uri())
    (experiment,) = client.search_experiments(filter_string="name = 'tiny'")
    (run,) = client.search_runs([experiment.experiment_id])
    losses = [(value.step, value.value) for value in client.get_metric_history(run.info.run_id, "loss")]
    assert sorted(losses) == [(0, 0.75), (1, 0.5)]
    assert scores_of(prepared, one).items() <= run.data.metrics.items()
    assert (run.info.run_name, run.info.status, run.data.params["seed"]) == (one.label, "FINISHED", "0")
    watchers.find("mlflow")(prepared.store).finished(one, "failed", 1.0)
    (again,) = client.search_runs([experiment.experiment_id])
    assert (again.info.run_id, again.info.status) == (run.info.run_id, "FAILED")


@pytest.mark.slow
def test_weights_and_biases_keeps_them_in_its_files_and_sends_nothing(prepared, monkeypatch):
    try:
        from wandb.proto.wandb_internal_pb2 import Record
    except ModuleNotFoundError:
        needs.missing("wandb is not installed", "`pip install 'equity-leaderboard[wandb]'`")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    # Were anything sent, it would go where nobody listens, and the run wait for it.
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    one = watched(prepared, "wandb")
    (file,) = (prepared.store.root / "wandb").glob(f"offline-run-*/run-{one.id}.wandb")
    # Its own process writes the file, and its end last.
    while not (records := read(file, Record)) or records[-1].WhichOneof("record_type") != "exit":
        time.sleep(0.1)
    (run,) = (record.run for record in records if record.WhichOneof("record_type") == "run")
    assert (run.project, run.display_name, run.run_id) == ("tiny", one.label, one.id)
    config = {item.key: json.loads(item.value_json) for item in run.config.update}
    assert config.items() >= {"seed": 0, "attribute": one.attribute or ""}.items()
    rows = [record.history.item for record in records if record.WhichOneof("record_type") == "history"]
    values = [{"".join(i.nested_key) or i.key: json.loads(i.value_json) for i in row} for row in rows]
    assert [(row["epoch"], row["loss"]) for row in values if "loss" in row] == [(0, 0.75), (1, 0.5)]
    last = {name: value for row in values for name, value in row.items()}
    assert scores_of(prepared, one).items() <= last.items()
    (end,) = (record.exit for record in records if record.WhichOneof("record_type") == "exit")
    assert end.exit_code == 0


def read(file, kind):
    return [kind.FromString(data) for data in logged(file.read_bytes())]


def logged(data: bytes) -> list[bytes]:
    """Return the whole records of a file in LevelDB's log format: blocks of 32 kB, a record in parts."""
    found, place, part = [], 7, b""
    while place + 7 <= len(data):
        if (left := -place % 2**15) < 7 and left:
            place += left
            continue
        size, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        if place + 7 + size > len(data):
            break
        part += data[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):
            found.append(part)
            part = b""
    return found


@pytest.mark.parametrize("name", ["tensorboard", "mlflow", "wandb"])
def test_a_watcher_without_its_library_is_one_sentence_that_says_what_to_install(name, monkeypatch):
    for loaded in [name, *(module for module in sys.modules if module.startswith(f"{name}."))]:
        monkeypatch.setitem(sys.modules, loaded, None)
    monkeypatch.delitem(sys.modules, f"harness.running.watchers.{name}", raising=False)
    with pytest.raises(HarnessError, match=rf"pip install 'equity-leaderboard\[{name}\]'"):
        watchers.find(name)


def test_a_watcher_that_fails_is_told_no_more_and_the_others_are(caplog):
    class Failing:
        def begin(self, *_):
            raise RuntimeError("no space on its disk")

        def finished(self, *_):
            raise AssertionError("it was left out")

    class Counting:
        told = 0

        def begin(self, *_):
            self.told += 1

        finished = begin

    first, other = Counting(), Counting()
    several = watchers.Several(first, Failing(), other)
    several.begin([], 0, 1)
    several.finished(None, "done", 1.0)
    assert (first.told, other.told) == (2, 2)
    assert "no space on its disk; it is told no more" in caplog.text
