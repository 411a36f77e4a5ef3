"""Trials in real containers: the same results as outside, and a red team that gets nowhere."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from dataclasses import dataclass

import attacks
import pytest
import red_team
from click.testing import CliRunner
from test_trial import Silent
from tiny import CPU, parse

from harness.check import sandboxed
from harness.check.subject import Subject
from harness.cli import cli
from harness.errors import HarnessError
from harness.plugin import discovery
from harness.running.executors.local import LocalExecutor
from harness.running.plan import Plan
from harness.running.prepare import prepare
from harness.running.schedule import Outcome, execute
from harness.running.trial import Paths, run_logged
from harness.sandbox import build, container
from harness.sandbox.limits import GB, MB, Limits
from harness.sandbox.runs import Sandbox
from harness.store import Record, Store

# A run of some thirty containers is one fixture.
pytestmark = [pytest.mark.docker, pytest.mark.timeout(3_600)]

LIMITS = Limits(memory=2 * GB, temporary=500 * MB, shared=20 * MB, seconds=300, processes=128, log=20 * MB)
SECRET = "open sesame"


@dataclass(frozen=True)
class Run:
    store: Store
    outcome: Outcome
    plan: Plan

    def record(self, method: str) -> Record:
        (trial,) = [t for t in self.plan.trials.values() if t.plugin.name == method]
        return self.store.record(trial.id)

    def scores(self, method: str) -> bytes:
        return (self.store.path(self.record(method).id) / "scores.parquet").read_bytes()


def execute_in(methods, paths, box: Sandbox | None) -> Run:
    protocol = parse(seeds=[0], attributes={"race": {}})
    described = {} if box is None else {"describe": box.describe}
    prepared = prepare(protocol, methods, paths, "tiny.toml", **described)
    assert prepared.broken == ()
    runner = run_logged if box is None else box.run_logged
    with LocalExecutor([{}, {}], preload=["harness.running.trial"]) as executor:
        outcome = execute(prepared, executor, Silent(), 2, CPU, run_one=runner)
    return Run(prepared.store, outcome, prepared.plan)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("sandbox")


OWN_MODELS = ("domain-independent", "dmoe", "fair-adabn", "fin", "group-thresholds")
"""The shipped methods that are trained whole in a container, with layers of their own."""

HONEST = ("erm", "febs", *OWN_MODELS)


@pytest.fixture(scope="module")
def inside(image, folder):
    """The red team, and among them honest methods, in one run."""
    files = red_team.write(folder)
    os.environ["EQUITY_SECRET"] = SECRET
    box = Sandbox("cpu", LIMITS, folder / "cache", "test")
    paths = Paths(folder / "inside", None, folder / "cache")
    yield execute_in([*map(str, files.values()), *HONEST], paths, box)
    del os.environ["EQUITY_SECRET"]


@pytest.fixture(scope="module")
def outside(image, folder):
    return execute_in(HONEST, Paths(folder / "outside", None, folder / "cache"), None)


@pytest.mark.parametrize("method", HONEST)
def test_the_same_trial_gives_the_same_bytes_inside_and_outside(inside, outside, method):
    assert inside.record(method).id == outside.record(method).id
    assert inside.scores(method) == outside.scores(method)
    store = inside.store
    files = ("curve.csv", "predictions.npz")
    same = [
        (store.path(inside.record(method).id) / f).read_bytes()
        == (outside.store.path(outside.record(method).id) / f).read_bytes()
        for f in files
    ]
    assert same == [True, True]


def test_a_record_says_that_it_was_sandboxed_and_in_which_image(inside, outside, image):
    assert inside.record("erm").provenance["sandbox"] == image
    assert "sandbox" not in outside.record("erm").provenance


STOPPED = {
    "masks": "RuntimeError: found 0 of the test masks and groups, 32 test images",
    "redraw": "no attribute 'load'; ['cohort.py'], []",
    "network": "RuntimeError: no network: [Errno 101] Network is unreachable",
    "fork-bomb": "BlockingIOError: [Errno 11] Resource temporarily unavailable",
    "memory": "it ran out of its 2,000,000,000 bytes of memory",
    "disk": "RuntimeError: the disk ends: [Errno 28] No space left on device",
    "outside": "RuntimeError: Permission denied, Read-only file system",
    "sleep": "sleep.py, in the sandbox: it ran longer than ",  # what it was given, or ten times ERM's time
    "shape": "its predictions are 4 bytes",
    "classes": "its predictions have class 200",
    "nan": "its learning curve has values that are not finite",
    "padding": "bytes of a result",
    "zip-bomb": "its predictions are",
    "pickle": "its result does not begin as one",
    "print": "it printed more than 20,000,000 bytes",
    "mounts": "RuntimeError: saw [] of the host",
    "escape": "RuntimeError: ?]0;owned??31mall is well",
    "environment": "RuntimeError: environment",
    "mount": "RuntimeError: mount gave -1: Operation not permitted",
    "ptrace": "RuntimeError: ptrace reached nobody, setuid gave -1",
    "adapt-reads-the-table": "RuntimeError: of 32 test rows 0 cells are told",
    "adapt-asks-for-groups": "RuntimeError: told [-1] of the test groups",
    "adapt-gives-no-network": "Villain.adapt returned str; return the backbone",
    "adapt-hides-weights": "Villain.adapt returned Identity; return the backbone",
}


@pytest.mark.parametrize("villain", STOPPED)
def test_a_villain_is_stopped_and_reported_in_one_line(inside, villain):
    record = inside.record(villain)
    assert record.status == "failed"
    assert STOPPED[villain] in record.error
    assert "\n" not in record.error


GOES_ON = ["clock", "fake-score", "symlink"]


@pytest.mark.parametrize("villain", GOES_ON)
def test_a_villain_that_goes_on_gains_nothing(inside, villain):
    # Both train as ERM does, with fewer group ids hidden: what they broke is not what scores them.
    record = inside.record(villain)
    assert record.status == "done"
    assert inside.store.scores(record.id)["dice"].between(0, 0.999).any()
    assert (
        inside.store.predictions(record.id)[1] == inside.store.predictions(inside.record("erm").id)[1]
    ).all()
    assert inside.scores(villain) == inside.scores("erm")


def test_the_cost_is_what_the_host_measures(inside):
    true, forged = inside.record("erm").cost, inside.record("clock").cost
    assert forged.fit_seconds > 1
    # The first sample may come before the method is imported, but Python itself is no single byte.
    assert min(true.peak_memory_bytes, forged.peak_memory_bytes) > 10 * MB
    assert forged.trained_parameters == true.trained_parameters > 0
    assert forged.device == true.device


def test_nothing_that_a_villain_prints_moves_the_cursor(inside):
    record = inside.record("escape")
    assert "?[2J?]8;;https://example.org?\\here" in inside.store.log(record.id)
    for verb in (["show", record.id], ["list", "trials"]):
        shown = CliRunner().invoke(cli, [*verb, "--runs", str(inside.store.root)]).output
        assert record.id[:8] in shown
        assert "\x1b" not in shown


def test_every_villain_was_tried_and_the_others_went_on(inside):
    tried = {name.replace("_", "-") for name in red_team.CRIMES | red_team.IN_ADAPT}
    assert tried == STOPPED.keys() | set(GOES_ON)
    assert inside.outcome.count("done") == len(HONEST) + len(GOES_ON)
    assert inside.outcome.count("failed") == len(STOPPED)


def test_the_table_of_attacks(inside):
    got = {name: inside.record(name).error or "trained as ERM is" for name in (*STOPPED, *GOES_ON)}
    rows = [(name, said, "held" if STOPPED.get(name, "") in said else "FAILED") for name, said in got.items()]
    print("\n" + attacks.table(rows))
    assert [name for name, _, verdict in rows if verdict != "held"] == []


def test_nothing_of_the_hosts_environment_is_seen(inside):
    record = inside.record("environment")
    assert SECRET not in inside.store.log(record.id) + record.error
    assert "PYTHONPATH" in record.error


def test_no_container_is_left(inside):
    client = container.engine.connect()
    assert client.containers.list(all=True, filters={"label": f"{container.LABEL}=test"}) == []


def test_a_method_is_checked_in_the_sandbox_too(image, folder, tmp_path):
    well = Subject(discovery.find("erm"), tmp_path / "well")
    (line,) = sandboxed.check(well)
    assert (line.name, line.status) == ("works in the sandbox", "ok")
    ill = Subject(discovery.find(str(folder / "network.py")), tmp_path / "ill")
    (line,) = sandboxed.check(ill)
    assert line.status == "failed"
    assert "Network is unreachable" in line.text


def test_a_plugin_that_breaks_where_it_is_imported_is_broken_and_never_imported_here(image, folder):
    file = folder / "import_bomb.py"
    mark = folder / "imported"
    file.write_text(f"open({str(mark)!r}, 'w').write('here')\n")
    abouts, broken = Sandbox("cpu", LIMITS, folder / "cache", "test").describe([discovery.find(str(file))])
    assert abouts == {}
    assert "FileNotFoundError" in broken[0].error or "Read-only" in broken[0].error
    assert not mark.exists()


def test_requirements_that_cannot_be_met_break_their_own_plugin_only(image, folder):
    found = [discovery.find("erm")]
    for name, wanted in {"layered": '("tinyhtml",)', "letters": '"tinyhtml"', "number": "5"}.items():
        file = folder / f"{name}.py"
        file.write_text(discovery.find("erm").file.read_text() + f"\n\nrequires = {wanted}\n")
        found.append(discovery.find(str(file)))
    abouts, broken = Sandbox("cpu", LIMITS, folder / "cache", "test").describe(found)
    assert list(abouts) == ["erm"]
    errors = {one.plugin.name: one.error for one in broken}
    assert "run `harness sandbox build --requires tinyhtml`" in errors["layered"]
    assert "requires is a tuple of requirements" in errors["letters"]
    assert "requires is a tuple of requirements" in errors["number"]


def wheel(folder, name: str, needs: str = "") -> None:
    """Write a package of one module as a wheel, by hand."""
    about = f"{name}-1.0.dist-info"
    requires = f"Requires-Dist: {needs}\n" if needs else ""
    files = {
        f"{name}.py": "",
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{requires}",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{file},,\n" for file in [*files, f"{about}/RECORD"])
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as archive:
        for file, text in {**files, f"{about}/RECORD": record}.items():
            archive.writestr(file, text)


def test_a_method_with_packages_of_its_own_runs_on_a_layer(image, folder):
    wheels = folder / "wheels"
    wheels.mkdir()
    wheel(wheels, "equitytoy")
    file = folder / "needy.py"
    source = discovery.find("erm").file.read_text()
    file.write_text(f'{source}\n\nimport equitytoy\n\nrequires = ("equitytoy>=1",)\n')
    box = Sandbox("cpu", LIMITS, folder / "cache", "test")
    name = build.build_layer(["equitytoy>=1"], wheels, "cpu")
    try:
        done = execute_in([str(file)], Paths(folder / "layered", None, folder / "cache"), box)
        assert done.record("needy").status == "done"
        layer = container.engine.image(container.engine.connect(), "cpu", ["equitytoy>=1"])
        assert layer != image
        assert done.record("needy").provenance["sandbox"] == layer
    finally:
        container.engine.connect().images.remove(name, force=True)


def test_a_layer_never_changes_the_harness_own_packages(image, folder):
    wheels = folder / "other_wheels"
    wheels.mkdir()
    wheel(wheels, "equityold", needs="numpy<1.20")
    wheel(wheels, "numpy")
    with pytest.raises(HarnessError, match=r"Cannot install.*conflict.*\(constraint\) numpy==.*--requires"):
        build.build_layer(["equityold"], wheels, "cpu")


@pytest.fixture
def other_python(image):
    """An image whose python3 says that it is 3.99."""
    client, script = container.engine.connect(), b"#!/bin/sh\necho 3.99\n"
    packed, about = io.BytesIO(), tarfile.TarInfo("python3")
    about.size, about.mode = len(script), 0o755
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.addfile(about, io.BytesIO(script))
    changed = client.containers.create(image, "true")
    changed.put_archive("/opt/venv/bin", packed.getvalue())
    changed.commit("equity-other", "test")
    changed.remove(force=True)
    yield "equity-other:test"
    client.images.remove("equity-other:test", force=True)


def test_a_base_image_that_cannot_serve_is_refused_before_anything_is_fetched(other_python):
    with pytest.raises(HarnessError, match=r"'equity-other:test' has 3\.99 Python and the harness runs on"):
        build.build(other_python, None, "cpu")
    with pytest.raises(HarnessError, match=r"no base image 'equity-absent:1' here; run docker/base\.sh"):
        build.build("equity-absent:1", None, "cpu")


def test_an_image_that_would_run_as_root_is_refused(image):
    client = container.engine.connect()
    rooted = client.containers.create(image, "true")
    try:
        name = container.engine.tag("cpu", ["rooted"])
        rooted.commit(*name.split(":"), changes=["USER root"])
        with pytest.raises(HarnessError, match="runs as root"):
            container.engine.image(client, "cpu", ["rooted"])
    finally:
        rooted.remove(force=True)
        client.images.remove(name, force=True)
