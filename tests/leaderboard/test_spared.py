"""A part of the site that cannot be computed says why in its place, and the others stand."""

import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from make_records import World, make_store, trial_id

import leaderboard
from harness.equity import MIN_PATIENTS
from harness.store import Cost, MethodInfo, PlanRow, ProtocolRecord, Record
from leaderboard import draw
from leaderboard.compute import (
    across,
    ages,
    anatomy,
    controls,
    curves,
    facts,
    intersections,
    results,
    sections,
    seeds,
    stability,
    story,
)
from leaderboard.draw.cases import Gallery
from leaderboard.read import boards
from leaderboard.read.boards import METRICS, Board, Entry
from leaderboard.spared import Spared
from leaderboard.write import citations, exports, methods, payload

WORLD = World(
    methods=("erm", "febs"), attributes=("race", "gender"), structures=("cup",), samples=120, images=True,
    controls={"febs": ("shuffled groups",)},
)  # fmt: skip

BUILDERS = {
    "table": (sections, "_tables"),
    "rows": (sections, "_rank"),
    "across": (across, "of_board"),
    "crossings": (intersections, "crossings"),
    "stability": (stability, "of_section"),
    "drawings": (draw.inside, "of_section"),
    "choices": (draw.section, "of_choices"),
    "pareto": (draw.section, "pareto"),
    "cost": (draw.section, "cost"),
    "across figures": (draw.across, "together"),
    "by size": (anatomy, "of_method"),
    "controls": (controls, "of_method"),
    "test cases": (draw.samples, "of_method"),
    "story": (story, "told"),
    "whom it fails": (story, "whom_it_fails"),
    "seeds": (seeds, "of_method"),
    "seeds figure": (draw.seeds, "of_method"),
    "curves": (curves, "of_method"),
    "ages": (ages, "of_method"),
    "cases of a method": (Gallery, "of_method"),
    "cases across": (Gallery, "across_methods"),
    "demographics": (facts, "demographics"),
    "limits": (facts, "limits"),
    "detectable": (facts, "detectable"),
    "environments": (facts, "environments"),
    "identity": (facts, "identity"),
    "citations": (citations, "of_board"),
    "badges": (methods, "_badges"),
    "a method's page": (facts, "command"),
    "a protocol's page": (facts, "with_data"),
}
SILENT = {
    "payload": (payload, "pack"),
    "rows of the CSV": (exports, "csv_rows"),
    "JSON": (exports, "_method"),
}
"""What has no page of its own to say it on: the log says it."""


class Deliberate(Exception):
    """What only a broken builder of these tests raises."""


def breaking(monkeypatch, module, name):
    def broken(*args, **kwargs):
        raise Deliberate(f"{name} is broken on purpose")

    monkeypatch.setattr(module, name, broken)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("spared") / "runs", WORLD)


@pytest.fixture(scope="module")
def whole(store):
    """The pages of a site in which nothing is broken."""
    out = store.root.parent / "whole"
    leaderboard.build(store.root, out)
    return {str(path.relative_to(out)) for path in out.rglob("*.html")}


def built(store, folder):
    # In this process, whose log is read.
    leaderboard.build(store.root, folder / "site", workers=1)
    return {str(p.relative_to(folder / "site")): p.read_text() for p in (folder / "site").rglob("*.html")}


@pytest.mark.slow
@pytest.mark.parametrize("which", BUILDERS)
def test_a_broken_builder_costs_its_own_place_alone(store, whole, tmp_path, monkeypatch, which):
    module, name = BUILDERS[which]
    breaking(monkeypatch, module, name)
    found = built(store, tmp_path)
    assert whole == set(found)
    said = [page for page, text in found.items() if f"Deliberate: {name} is broken on purpose" in text]
    assert said
    if which not in ("a method's page", "a protocol's page"):
        assert not [page for page, text in found.items() if "This page could not be built" in text]


