"""Builds the wheel, in which two folders of the repository lie below a package of the project's own."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent
HOME = "equity_leaderboard"  # `harness.identity.INSTALLED`
CARRIED = ("methods", "leaderboard")


class Carried(build_py):
    """Moves what is carried: among installed packages `methods` would collide with any other of that name."""

    def run(self) -> None:
        """Build, and move; an editable install uses the folders where they are."""
        if self.editable_mode:
            super().run()
            return
        build = Path(self.build_lib)
        shutil.rmtree(build, ignore_errors=True)  # what an earlier build left would be packed again
        super().run()
        known = _tracked()
        for name in CARRIED:
            for file in (build / name).rglob("*.py"):
                if known and file.relative_to(build).as_posix() not in known:
                    file.unlink()
            shutil.move(build / name, build / HOME / name)


def _tracked() -> set[str]:
    """Return the files that git knows, by their paths from the top; none away from a clone."""
    try:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=HERE, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return set()
    return set(listed.stdout.decode().split("\0")) - {""}


setup(cmdclass={"build_py": Carried})
