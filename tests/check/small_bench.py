"""The checks' bench with a smaller encoder: what fails here does so on any network.

`harness check` is tested as it is by the test that goes through its command line.
"""

from __future__ import annotations

import sys

from harness.check import child

START = "import small_bench; small_bench.main()"
"""What a child process runs in place of `child.main`; it needs this folder on its path."""


def shrink() -> None:
    """Give the bench of this process the smaller network."""
    from harness.check import bench

    backbone = bench.PROTOCOL.backbone.model_copy(update={"variant": "tu-mobilenetv3_small_050"})
    bench.PROTOCOL = bench.PROTOCOL.model_copy(update={"backbone": backbone})


def main() -> None:
    """Be a child of a check."""
    if not sys.argv[1].startswith("source:"):
        shrink()
    child.main()
