"""Where a record comes from: the method as it ran, the machine, the checkout, the files' hashes."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import harness
from harness.running.plan import Trial
from harness.store import MethodInfo, names


def method_info(trial: Trial) -> MethodInfo:
    """Return a trial's method as its record describes it."""
    about = trial.about
    return MethodInfo(
        name=trial.plugin.name,
        title=about.card.title,
        authors=about.card.authors,
        paper=about.card.paper,
        url=about.card.url,
        licence=about.card.licence,
        hyper_parameters=trial.hyper_parameters,
        defaults=about.defaults,
        reads_attribute=about.reads_attribute,
        reads_attribute_at_test=about.reads_attribute_at_test,
        starts_from=about.starts_from,
        sampler=about.sampler,
        takes=about.takes,
        passes=about.passes,
        source=trial.source,
        source_digest=trial.identity["method"]["source"],
    )


def environment(trial: Trial, found: int | None = None) -> dict[str, Any]:
    """Return the machine and the libraries that a trial ran with.

    found: samples of a batch whose graph was held at a time, 0 for all; None where no training ended.
    """
    import torch

    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cpus": os.cpu_count(),
        "threads": trial.protocol.recipe.threads,
        "slice": trial.most if found is None else found,
        "cuda": torch.version.cuda if torch.cuda.is_available() else None,
        "harness": harness.__version__,
        "libraries": trial.identity["libraries"],
    }


def git_state(folder: Path) -> dict[str, Any]:
    """Return commit and cleanliness of the checkout that the harness runs from, where it is one."""

    def git(*args: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(folder), *args], capture_output=True, text=True, check=True, timeout=10
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    commit = git("rev-parse", "HEAD")
    return {"commit": commit, "dirty": None if commit is None else bool(git("status", "--porcelain"))}


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of a record but record.json itself."""
    files = sorted(path for path in folder.iterdir() if path.name != names.RECORD)
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
