"""What a word at the prompt was meant to be: by what it means first, and by how it is spelt second."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

OPTIONS: dict[str, str] = {
    "--accept-licence": "accept-license yes agree licence-accepted",
    "--all": "everything every all-methods",
    "--attribute": "attr attrs attributes group groups demographic demographics sensitive protected "
    "sensitive-attribute protected-attribute race sex gender age subgroup subgroups",
    "--address": "url base-url site-url href domain host",
    "--archive": "doi zenodo-doi deposit record-doi",
    "--audit": "check checks leak leaks leakage quality validate",
    "--base": "from-image base-image",
    "--budget": "tries trials n-trials max-trials evaluations samples iterations",
    "--cache": "cache-dir cache-folder weights-dir",
    "--controls": "control twins ablation ablations baselines shuffled",
    "--cuda": "gpu gpus",
    "--data": "dataset data-dir data-path data-root input inputs images root cohort dir",
    "--device": "gpu gpus gpu-id cuda cpu accelerator use-gpu",
    "--diff": "changes compare since old baseline changes moved against",
    "--dry-run": "dry dryrun plan preview what-if simulate no-run list estimate eta n",
    "--author": "authors creator creators by",
    "--executor": "engine backend launcher scheduler slurm ray cluster dask submitit",
    "--executor-config": "executor-file cluster-config launcher-config",
    "--follow": "f tail",
    "--kind": "kinds what type only",
    "--licence": "license spdx",
    "--set": "option opt executor-option",
    "--watcher": "watchers tensorboard mlflow wandb tracker logger",
    "--zenodo": "doi archive for",
    "--folder": "dir directory path where",
    "--from": "source url file mirror address local",
    "--jobs": "j job workers n-workers num-workers parallel processes procs concurrency n-jobs threads np",
    "--json": "as-json machine raw format",
    "--memory": "mem ram memory-limit mem-limit gigabytes gb",
    "--minutes": "time timeout time-limit max-time hours seconds limit walltime",
    "--no-images": "no-cases without-images no-pictures private hide-images",
    "--open": "browser show view launch",
    "--out": "output o out-dir output-dir outdir dest destination to target save save-to write site file",
    "--protocol": "config cfg configuration benchmark toml settings experiment setup p",
    "--requires": "require requirement requirements package packages needs",
    "--rerun": "seed seeds retrain train-again reproduce replay again",
    "--retry-failed": "retry rerun-failed redo force again failed rerun overwrite",
    "--runs": "out output o out-dir output-dir outdir save records results "
    "run-dir runs-dir results-dir store log-dir logdir workdir work-dir",
    "--sandbox": "docker container isolate isolated untrusted safe podman",
    "--seeds": "seed repeats repetitions replicates replicas random-seed random-state n-seeds num-seeds s",
    "--cards": "gpus gpus-per-trial n-gpus num-gpus devices ddp data-parallel distributed world-size nproc",
    "--slice": "slices microbatch micro-batch accumulate accumulation chunk",
    "--csv": "as-csv comma-separated spreadsheet",
    "--id": "id-column case-id sample-id index key-column",
    "--name": "model-name call label-as",
    "--number": "numeric continuous covariate covariates along column-along",
    "--predictions": "prediction pred preds segmentations outputs predictions-only",
    "--title": "caption heading display-name",
    "--pair": "pairing file-pattern filename-pattern template suffix",
    "--patient": "patient-id patient-column cluster subject subject-id person",
    "--relabel": "label-map remap map-labels labels-map",
    "--resample": "interpolate interpolation resize",
    "--spacing": "voxel-spacing voxel-size pixel-size zooms mm",
    "--table": "metadata demographics-file manifest clinical spreadsheet-file",
    "--tolerance": "nsd-tolerance margin tau",
    "--truth": "gt ground-truth reference references masks target-masks",
    "--thumbnails": "thumbnail images preview pictures samples png",
    "--tuned": "hyper-parameters hyperparameters params hparams best best-params tuning values",
    "--unverified": "no-verify skip-verify trust self-reported reported unchecked",
    "--why": "reason reasons explain explanation because",
    "--board": "key protocol from on",
    "--watch": "follow live serve auto poll loop continuous",
    "--wheels": "wheel wheelhouse find-links offline wheel-dir",
    "--version": "v ver",
    "--help": "usage man h",
}
"""What an option does, as the words that other programs use for it."""

_RECIPE = (
    "epochs epoch n-epochs num-epochs max-epochs batch batch-size bs lr learning-rate rate optimizer "
    "optimiser weight-decay wd momentum warmup warmup-steps schedule scheduler augmentation augment "
    "precision amp fp16 bf16 steps max-steps dice-weight checkpoint-rule selection finetune"
)
_PROTOCOL = {
    "recipe": _RECIPE,
    "backbone": "backbone network net arch architecture encoder rank lora adapt freeze variant",
    "cohort": "size image-size img-size resolution manifest fit",
    "split": "split test-size test-fraction validation val folds fold cv",
    "structures": "structure structures label labels class classes target",
}

_NOT_NEEDED = {
    "resume continue restart-from checkpoint ckpt": "A run that was stopped goes on by itself when the same "
    "command is given again.",
    "verbose debug log-level": "What a trial prints is kept in its record; `harness show ID` says where.",
    "quiet q silent": "Send the output elsewhere, as in `harness run ... > /dev/null`.",
    "yes y assume-yes": "Nothing asks for a confirmation.",
    "method methods model models algorithm name": "Methods are named without an option, as in "
    "`harness run erm febs`.",
    "hparam param define": "Hyper-parameters are the protocol's: set them under [methods.NAME] in a "
    "copy of its file, and give that with --protocol FILE.",
}

COMMANDS: dict[str, str] = {
    "run": "train fit start execute launch benchmark bench go predict resume rerun retry experiment",
    "score": "evaluate eval metrics metric dice predictions grade",
    "list": "ls methods protocols trials records overview runs results",
    "show": "cat info inspect view describe record trial get details print traceback",
    "status": "ps top progress queue jobs squeue running eta monitor",
    "logs": "log tail output stdout stderr follow",
    "gc": "clean cleanup prune purge tidy vacuum",
    "doctor": "diagnose health env environment version versions sysinfo",
    "export": "zenodo doi deposit dataset-archive",
    "cohort": "dataset audit demographics groups subjects patients samples split",
    "report": "board leaderboard site html build render plot figures tables compare diff serve open",
    "publish": "deploy pages host release versions history feed atom github gitlab static",
    "plan": "power sample-size seeds-needed enough precision",
    "data": "datasets public-data papila corpus",
    "weights": "download fetch checkpoint checkpoints pretrained models",
    "init": "setup start-here begin bring own-data folder",
    "new": "create add scaffold template generate method",
    "check": "test validate lint conformance plugin",
    "pack": "zip export-method bundle archive package send",
    "verify": "confirm recompute reproduce validate-submission examine",
    "merge": "combine join union sync pull gather collect",
    "submit": "upload import accept add-submission enter receive",
    "sandbox": "docker container image isolate",
    "board": "boards archive restore keys",
    "withdraw": "remove rm delete drop del retract",
    "tune": "search sweep optimise optimize hpo grid hyper-parameters optuna",
}
"""What a command does, likewise."""

LISTS: dict[str, str] = {
    "methods": "method model models algorithm algorithms plugin plugins",
    "protocols": "protocol config configs benchmark benchmarks",
    "space": "size sizes disk bytes storage usage cache weights du",
    "trials": "trial record records run runs result results scores jobs status history",
}
"""What `harness list` lists, likewise."""

DEVICES: dict[str, str] = {
    "cuda": "gpu gpus nvidia rocm hip",
    "cuda:0": "0 gpu0 gpu:0 cuda0 cuda-0 first",
    "cpu": "none no host processor -1",
    "auto": "any best default",
}
"""What a device is called elsewhere."""


def meant(word: str, known: Iterable[str], words: Mapping[str, str]) -> str:
    """Return which of `known` a word was meant to be, "" where nobody can tell.

    words: each of `known` to other words for it. A word for the same thing comes before one that is spelt
    alike: `--attribute` is not `--minutes`.
    """
    plain, known = _plain(word), list(known)
    for name in known:
        if plain in words.get(name, "").split():
            return name
    spelt = {_plain(name): name for name in reversed(known)}
    close = difflib.get_close_matches(plain, spelt, n=1, cutoff=0.7)
    if not close:
        spelt = {other: name for name in reversed(known) for other in words.get(name, "").split()}
        close = difflib.get_close_matches(plain, [one for one in spelt if len(one) > 3], n=1, cutoff=0.8)
    return spelt[close[0]] if close else ""


def instead(option: str) -> str:
    """Return one sentence about what is no option because it is decided elsewhere, "" for other words."""
    plain = _plain(option)
    for part, words in _PROTOCOL.items():
        if plain in words.split():
            return (
                f"It is the protocol's ([{part}]), the same for every method: change it in a copy of the "
                "protocol's file, and give that with --protocol FILE."
            )
    return next((said for words, said in _NOT_NEEDED.items() if plain in words.split()), "")


def _plain(word: str) -> str:
    return word.lstrip("-").lower().replace("_", "-")
