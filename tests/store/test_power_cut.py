"""A power cut at every moment of every write: nothing half is there, and the next run completes."""

from __future__ import annotations

import ast
import hashlib
import io
import itertools
import json
import os
import shutil
import sys
import time
import urllib.request
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import jinja2
import numpy as np
import pytest
from filelock import BaseFileLock
from PIL import Image
from power import Disk, PowerCut
from ran import FROZEN, SMALL, Ran
from safetensors.torch import load_file, save
from test_run import Inline
from tiny import CPU, Silent, parse, prepare

import leaderboard
from harness import cohorts
from harness.backbones import weights
from harness.backbones.weights import Checkpoint
from harness.cohorts import cache as cohort_cache
from harness.cohorts import fetching, survey
from harness.commands import audit_page, init
from harness.errors import HarnessError
from harness.plugin import discovery
from harness.plugin.declared import About
from harness.plugin.method import Card
from harness.plugin.new import write_method
from harness.predictions import export
from harness.running import boards, doctor, garbage, merging, provenance, space, trial, tune
from harness.running import export as board_export
from harness.running.board import protocol_digest, write_protocol
from harness.running.paths import Paths
from harness.running.plan import Plan
from harness.running.prepare import Prepared
from harness.running.schedule import embed_cohort, execute
from harness.running.why import keep_parts
from harness.sandbox import runs, staging
from harness.sandbox.limits import Limits
from harness.store import Store, Try, Tuned, contents, files, names, published
from harness.submission import archive, pack, repository, yardstick
from harness.submission.submit import submit
from harness.submission.verify import verify
from harness.training import embed, fit
from leaderboard import kept, publishing, site
from leaderboard.write import compiled, versions

ROOT = Path(files.__file__).parents[2]
HERE = Path(__file__).parent

Parts = dict[str, object]


@dataclass(frozen=True)
class Scenario:
    """One thing that writes: `act` does it, `look` says what is there, part by part, as its readers read it.

    `before`: what is there already.
    """

    act: Callable[[Path], object]
    look: Callable[[Path], Parts]
    before: Callable[[Path], object] = lambda folder: None


def tree(folder: Path) -> object:
    """Every file that a reader of a folder would find, name to digest; None where there is no folder."""
    if not folder.is_dir():
        return None
    inside = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): digest(path) for path in inside}


def digest(path: Path) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def record(store: Store, one: str) -> object:
    """How a trial ended and what it predicted; every file of it is read."""
    status = store.status(one)
    if status != "done":
        return status
    store.curve(one)
    store.log(one)
    return status, len(store.scores(one)), digest(store.path(one) / names.PREDICTIONS)


def board(store: Store) -> object:
    """What a board's record says; every file of it is read."""
    if "tiny" not in store.protocols():
        return None
    found = store.protocol("tiny")
    assert store.sizes("tiny") is not None
    return len(store.subjects("tiny", found.groups)), found.command, {(r.method, r.trial) for r in found.plan}


def a_trial(ran: Ran) -> Scenario:
    """As a run does it, but for the training, whose writes are those of `a_checkpoint`."""

    def run_one(one, paths: Paths, device: str) -> str:
        with Store(paths.runs).claimed(one.id) as own:
            assert own
            return trial.run(one, paths, device, lambda *_: ran.fitted)

    def act(folder: Path) -> None:
        prepared = replace(ran.prepared, paths=ran.paths(folder))
        assert execute(prepared, Inline(), Silent(), 1, CPU, run_one=run_one).count("done") == 1

    def look(folder: Path) -> Parts:
        store = Store(folder / "runs")
        kept = store.weights(ran.one.id)
        return {
            "record": record(store, ran.one.id),
            "weights": sorted(load_file(kept)) if kept.is_file() else None,
        }

    return Scenario(act, look)


def a_checkpoint(ran: Ran) -> Scenario:
    """Of a training in earnest that goes on where the last one stopped, to the same bits."""
    two = replace(ran.one, protocol=parse(**SMALL, epochs=2))

    def act(folder: Path) -> None:
        paths = ran.paths(folder)
        work = Store(paths.runs).work("two")
        trained = trial.train_here(two, trial.gather(two, paths, CPU), CPU, work, lambda *_: None)
        files.write(folder / "trained", save(trained.state))

    return Scenario(act, lambda folder: {"trained": digest(folder / "trained")})


