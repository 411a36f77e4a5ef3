"""A real Slurm of two nodes: the bytes of one machine, whatever the night brings."""

from __future__ import annotations

import subprocess
import threading
import time
from datetime import datetime
from pathlib import Path

import pytest
from engine_runs import SMALL, epoch_of, files_of, here, run_through, slow
from tiny import prepare

from harness.running.executors import Asked, options
from harness.store import claims

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(900)]


def make(runs: Path, *given: str):
    from harness.running.executors import slurm

    asked = Asked(None, None, 1, ["harness.running.trial"], runs)
    return slurm.make(asked, options("slurm", None, given))


def queued() -> list[tuple[str, str, str]]:
    """Each job's own number, its state and its node."""
    asked = ["squeue", "--me", "-h", "-r", "-o", "%A %T %N"]
    said = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    return [tuple([*line.split(), ""][:3]) for line in said.splitlines()]


def began(job: str) -> float:
    asked = ["squeue", "-h", "-j", job, "-o", "%S"]
    said = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    return datetime.fromisoformat(said).timestamp()


def scontrol(*words: str) -> None:
    subprocess.run(["scontrol", *words], check=True)


def test_trials_as_jobs_have_the_bytes_of_this_machine_and_warm_starts_wait(slurm, tmp_path, cache):
    prepared = prepare(["erm", "febs"], here(tmp_path / "jobs", cache), **SMALL)
    outcome = run_through(prepared, make(prepared.paths.runs, "per_job=2"))
    assert (outcome.count("done"), outcome.errors) == (len(prepared.plan.trials), [])
    local = prepare(["erm", "febs"], here(tmp_path / "local", cache), **SMALL)
    run_through(local, None)
    assert files_of(prepared) == files_of(local)


def test_requeued_out_of_time_or_off_its_node_a_trial_goes_on_to_the_same_bytes(slurm, tmp_path, cache):
    gate, method = slow(tmp_path, written=True)
    kinds = SMALL | {"seeds": (0, 1, 2), "epochs": 4}
    prepared = prepare([method], here(tmp_path / "jobs", cache), **kinds)
    store, trials = prepared.store, list(prepared.plan.trials)
    outcomes = []
    # Slurm warns a job 50 seconds before its time is over.
    executor = make(prepared.paths.runs, "cpus=1", "warning=50")
    runner = threading.Thread(target=lambda: outcomes.append(run_through(prepared, executor)))
    runner.start()
    # All three have ended two of their epochs and are held amid the third, two on one node, one on the other.
    for trial in trials:
        epoch_of(store, trial, 2)
    jobs = {job: node for job, _, node in queued()}
    job_of = {trial: claims.holder(store.claim(trial)).about["job"] for trial in trials}
    node_of = {trial: jobs[job_of[trial]] for trial in trials}
    (off,) = [one for one in trials if list(node_of.values()).count(node_of[one]) == 1]
    requeued, late = (trial for trial in trials if trial != off)
    scontrol("requeue", job_of[requeued])
    # A node that answers comes back by itself.
    scontrol("update", f"NodeName={node_of[off]}", "State=DOWN", "Reason=test")
    minutes = 1 + int(time.time() - began(job_of[late])) // 60
    scontrol("update", f"JobId={job_of[late]}", f"TimeLimit={minutes}")
    gone = {claims.last(store.claim(trial))[0].token for trial in trials}
    until = time.monotonic() + 400
    while any((found := claims.last(store.claim(one))) and found[0].token in gone for one in trials):
        assert time.monotonic() < until, queued()
        time.sleep(0.5)
    gate.write_text("100000")
    runner.join(500)
    assert (outcomes[0].count("done"), outcomes[0].errors) == (3, [])
    for trial in trials:
        assert "The training goes on after epoch 2 of 4, from its checkpoint." in store.log(trial)
    assert [path for path in store.root.rglob("*") if path.name.endswith(".part")] == []
    local = prepare([method], here(tmp_path / "local", cache), **kinds)
    run_through(local, None)
    assert files_of(prepared) == files_of(local)
