"""Methods in containers that are asked for losses: the same bits as outside, and nothing but an answer."""

from __future__ import annotations

import base64
import hashlib
import io

import numpy as np
import pytest
import red_team
from test_sandbox import LIMITS, execute_in
from tiny import parse

from harness import cohorts
from harness.plugin import discovery
from harness.running.trial import Paths
from harness.sandbox import container
from harness.sandbox.limits import MB, Limits
from harness.sandbox.runs import Sandbox

# A run of forty containers is one fixture.
pytestmark = [pytest.mark.docker, pytest.mark.timeout(3_600)]

# Who trains a model of its own is in test_sandbox.py, and the oracle runs where it is told a cause.
SHIPPED = sorted(
    name
    for name, plugin in discovery.shipped().items()
    if b"trains_own_model = True" not in plugin.file.read_bytes() and name != "oracle"
)
QUICK = Limits(
    memory=LIMITS.memory, temporary=100 * MB, shared=20 * MB, seconds=300, step=30, processes=128, log=20 * MB
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("asked")


@pytest.fixture(scope="module")
def cohort(folder):
    return cohorts.load(parse(attributes={"race": {}}), None, folder / "cache")


@pytest.fixture(scope="module")
def inside(image, folder, cohort):
    """The shipped methods and the red team, in one run."""
    test = cohort.rows("test")
    images, masks = np.array(cohort.images[test]), np.array(cohort.masks[test])
    packed = io.BytesIO()
    np.savez_compressed(packed, images=images, masks=masks)
    known = [hashlib.sha256(one.tobytes()).hexdigest() for one in images]
    files = red_team.write_asked(folder)
    files |= red_team.write_cheats(folder, known, base64.b64encode(packed.getvalue()).decode())
    box = Sandbox("cpu", QUICK, folder / "cache", "asked")
    paths = Paths(folder / "inside", None, folder / "cache")
    return execute_in([*map(str, files.values()), *SHIPPED], paths, box)


@pytest.fixture(scope="module")
def outside(image, folder):
    return execute_in([*SHIPPED], Paths(folder / "outside", None, folder / "cache"), None)


@pytest.mark.parametrize("method", SHIPPED)
def test_every_shipped_method_gives_the_same_bytes_inside_and_outside(inside, outside, method):
    assert inside.record(method).id == outside.record(method).id
    pairs = [(run.store.path(run.record(method).id), run.store) for run in (inside, outside)]
    for file in ("scores.parquet", "predictions.npz", "curve.csv"):
        assert (pairs[0][0] / file).read_bytes() == (pairs[1][0] / file).read_bytes()
    weights = [run.store.weights(run.record(method).id).read_bytes() for run in (inside, outside)]
    assert weights[0] == weights[1]


def test_a_record_says_whose_loop_it_was(inside, outside, image):
    assert inside.record("adv").trained == outside.record("adv").trained == "by the harness"
    assert inside.record("adv").provenance["sandbox"] == image
    assert inside.record("own-recognises").trained == "by itself"


STOPPED = {
    "network": "RuntimeError: no network: [Errno 101] Network is unreachable",
    "fork-bomb": "BlockingIOError: [Errno 11] Resource temporarily unavailable",
    "memory": "it ran out of its 2,000,000,000 bytes of memory",
    "disk": "RuntimeError: the disk ends: [Errno 28] No space left on device",
    "outside": "RuntimeError: No such file or directory, Read-only file system",  # there is no cohort
    "sleep": "it ran longer than 300 s",
    "print": "it printed more than 20,000,000 bytes",
    "escape": "RuntimeError: ?]0;owned??31mall is well",
    "environment": "RuntimeError: environment",
    "mount": "RuntimeError: mount gave -1: Operation not permitted",
    "ptrace": "RuntimeError: ptrace reached nobody, setuid gave -1",
    "looks": "RuntimeError: found []",
    "padding": "it sent what is no message",
    "replaces-the-wire": "it sent what is no message",
    "stops": "it did not answer within 30 s",
    "leaves": "it exited with status 7",
    "not-a-number": "its loss became nan at step 0",
    "endless-gradient": "the gradient of its loss is not finite at step 0",
    # Of its memory, or of time, where the machine is slow to fill it.
    "hoards": "hoards.py, in the sandbox: it ",
    "pickle-on-the-line": "it sent what is no message",
    "a-gradient-of-gigabytes": "it sent a message of 1,099,511,627,776 bytes",
    "mixes-beyond-the-batch": "mix gave a partner that is no row of a batch of 8",
    "mixes-a-hundred-times": "mix gave a share that is not in [0, 1]",
    "mixes-with-no-number": "mix gave a share that is not in [0, 1]",
    "mixes-gigabytes": "it sent a message of 12,000,000 bytes",
    "weighs-with-no-number": "sampling_weights gave a weight that is not finite and at least 0",
    "weighs-nobody": "sampling_weights gave 0 for every sample",
    # Of 48 samples: ten times their weights are still as short as a sentence may be.
    "weighs-more-than-there-are": "it sent a message that is not due",
}


@pytest.mark.parametrize("villain", STOPPED)
def test_a_villain_that_is_asked_is_stopped_and_reported_in_one_line(inside, villain):
    record = inside.record(villain)
    assert record.status == "failed"
    assert STOPPED[villain] in record.error
    assert "\n" not in record.error


GAINS_NOTHING = ["longer", "recognises", "clock", "writes-into-the-batch"]


@pytest.mark.parametrize("villain", GAINS_NOTHING)
def test_what_a_villain_replaces_in_its_own_process_trains_and_predicts_nothing(inside, villain):
    """Steps, epochs and predictions are the harness's: those that go on are ERM to the bit."""
    record, erm = inside.record(villain), inside.record("erm")
    assert (record.status, record.trained) == ("done", "by the harness")
    assert inside.scores(villain) == inside.scores("erm")
    weights = [inside.store.weights(one.id).read_bytes() for one in (record, erm)]
    assert weights[0] == weights[1]


def labels(run, method):
    return run.store.predictions(run.record(method).id)[1]


def test_no_test_image_ever_reaches_a_method_that_is_asked(inside):
    said = inside.store.log(inside.record("recognises").id)
    assert said.count("recognised 0 of 32 test images") >= 12
    assert "recognised 1" not in said


def test_a_method_that_trains_its_own_model_can_bring_the_answers_along_and_is_shown_as_such(inside, cohort):
    record = inside.record("own-recognises")
    assert (record.status, record.trained) == ("done", "by itself")
    assert np.array_equal(labels(inside, "own-recognises"), cohort.masks[cohort.rows("test")])


def test_every_villain_was_tried(inside):
    tried = {name.replace("_", "-") for name in red_team.ASKED | red_team.IN_LOSS | red_team.IN_HOOKS}
    assert tried == (STOPPED.keys() | set(GAINS_NOTHING) | {"scales"}) - {"recognises"}


def test_no_container_is_left(inside):
    client = container.engine.connect()
    assert client.containers.list(all=True, filters={"label": f"{container.LABEL}=asked"}) == []


def test_what_each_attack_got(inside, capsys):
    """The table of the red team: attack, what it got, verdict."""
    lines = []
    for name in ("erm", "longer", "recognises", "scales", "own-longer", "own-recognises", *STOPPED):
        record = inside.record(name)
        if record.status == "done":
            scores = inside.store.scores(record.id)
            cup = scores[scores["structure"] == "cup"]["dice"].mean()
            got = f"cup Dice {cup:.3f}, {inside.store.curve(record.id)['epoch'].nunique()} epochs"
        else:
            got = record.error
        lines.append(f"{name} | {got} | {record.status} {record.trained}")
    with capsys.disabled():
        print("\n" + "\n".join(lines))
    assert len(lines) == len(STOPPED) + 6