def a_retried_trial(ran: Ran) -> Scenario:
    def before(folder: Path) -> None:
        store = Store(folder / "runs")
        (store.work(ran.one.id) / names.LOG).write_text("what it printed")
        trial.commit_failed(store, ran.one, "no luck", "Traceback: none")

    return Scenario(ran.run, lambda folder: {"record": record(Store(folder / "runs"), ran.one.id)}, before)


def a_failed_trial(ran: Ran) -> Scenario:
    def act(folder: Path) -> None:
        trial.commit_failed(Store(folder / "runs"), ran.one, "no luck", "Traceback: none")

    return Scenario(act, lambda folder: {"record": record(Store(folder / "runs"), ran.one.id)})


def weights_that_go(ran: Ran) -> Scenario:
    """Of a method that no other starts from, once its trial is done."""

    def act(folder: Path) -> None:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(discovery, "origins", set)
            space.prune(replace(ran.prepared, paths=ran.paths(folder)))

    def look(folder: Path) -> Parts:
        store = Store(folder / "runs")
        kept = store.weights(ran.one.id)
        return {
            "record": record(store, ran.one.id),
            "weights": sorted(load_file(kept)) if kept.is_file() else None,
        }

    def before(folder: Path) -> None:
        ran.run(folder)
        file = Store(folder / "runs").weights(ran.one.id)
        files.make(file.parent)
        files.write(file, save(ran.fitted.state))

    return Scenario(act, look, before)


def scores_made_anew(ran: Ran) -> Scenario:
    """Of a record whose scores are older than the metrics, by a run that trains nothing."""
    older = {"code": "older"}

    def act(folder: Path) -> None:
        prepared = replace(ran.prepared, paths=ran.paths(folder))
        assert execute(prepared, Inline(), Silent(), 1, CPU, run_one=lambda *_: "stopped").errors == []

    def before(folder: Path) -> None:
        ran.run(folder)
        store = Store(folder / "runs")
        stale = store.record(ran.one.id).model_copy(update={"scoring": older})
        files.write(store.path(ran.one.id) / names.RECORD, files.as_json(stale))

    def look(folder: Path) -> Parts:
        store = Store(folder / "runs")
        there = store.has(ran.one.id)
        return {
            "record": record(store, ran.one.id),
            "scored anew": store.record(ran.one.id).scoring != older if there else None,
        }

    return Scenario(act, look, before)


def work_that_was_left(ran: Ran) -> Scenario:
    def before(folder: Path) -> None:
        store = Store(folder / "runs")
        files.write(store.work("left") / names.CHECKPOINT, b"much")
        files.note(store.progress("left"), b"{}")

    def look(folder: Path) -> Parts:
        return {"work": tree(folder / "runs" / "work" / "left")}

    return Scenario(lambda folder: Store(folder / "runs").clear_work("left"), look, before)


def weights_that_nobody_needs(ran: Ran) -> Scenario:
    def before(folder: Path) -> None:
        kept = Store(folder / "runs").weights(ran.one.id)
        files.make(kept.parent)
        files.write(kept, b"weights")

    return Scenario(
        lambda folder: space.prune(replace(ran.prepared, paths=ran.paths(folder))),
        lambda folder: {"file": digest(Store(folder / "runs").weights(ran.one.id))},
        before,
    )


def a_board(ran: Ran) -> Scenario:
    """Over one that is there, with images to show."""

    def before(folder: Path) -> None:
        write_protocol(prepare(["erm"], ran.paths(folder), **SMALL, epochs=1), "old")

    return Scenario(
        lambda folder: write_protocol(replace(ran.prepared, paths=ran.paths(folder)), "new"),
        lambda folder: {"board": board(Store(folder / "runs"))},
        before,
    )


def a_board_set_aside(ran: Ran) -> Scenario:
    def act(folder: Path) -> None:
        store = Store(folder / "runs")
        if "tiny" in store.protocols():  # else it says that there is none
            boards.archive(store, "tiny")

    def look(folder: Path) -> Parts:
        store = Store(folder / "runs")
        return {"one place": (store.protocols() or store.set_aside()) and True, "aside": store.set_aside()}

    return Scenario(act, look, a_board(ran).before)


