"""A Slurm of one controller and two nodes on this machine."""

from __future__ import annotations

import os
import shutil
import subprocess

import needs
import pytest

CONF = "/tmp/slurm/slurm.conf"


@pytest.fixture(scope="session")
def slurm():
    """The cluster that .ci/slurm starts. Without one a test is skipped, and fails in CI."""
    os.environ["SLURM_CONF"] = CONF
    ping = ["scontrol", "ping"]
    if shutil.which("scontrol") is None or b"UP" not in subprocess.run(ping, capture_output=True).stdout:
        needs.missing("there is no Slurm here", "`sudo .ci/engines`, which installs and starts one")
    # A test before this one may have taken a node away; one that is there refuses to come back.
    subprocess.run(
        ["scontrol", "update", "NodeName=one,two", "State=RESUME"], capture_output=True, check=False
    )


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")
