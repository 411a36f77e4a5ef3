"""The workflows of a submissions repository, run step by step as GitHub does, their actions by stand-ins."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

import harness
from harness.cli import cli

ZIP = "submissions/lab.mine/submission.zip"
TOOL = '#!/bin/bash\necho "$(basename "$0") $*" >>"$CALLS"\n'
HARNESS = f"""{TOOL}case "$1" in
verify)
  wc -c <submission.zip
  if [ -f "$REFUSES" ]; then echo "Error: submission.zip: no zip." >&2; exit 1; fi ;;
publish) mkdir -p public; cp runs/board public/index.html ;;
esac
exit 0
"""
GH = f'{TOOL}cat "${{@: -1}}" >"$COMMENT"\n'


def git(folder: Path, *args: str) -> str:
    who = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    return subprocess.check_output(["git", "-C", folder, *who, *args], text=True, stderr=subprocess.DEVNULL)


@dataclass
class Host:
    """What runs the workflows: a remote repository, tools that write down their calls."""

    root: Path
    values: dict[str, str] = field(default_factory=dict)
    artifacts: dict[str, Path] = field(default_factory=dict)
    log: str = ""

    @property
    def bare(self) -> Path:
        return self.root / "bare.git"

    @property
    def calls(self) -> list[str]:
        path = self.root / "calls"
        return path.read_text().splitlines() if path.exists() else []

    @property
    def comment(self) -> str:
        return (self.root / "comment").read_text()

    def run(self, name: str) -> dict[str, str]:
        """Run a workflow's jobs in their order; return what became of each."""
        workflow = yaml.safe_load(git(self.bare, "show", f"main:.github/workflows/{name}.yml"))
        results: dict[str, str] = {}
        for job, told in workflow["jobs"].items():
            needed = [told["needs"]] if "needs" in told else []
            if any(results[one] != "success" for one in needed) and told.get("if") != "always()":
                results[job] = "skipped"
                continue
            self.values |= {f"needs.{one}.result": results[one] for one in needed}
            results[job] = self._job(workflow, job, told)
        return results

    def _job(self, workflow: dict, job: str, told: dict) -> str:
        place, failed = self.root / f"work-{job}", False
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        for step in told["steps"]:
            if failed and step.get("if") != "always()":
                continue
            done = self._uses(step, place) if "uses" in step else self._runs(workflow, step, place)
            failed = failed or not (done or step.get("continue-on-error", False))
        return "failure" if failed else "success"

    def _uses(self, step: dict, place: Path) -> bool:
        action, given = step["uses"].partition("@")[0], step.get("with", {})
        if action == "actions/checkout":
            subprocess.run(["git", "clone", "-q", self.bare, place], check=True)
        elif action == "actions/upload-artifact":
            # Nothing there to be handed over is a warning.
            path = Path(self._here(given["path"]))
            if path.exists():
                self.artifacts[given["name"]] = path
        elif action == "actions/download-artifact":
            if given["name"] not in self.artifacts:
                return False
            shutil.copy(self.artifacts[given["name"]], place)
        elif action == "actions/configure-pages":
            self.values[f"steps.{step['id']}.outputs.base_url"] = "https://example.org/board"
        elif action == "actions/upload-pages-artifact":
            return (place / given["path"] / "index.html").is_file()
        else:
            assert action in ("actions/setup-python", "actions/deploy-pages"), action
        return True

    def _runs(self, workflow: dict, step: dict, place: Path) -> bool:
        script = self.root / "step.sh"
        script.write_text(self._here(step["run"]))
        shell = step.get("shell", "bash -e {0}").replace("{0}", str(script)).split()
        named = workflow.get("env", {}) | step.get("env", {})
        told = {name: self._filled(value) for name, value in named.items()}
        env = os.environ | told | {
            "PATH": f"{self.root / 'tools'}:{os.environ['PATH']}",
            "HARNESS_REPOSITORY": str(self.root / "harness.git"),
            "GITHUB_BASE_REF": "main",
            "GITHUB_REPOSITORY": "owner/board",
            "CALLS": str(self.root / "calls"),
            "COMMENT": str(self.root / "comment"),
            "REFUSES": str(self.root / "refuses"),
        }  # fmt: skip
        done = subprocess.run(shell, cwd=place, env=env, capture_output=True, text=True, check=False)
        self.log += done.stdout + done.stderr
        return done.returncode == 0

    def _here(self, text: str) -> str:
        """Put what a runner has for itself below this folder."""
        return text.replace("/tmp/", f"{self.root}/tmp/")

    def _filled(self, text: str) -> str:
        return re.sub(r"\$\{\{ *([\w.]+) *\}\}", lambda found: self.values[found[1]], text)