def a_board_brought_back(ran: Ran) -> Scenario:
    aside = a_board_set_aside(ran)

    def before(folder: Path) -> None:
        aside.before(folder)
        aside.act(folder)

    def act(folder: Path) -> None:
        store = Store(folder / "runs")
        if store.set_aside():
            boards.restore(store, "tiny")

    return Scenario(act, aside.look, before)


def a_row_withdrawn(ran: Ran) -> Scenario:
    def act(folder: Path) -> None:
        store = Store(folder / "runs")
        if store.protocol("tiny").plan:
            boards.withdraw(store, "tiny", "erm", "an error")

    return Scenario(act, a_board(ran).look, a_board(ran).before)


def a_merge(ran: Ran) -> Scenario:
    """Of a record with its weights, and of a board into one that is there."""
    there = ran.folder / "elsewhere"
    if not there.exists():
        ran.run(there)
        write_protocol(replace(ran.prepared, paths=ran.paths(there)), "there")
        kept = Store(there / "runs").weights(ran.one.id)
        files.make(kept.parent)
        files.write(kept, save(ran.fitted.state))

    def look(folder: Path) -> Parts:
        store = Store(folder / "runs")
        return {
            "record": record(store, ran.one.id),
            "board": board(store),
            "weights": digest(store.weights(ran.one.id)),
        }

    def act(folder: Path) -> None:
        assert merging.merge(Store(folder / "runs"), Store(there / "runs")).conflicts == []

    return Scenario(act, look)


def a_merge_of_boards(ran: Ran) -> Scenario:
    """Into a board that lacks the cell."""
    merged = a_merge(ran)

    def before(folder: Path) -> None:
        a_board(ran).before(folder)
        boards.withdraw(Store(folder / "runs"), "tiny", "erm", "to come again")

    return Scenario(merged.act, merged.look, before)


def a_first_board(ran: Ran) -> Scenario:
    def before(folder: Path) -> None:
        keep_parts(Store(folder / "runs"), ran.basis, ran.prepared.plan)

    return replace(a_board(ran), before=before)


def a_part_of_an_identity(ran: Ran) -> Scenario:
    return Scenario(
        lambda folder: Store(folder).keep_part("digest", b"an outline"),
        lambda folder: {"part": Store(folder).part("digest")},
    )


def yardstick_of(ran: Ran) -> yardstick.Yardstick:
    cohort, protocol = ran.prepared.cohort, ran.prepared.protocol
    samples = cohort.subjects["sample"].to_numpy()[cohort.rows("test")]
    groups, fixed = dict(cohort.groups), protocol_digest(protocol, cohort)
    return yardstick.Yardstick(protocol, fixed, tuple(map(str, samples)), groups, cohort, ran.cache)


def a_submission(ran: Ran) -> Scenario:
    measured = yardstick_of(ran)

    report = verify(ran.submission, measured)

    def act(folder: Path) -> None:
        store = Store(folder / "runs")
        if not any(
            row.method == "guest.my-method" for row in store.protocol("tiny").plan
        ):  # else it is refused
            submit(ran.submission.manifest, report, measured, ran.paths(folder))

    def look(folder: Path) -> Parts:
        store = Store(folder / "runs")
        return {"record": record(store, ran.one.id), "board": board(store)}

    return Scenario(act, look, a_board(ran).before)


def a_packed_file(ran: Ran) -> Scenario:
    def read(folder: Path) -> Parts:
        try:
            return {"file": sorted(archive.read(folder / "mine.zip").members)}
        except HarnessError:
            return {"file": digest(folder / "mine.zip")}

    return Scenario(
        lambda folder: pack.write(ran.submission.raw, folder / "mine.zip"),
        read,
        lambda folder: (folder / "mine.zip").write_bytes(b"an older one"),
    )


def what_was_tuned(ran: Ran) -> Scenario:
    search = tune.Search(1, ran.prepared, {}, ())
    one = Tuned(
        budget=1, seeds=(0,), patients=3, source_digest="", tries=(Try(hyper_parameters={}, score=0.5),),
        chosen=0,
    )  # fmt: skip

    def write(folder: Path, name: str) -> None:
        tune.write(folder / "runs" / "tuning" / "tiny.json", ran.prepared.protocol, search, {name: one})

    def look(folder: Path) -> Parts:
        path = folder / "runs" / "tuning" / "tiny.json"
        return {"file": sorted(tune.read(path).methods) if path.is_file() else None}

    return Scenario(lambda folder: write(folder, "new"), look, lambda folder: write(folder, "old"))


