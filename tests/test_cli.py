"""The command line as a user meets it: real processes, their output and exit status."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import forked
import numpy as np
import pandas as pd
import pytest
import tomli_w
from PIL import Image
from tiny import PROTOCOL

HARNESS = Path(sys.executable).with_name("harness")


pytestmark = pytest.mark.usefixtures("server_of_processes")


def environment(cwd: Path, **env: str) -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "HARNESS_CACHE": str(cwd / "cache"), **env}


def harness(*args: str, cwd: Path, **env: str) -> forked.Done:
    return forked.command("harness", *args, cwd=cwd, env=environment(cwd, **env))


def installed(*args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The command as it was installed, from its first import on."""
    return subprocess.run(
        [str(HARNESS), *args], cwd=cwd, capture_output=True, text=True, timeout=300, env=environment(cwd)
    )


@pytest.fixture
def folder(tmp_path):
    table = PROTOCOL | {"seeds": [0]}
    (tmp_path / "tiny.toml").write_text(tomli_w.dumps(table))
    return tmp_path


def test_help_answers_without_torch_or_pandas(tmp_path):
    script = (
        "import sys; sys.argv = ['harness', '--help']\n"
        "from harness.cli import cli\n"
        "try: cli()\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'pandas', 'numpy', 'pydantic', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.rstrip().endswith("[]")


def test_from_a_protocol_to_a_site_and_the_second_run_does_nothing(folder):
    first = installed("run", "erm", "groupdro", "--protocol", "tiny.toml", cwd=folder)
    assert first.returncode == 0, first.stderr
    # ERM once for both attributes, GroupDRO once for each.
    assert "3 trials to run" in first.stdout
    assert "[3/3]" in first.stdout
    before = {p: p.stat().st_mtime_ns for p in (folder / "runs" / "records").rglob("*")}
    second = harness("run", "erm", "groupdro", "--protocol", "tiny.toml", cwd=folder)
    assert second.returncode == 0
    assert "Nothing to do: all 3 trials are done." in second.stdout
    assert before == {p: p.stat().st_mtime_ns for p in (folder / "runs" / "records").rglob("*")}
    listed = harness("list", "trials", cwd=folder).stdout.splitlines()
    assert len(listed) == 3
    shown = harness("show", listed[0].split()[0], "--json", cwd=folder)
    assert '"status": "done"' in shown.stdout
    sizes = pd.read_parquet(folder / "runs" / "protocols" / "tiny" / "sizes.parquet")
    assert list(sizes.columns) == ["sample", "cup", "rim", "disc"]
    assert (sizes["cup"] + sizes["rim"] == sizes["disc"]).all()
    report = harness("report", cwd=folder)
    assert report.returncode == 0, report.stderr
    assert (folder / "site" / "index.html").is_file()
    again = harness("report", "--diff", "site", cwd=folder)
    assert again.stdout.splitlines()[1:] == ["Nothing moved."]


def test_dry_run_lists_the_trials_and_writes_nothing(folder):
    done = harness(
        "run", "febs", "--protocol", "tiny.toml", "--controls", "--dry-run", cwd=folder, COLUMNS="40"
    )
    assert done.returncode == 0
    assert "erm seed 0" in done.stdout
    # A line a trial, also where it is piped on: none is broken at some width.
    *lines, total, outlook = done.stdout.splitlines()
    assert total == f"{len(lines)} trials: {len(lines)} to run."
    assert outlook.startswith("No estimate of the time: no trial of this protocol")
    started = [line for line in lines if "febs race seed 0" in line]
    assert [line.partition("  starts from ")[2] for line in started] == [lines[0][:8]]
    assert not (folder / "runs").exists()


def test_a_trial_is_called_by_the_values_that_are_not_its_defaults(folder):
    values = {"groupdro": {"step_size": 0.5, "adjustment": 0.0}}
    (folder / "set.toml").write_text(tomli_w.dumps(PROTOCOL | {"seeds": [0], "methods": values}))
    done = harness("run", "groupdro", "--protocol", "set.toml", "--dry-run", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "groupdro (step_size=0.5) race seed 0\n" in done.stdout


def test_a_broken_plugin_makes_the_status_non_zero_and_the_others_run(folder):
    (folder / "bad.py").write_text("def oops(:\n")
    done = harness("run", "erm", "bad.py", "--protocol", "tiny.toml", cwd=folder)
    assert done.returncode == 1
    assert "broken plugin bad" in done.stdout
    assert "bad.py:1: SyntaxError" in done.stdout
    assert "erm seed 0 done" in done.stdout


def test_a_failed_trial_is_shown_and_makes_the_status_non_zero(folder):
    (folder / "nan.py").write_text(
        "from harness import Card, Method, segmentation_loss\n"
        "class Nan(Method):\n"
        "    card = Card(title='Nan')\n"
        "    def loss(self, batch, output):\n"
        "        return segmentation_loss(output.logits, batch.masks, 0.8) * float('nan')\n"
    )
    done = harness("run", "nan.py", "erm", "--protocol", "tiny.toml", cwd=folder)
    assert done.returncode == 1
    assert "Nan.loss became nan at step 0" in done.stdout
    assert "erm seed 0 done" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["rn"], "There is no command 'rn'. Did you mean 'run'?"),
        (["run"], "Name the methods to run, or give --all"),
        (["run", "gropdro"], "There is no method 'gropdro'. Did you mean 'groupdro'?"),
        (["run", "erm", "--protocol", "quik"], "There is no protocol 'quik'. Did you mean 'quick'?"),
        (["run", "erm", "--protocol", "gone.toml"], "gone.toml: No such file or directory"),
        (["run", "erm", "--protocol", "tiny.toml", "--seeds", "a"], "--seeds a: give whole numbers"),
        (["run", "erm", "--protocol", "tiny.toml", "--device", "cuda:99"], "--device cuda:99: "),
        (["run", "erm", "--protocol", "quick"], "run `harness weights fetch mobile-sam`"),
        (["show", "zzz"], "no record with an id that begins with 'zzz'"),
        (["weights", "fetch", "mobilesam"], "Did you mean 'mobile-sam'?"),
        (
            ["weights", "fetch", "mobile-sam", "--cache", "tiny.toml/x"],
            "tiny.toml/x/weights: Not a directory",
        ),
        (["list", "trials", "--runs", "tiny.toml"], "--runs tiny.toml: a file; give the folder"),
        (["run", "erm", "--protocol", "tiny.toml", "--runs", "tiny.toml"], "--runs tiny.toml: a file"),
        (["run", "erm", "--protocol", "tiny.toml", "--runs", "tiny.toml/x"], "Not a directory; give a path"),
        (
            ["tune", "erm", "--budget", "1", "--protocol", "tiny.toml", "--out", "tiny.toml/x.json"],
            "tiny.toml/x.json: Not a directory; give another file with --out",
        ),
    ],
)
def test_a_mistake_gets_one_sentence_and_status_2(folder, args, message):
    done = harness(*args, cwd=folder)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder / "runs").exists()