def test_a_site_is_built_where_all_its_parts_are_broken(store, whole, tmp_path, monkeypatch, caplog):
    for module, name in (BUILDERS | SILENT).values():
        if name not in ("command", "with_data", "_rank", "_tables"):
            breaking(monkeypatch, module, name)
    found = built(store, tmp_path)
    assert whole == set(found)
    assert "pareto is broken on purpose" in found["index.html"]
    assert "of_section is broken on purpose" in found["index.html"]
    assert "by size</bdi></b> could not be computed" in found["quick/erm.html"].lower()
    assert "limits is broken on purpose" in found["quick/protocol.html"]
    export = json.loads((tmp_path / "site" / "leaderboard.json").read_text())
    assert export["protocols"][0]["name"] == "quick"
    assert any("pack is broken on purpose" in message for message in caplog.messages)


def test_a_page_that_cannot_be_made_says_so_in_its_place(store, whole, tmp_path, monkeypatch):
    breaking(monkeypatch, facts, "command")
    found = built(store, tmp_path)
    assert whole == set(found)
    assert "This page could not be built" in found["quick/febs.html"]
    assert "command is broken on purpose" in found["quick/febs.html"]
    assert "This page could not be built" not in found["index.html"]


def test_a_board_that_cannot_be_read_is_named_and_the_others_are_shown(store, tmp_path, monkeypatch):
    other = make_store(tmp_path / "runs", replace(WORLD, protocol="other", seeds=(0,)))
    make_store(tmp_path / "runs", replace(WORLD, seeds=(0,)))
    read = boards._board

    def breaks_one(where, name):
        return read(where, name) if name == "quick" else {}[name]

    monkeypatch.setattr(boards, "_board", breaks_one)
    found = built(other, tmp_path)
    assert "Boards that could not be read" in found["index.html"]
    assert "other" in re.search(r'id="unread".*?</section>', found["index.html"], re.DOTALL)[0]
    assert "quick/erm.html" in found


def test_a_disk_that_refuses_ends_the_build():
    def refused():
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        Spared().build("a part", refused, None)


def test_a_metric_without_numbers_costs_itself_only(tmp_path):
    world = World(methods=("erm", "febs"), attributes=("race",), structures=("cup",), samples=120)
    spoilt = make_store(tmp_path / "runs", world)
    for seed in world.seeds:
        path = spoilt.path(trial_id(world, "febs", "race", seed)) / "scores.parquet"
        frame = pd.read_parquet(path)
        frame.loc[frame.index[3], "hd95"] = np.nan
        frame.to_parquet(path, index=False)
    (board,) = boards.of_store(spoilt)
    section = sections.one(board, "race", "cup")
    assert list(section.why) == ["HD95 (pooled)"]
    assert "NaN" in section.why["HD95 (pooled)"]
    assert [row.rank for row in section.rows] == [1, 2]
    assert section.rows[0].number("dice", "es_sum").there
    assert not section.rows[0].number("hd95", "overall").there