def a_cohort(ran: Ran) -> Scenario:
    def look(folder: Path) -> Parts:
        entries = list((folder / "cohorts").glob("[!.]*"))
        found = [cohort_cache._open(entry) for entry in entries]
        return {"entry": [one and one.digest for one in found]}

    return Scenario(lambda folder: cohorts.load(parse(**SMALL), None, folder), look)


def a_cohort_for_a_damaged_one(ran: Ran) -> Scenario:
    def before(folder: Path) -> None:
        cohorts.load(parse(**SMALL), None, folder)
        (entry,) = (folder / "cohorts").iterdir()
        os.truncate(entry / "masks.npy", 100)

    return replace(a_cohort(ran), before=before)


def embeddings(ran: Ran) -> Scenario:
    """Laid out, filled by two workers and put in their place."""

    def made(folder: Path) -> Prepared:
        protocol = parse(**FROZEN)
        cohort = cohorts.load(protocol, None, ran.cache)
        return Prepared(protocol, cohort, Plan({}, ()), (), Paths(folder / "runs", None, folder))

    def look(folder: Path) -> Parts:
        found = made(folder)
        where = (found.protocol, found.cohort, folder, CPU)
        if not embed.are_cached(*where):
            return {"maps": None}
        return {
            "maps": [hashlib.sha256(np.asarray(one)).hexdigest() for one in embed.open_embeddings(*where)]
        }

    return Scenario(lambda folder: embed_cohort(made(folder), Inline(), 2, CPU), look)


def digests_of_samples(ran: Ran) -> Scenario:
    masks = ran.prepared.cohort.masks

    def look(folder: Path) -> Parts:
        return {"right": bool((contents.digests(masks, folder) == contents.digests(masks, ran.cache)).all())}

    return Scenario(lambda folder: contents.digests(masks, folder), look)


def masks_for_a_container(ran: Ran) -> Scenario:
    def look(folder: Path) -> Parts:
        copy = folder / "sandbox" / f"{ran.prepared.cohort.digest}.npy"
        return {"copy": np.load(copy).tolist() if copy.is_file() else None}

    return Scenario(lambda folder: staging._blank_copy(ran.prepared.cohort, folder), look)


def what_a_plugin_said(ran: Ran) -> Scenario:
    about = {
        "card": vars(Card("Mine")), "defaults": {}, "kinds": {}, "reads_attribute": True, "starts_from": None,
        "sampler": "uniform", "controls": {}, "search": {}, "packages": {}, "trains_own_model": False,
        "reads_attribute_at_test": False, "adapts": False, "takes": "weights", "sharpness": None,
        "averages_from": None, "weighs_samples": False, "mixes": False,
    }  # fmt: skip

    class Box(runs.Sandbox):
        def _ask(self, plugin, image):
            return about

    def act(folder: Path) -> None:
        assert isinstance(Box("cpu", Limits(), folder, "")._describe(ran.plugin, "image"), About)

    def look(folder: Path) -> Parts:
        return {"said": [runs._known(path) is not None for path in folder.glob("sandbox/about-*.json")]}

    return Scenario(act, look)


def fetched_weights(ran: Ran) -> Scenario:
    given = ran.folder / "given.pt"
    given.write_bytes(b"weights" * 1000)
    checkpoint = Checkpoint("test.pt", 7000, hashlib.sha256(given.read_bytes()).hexdigest(), "")

    def known(act: Callable[[], object]) -> object:
        with pytest.MonkeyPatch.context() as patched:
            patched.setitem(weights.CHECKPOINTS, "test", checkpoint)
            return act()

    def look(folder: Path) -> Parts:
        there = (folder / "weights" / "test.pt").is_file()
        return {"file": there and known(lambda: weights.find("test", folder)).name}

    return Scenario(lambda folder: known(lambda: weights.fetch("test", folder, given)), look)


def thumbnails(ran: Ran) -> Scenario:
    return Scenario(
        lambda folder: cohorts.write_thumbnails(ran.prepared.cohort, folder / "t.png"),
        lambda folder: {"file": digest(folder / "t.png")},
    )


def a_new_method(ran: Ran) -> Scenario:
    def act(folder: Path) -> None:
        if not (folder / "methods" / "mine.py").exists():  # else it says that it is there
            write_method("mine", folder / "methods")

    return Scenario(
        act,
        lambda folder: {
            "method": digest(folder / "methods" / "mine.py"),
            "test": digest(folder / "tests" / "methods" / "test_mine.py"),
        },
    )


