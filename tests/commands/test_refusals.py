"""What needs no torch is refused before torch is imported, whatever the verb and whatever is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import tomli_w
from PIL import Image
from shared import made_once
from tiny import PROTOCOL

# One process for all: each is a command that fails, and the first that imported torch would show.
EACH = """
import contextlib, io, json, sys
from harness import cli
told = []
for arguments in json.loads(sys.argv[1]):
    said = io.StringIO()
    sys.argv = ["harness", *arguments]
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        status = cli._status()
    heavy = sorted({"torch", "scipy", "timm"} & sys.modules.keys())
    told.append([status, said.getvalue(), heavy])
print(json.dumps(told))
"""

TINY = ("--protocol", "tiny.toml")
REFUSED = [
    (("run",), "Name the methods to run, or give --all"),
    (("run", "erm", "--all"), "Name the methods to run, or give --all"),
    (("run", "gropdro"), "There is no method 'gropdro'. Did you mean 'groupdro'?"),
    (("run", "gone/erm.py"), "gone/erm.py: no such file"),
    (("run", "quick"), "'quick' is a protocol and no method: give --protocol quick."),
    (("run", "tiny.toml"), "'tiny.toml' is a protocol and no method: give --protocol tiny.toml."),
    (("run", "erm", "--why"), "--why explains what --dry-run lists"),
    (("run", "erm", "--device", "cuda:0,1,0"), "--device cuda:0,1,0: the GPU 0 stands twice; give each once"),
    (("run", "erm", "--device", "cuda:0,"), "--device cuda:0,: there is no such device; give auto, cpu"),
    (("run", "erm", "--slice", "few"), "--slice few: give a whole number of samples, 0 for all, or auto."),
    (("run", "erm", "--slice", "-1"), "--slice -1: give a whole number of samples, 0 for all, or auto."),
    (("run", "erm", "--protocol", "quik"), "There is no protocol 'quik'. Did you mean 'quick'?"),
    (("run", "erm", "--protocol", "gone.toml"), "gone.toml: No such file or directory"),
    (("run", "erm", "--protocol", "erm"), "'erm' is a method and no protocol."),
    (("run", "erm", "--protocol", "minus.toml"), "minus.toml: seeds.0: Input should be greater"),
    (("run", "erm", "--protocol", "huge.toml"), "huge.toml: seeds.0: Input should be less than"),
    (("run", "erm", "--protocol", "true.toml"), "true.toml: seeds.0: Input should be a valid integer"),
    (("run", "erm", "--protocol", "drawn.toml"), "seed: Input should be greater than or equal to 0"),
    (("run", "erm", *TINY, "--seeds", "a"), "--seeds a: give whole numbers with commas between them: 0,1,2."),
    (("run", "erm", *TINY, "--seeds", "1.0"), "--seeds 1.0: give whole numbers"),
    (("run", "erm", *TINY, "--seeds", "1_0"), "--seeds 1_0: give whole numbers"),
    (("run", "erm", *TINY, "--seeds", ""), "--seeds : give whole numbers"),
    (("run", "erm", *TINY, "--seeds", "-1"), "--seeds -1: -1 is no seed; a seed is a whole number"),
    (("run", "erm", *TINY, "--seeds", "0," + "9" * 21), "is no seed; a seed is a whole number from 0"),
    (("run", "erm", *TINY, "--seeds", str(2**63)), f"{2**63} is no seed"),
    (("run", "erm", *TINY, "--seeds", "0,1,0"), "the seed 0 stands twice; give each once."),
    (("run", "erm", *TINY, "--seeds", "0", "1", "2"), "commas between them and no blanks: --seeds 0,1,2."),
    (("run", *TINY, "--seeds", "0", "1", "erm"), "commas between them and no blanks: --seeds 0,1."),
    (("run", "erm", *TINY, "--attribute", "rase"), "the protocol 'tiny' has no such attribute. Did"),
    (("run", "erm", *TINY, "--attribute", "race", "--attribute", "race"), "--attribute race: stands twice"),
    (("run", "erm", *TINY, "--attribute", "race,gender"), "one by one: --attribute race --attribute gender."),
    (("run", "erm", *TINY, "--attribute", "race", "gender"), "give --attribute race --attribute gender."),
    (("run", "erm", *TINY, "--device", "gpu"), "there is no such device; give auto, cpu, cuda or cuda:N"),
    (("run", "erm", *TINY, "--device", "cuda:x"), "--device cuda:x: there is no such device"),
    (("run", "erm", *TINY, "--data", "gone"), "--data gone: there is no such folder"),
    (("run", "erm", *TINY, "--runs", "tiny.toml"), "--runs tiny.toml: a file; give the folder"),
    (("run", "erm", *TINY, "--cache", "tiny.toml"), "--cache tiny.toml: a file"),
    (("run", "erm", *TINY, "--tuned", "gone.json"), "gone.json: No such file or directory; harness"),
    (("run", "erm", *TINY, "--tuned", "tiny.toml"), "tiny.toml: not a file of harness tune"),
    (("run", "erm", "--protocol", "quick", "--cache", "empty"), "run `harness weights fetch mobile-sam`"),
    (("run", "erm", "--protocol", "net.toml"), "there is no backbone 'unett'. Did you mean 'unet'?"),
    (("run", "erm", "--protocol", "table.toml"), "The cohort source 'folder' reads files"),
    (("run", "erm", "--protocol", "table.toml", "--data", "empty"), "the source 'folder' needs a manifest"),
    (("run", "erm", "--protocol", "table.toml", "--data", "table"), "manifest.csv, line 3, id 'b' has 'old'"),
    (("tune", "--budget", "2"), "Name the methods to tune, or give --all"),
    (("tune", "gropdro", "--budget", "2"), "There is no method 'gropdro'"),
    (("tune", "erm", "--budget", "2", *TINY, "--seeds", "-3"), "-3 is no seed"),
    (("tune", "erm", "--budget", "2", *TINY, "--out", "tiny.toml"), "tiny.toml: not a file of harness tune"),
    (("list", "runs"), "There is nothing called 'runs' to list. Did you mean 'trials'?"),
    (("list", "trials", "--runs", "tiny.toml"), "--runs tiny.toml: a file"),
    (("show", "zzz"), "runs: no record with an id that begins with 'zzz'"),
    (("cohort", "quik"), "There is no protocol 'quik'. Did you mean 'quick'?"),
    (("cohort", "tiny.toml", "--thumbnails", "gone/x.png"), "--thumbnails gone/x.png: there is no folder"),
    (("cohort", "table.toml", "--data", "table"), "table/manifest.csv, line 3, id 'b' has 'old'"),
    (("report",), "runs: nothing was run here yet, so there is nothing to report"),
    (("report", "--out", "tiny.toml"), "--out tiny.toml: a file; give a folder for the site."),
    (("report", "--out", "table"), "table: not a site of the leaderboard; give --out"),
    (("report", "--diff", "gone"), "--diff gone: there is no gone; give a site"),
    (("report", "--watch", "--diff", "x"), "--watch and --diff exclude each other"),
    (("publish", "site"), "runs: nothing was run here yet, so there is nothing to report"),
    (("publish", "tiny.toml"), "tiny.toml: a file; give a folder for the site."),
    (("publish", "table"), "table: holds a.png and no version yet; begin in a new or empty folder."),
    (("publish", "runs/public"), "records lie in it, or it in them"),
    (("publish", "."), "records lie in it, or it in them"),
    (("publish", "s3://bucket/site"), "s3://bucket/site: an address"),
    (("publish", "site", "--address", "example.org"), "--address example.org: give where the folder is"),
    (("publish", "site", "--archive", "zenodo.1"), "--archive zenodo.1: give a DOI"),
    (("score", "gone"), "gone: there is no such file or folder"),
    (("score", "empty"), "Give --truth with the true masks and --table with the groups, or --protocol."),
    (("score", "empty", "--truth", "gone"), "gone: there is no such file or folder"),
    (("score", "empty", "--truth", "empty", "--table", "gone"), "--table gone: there is no such file"),
    (("score", "empty", "--truth", "empty", "--protocol", "quick"), "--truth and --protocol exclude each"),
    (("score", "empty", "--protocol", "quik"), "There is no protocol 'quik'. Did you mean 'quick'?"),
    (("score", "empty", "empty", "--truth", "empty"), "Two sets of predictions are called 'empty'"),
    (("score", "empty", "--truth", "empty", "--name", "a", "--name", "b"), "2 names for 1 sets"),
    (("score", "empty", "--truth", "empty", "--spacing", "1,x"), "--spacing 1,x: give two or three numbers"),
    (("score", "empty", "--truth", "empty", "--json", "--csv"), "--json and --csv exclude each other"),
    (("score", "empty", "--truth", "empty", "--images", "empty"), "add --publish-images if they may"),
    (("score", "empty", "--truth", "empty", "--out", "tiny.toml"), "--out tiny.toml: a file"),
    (("weights", "fetch", "mobilesam"), "There are no weights 'mobilesam'. Did you mean 'mobile-sam'?"),
    (("data", "fetch", "papilla"), "There is no data set 'papilla'. Did you mean 'papila'?"),
    (("data", "fetch", "papila"), "Nobody is here to accept the licence of 'papila'; give --accept-licence."),
    (("new", "2fair"), "'2fair' is no method's name"),
    (("new", "erm"), "is a method that is there already"),
    (("check", "gropdro"), "There is no method 'gropdro'. Did you mean 'groupdro'?"),
    (("pack", "gropdro", *TINY), "There is no method 'gropdro'"),
    (("pack", "erm", *TINY, "--out", "gone/x.zip"), "--out gone/x.zip: there is no folder gone"),
    (("pack", "erm", *TINY, "--tuned", "gone.json"), "gone.json: No such file or directory"),
    (("pack", "x", *TINY, "--predictions", "gone"), "--predictions gone: there is no such folder"),
    (("pack", "erm", *TINY, "--title", "x"), "--title is of --predictions DIR"),
    (("pack", "a b", *TINY, "--predictions", "empty"), "'a b' is no name for a method"),
    (("submit", "gone.zip", "--predictions"), "gone.zip: No such file or directory"),
    (("submit", "x", "--predictions", "--unverified"), "--unverified and --predictions exclude each other"),
    (("verify", "gone.zip"), "gone.zip: No such file or directory; give the file that"),
    (("verify", "tiny.toml"), "tiny.toml: not a zip, or damaged"),
    (("verify", "x.zip", "--rerun", "-1"), "--rerun -1: -1 is no seed"),
    (("verify", "x.zip", "--sandbox", "docker"), "--sandbox is of --rerun SEED"),
    (("verify", "x.zip", "--device", "gpu"), "--device gpu: there is no such device"),
    (("submit", "gone.zip"), "gone.zip: No such file or directory"),
    (("init", "gone"), "gone: not a folder; give the folder with images, masks and a table."),
    (("plan", "--power"), "runs has no records of protocol 'quick'"),
    (("board", "archive", "gone"), "runs: there is no board 'gone'."),
    (("merge", "gone"), "there is no such folder; give the folder of the other records"),
    (("merge", "empty"), "empty: has no records and no boards"),
    (("status", "--runs", "s3://bucket/runs"), "--runs s3://bucket/runs: an address, and s3 renames no"),
    (("run", "erm", *TINY, "--runs", "gs://b"), "--runs gs://b: an address"),
    (("run", "erm", *TINY, "--cache", "s3:/b/c"), "--cache s3:/b/c: an address"),
    (("report", "--out", "s3://bucket/site"), "--out s3://bucket/site: an address"),
    (("withdraw", "erm"), "runs: there is no board 'quick'."),
    (("run", "erm", *TINY, "--executor", "slrm"), "there is no such executor. Did you mean 'slurm'"),
    (("run", "erm", *TINY, "--set", "per_gpu"), "--set per_gpu: give an option and its value, as in"),
    (("run", "erm", *TINY, "--set", "gpus=2"), "--set gpus: the executor 'local' has no such option."),
    (("run", "erm", *TINY, "--executor-config", "gone.toml"), "gone.toml: No such file or directory; --exec"),
    (("run", "erm", *TINY, "--executor-config", "tiny.toml"), "tiny.toml: has no table [executor.local]"),
    (("run", "erm", *TINY, "--watcher", "tensrboard"), "there is no such watcher. Did you mean"),
    (("status", "--runs", "tiny.toml"), "--runs tiny.toml: a file; give the folder"),
    (("status", "--json", "--watch"), "--watch is for people and --json for programs; give one of them."),
    (("logs", "zzz"), "runs: no trial with an id that begins with 'zzz'"),
    (("gc", "--kind", "records"), "--kind records: there is no such kind. Did you mean 'record'?"),
    (("doctor", "--runs", "tiny.toml"), "--runs tiny.toml: a file; give the folder"),
    (("export", "gone", "--zenodo", "--author", "Doe, Jo"), "runs: there is no board 'gone'."),
    (("export", "gone", "--author", "Doe, Jo"), "harness export: say for whom; --zenodo is what there is."),
    (("rn",), "There is no command 'rn'. Did you mean 'run'?"),
]  # fmt: skip


def fill(folder: Path) -> None:
    """Write protocols that do not fit, each for one reason, and a table with a bad value."""
    table = {
        "cohort": {"source": "folder", "size": 16},
        "structures": {"spot": [1]},
        "ranked_by": "spot",
        "attributes": {"age": {"bins": [60]}},
    }
    protocols = {
        "tiny": {"seeds": [0]},
        "minus": {"seeds": [-1]},
        "huge": {"seeds": [10**20]},
        "true": {"seeds": [True]},
        "drawn": {"cohort": PROTOCOL["cohort"] | {"seed": -1}},
        "net": {"backbone": {"name": "unett"}},
        "table": table,
    }
    for name, changes in protocols.items():
        (folder / f"{name}.toml").write_text(tomli_w.dumps(PROTOCOL | changes))
    (folder / "empty").mkdir()
    (folder / "table").mkdir()
    for name in ("a", "b", "c", "d"):
        Image.new("L", (16, 16), 1).save(folder / "table" / f"{name}.png")
    rows = [
        f"{name},{name},{name}.png,{name}.png,{age}"
        for name, age in zip("abcd", (50, "old", 70, 80), strict=True)
    ]
    (folder / "table" / "manifest.csv").write_text("\n".join(["id,patient,image,mask,age", *rows]))


@pytest.fixture(scope="module")
def answers(tmp_path_factory) -> list:
    folder = made_once(tmp_path_factory, "refused", fill)
    commands = [list(arguments) for arguments, _ in REFUSED]
    done = subprocess.run(
        [sys.executable, "-c", EACH, json.dumps(commands)],
        cwd=folder, capture_output=True, text=True, check=True, timeout=300,
    )  # fmt: skip
    assert not (folder / "runs").exists()
    return json.loads(done.stdout)


@pytest.mark.parametrize("number", range(len(REFUSED)), ids=[" ".join(one)[:60] for one, _ in REFUSED])
def test_it_is_one_sentence_with_status_2_and_without_torch(answers, number):
    status, said, heavy = answers[number]
    assert REFUSED[number][1] in said
    assert status == 2
    assert heavy == []
    assert "Traceback" not in said
    # One sentence, below the usage of the command where it is about an option.
    assert len([line for line in said.splitlines() if line.startswith("Error: ")]) == 1


def test_every_verb_is_among_them():
    from harness.cli import cli

    assert {arguments[0] for arguments, _ in REFUSED} >= set(cli.commands) - {"sandbox"}
