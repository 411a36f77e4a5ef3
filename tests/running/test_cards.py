"""One trial on two cards, here processes on the CPU: what it gives, and how it ends."""

from __future__ import annotations

import functools
import os
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from asking import told
from sharing import (
    CASES,
    LEARNING_RATE,
    MORE,
    REFUSED,
    all_of,
    ends,
    numbers,
    origin,
    trained,
    waits_for_one_that_ended,
)
from tiny import CPU, Silent, prepare
from torch import nn

from harness.errors import HarnessError, TrialError
from harness.running import cards
from harness.running.executors import Asked, local, places
from harness.running.executors.local import LocalExecutor
from harness.running.executors.process import CardDied, WorkerDied
from harness.running.group import Shared
from harness.running.paths import Paths
from harness.running.prepare import on_cards
from harness.running.schedule import execute
from harness.training.together import ALONE
from harness.training.train import Trained


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("cards")
    origin(made)
    return made


@pytest.fixture(scope="module")
def shared(folder):
    return on_two([*CASES, *REFUSED], folder)


@pytest.fixture(scope="module")
def more(folder):
    return on_two(MORE, folder)


def on_two(names, folder: Path) -> dict[str, Any]:
    """What cases give on two cards, of which this process is one."""
    with cards.joined(2, CPU, "cases", functools.partial(all_of, list(names), folder)) as two:
        return all_of(names, folder, two)


def agrees(two: Trained, one: Trained) -> None:
    """Two cards' training is one's but for last bits: to 5e-4 of each weight's length, 1e-4 of a loss.

    AdamW takes a whole step where a gradient is all but zero, and its sign may hang on the last bit, so that
    one weight in a hundred may have gone one step elsewhere: a tenth of what a step is long.
    """
    assert two.state.keys() == one.state.keys()
    for name, weight in one.state.items():
        step = LEARNING_RATE * weight.numel() ** 0.5
        off = (two.state[name] - weight).float().norm()
        assert off <= 5e-4 * weight.float().norm() + 0.1 * step, name
    assert [row[:4] for row in two.curve] == [row[:4] for row in one.curve]
    assert [row[4] for row in two.curve] == pytest.approx([row[4] for row in one.curve], rel=1e-4)
    assert (two.labels != one.labels).mean() < 1e-3


def same(two: Trained, other: Trained) -> bool:
    """Whether two trainings have the same bits."""
    assert two.state.keys() == other.state.keys()
    alike = all(torch.equal(two.state[name], other.state[name]) for name in two.state)
    return alike and two.curve == other.curve and bool((two.labels == other.labels).all())


@pytest.mark.parametrize("name", CASES)
def test_two_cards_train_as_one_does(name, shared, folder):
    """The last batch of an epoch has one sample, so that one card has nothing of its own to do."""
    assert (shared[name].cards, shared[name].most) == (2, 0)
    agrees(shared[name], trained(name, folder, ALONE))


@pytest.mark.slow
@pytest.mark.parametrize("name", MORE)
def test_two_cards_train_as_one_does_whatever_is_asked(name, more, folder):
    agrees(more[name], trained(name, folder, ALONE))


def test_two_trainings_on_two_cards_have_the_same_bits(shared):
    assert same(shared["erm"], shared["erm again"])
    assert not same(shared["erm"], shared["groupdro"])


@pytest.mark.slow
def test_what_is_resumed_on_two_cards_ends_with_the_same_bits(shared, more):
    assert same(shared["adv, resumed"], more["adv"])


@pytest.mark.slow
def test_all_cards_hold_less_where_one_holds_too_little(more):
    """A card has four samples of seven; the other would have held them."""
    found = more["erm in slices that one card needs"]
    assert found.most == 2
    assert same(found, more["erm in slices"])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "layers of its own",
            "--cards 2: domain-independent has layers of its own, .* leave --cards out for",
        ),
        (
            "memory of no sample",
            "erm: the GPU's memory does not hold one sample of a batch at a time; precis",
        ),
    ],
)
def test_what_cannot_be_shared_is_said_and_no_fault_of_the_method(name, said, shared):
    found = shared[name]
    assert isinstance(found, HarnessError)
    assert not isinstance(found, TrialError)
    with pytest.raises(HarnessError, match=said):
        raise found


class Told:
    """A card, of two, that is told what a method without layers of its own says of itself."""

    count = 2

    def told(self, value):
        return "Mine.loss", False


def test_batch_normalisation_that_learns_is_not_shared():
    found = Shared(Told(), None, told("mine"))
    network = found.adapt(nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)))
    with pytest.raises(HarnessError, match="--cards 2: this backbone trains batch normalisation, whose sta"):
        found.begin(0)
    network.eval()
    found.begin(0)


def share_until_told(how: str, then=lambda: None) -> None:
    """Be the first of two cards, the other of which ends so, and exchange numbers with it for ever."""
    with cards.joined(2, CPU, "mine seed 0", functools.partial(ends, how)) as two:
        OTHERS.append(numbers(two)[1])
        then()
        while True:
            numbers(two)