def a_submissions_repository(ran: Ran) -> Scenario:
    return Scenario(
        lambda folder: repository.init(folder / "board", ran.prepared.protocol),
        lambda folder: {name: digest(folder / "board" / name) for name in repository._PLACES},
    )


def a_protocol_for_a_folder(ran: Ran) -> Scenario:
    """With the manifest that says what its files are."""

    def before(folder: Path) -> None:
        for name in ("images", "masks"):
            (folder / "mine" / name).mkdir(parents=True)
            for one in "abc":
                Image.new("L", (16, 16), 1).save(folder / "mine" / name / f"{one}.png")

    def act(folder: Path) -> None:
        if not (folder / "mine.toml").exists():  # else it says that it is there
            init.init_command.callback(folder / "mine", folder / "mine.toml")

    def look(folder: Path) -> Parts:
        return {
            "manifest": digest(folder / "mine" / "manifest.csv"),
            "protocol": (folder / "mine.toml").is_file(),
        }

    return Scenario(act, look, before)


def a_page_of_an_audit(ran: Ran) -> Scenario:
    cohort, protocol = ran.prepared.cohort, ran.prepared.protocol
    seen = survey.survey(cohort, protocol)

    return Scenario(
        lambda folder: audit_page.write(folder / "audit.html", cohort, protocol, seen, [], [], 0.15),
        lambda folder: {"page": digest(folder / "audit.html")},
    )


def a_site(ran: Ran) -> Scenario:
    """Over one that is there: the folder as the writers of pages leave it, begun again without a board."""

    def fill(folder: Path, text: str) -> None:
        with site.replacing(folder / "site") as aside:
            (aside / "index.html").write_text("with a board that then could not be read")
            site._Site(Store(folder / "runs"), aside, aside, False, False, [], {}).without([])
            for page in ("index.html", "assets/site.css", "tiny/erm.html"):
                (aside / page).parent.mkdir(exist_ok=True)
                (aside / page).write_text(text)

    return Scenario(
        lambda folder: fill(folder, "new"),
        lambda folder: {"site": tree(folder / "site")},
        lambda folder: fill(folder, "old"),
    )


def what_a_site_keeps(ran: Ran) -> Scenario:
    """A value in place of a damaged one, another beside it, and one that nobody asked for in a month."""

    def act(folder: Path) -> None:
        place = kept.Kept(folder / "cache" / "site", "code")
        for i in range(2):
            place.get("name", [i], lambda i=i: {"value": i})
        place.tidy()

    def before(folder: Path) -> None:
        place = kept.Kept(folder / "cache" / "site", "code")
        for i in (0, 2):
            place.get("name", [i], lambda i=i: {"value": i})
        (place.folder / place._key("name", [0])).write_bytes(b"damaged")
        os.utime(place.folder / place._key("name", [2]), (1e9, 1e9))

    def look(folder: Path) -> Parts:
        place, found = kept.Kept(folder / "cache" / "site", "code"), {}
        for i in range(3):
            key = place._key("name", [i])
            try:
                found[str(i)] = kept._opened((place.folder / key).read_bytes(), key)
            except (OSError, ValueError):
                found[str(i)] = None
        return found

    return Scenario(act, look, before)


def what_a_template_becomes(ran: Ran) -> Scenario:
    """Bytecode in place of a damaged one: what is half there is never run."""

    def environment(folder: Path) -> jinja2.Environment:
        env = jinja2.Environment(loader=jinja2.DictLoader({"page.j2": "<p>{{ said }}</p>"}), autoescape=True)
        env.bytecode_cache = compiled.Compiled(folder, env)
        return env

    def kept_in(folder: Path) -> list[Path]:
        return list(folder.glob("__pycache__/template-*.bin"))

    def act(folder: Path) -> None:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(sys, "dont_write_bytecode", False)
            patched.setattr(sys, "pycache_prefix", None)
            assert environment(folder).get_template("page.j2").render(said="<") == "<p>&lt;</p>"

    def before(folder: Path) -> None:
        act(folder)
        (file,) = kept_in(folder)
        file.write_bytes(file.read_bytes()[:-1])

    def look(folder: Path) -> Parts:
        datas = [file.read_bytes() for file in kept_in(folder)]
        return {"whole": [data[:32] == hashlib.sha256(data[32:]).digest() for data in datas].count(True)}

    return Scenario(act, look, before)


