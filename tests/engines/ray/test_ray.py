"""A real Ray of two nodes: the bytes of one machine, also of a trial whose node goes down amid an epoch."""

from __future__ import annotations

import threading
import time

import needs
import pytest
from engine_runs import SMALL, epoch_of, files_of, here, run_through, slow
from tiny import CPU, prepare

from harness.errors import HarnessError
from harness.running.executors import Asked, options
from harness.store import claims

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def cluster():
    """A head without a core to spare; tests add nodes."""
    try:
        from ray.cluster_utils import Cluster
    except ImportError:
        needs.missing("Ray is not installed", "`pip install 'equity-leaderboard[ray]'`")
    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    yield found
    import ray

    ray.shutdown()
    found.shutdown()


def asked(runs) -> Asked:
    return Asked(CPU, None, 1, ["harness.running.trial"], runs)


def test_a_trial_whose_node_goes_down_goes_on_at_another_to_the_same_bytes(cluster, tmp_path):
    from harness.running.executors import ray

    gate, method = slow(tmp_path, written=True)
    kinds = SMALL | {"epochs": 4}
    names = ["erm", "febs", method]
    prepared = prepare(names, here(tmp_path / "tasks", tmp_path / "cache"), **kinds)
    store = prepared.store
    held = next(one.id for one in prepared.plan.trials.values() if one.plugin.name == "slow")
    node, outcomes = cluster.add_node(num_cpus=1), []
    executor = ray.make(asked(prepared.paths.runs), options("ray", None, [f"address={cluster.address}"]))
    runner = threading.Thread(target=lambda: outcomes.append(run_through(prepared, executor)))
    runner.start()
    epoch_of(store, held, 2)
    first = claims.last(store.claim(held))[0].token
    cluster.remove_node(node, allow_graceful=False)
    cluster.add_node(num_cpus=1)
    until = time.monotonic() + 400
    while (found := claims.last(store.claim(held))) is None or found[0].token == first:
        assert time.monotonic() < until
        time.sleep(0.2)
    gate.write_text("100000")
    runner.join(500)
    assert (outcomes[0].count("done"), outcomes[0].errors) == (len(prepared.plan.trials), [])
    assert "The training goes on after epoch 2 of 4, from its checkpoint." in store.log(held)
    local = prepare(names, here(tmp_path / "local", tmp_path / "cache"), **kinds)
    run_through(local, None)
    assert files_of(prepared) == files_of(local)


def test_where_no_cluster_answers_one_sentence_says_so(tmp_path):
    import ray as engine

    from harness.running.executors import ray

    engine.shutdown()
    with pytest.raises(HarnessError, match="--executor ray: .*`ray start --head` starts one"):
        ray.make(asked(tmp_path), options("ray", None, ["address=127.0.0.1:1"]))
