"""What runs in the container: `python -m harness.sandbox.inside describe|run`.

The results leave through the stream that was standard output; what a method prints goes to the log. Nothing
here is trusted by the host: a method shares this process and may do with it what it likes.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.sandbox.staging import INSIDE
from harness.sandbox.wire import encode

ROOT = Path(INSIDE)
WORK = Path("/tmp/work")


def main() -> int:
    """Do what the arguments say; return the exit status."""
    results = os.dup(1)
    os.dup2(2, 1)
    # Last, so that a method's file hides no module of Python's own.
    sys.path.append(f"{INSIDE}/plugin")
    what, *arguments = sys.argv[1:]
    try:
        header, parts = _describe(*arguments) if what == "describe" else _run()
    except BaseException as error:  # noqa: BLE001 - whatever a method raises is its trial's result
        from harness.plugin import discovery

        traceback.print_exc()
        file = Path(arguments[0] if what == "describe" else _job()["plugin"]["file"])
        header, parts = {"error": discovery.describe_error(error, file)[:1_000]}, {}
    with os.fdopen(results, "wb") as stream:
        for chunk in encode(header, parts):
            stream.write(chunk)
    return 1 if "error" in header else 0


def _job() -> dict[str, Any]:
    job: dict[str, Any] = json.loads((ROOT / "job.json").read_text(encoding="utf-8"))
    return job


def _describe(file: str) -> tuple[Mapping[str, Any], Mapping[str, bytes]]:
    from harness.plugin import discovery

    plugin = discovery.Plugin("method", Path(file))
    return {"about": asdict(discovery.about(discovery.load(plugin), plugin))}, {}


def _run() -> tuple[Mapping[str, Any], Mapping[str, bytes]]:
    import numpy as np
    import pandas as pd
    from safetensors.torch import save

    from harness import protocol
    from harness.cohorts.cohort import Cohort
    from harness.plugin.discovery import About, Plugin
    from harness.plugin.method import Card
    from harness.running.plan import Trial
    from harness.running.trial import Inputs, fit_and_predict

    job = _job()
    trial = Trial(
        id=job["id"],
        protocol=protocol.parse(job["protocol"], "the protocol"),
        plugin=Plugin(job["plugin"]["name"], Path(job["plugin"]["file"])),
        about=About(Card(""), {}),
        hyper_parameters=job["hyper_parameters"],
        attribute=job["attribute"],
        seed=job["seed"],
        starts_from=job["starts_from"],
        identity={},
        sampler=job["sampler"],
        shuffled=job["shuffled"],
    )
    cohort = Cohort(
        title="",
        licence="",
        citation="",
        publish_images=False,
        images=np.load(ROOT / "cohort/images.npy", mmap_mode="r"),
        masks=np.load(ROOT / "cohort/masks.npy", mmap_mode="r"),
        subjects=pd.read_parquet(ROOT / "cohort/subjects.parquet"),
        groups={name: tuple(groups) for name, groups in job["groups"].items()},
        digest="",
    )
    maps = [np.load(ROOT / f"maps/map{i}.npy", mmap_mode="r") for i in range(job["maps"])]
    checkpoint = ROOT / "checkpoint" if job["checkpoint"] else None
    origin = ROOT / "origin.safetensors" if job["starts_from"] else None
    WORK.mkdir(exist_ok=True)
    inputs = Inputs(cohort, maps, checkpoint, origin)
    fitted = fit_and_predict(trial, inputs, job["device"], WORK, lambda *_: None)
    header = {
        "curve": fitted.curve,
        "gpu_bytes": fitted.cost.peak_memory_bytes if job["device"].startswith("cuda") else 0,
    }
    return header, {"labels": fitted.labels.tobytes(), "state": save(fitted.state)}


if __name__ == "__main__":
    status = main()
    # Threads that a method left behind must not keep the container alive.
    os._exit(status)