def a_published_version(ran: Ran) -> Scenario:
    """Beside an earlier one and somebody else's file: the versions that there are, and what each holds."""

    def publish(folder: Path, text: str) -> None:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(site, "fill", lambda runs, aside, *_, **__: results(aside, text))
            patched.setattr(versions, "write_around", lambda *_: None)
            patched.setattr(publishing, "datetime", SimpleNamespace(now=lambda _: datetime(2026, 11, 28)))
            leaderboard.publish(folder / "runs", folder / "public")

    def results(aside: Path, text: str) -> None:
        export = {"schema_version": 2, "definition_digest": text, "protocols": []}
        files.put(aside / "leaderboard.json", json.dumps(export).encode())
        files.put(aside / "leaderboard.schema.json", b"{}")

    def before(folder: Path) -> None:
        publish(folder, "old")
        files.write(folder / "public" / "CNAME", b"example.org")

    def look(folder: Path) -> Parts:
        history = published.read(folder / "public")
        count = len(history.versions) if history else 0
        held = [tree(folder / "public" / "v" / str(one)) for one in range(1, count + 1)]
        return {"public": [count, held, digest(folder / "public" / "CNAME")]}

    return Scenario(lambda folder: publish(folder, "new"), look, before)


def a_page_of_predictions(ran: Ran) -> Scenario:
    """Over one that is there."""

    def fill(folder: Path, text: str) -> None:
        export.write(folder / "page", {export.PAGE: text, export.WHOLE: text, "groups.csv": text})

    return Scenario(
        lambda folder: fill(folder, "new"),
        lambda folder: {"page": tree(folder / "page")},
        lambda folder: fill(folder, "old"),
    )


def a_board_for_a_doi(ran: Ran) -> Scenario:
    """Over an older archive."""
    about = board_export.About("Records", ("Doe, Jo",), "CC0-1.0", "1", "2026-11-28")

    def before(folder: Path) -> None:
        a_board(ran).before(folder)
        (folder / "tiny.zip").write_bytes(b"an older one")

    return Scenario(
        lambda folder: board_export.write(Store(folder / "runs"), "tiny", about, folder / "tiny.zip"),
        lambda folder: {"file": digest(folder / "tiny.zip")},
        before,
    )


class Served(io.BytesIO):
    """What a server answers to who asks for a file, from where he says."""

    def __init__(self, content: bytes, request: urllib.request.Request) -> None:
        start = int(request.get_header("Range", "bytes=0-")[len("bytes=") : -1])
        super().__init__(content[start:])
        self.status, self.headers = 206 if start else 200, {"Content-Length": str(len(content) - start)}


