"""A repository for submissions: its script takes one, as data, and hands it to `harness verify`."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from harness.cli import cli

PLACE = "submissions/lab.mine"


def git(folder: Path, *args: str) -> str:
    who = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    return subprocess.check_output(["git", "-C", folder, *who, *args], text=True, stderr=subprocess.DEVNULL)


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "board"
    done = CliRunner().invoke(cli, ["board", "init", str(folder)], catch_exceptions=False)
    assert done.exit_code == 0
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "A board")
    return folder


def proposed(repository: Path, **files: bytes) -> subprocess.CompletedProcess[str]:
    """Run the script on a branch that adds files, with a `harness` that says what it was called with."""
    git(repository, "checkout", "-q", "-b", "submitted")
    for name, data in files.items():
        path = repository / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "A submission")
    git(repository, "checkout", "-q", "main")
    tools = repository.parent / "tools"
    tools.mkdir()
    (tools / "harness").write_text('#!/bin/sh\necho "called: $*"; wc -c <submission.zip\n')
    (tools / "harness").chmod(0o755)
    return subprocess.run(
        [repository / ".github/verify.sh", "main", "submitted", "quick", "0"],
        cwd=repository,
        env=os.environ | {"PATH": f"{tools}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_submission_is_verified_and_trained_again_in_a_container(repository):
    done = proposed(repository, **{f"{PLACE}/submission.zip": b"12345"})
    assert done.returncode == 0
    assert (
        done.stdout.split("\n")[0]
        == "called: verify submission.zip --protocol quick --rerun 0 --sandbox docker"
    )
    assert done.stdout.split("\n")[1].strip() == "5"


def test_its_signature_is_held_against_the_signers_of_the_main_branch(repository):
    (repository / "signers").write_text("a@example.org ssh-ed25519 AAAA\n")
    git(repository, "commit", "-qam", "A signer")
    done = proposed(repository, **{f"{PLACE}/submission.zip": b"1", f"{PLACE}/submission.zip.sig": b"2"})
    assert f"--signers {repository}/signers" in done.stdout


@pytest.mark.parametrize(
    "other",
    [
        ".github/verify.sh",
        "signers",
        f"{PLACE}/evil.sh",
        "submissions/../README.md",
        "submissions/lab.mine\n/submission.zip",
        "submissions/Lab.x/submission.zip",
        "submissions/lab.other/submission.zip",
    ],
)
def test_what_touches_anything_else_is_not_verified(repository, other):
    done = proposed(repository, **{f"{PLACE}/submission.zip": b"1", other: b"#!/bin/sh\necho evil\n"})
    assert done.returncode == 1
    assert done.stdout.startswith("Touches ")
    assert "called" not in done.stdout


def test_the_workflow_gives_the_verifying_job_nothing_to_write_with(repository):
    table = yaml.safe_load((repository / ".github/workflows/verify.yml").read_text())
    assert table["permissions"] == {}
    assert table["jobs"]["verify"]["permissions"] == {"contents": "read"}
    assert table["jobs"]["comment"]["permissions"] == {"pull-requests": "write"}
    # Nothing that a stranger writes is put into a script: titles, branches and bodies come as variables.
    scripts = [step.get("run", "") for job in table["jobs"].values() for step in job["steps"]]
    assert not [script for script in scripts if "${{" in script]


def test_a_folder_that_holds_something_is_left_alone(repository, tmp_path):
    begun = tmp_path / "begun"
    shutil.copytree(repository, begun)
    (begun / "REVIEWING.md").write_text("our own words")
    done = CliRunner().invoke(cli, ["board", "init", str(begun)])
    assert "is not empty" in str(done.exception)
    assert (begun / "REVIEWING.md").read_text() == "our own words"


def test_one_that_was_interrupted_is_completed(repository, tmp_path):
    begun = tmp_path / "begun"
    shutil.copytree(repository, begun)
    (begun / ".github" / "verify.sh").unlink()
    done = CliRunner().invoke(cli, ["board", "init", str(begun)])
    assert done.exit_code == 0, done.output
    assert (begun / ".github" / "verify.sh").read_bytes() == (repository / ".github/verify.sh").read_bytes()