def test_it_runs_as_a_module(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "harness", "list", "protocols"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "quick" in done.stdout


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("harness ru", ["run"]),
        ("harness run gro", ["group-thresholds", "groupdro"]),
        ("harness run --protocol qu", ["quick"]),
        ("harness run --dev", ["--device"]),
        ("harness run --device cu", ["cuda", "cuda:0"]),
        ("harness weights fetch mob", ["mobile-sam"]),
        ("harness list tr", ["trials"]),
    ],
)
def test_the_shell_completes(tmp_path, words, offered):
    env = {
        "_HARNESS_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    done = harness(cwd=tmp_path, **env)
    assert [line.split(",")[1] for line in done.stdout.splitlines()] == offered


def test_lists(folder):
    methods = harness("list", "methods", cwd=folder).stdout.splitlines()
    wide = max(len(line.split()[0]) for line in methods)
    assert "groupdro".ljust(wide) + " Group DRO (step_size=0.01, adjustment=0.0)" in methods
    assert {line[wide] for line in methods} == {" "}, "a name is wider than its column"
    assert "quick" in harness("list", "protocols", cwd=folder).stdout


def test_cohort_shows_who_is_in_it(folder):
    shown = harness("cohort", "tiny.toml", cwd=folder)
    assert shown.returncode == 0, shown.stderr
    assert "80 samples" in shown.stdout
    assert "Black" in shown.stdout


def test_audit_finds_a_sound_cohort_sound(folder):
    done = harness("cohort", "tiny.toml", "--audit", cwd=folder)
    assert done.returncode == 0
    assert "Audit: 0 findings, 0 of which would spoil a ranking." in done.stdout


def test_audit_of_a_cohort_with_a_leak_says_where_and_makes_the_status_non_zero(folder):
    images = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    images[39] = images[0]
    rows = []
    for i, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{i}.png")
        Image.fromarray(np.pad(np.ones((16, 16), np.uint8), 8)).save(folder / f"{i}_mask.png")
        sex = "female" if i % 2 else "[male]"
        split = "test" if i >= 20 else "train"
        rows.append(f"s{i},p{i},{i}.png,{i}_mask.png,{sex},{split}")
    (folder / "manifest.csv").write_text("\n".join(["id,patient,image,mask,sex,split", *rows]))
    table = PROTOCOL | {
        "cohort": {"source": "folder", "size": 32},
        "structures": {"spot": [1]},
        "ranked_by": "spot",
        "attributes": {"sex": {}},
    }
    (folder / "leak.toml").write_text(tomli_w.dumps(table))
    done = harness("cohort", "leak.toml", "--data", ".", "--audit", cwd=folder)
    assert done.returncode == 1, done.stderr
    assert "'s0' (train) and 's39' (test) show nearly the same image" in done.stdout
    assert "1 of which would spoil a ranking" in done.stdout
    assert "│ sex       │ [male] │ train │ 10" in done.stdout


def test_interrupted_by_ctrl_c_says_how_to_go_on_and_leaves_no_half_record(folder):
    import signal

    command = [str(HARNESS), "run", "erm", "adv", "--protocol", "tiny.toml"]
    env = environment(folder)
    # In the background of a shell, where CI may run, Ctrl-C is ignored by all that is started there.
    process = subprocess.Popen(
        command, cwd=folder, env=env, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    work = folder / "runs" / "work"
    while not (work.is_dir() and list(work.glob("*/progress.json"))):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    # Whether an epoch of a second was finished is chance; what is said of it must be one of these.
    said = ("nothing was saved yet: it starts at step 0 again", "goes on at epoch 2 of 2", "done")
    under_way = [line for line in errors.splitlines() if line.startswith("  ")]
    assert under_way
    assert all(line.endswith((*said, "is trained; goes on with predicting")) for line in under_way)
    assert errors.splitlines()[-1] == "The same command goes on from there."
    assert not [p for p in (folder / "runs").glob("records/*") if not (p / "record.json").is_file()]
    assert harness(*command[1:], cwd=folder).returncode == 0


def test_tuning_writes_a_file_that_a_run_uses(folder):
    (folder / "one.toml").write_text(tomli_w.dumps(PROTOCOL | {"seeds": [0], "attributes": {"race": {}}}))
    under = ("groupdro", "--protocol", "one.toml")
    first = harness("tune", *under, "--budget", "1", cwd=folder)
    assert first.returncode == 0, first.stderr
    assert "groupdro: nothing to choose (step_size=0.01, adjustment=0.0), ES-Dice 0." in first.stdout
    assert not (folder / "runs" / "records").exists()
    second = harness("tune", *under, "--budget", "1", cwd=folder)
    assert "Nothing to do: all 1 trials are done." in second.stdout
    more = harness("tune", *under, "--budget", "2", cwd=folder)
    assert more.returncode != 0
    assert "no method may be tuned more than another" in more.stderr
    used = harness("run", *under, "--tuned", "runs/tuning/tiny.json", "--dry-run", cwd=folder)
    assert used.returncode == 0, used.stderr
    assert "1 trials: 1 to run." in used.stdout