def a_fetched_data_set(ran: Ran) -> Scenario:
    """Going on with what a download that broke left, which is no part of the archive."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("manifest.csv", "id,image\n" * 50)
    content = packed.getvalue()

    def lay_out(archive: zipfile.ZipFile, aside: Path, _) -> None:
        files.put(aside / "manifest.csv", archive.read("manifest.csv"))

    known = replace(fetching.DATASETS["papila"], sha256=hashlib.sha256(content).hexdigest(), lay_out=lay_out)

    def before(folder: Path) -> None:
        (folder / "eyes").mkdir()
        (folder / "eyes" / "papila.zip.part").write_bytes(bytes(100))

    def act(folder: Path) -> None:
        with pytest.MonkeyPatch.context() as patched:
            patched.setitem(fetching.DATASETS, "papila", known)
            patched.setattr(urllib.request, "urlopen", lambda request, timeout: Served(content, request))
            fetching.fetch("papila", folder / "eyes" / "papila")
        assert [path.name for path in (folder / "eyes").glob("*.zip*")] == []

    return Scenario(act, lambda folder: {"set": tree(folder / "eyes" / "papila")}, before)


def a_doctors_look(ran: Ran) -> Scenario:
    """At what a folder can and at its clock, with files that are gone after it."""

    def act(folder: Path) -> None:
        found = [*doctor._folders(paths := ran.paths(folder)), *doctor._clock(paths)]
        assert {one.verdict for one in found if not one.what.endswith("disk")} == {"well"}

    def look(folder: Path) -> Parts:
        return {"seen": [path.name for path in folder.glob("*") if not path.name.endswith(files.PART)]}

    return Scenario(act, look)


def what_is_of_no_use(ran: Ran) -> Scenario:
    """A record on no board, the work of its trial, embeddings, and what another machine left amid a swap."""

    def before(folder: Path) -> None:
        a_board(ran).before(folder)
        ran.run(folder)
        store = Store(folder / "runs")
        files.write(store.work(ran.one.id) / names.CHECKPOINT, b"much")
        files.note(store.progress(ran.one.id), b"{}")
        for name in ("one", "two"):
            files.make(folder / "cache" / "embeddings" / name)
            files.write(folder / "cache" / "embeddings" / name / "maps.npy", b"maps")
        held = store.board_folder("tiny").with_name(f".tiny.{'0' * 8}.{'1' * 8}{files.PART}")
        (held / "old").mkdir(parents=True)
        store.board_folder("tiny").rename(held / "old" / "tiny")
        os.utime(held, (time.time() - 2 * garbage._OLD,) * 2)

    def act(folder: Path) -> None:
        found = garbage.find(Paths(folder / "runs", None, folder / "cache"))
        garbage.remove([one for one in found if one.path.is_relative_to(folder)])
        assert Store(folder / "runs").protocols() == ["tiny"]

    def look(folder: Path) -> Parts:
        store = Store(folder / "runs")
        return {
            "record": record(store, ran.one.id),
            "board": board(store),
            "work": tree(folder / "runs" / "work" / ran.one.id),
            **{name: tree(folder / "cache" / "embeddings" / name) for name in ("one", "two")},
        }

    return Scenario(act, look, before)


SCENARIOS = {
    one.__name__: one
    for one in (
        a_trial,
        a_checkpoint,
        a_retried_trial,
        a_failed_trial,
        weights_that_go,
        scores_made_anew,
        work_that_was_left,
        weights_that_nobody_needs,
        a_board,
        a_first_board,
        a_merge,
        a_merge_of_boards,
        a_part_of_an_identity,
        a_board_set_aside,
        a_board_brought_back,
        a_row_withdrawn,
        a_submission,
        a_packed_file,
        what_was_tuned,
        a_cohort,
        a_cohort_for_a_damaged_one,
        embeddings,
        digests_of_samples,
        masks_for_a_container,
        what_a_plugin_said,
        fetched_weights,
        thumbnails,
        a_new_method,
        a_submissions_repository,
        a_protocol_for_a_folder,
        a_page_of_an_audit,
        a_page_of_predictions,
        a_site,
        what_a_site_keeps,
        what_a_template_becomes,
        a_published_version,
        a_board_for_a_doi,
        a_fetched_data_set,
        a_doctors_look,
        what_is_of_no_use,
    )
}


def cut_at(moment: int | None, scenario: Scenario, folder: Path) -> Disk:
    """Act on a disk that loses its power at a moment; None is never."""
    disk = Disk(folder, moment)
    with pytest.MonkeyPatch.context() as patched:
        disk.plug_in(patched)
        patched.setattr(fit, "CHECKPOINT_SECONDS", -1.0)
        try:
            scenario.act(folder)
        except PowerCut:
            assert moment is not None
            die()
        else:
            # A run takes a worker that ends amid tidying up, after its record is whole, for one that is done.
            assert disk.dead == (moment is not None)
            if disk.dead:
                die()
    return disk


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Spare what would take its time thousands of times: git beside a record, and a disk that is played."""
    monkeypatch.setattr(provenance, "git_state", lambda _: {})
    monkeypatch.setattr(BaseFileLock, "acquire", noted(BaseFileLock.acquire))
    monkeypatch.setattr(files, "_sync", lambda _: None)
    # What is written a few times a second is written every time: a busy machine would have more moments.
    monkeypatch.setattr(trial, "time", SimpleNamespace(monotonic=itertools.count(1).__next__))


TAKEN: list[BaseFileLock] = []
"""The locks that were taken since the last power cut."""


def noted(acquire: Callable[..., object]) -> Callable[..., object]:
    def taken(lock: BaseFileLock, *args: object, **options: object) -> object:
        TAKEN.append(lock)
        return acquire(lock, *args, **options)

    return taken