@pytest.fixture
def host(tmp_path):
    """A host with a board's repository, a harness to clone, and a pull request, number 7."""
    board = tmp_path / "board"
    assert CliRunner().invoke(cli, ["board", "init", str(board)], catch_exceptions=False).exit_code == 0
    (board / "runs").mkdir()
    (board / "runs" / "board").write_text("one")
    code = tmp_path / "code"
    code.mkdir()
    (code / "constraints.txt").write_text("")
    for folder, bare in ((board, "bare.git"), (code, "harness.git")):
        git(folder, "init", "-q", "-b", "main")
        git(folder, "add", "-A")
        git(folder, "commit", "-qm", "First")
        git(folder, "tag", f"v{harness.__version__}")
        subprocess.run(["git", "clone", "-q", "--bare", folder, tmp_path / bare], check=True)
    git(board, "checkout", "-q", "-b", "theirs")
    (board / ZIP).parent.mkdir(parents=True)
    (board / ZIP).write_bytes(b"12345")
    git(board, "add", "-A")
    git(board, "commit", "-qm", "A submission")
    git(board, "push", "-q", str(tmp_path / "bare.git"), "theirs:refs/pull/7/head")
    tools = tmp_path / "tools"
    tools.mkdir()
    (tmp_path / "tmp").mkdir()
    for name, text in {"pip": TOOL, "docker": TOOL, "harness": HARNESS, "gh": GH}.items():
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    for name in ("user.name", "user.email"):
        git(tmp_path / "bare.git", "config", name, "x")
    return Host(tmp_path, {"github.event.pull_request.number": "7", "github.token": "t"})


def test_a_pull_request_is_verified_and_told_the_result(host):
    assert host.run("verify") == {"verify": "success", "comment": "success"}, host.log
    assert host.comment == "Verification: success\n\n    5\n"
    called = [" ".join(line.split()[:3]) for line in host.calls]
    assert called == [
        "pip install --quiet", "docker pull --quiet", "harness sandbox build",
        "harness verify submission.zip", "gh pr comment",
    ]  # fmt: skip
    assert "gh pr comment 7 --repo owner/board --body-file body.txt" in host.calls


def test_why_a_submission_is_refused_is_in_the_comment(host):
    (host.root / "refuses").touch()
    assert host.run("verify") == {"verify": "failure", "comment": "success"}, host.log
    assert host.comment.startswith("Verification: failure\n\n")
    assert "    Error: submission.zip: no zip." in host.comment


def test_a_run_that_ended_before_the_verification_is_told_too(host):
    (host.root / "tools" / "docker").write_text("#!/bin/sh\nexit 1\n")
    assert host.run("verify") == {"verify": "failure", "comment": "success"}, host.log
    assert (
        host.comment == "Verification: failure\n\n    It ended before the submission was read; see its log.\n"
    )


def test_what_is_published_is_pushed_and_served(host):
    assert host.run("publish") == {"publish": "success"}, host.log
    assert "harness publish public --runs runs --diff --address https://example.org/board" in host.calls
    assert git(host.bare, "show", "main:public/index.html") == "one"
