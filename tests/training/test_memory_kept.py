"""What a training frees stays with its process."""

import os
import platform
import subprocess
import sys

import needs

ROUNDS = """
import resource
import torch
from harness.training.device import prepare_torch
{prepare}
for counted in range(4):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    held = [torch.ones(2**20) for _ in range(8)]
    del held
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(prepare):
    """Pages that come anew in the fourth round of eight tensors of 4 MiB.

    By itself glibc gives some back, by where they happen to lie; told so, all.
    """
    program = [sys.executable, "-c", ROUNDS.format(prepare=prepare)]
    gives = os.environ | {"MALLOC_MMAP_THRESHOLD_": str(2**17)}
    return int(subprocess.run(program, capture_output=True, text=True, check=True, env=gives).stdout)


@needs.unless(platform.libc_ver()[0] == "glibc", "another C library", "`ldd --version` has to name glibc")
def test_tensors_that_come_again_need_no_new_pages():
    assert faults("pass") > 5_000
    assert faults("prepare_torch(1)") < 100