def die() -> None:
    """Let go of every lock: a process that dies does; this one lives on, and its frames hold them."""
    while TAKEN:
        TAKEN.pop().release(force=True)


def swept(folder: Path) -> list[Path]:
    """What is left aside after the next writer has come by, a minute later."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(files, "_LOCKLESS", -1.0)
        for path in (folder, *folder.rglob("*")):
            if path.is_dir():
                files.sweep(path)
    left = [path for path in folder.rglob("*") if path.name.endswith(files.PART)]
    return [path for path in left if path.is_dir() or files._PLACE.fullmatch(path.name)]


LONG = ("a_checkpoint", "embeddings")
"""Scenarios that train or encode at every cut."""


@pytest.mark.parametrize("every", [pytest.param(1, marks=pytest.mark.slow), 17], ids=["whole", "sample"])
@pytest.mark.parametrize("can_swap", [True, False], ids=["swap", "no swap"])
@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow) if n in LONG else n for n in SCENARIOS],
)
def test_after_a_power_cut_nothing_is_half_there_and_the_next_run_completes(
    name, can_swap, every, ran, tmp_path, monkeypatch
):
    scenario = SCENARIOS[name](ran)
    start, whole, cut = (tmp_path / folder for folder in ("start", "whole", "cut"))
    start.mkdir()
    scenario.before(start)
    old, gone = scenario.look(start), scenario.look(tmp_path / "none")
    if not can_swap:
        if "_swap" not in cut_at(None, scenario, Path(shutil.copytree(start, tmp_path / "once"))).called:
            return  # nothing is swapped here: the other half of this test is the whole of it
        monkeypatch.setattr(files, "_swap", lambda one, other: False)
        # A swap of two steps has a moment without either; who writes next puts the old one back.
        old = {part: (old[part], gone[part]) for part in old}
    else:
        old = {part: (old[part],) for part in old}
    moments = cut_at(None, scenario, Path(shutil.copytree(start, whole))).moments
    new = scenario.look(whole)
    # Each scenario begins its sample elsewhere: what they have in common is cut at other moments.
    for moment in range(len(name) % max(min(every, moments), 1), moments, every):
        for renames in (False, True):
            shutil.copytree(start, cut)
            disk = cut_at(moment, scenario, cut)
            if renames and not disk.hangs:
                shutil.rmtree(cut)
                continue  # nothing else is lost than at the first time
            disk.lose(renames)
            found = scenario.look(cut)
            assert all(found[part] in (*old[part], new[part]) for part in found), (moment, renames, found)
            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(fit, "CHECKPOINT_SECONDS", -1.0)
                scenario.act(cut)
            assert scenario.look(cut) == new, (moment, renames)
            assert swept(cut) == []
            shutil.rmtree(cut)


@pytest.mark.slow
def test_every_function_that_writes_is_among_those_that_are_cut(ran, tmp_path):
    """The calls of `files` in the source, against those that the scenarios above make."""
    reached, moments = set(), 0
    for name, make in SCENARIOS.items():
        folder = tmp_path / name
        folder.mkdir()
        scenario = make(ran)
        scenario.before(folder)
        disk = cut_at(None, scenario, folder)
        print(f"{disk.moments:4} moments: {name}")
        reached |= disk.sites
        moments += disk.moments
    print(f"\n{len(reached & writers())} functions write; {moments} moments at which the power is cut")
    assert writers() - reached == set()


WRITES = {"create", "flush", "make", "mark", "move", "note", "publish", "put_back", "remove", "replacing"}
WRITES |= {"write", "writing"}


def writers() -> set[tuple[str, str]]:
    """Every function outside `harness.store.files` that calls one of `WRITES`, as (file, name)."""
    found = set()
    for path in [*ROOT.glob("harness/**/*.py"), *ROOT.glob("leaderboard/**/*.py")]:
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef) and path.name != "files.py":
                own = {getattr(call.func, "attr", "") for call in calls(function) if of_files(call)}
                if own & WRITES:
                    found.add((f"{path.parent.name}/{path.name}", function.name))
    return found


def of_files(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Attribute) and getattr(call.func.value, "id", "") == "files"


def calls(function: ast.FunctionDef):
    """The calls of a function itself, without those of the functions in it."""
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop()
        if not isinstance(node, ast.FunctionDef):
            waiting += ast.iter_child_nodes(node)
            if isinstance(node, ast.Call):
                yield node
