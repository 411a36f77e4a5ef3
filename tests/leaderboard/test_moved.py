import json
from dataclasses import replace

import pytest
from make_records import World, make_site

import leaderboard
from harness.errors import HarnessError

WORLD = World(methods=("erm", "adv", "febs"), attributes=("race",), structures=("cup",), seeds=(0, 1))


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    return make_site(tmp_path_factory.mktemp("old"), WORLD)


def rewritten(site, folder, change):
    """A site whose leaderboard.json was changed by a function."""
    export = json.loads(site.page("leaderboard.json"))
    change(export)
    folder.mkdir()
    (folder / "leaderboard.json").write_text(json.dumps(export))
    return folder


def test_the_same_site_has_not_moved(old):
    assert leaderboard.diff(old.out, old.out / "leaderboard.json") == "Nothing moved."


def test_a_methods_new_source_is_named_as_the_cause(old, tmp_path):
    world = replace(WORLD, gaps={"adv": 0.0}, info={"adv": {"source_digest": "f" * 64}})
    said = leaderboard.diff(old.out, make_site(tmp_path, world).out).splitlines()
    (adv,) = [line for line in said if line.startswith("quick: adv (race, cup)")]
    assert "dice es_sum" in adv
    assert "Because of code: the method's source." in adv
    # The others' trials are the same: only their rank among the methods can move.
    for line in said:
        assert line is adv or ("rank" in line and "the other methods" in line)


def test_another_definition_is_named_as_the_cause(old, tmp_path):
    def change(export):
        export["definition_digest"] = "other"
        method = export["protocols"][0]["sections"][0]["methods"][0]
        method["scores"]["dice"]["es_sum"]["estimate"] += 0.1

    said = leaderboard.diff(old.out, rewritten(old, tmp_path / "new", change))
    assert "Because of definition: the statistics." in said
    assert len(said.splitlines()) == 2


def test_other_data_are_named_as_the_cause(old, tmp_path):
    def change(export):
        for method in export["protocols"][0]["sections"][0]["methods"]:
            method["identity"]["cohort"] = "other"
            method["scores"]["dice"]["overall"]["estimate"] += 0.01

    said = leaderboard.diff(old.out, rewritten(old, tmp_path / "new", change)).splitlines()
    assert len(said) == 3
    assert all("Because of data: the cohort's content." in line for line in said)


def test_methods_that_come_and_go_are_named(old, tmp_path):
    smaller = rewritten(old, tmp_path / "new", lambda e: e["protocols"][0]["sections"][0]["methods"].pop(0))
    assert "no longer there" in leaderboard.diff(old.out, smaller)
    assert ": new" in leaderboard.diff(smaller, old.out)


def test_what_is_no_site_is_refused_in_one_sentence(old, tmp_path):
    with pytest.raises(HarnessError, match="harness report"):
        leaderboard.diff(tmp_path / "nowhere", old.out)
    (tmp_path / "leaderboard.json").write_text("[1]")
    with pytest.raises(HarnessError, match="leaderboard.json"):
        leaderboard.diff(tmp_path, old.out)
    (tmp_path / "leaderboard.json").write_text('{"schema_version": 99}')
    with pytest.raises(HarnessError, match="schema 99"):
        leaderboard.diff(tmp_path, old.out)


def test_watching_builds_again_when_a_trial_finishes(old, tmp_path):
    watching = leaderboard.watch(old.runs.root, tmp_path / "site", seconds=0.01)
    next(watching)
    (tmp_path / "site" / "index.html").write_text("stale")
    trial = old.runs.path(old.runs.ids()[0]) / "record.json"
    trial.write_text(trial.read_text())
    next(watching)
    assert (tmp_path / "site" / "index.html").read_text() == old.page("index.html")
