"""A repository for submissions: its script takes one, as data, and hands it to `harness verify`."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import click
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


def test_what_publishes_runs_one_script_one_at_a_time_with_the_least_it_needs(repository):
    github = yaml.safe_load((repository / ".github/workflows/publish.yml").read_text())
    assert github["permissions"] == {}
    (job,) = github["jobs"].values()
    assert job["permissions"] == {"contents": "write", "pages": "write", "id-token": "write"}
    assert github["concurrency"]["cancel-in-progress"] is False
    # `on` is a word that YAML 1.1 takes for true.
    assert set(github[True]) == {"push", "workflow_dispatch"}
    ran = [step["run"] for step in job["steps"] if "run" in step]
    assert ran[-1].split()[:2] == [".ci/publish.sh", "main"]
    assert not [script for script in ran if "${{" in script]
    served = [step["with"]["path"] for step in job["steps"] if "upload-pages" in step.get("uses", "")]
    assert served == ["public"]
    gitlab = yaml.safe_load((repository / ".gitlab-ci.yml").read_text())
    assert gitlab["pages"]["script"][-1].split()[0] == ".ci/publish.sh"
    assert gitlab["pages"]["artifacts"]["paths"] == ["public"]
    assert gitlab["pages"]["resource_group"]
    # The same harness is installed in all three workflows.
    verify = yaml.safe_load((repository / ".github/workflows/verify.yml").read_text())
    assert verify["env"] == github["env"]
    assert verify["env"].items() <= gitlab["pages"]["variables"].items()


def test_every_harness_command_of_the_repository_exists_with_its_options(repository):
    found = []
    for path in repository.rglob("*"):
        if path.is_file() and ".git" not in path.relative_to(repository).parts[:1]:
            text = path.read_text().replace("\\\n", " ")
            found += re.findall(r"(?:^[ -]*|`)(harness [a-z][^\n#`]*)", text, re.MULTILINE)
    lines = {" ".join(one.split()) for one in found}
    assert {line.split()[1] for line in lines} >= {"publish", "verify", "submit", "withdraw", "report", "run"}
    for line in lines:
        words = [word for word in shlex.split(line)[1:] if not word.startswith(("${options", "$"))]
        command, context = cli, click.Context(cli)
        while isinstance(command, click.Group) and words and words[0] != "...":
            command = command.get_command(context, words.pop(0))
            assert command is not None, line
        known = {name for one in command.params for name in one.opts}
        assert {word for word in words if word.startswith("--")} <= known, line


@pytest.fixture
def hosted(repository):
    """The repository with a remote, and a `harness` that publishes what stands in a file."""
    bare = repository.parent / "bare.git"
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", bare], check=True)
    git(repository, "remote", "add", "origin", str(bare))
    git(repository, "push", "-q", "origin", "main")
    tools = repository.parent / "tools"
    tools.mkdir()
    (tools / "harness").write_text(
        '#!/bin/sh\necho "called: $*"\n[ -f runs/broken ] && exit 2\n'
        "mkdir -p public/v\ncp runs/board public/index.html\n"
    )
    (tools / "harness").chmod(0o755)
    (repository / "runs").mkdir()
    (repository / "runs" / "board").write_text("one")
    return repository


def publish(repository: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [repository / ".ci/publish.sh", *args],
        cwd=repository.parent,
        env=os.environ | {"PATH": f"{repository.parent / 'tools'}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_script_publishes_what_moved_pushes_it_and_leaves_what_did_not(hosted):
    done = publish(hosted, "main", "https://example.org/board")
    assert done.returncode == 0, done.stderr
    called = "called: publish public --runs runs --diff --address https://example.org/board"
    assert done.stdout.splitlines()[0] == called
    bare = hosted.parent / "bare.git"
    assert git(bare, "show", "main:public/index.html") == "one"
    again = publish(hosted, "main")
    assert again.stdout.splitlines() == ["called: publish public --runs runs --diff", "public/ is as it was."]
    assert git(bare, "rev-list", "--count", "main").strip() == "2"
    (hosted / "runs" / "board").write_text("two")
    assert publish(hosted, "main").returncode == 0
    assert git(bare, "show", "main:public/index.html") == "two"
    # What is published is public/ alone.
    assert git(bare, "show", "--name-only", "--format=", "main").split() == ["public/index.html"]


def test_a_version_whose_push_failed_is_pushed_the_next_time(hosted):
    bare = hosted.parent / "bare.git"
    bare.rename(hosted.parent / "away.git")
    assert publish(hosted, "main").returncode != 0
    (hosted.parent / "away.git").rename(bare)
    again = publish(hosted, "main")
    assert again.returncode == 0, again.stderr
    assert again.stdout.splitlines()[-1] == "public/ is as it was."
    assert git(bare, "show", "main:public/index.html") == "one"


def test_a_board_that_cannot_be_built_ends_the_job_and_pushes_nothing(hosted):
    (hosted / "runs" / "broken").touch()
    assert publish(hosted, "main").returncode == 2
    assert git(hosted.parent / "bare.git", "rev-list", "--count", "main").strip() == "1"


@pytest.mark.parametrize("name", ["verify", "publish"])
def test_no_workflow_takes_an_action_whose_code_may_change(repository, name):
    workflow = yaml.safe_load((repository / f".github/workflows/{name}.yml").read_text())
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    used = [step["uses"] for step in steps if "uses" in step]
    assert used
    # A tag can be moved to other code, a commit cannot.
    assert [action for action in used if not re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", action)] == []