OTHERS: list[int] = []


def others_ended() -> bool:
    """Whether the process of the other card has gone; it is waited for, because its parent is a server."""
    while OTHERS:
        try:
            os.kill(OTHERS[-1], 0)
        except ProcessLookupError:
            OTHERS.pop()
        else:
            time.sleep(0.01)
    return True


@pytest.mark.parametrize(
    ("how", "kind", "said"),
    [
        ("killed", CardDied, "^card 1: its process was ended by SIGKILL"),
        ("refuses", HarnessError, "^mine.toml: there is no such cohort.$"),
        ("raises", TrialError, "^mine seed 0: on card 1, IndexError: index 9 is out of bounds$"),
    ],
)
def test_a_card_that_ends_ends_the_trial_and_is_named(how, kind, said):
    with pytest.raises(kind, match=said):
        share_until_told(how)
    assert others_ended()


def test_what_is_raised_on_the_first_card_ends_the_others():
    def fail():
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        share_until_told("waits", fail)
    assert others_ended()


@pytest.mark.slow
def test_a_card_that_waits_on_its_gpu_for_one_that_ended_ends_too():
    with LocalExecutor([{}]) as executor, pytest.raises(WorkerDied, match="^the process of its card 1 ended"):
        executor.submit(waits_for_one_that_ended).result()


KILLS = """
import multiprocessing
from pathlib import Path

from harness import Card, Method, segmentation_loss


class Mine(Method):
    card = Card(title="Mine")
    left = 6

    def loss(self, batch, output):
        Mine.left -= 1
        marker = Path({marker!r})
        if not Mine.left and not marker.exists():
            marker.touch()
            for process in multiprocessing.active_children():
                process.kill()
        return segmentation_loss(output.logits, batch.masks, self.task.dice_weight)
"""


@pytest.mark.slow
def test_a_trial_whose_card_was_killed_is_begun_again_and_is_done(tmp_path):
    """The second time it runs to its end; its record says on how many cards, and its id does not."""
    file = tmp_path / "mine.py"
    file.write_text(KILLS.format(marker=str(tmp_path / "killed")))
    planned = prepare([str(file)], Paths(tmp_path / "runs", None, tmp_path / "cache"), seeds=(0,))
    on_two = on_cards(planned, 2)
    assert planned.plan.trials.keys() == on_two.plan.trials.keys()
    with LocalExecutor([{}], preload=["harness.running.trial"]) as executor:
        outcome = execute(on_two, executor, Silent(), 1, CPU)
    assert (tmp_path / "killed").exists()
    assert (outcome.count("done"), outcome.errors) == (len(planned.plan.trials), [])
    assert {planned.store.record(one).cost.cards for one in planned.plan.trials} == {2}


def test_a_slot_has_as_many_cards_as_a_trial(monkeypatch):
    monkeypatch.setattr(places, "gpus", lambda device, cards=(): ["3", "5", "6"])
    gpu = torch.device("cuda")
    assert places.slots(gpu, None, 1, each=2) == [{"CUDA_VISIBLE_DEVICES": "3,5"}]
    assert places.slots(gpu, 2, 1, each=2) == 2 * [{"CUDA_VISIBLE_DEVICES": "3,5"}]
    assert len(places.slots(gpu, None, 1, each=1)) == 3
    with pytest.raises(HarnessError, match="^--cards 4: there are 3 GPUs here; ask for at most as many.$"):
        places.slots(gpu, None, 1, each=4)


def test_cards_share_the_cores(monkeypatch):
    monkeypatch.setattr(places, "_cores", lambda: 8)
    assert [len(places.slots(CPU, None, 2, each=each)) for each in (1, 2, 4, 8)] == [4, 2, 1, 1]


@pytest.mark.parametrize(
    ("device", "said"),
    [("cuda:1", "--cards 2: --device cuda:1 is one card; name 2"), ("mps", "--cards 2: only GPUs of CUDA")],
)
def test_cards_that_cannot_be_shared_are_refused(device, said):
    cards.check(1, torch.device(device))
    cards.check(2, CPU)
    with pytest.raises(HarnessError, match=said):
        cards.check(2, torch.device(device))


def test_without_the_library_it_is_named(monkeypatch):
    monkeypatch.setattr(cards, "find_spec", lambda name: None)
    with pytest.raises(
        HarnessError, match=r"--cards 2: accelerate is not installed; pip install '.*\[cards\]'"
    ):
        cards.check(2, CPU)


def test_trials_that_share_a_gpu_do_not_have_several(tmp_path):
    asked = Asked(torch.device("cuda"), None, 1, [], tmp_path, each=2)
    with pytest.raises(
        HarnessError, match="--cards 2: its cards are a trial's own; leave --set per_gpu=4 out"
    ):
        local.make(asked, local.Options(per_gpu="4"))