def cohort(patients, samples, groups, dice, hd95, seeds_, sizes):
    """A board in memory: one attribute, one structure, two methods."""
    rng = np.random.default_rng(0)
    n = patients * samples
    names = tuple(f"g{i}" for i in range(groups))
    member = np.array(names, dtype=object)[np.arange(n) // samples % groups]
    subjects = pd.DataFrame(
        {
            "sample": [f"s{i:04d}" for i in range(n)],
            "patient": [f"p{i // samples:03d}" for i in range(n)],
            "split": "test",
            "sex": member,
        }
    )
    record = ProtocolRecord(
        name="any", digest="0", command="harness run", groups={"sex": names}, cohort={"title": "Any"},
        plan=[
            PlanRow(method=method, attribute="sex", seed=seed, trial=f"{method}{seed}")
            for method in ("erm", "mine")
            for seed in range(seeds_)
        ],
        protocol={
            "title": "Any", "structures": {"lesion": [1]}, "ranked_by": "lesion", "attributes": ["sex"],
            "seeds": list(range(seeds_)),
            "cohort": {"source": "folder"}, "backbone": {"name": "unet", "adapt": "full"},
        },
    )  # fmt: skip
    entries, scores = {}, {}
    for method in ("erm", "mine"):
        records = {}
        for seed in range(seeds_):
            trial = f"{method}{seed}"
            records["sex", seed] = Record(
                id=trial, status="done", protocol="any", method=MethodInfo(name=method, title=method),
                attribute="sex", groups=names, seed=seed, identity={}, cost=Cost(),
            )  # fmt: skip
            values = np.full((1, len(METRICS), n), 0.5)
            for metric, found in (("dice", dice), ("iou", dice), ("nsd", dice), ("hd95", hd95)):
                drawn = rng.random(n) if found == "any" else np.full(n, found)
                values[0, METRICS.index(metric)] = drawn
            values[0, METRICS.index("missed")] = dice == 0.0
            scores[trial] = values
        entries[method] = Entry(method, records)
    size = pd.DataFrame({"sample": subjects["sample"], "lesion": rng.integers(1, 9, n) * (sizes != "empty")})
    if sizes == "mostly":
        size["lesion"] *= np.arange(n) % 5 == 0
    return Board(record, subjects, entries, scores, sizes=size)


EXTREME = {
    "plain": (40, 2, 2, "any", "any", 2, "some"),
    "one group": (40, 2, 1, "any", "any", 2, "some"),
    "one patient": (1, 3, 2, "any", "any", 2, "some"),
    "constant": (40, 1, 2, 0.7, 3.0, 2, "some"),
    "all missed": (40, 1, 2, 0.0, 90.5, 2, "some"),
    "all empty": (40, 1, 2, 1.0, 0.0, 2, "empty"),
    "mostly empty": (120, 2, 2, "any", "any", 2, "mostly"),
    "NaN distances": (40, 1, 2, "any", np.nan, 2, "some"),
    "forty groups": (400, 1, 40, "any", "any", 1, "some"),
}


def everything(board):
    """Compute what pages are made of, without a guard; return the section."""
    result = results.of_board(board, sections.of_board(board))
    (section,) = result.sections
    result.stability(section)
    for name, entry in board.entries.items():
        seeds.of_method(board, entry, "sex", "lesion")
        controls.of_method(board, name, "sex")
        anatomy.of_method(board, section, name)
    facts.limits(board)
    facts.demographics(board)
    facts.detectable(result.sections)
    exports.csv_rows(board, section)
    if section.ranked:
        payload.pack(board, section)
    assert set(result.why) == set()
    return section


@pytest.mark.parametrize("which", EXTREME)
def test_an_extreme_cohort_has_every_part_that_it_can_have(which):
    section = everything(cohort(*EXTREME[which]))
    assert section.why.keys() == ({"HD95 (pooled)"} if which == "NaN distances" else set())
    enough = which not in ("one group", "one patient")
    assert bool(section.ranked) == enough


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    patients=st.integers(1, 60),
    samples=st.integers(1, 3),
    groups=st.integers(1, 40),
    dice=st.sampled_from(["any", 0.0, 0.7, 1.0]),
    hd95=st.sampled_from(["any", 0.0, 90.5, np.nan]),
    seeds_=st.integers(1, 4),
    sizes=st.sampled_from(["some", "empty", "mostly"]),
)
def test_any_cohort_has_its_report(patients, samples, groups, dice, hd95, seeds_, sizes):
    section = everything(cohort(patients, samples, groups, dice, hd95, seeds_, sizes))
    whole = len([g for g in range(groups) if len(range(g, patients, groups)) >= MIN_PATIENTS])
    # Where most truths are empty, those with the structure rank, and may be too few.
    assert bool(section.ranked) == (whole >= 2) or (sizes == "mostly" and not section.ranked)
