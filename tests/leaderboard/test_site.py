import json
import re
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from html_page import Page
from make_records import World, make_site, make_store

import leaderboard
from harness.equity import many
from harness.errors import HarnessError
from harness.store import BrokenPlugin
from leaderboard.compute import sections
from leaderboard.read import boards


def files(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_same_records_give_the_same_bytes(small, tmp_path):
    leaderboard.build(small.runs.root, tmp_path / "again")
    assert files(tmp_path / "again") == files(small.out)


@pytest.mark.slow
def test_building_needs_no_torch(small, tmp_path):
    code = (
        "import sys; from pathlib import Path; from leaderboard import build; "
        "build(Path(sys.argv[1]), Path(sys.argv[2])); assert 'torch' not in sys.modules"
    )
    run = [sys.executable, "-c", code, str(small.runs.root), str(tmp_path / "site")]
    assert subprocess.run(run, check=False).returncode == 0


def test_failed_partial_missing_and_broken_are_all_on_the_board(small):
    text = Page(small.page("index.html")).text
    assert f"seed 1 failed: {small.world.error}" in text
    assert "1 of 2 seeds, 1 failed" in text
    assert "not run yet" in text
    assert "line 3: invalid syntax" in text


def test_board_shows_the_es_dice_that_a_hand_calculation_gives(small):
    trials = [id_ for id_ in small.runs.ids() if small.runs.record(id_).method.name == "groupdro"]
    mine = pd.concat(small.runs.scores(id_) for id_ in trials)
    mine = mine[mine["structure"] == "cup"].merge(small.runs.subjects("quick")[["sample", "race"]])
    overall, groups = mine["dice"].mean(), mine.groupby("race")["dice"].mean()
    expected = overall / (1 + (groups - overall).abs().sum())
    export = json.loads(small.page("leaderboard.json"))
    row = next(m for m in export["protocols"][0]["sections"][0]["methods"] if m["method"] == "groupdro")
    assert row["scores"]["dice"]["es_sum"]["estimate"] == pytest.approx(expected, abs=1e-5)
    assert f"{expected:.3f}" in Page(small.page("index.html")).text


def test_best_is_written_where_the_probability_of_being_best_is_high(tmp_path):
    world = World(
        methods=("erm", "febs"), attributes=("race",), structures=("cup",), samples=200,
        gaps={"erm": 0.3, "febs": 0.0}, noise=0.03,
    )  # fmt: skip
    text = Page(make_site(tmp_path, world).page("index.html")).text
    assert "Fair error-bound scaling is best" in text


def test_best_is_not_written_where_methods_are_alike(tmp_path):
    world = World(
        methods=("erm", "febs"), attributes=("race",), structures=("cup",), samples=100,
        gaps={"erm": 0.1, "febs": 0.1},
    )  # fmt: skip
    text = Page(make_site(tmp_path, world).page("index.html")).text
    assert "No difference can be told yet" in text
    assert not re.search(r"\bis best\b", text)
    assert "do not tell it apart from" in text


def test_best_is_not_written_for_one_method(tmp_path):
    world = World(methods=("erm",), attributes=("race",), structures=("cup",), noise=0.03)
    text = Page(make_site(tmp_path, world).page("index.html")).text
    assert not re.search(r"\bis best\b", text)


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_nothing_is_told_apart_on_fewer_than_three_seeds(tmp_path, seeds):
    world = World(
        methods=("erm", "febs"), attributes=("race",), structures=("cup",), samples=200,
        gaps={"erm": 0.3, "febs": 0.0}, noise=0.03, seeds=seeds,
    )  # fmt: skip
    site = make_site(tmp_path, world)
    text = Page(site.page("index.html")).text
    assert not re.search(r"\bis best\b|better than ERM", text)
    assert "do not tell it apart from Empirical risk minimisation on fewer than three seeds" in text
    export = json.loads(site.page("leaderboard.json"))
    rows = export["protocols"][0]["sections"][0]["methods"]
    assert {(row["rank_low"], row["rank_high"]) for row in rows} == {(1, 2)}


@pytest.mark.slow
def test_the_most_methods_that_are_resampled_can_be_told_apart(tmp_path):
    # Twenty methods are 190 pairs: too few resamples could not show any difference after Holm's adjustment.
    names = ["erm", *(f"m{i:02}" for i in range(many.MANY - 1))]
    world = World(
        methods=names, attributes=("race",), structures=("cup",), samples=120, noise=0.03,
        gaps=dict.fromkeys(names, 0.05), quality={name: -0.02 * i for i, name in enumerate(names)},
    )  # fmt: skip
    (board,) = boards.of_store(make_store(tmp_path, world))
    rows = sections.one(board, "race", "cup").ranked
    assert [row.method for row in rows] == names
    assert rows[0].letters != rows[-1].letters
    assert rows[-1].rank_low > 5
    assert rows[-1].versus.better is False


def test_what_is_said_against_erm_agrees_with_the_letters(small):
    (board,) = boards.of_store(small.runs)
    for section in sections.of_board(board):
        baseline = section.row("erm")
        for row in section.ranked:
            apart = not set(row.letters) & set(baseline.letters)
            assert row.versus is None or (row.versus.better is not None) == apart


def test_best_is_not_written_where_a_paired_test_does_not_agree():
    line = {"rank": 1, "rank_low": 1, "p_best": 0.97, "letters": "a"}

    def best(rank_high, twins, obtained="run"):
        lines = SimpleNamespace(ranking={"febs": [line | {"rank_high": rank_high}], "erm": []})
        return sections._rank(SimpleNamespace(twins=twins), lines, "febs", obtained)["best"]

    assert not best(2, {})
    assert best(1, {})
    assert best(1, {"febs": "erm"})
    assert not best(1, {"febs": "erm+1"}), "its lead may be that of the epochs of a twin which has not run"
    assert not best(1, {}, "reported")


def test_a_cohort_with_too_small_groups_says_so_instead_of_ranking(tmp_path):
    world = World(attributes=("race",), structures=("cup",), samples=16)
    page = make_site(tmp_path, world).page("index.html")
    assert "Too few patients" in Page(page).text


def test_an_empty_store_says_what_to_run(tmp_path):
    with pytest.raises(HarnessError, match="harness run --all"):
        leaderboard.build(tmp_path / "runs", tmp_path / "site")
    assert not (tmp_path / "site").exists()


def test_a_folder_that_is_no_site_is_never_replaced(small, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(HarnessError, match="not a site"):
        leaderboard.build(small.runs.root, tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def failures(site):
    """Every sentence on the site's first board about a trial that cannot be shown."""
    (board,) = json.loads((site / "leaderboard.json").read_text())["protocols"]
    return {error for one in board["sections"][0]["methods"] for error in one["errors"].values()}


def test_scores_of_other_samples_are_refused_by_name(tmp_path, caplog):
    store = make_store(tmp_path / "runs", World(attributes=("race",), structures=("cup",), samples=40))
    trial = store.ids()[0]
    store.scores(trial).iloc[:-1].to_parquet(store.path(trial) / "scores.parquet")
    leaderboard.build(store.root, tmp_path / "site")
    (said,) = failures(tmp_path / "site")
    assert said.startswith(f"records/{trial}/scores.parquet: its samples and structures are not those of")
    assert caplog.messages == [f"{store.root}/{said}"]


def test_a_record_without_its_scores_is_named(tmp_path, caplog):
    store = make_store(tmp_path / "runs", World(attributes=("race",), structures=("cup",), samples=40))
    trial = store.ids()[0]
    (store.path(trial) / "scores.parquet").write_bytes(b"PAR1 cut off")
    leaderboard.build(store.root, tmp_path / "site")
    (said,) = failures(tmp_path / "site")
    assert said.startswith(f"records/{trial}/scores.parquet: cannot be read (")
    assert said.endswith(f"delete records/{trial} and run the trial again.")
    assert caplog.messages == [said.replace(f"records/{trial}", f"{store.root}/records/{trial}")]


HOSTILE = '<script>alert(1)</script>"><img src=x onerror=alert(2)>‮drol'


def test_strangers_text_is_shown_as_text(tmp_path):
    world = World(
        methods=("erm", HOSTILE), attributes=("race",), structures=("cup",), seeds=(0,), samples=60,
        failed=frozenset({(HOSTILE, "race", 0)}), error=HOSTILE,
        broken=(BrokenPlugin(name=HOSTILE, file=HOSTILE, error=HOSTILE),),
        info={HOSTILE: {
            "title": HOSTILE, "authors": HOSTILE, "paper": HOSTILE, "url": "javascript:alert(1)",
            "licence": HOSTILE, "source": HOSTILE, "hyper_parameters": {HOSTILE: HOSTILE}, "defaults": {},
        }},
    )  # fmt: skip
    site = make_site(tmp_path, world)
    for path in site.out.rglob("*.html"):
        page = Page(path.read_text(encoding="utf-8"))
        assert "onerror" not in [name for _, attrs in page.tags for name in attrs]
        assert all("src" in attrs for tag, attrs in page.tags if tag == "script")
        assert not [a for _, a in page.tags if str(a.get("href", "")).lower().startswith("javascript")]
    shown = [path for path in site.out.glob("quick/*.html") if "onerror" in Page(path.read_text()).text]
    assert len(shown) == 1


def test_no_page_asks_another_host_for_anything(small):
    for path in small.out.rglob("*.html"):
        page = Page(path.read_text(encoding="utf-8"))
        loaded = [a.get("src") or a.get("href") for tag, a in page.tags if tag in ("link", "script", "img")]
        assert not [url for url in loaded if url and re.match(r"(?i)[a-z]+:|//", url)]
        (policy,) = [a["content"] for _, a in page.tags if "http-equiv" in a]
        assert "unsafe" not in policy
        assert "default-src 'none'" in policy


def test_every_link_leads_somewhere_on_the_site(small):
    for path in small.out.rglob("*.html"):
        page = Page(path.read_text(encoding="utf-8"))
        ids = {a["id"] for _, a in page.tags if "id" in a}
        for _, attrs in page.tags:
            target = attrs.get("href") or attrs.get("src") or ""
            if target.startswith("http") or not target:
                continue
            file, _, anchor = target.partition("#")
            assert not file or (path.parent / file).is_file(), (path, target)
            assert file or anchor in ids, (path, target)


def test_csv_holds_what_equity_computed(small):
    table = pd.read_csv(small.out / "leaderboard.csv", keep_default_na=False, na_values=[""])
    done = table[(table["method"] == "erm") & (table["quantity"] == "es_sum") & (table["metric"] == "dice")]
    assert set(done["structure"]) == {"cup", "disc"}
    assert np.isfinite(done[["estimate", "low", "high", "rank"]].to_numpy(float)).all()
    idle = table[table["method"] == "febs"]
    assert set(idle["status"]) == {"not run yet"}
    assert idle["estimate"].isna().all()


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_site_made_by_many_processes_is_the_same_and_none_waits_for_ever(tmp_path):
    first = make_site(tmp_path, World(attributes=("race",), structures=("cup",), samples=120)).out
    # Here, where figures were drawn before; and in a fresh process, which forks, so that others draw them.
    leaderboard.build(tmp_path / "runs", tmp_path / "here")
    code = (
        "import sys, leaderboard; leaderboard.build('runs', 'there'); assert 'vl_convert' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    files = {path.relative_to(first) for path in first.rglob("*") if path.is_file()}
    for name in ("here", "there"):
        assert {path.relative_to(tmp_path / name) for path in (tmp_path / name).rglob("*.*")} >= files
        for path in files:
            assert (tmp_path / name / path).read_bytes() == (first / path).read_bytes()
