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
    assert said[0] == "1 score of 1 method moved"
    # The others' trials are the same: only their rank among the methods can move, told in one line.
    assert len(said) <= 3
    for line in said[1:]:
        assert line is adv or ("only the rank of" in line and "the other methods" in line)


def test_another_definition_is_named_as_the_cause(old, tmp_path):
    def change(export):
        export["definition_digest"] = "other"
        method = export["protocols"][0]["sections"][0]["methods"][0]
        method["scores"]["dice"]["es_sum"]["estimate"] += 0.1

    said = leaderboard.diff(old.out, rewritten(old, tmp_path / "new", change))
    assert "Because of definition: the statistics." in said
    assert len(said.splitlines()) == 3


def test_other_data_are_named_as_the_cause(old, tmp_path):
    def change(export):
        for method in export["protocols"][0]["sections"][0]["methods"]:
            method["identity"]["cohort"] = "other"
            method["scores"]["dice"]["overall"]["estimate"] += 0.01

    said = leaderboard.diff(old.out, rewritten(old, tmp_path / "new", change)).splitlines()
    assert said[0] == "3 scores of 3 methods moved"
    assert len(said) == 4
    assert all("Because of data: the cohort's content." in line for line in said[1:])


def test_methods_that_come_and_go_are_named(old, tmp_path):
    smaller = rewritten(old, tmp_path / "new", lambda e: e["protocols"][0]["sections"][0]["methods"].pop(0))
    assert "no longer there" in leaderboard.diff(old.out, smaller)
    assert ": new" in leaderboard.diff(smaller, old.out)


def test_one_more_method_is_one_line_that_counts_and_a_few_that_say_it(old, tmp_path):
    fewer = make_site(tmp_path, replace(WORLD, methods=("erm", "febs")))
    said = leaderboard.diff(fewer.out, old.out).splitlines()
    assert said[0] == "1 method added; no score moved"
    assert said[1] == "quick: adv: new, in 1 cell"
    assert len(said) <= 3
    gone = leaderboard.diff(old.out, fewer.out).splitlines()
    assert gone[0] == "1 method gone; no score moved"


def test_what_moved_most_comes_first(old, tmp_path):
    by = {"erm": 0.01, "adv": 0.2, "febs": 0.05}

    def change(export):
        for method in export["protocols"][0]["sections"][0]["methods"]:
            method["scores"]["dice"]["es_sum"]["estimate"] += by[method["method"]]
            # Pixels are larger numbers than fractions, and no larger a move.
            if method["method"] == "erm" and "hd95" in method["scores"]:
                method["scores"]["hd95"]["gap"]["estimate"] += 100

    said = leaderboard.diff(old.out, rewritten(old, tmp_path / "new", change)).splitlines()
    assert [line.split()[1] for line in said[1:]] == ["adv", "febs", "erm"]


def test_a_trial_that_failed_since_is_counted_apart(old, tmp_path):
    def change(export):
        export["protocols"][0]["sections"][0]["methods"][1]["status"] = "failed"

    said = leaderboard.diff(old.out, rewritten(old, tmp_path / "new", change)).splitlines()
    assert said[0] == "no score moved; 1 status changed"
    assert "status done -> failed" in said[1]


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


def test_methods_of_a_board_with_another_table_are_neither_added_nor_gone(old, tmp_path):
    def again(export):
        sections = export["protocols"][0]["sections"]
        sections.append(sections[0] | {"attribute": "gender"})

    more = rewritten(old, tmp_path / "more", again)
    methods = ("adv", "erm", "febs")
    said = leaderboard.diff(old.out, more).splitlines()
    assert said == ["1 table added; no score moved", *(f"quick: {name}: in 1 cell more" for name in methods)]
    said = leaderboard.diff(more, old.out).splitlines()
    assert said == ["1 table gone; no score moved", *(f"quick: {name}: in 1 cell fewer" for name in methods)]


def test_of_a_method_whose_trials_all_failed_no_code_is_blamed(old, tmp_path):
    failed = frozenset({("adv", "race", 0), ("adv", "race", 1)})
    said = leaderboard.diff(old.out, make_site(tmp_path, replace(WORLD, failed=failed)).out).splitlines()
    (adv,) = [line for line in said if line.startswith("quick: adv (race, cup)")]
    assert "status done -> failed" in adv
    assert adv.endswith("Because of data: other seeds have finished.")
