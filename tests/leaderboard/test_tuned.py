"""The board says beside every method where its hyper-parameters are from."""

import json

import pytest
from make_records import World, make_site

from harness.store import Try, Tuned

TRIES = (
    Try(hyper_parameters={"step_size": 0.01}, score=0.61),
    Try(hyper_parameters={"step_size": 0.3}, error="Loss became NaN"),
    Try(hyper_parameters={"step_size": 0.02}, score=0.64),
)
TUNED = Tuned(budget=3, seeds=(0,), patients=57, source_digest="0" * 64, tries=TRIES, chosen=2)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    world = World(
        methods=("erm", "groupdro", "adv", "febs"),
        attributes=("race",),
        structures=("cup",),
        tuned={"groupdro": TUNED},
        info={
            "erm": {"hyper_parameters": {}, "defaults": {}},
            "adv": {"hyper_parameters": {"eta": 1.0}, "defaults": {"eta": 1.0}},
        },
    )
    return make_site(tmp_path_factory.mktemp("tuned"), world)


def test_every_row_says_where_its_hyper_parameters_are_from(site):
    (protocol,) = json.loads(site.page("leaderboard.json"))["protocols"]
    said = {row["method"]: row["hyper_parameters_are"] for row in protocol["sections"][0]["methods"]}
    assert said == {
        "erm": "",
        "groupdro": "best of 3 tries",
        "adv": "defaults",
        "febs": "set by the protocol",
    }
    board = site.page("index.html")
    for words in ("best of 3 tries", "defaults", "set by the protocol"):
        assert board.count(f"· {words}</span>") == 1


def test_a_methods_page_lists_everything_tried_and_what_was_chosen(site):
    page = site.page("quick/groupdro.html")
    assert "budget of 3 tries a method" in page
    assert "57 training patients" in page
    assert "failed: <bdi>Loss became NaN</bdi>" in page
    row = page[page.index("step_size=0.02") - 200 : page.index("step_size=0.02")]
    assert '3 <span class="tag">chosen</span>' in row
    assert "Not tuned: defaults." in site.page("quick/adv.html")


def test_a_board_on_which_only_some_were_tuned_says_so(site):
    assert "Not tuned, while others were: adv, febs." in site.page("quick/protocol.html")
