"""A method answers the same bits here and in another process, where its answer is all that it can reach."""

from __future__ import annotations

import contextlib
import socket
import textwrap
import threading
from dataclasses import fields, replace

import numpy as np
import pytest
import red_team
import torch
from asking import asked_by, elsewhere, here, told
from conftest import make_batch
from tiny import CPU, prepare, shared_run, trial_of

from harness.errors import HarnessError, TrialError
from harness.plugin import discovery
from harness.plugin.asks import PLAIN, Asks
from harness.running import trial
from harness.sandbox import boxed
from harness.sandbox import line as lines
from harness.sandbox.container import Ended
from harness.sandbox.limits import Limits
from harness.sandbox.line import Kind, Line
from harness.sandbox.remote import Remote
from harness.sandbox.serve import Asked

# Who trains a model of its own is not asked for a loss over a line, nor cut into slices.
SHIPPED = sorted(
    name
    for name, plugin in discovery.discover().items()
    if b"trains_own_model = True" not in plugin.file.read_bytes()
)

METHOD = """
import os, time
import torch
from harness import Card, Method, segmentation_loss

class Mine(Method):
    card = Card(title="Mine")

    def __init__(self, task):
        super().__init__(task)
        self.register_buffer("seen", torch.zeros(3))

    def loss(self, batch, output):
        loss = segmentation_loss(output.logits, batch.masks, self.task.dice_weight)
{body}
"""


def plugin_of(folder, body: str, hooks: str = ""):
    file = folder / "mine.py"
    text = METHOD.format(body=textwrap.indent(textwrap.dedent(body).strip("\n"), " " * 8))
    file.write_text(text + textwrap.indent(hooks, " " * 4))
    return discovery.find(str(file))


def course(method, epochs: int = 2, first: int = 0, asked: Asks = PLAIN) -> list[torch.Tensor]:
    """Take six steps of four samples with every group, unknown and single ones; return all that came back."""
    found = []
    for epoch in range(first, epochs):
        method.begin(epoch)
        for step, groups in enumerate([[0, 1, 2, -1], [1, 1, 1, 1], [-1, -1, -1, 2]]):
            batch, output = make_batch(groups, seed=10 * epoch + step)
            if asked.mixes and (mix := method.mix(batch.groups, batch.samples)) is not None:
                shares = torch.from_numpy(mix.shares)
                batch = replace(batch, other_masks=batch.masks[mix.partners], shares=shares)
                found += [torch.from_numpy(mix.partners), shares]
            teacher = output.logits.detach().flip(0).contiguous() if asked.taught else None
            for probe in (True, False) if asked.radius is not None else (False,):
                answer = method.answer(batch, output.logits, output.features, 0.5, teacher, probe)
                found += [answer.loss, answer.logits, answer.features]
        method.end(epoch)
        if asked.weighs:
            losses = torch.linspace(0, 1, 120).roll(epoch)
            losses[::7] = torch.nan
            given = method.weights(epoch, losses)
            found.append(None if given is None else torch.from_numpy(given))
    return found


def same(one: list, other: list) -> bool:
    assert len(one) == len(other) > 0
    return all(
        (a is None) == (b is None) and (a is None or torch.equal(a, b))
        for a, b in zip(one, other, strict=True)
    )


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_method_gives_the_same_bits_in_another_process(name):
    plugin = discovery.find(name)
    mine = here(plugin, told(name))
    with elsewhere(plugin) as make:
        theirs = make(told(name))
        asked = asked_by(plugin)
        assert same(course(mine, asked=asked), course(theirs, asked=asked))
        assert torch.equal(mine.state(), theirs.state())


EVERYTHING = """
def mix(self, groups, samples):
    if groups[0] < 0:
        return None
    self.seen += torch.rand(3)
    return (torch.arange(len(groups)) + 1) % len(groups), torch.rand(len(groups))

def sampling_weights(self, epoch, losses):
    self.seen += losses.nan_to_num().sum() + torch.rand(3)
    return None if epoch else losses.nan_to_num() + torch.rand(len(losses))
"""


def test_what_uses_all_of_the_contract_gives_the_same_bits_there(tmp_path):
    plugin = plugin_of(tmp_path, USES, EVERYTHING)
    mine, asked = here(plugin, told("mine")), Asks(weighs=True, mixes=True, taught=True, radius=0.1)
    own = course(_Grey(mine), asked=asked)
    with elsewhere(plugin) as make:
        theirs = make(told("mine"))
        assert same(own, course(_Grey(theirs), asked=asked))
        assert torch.equal(mine.state(), theirs.state())
    # Mixed images are sent as they are, not as bytes.
    assert any(one is not None and one.dtype == torch.float64 for one in own)


USES = """
self.seen += batch.images.mean((0, 2, 3)) + torch.rand(3)
if batch.shares is not None:
    loss = loss + (batch.shares * batch.other_masks.float().mean((1, 2))).sum() * output.losses.sum()
return loss * (1 + self.seen.mean()) + (output.teacher - output.logits).square().mean()
"""


def test_after_a_probe_a_method_is_as_it_was(tmp_path):
    plugin = plugin_of(tmp_path, USES, "")
    batch, output = make_batch([0, 1, 2, -1])
    probed, not_probed = here(plugin, told("mine")), here(plugin, told("mine"))
    for one in (probed, not_probed):
        one.begin(0)
    before = probed.method.seen.clone()
    probe = probed.answer(batch, output.logits, output.features, 1.0, output.logits.detach(), probe=True)
    assert torch.equal(probed.method.seen, before)
    one, other = (
        method.answer(batch, output.logits, output.features, 1.0, output.logits.detach())
        for method in (probed, not_probed)
    )
    assert same([probe.loss, probe.logits], [one.loss, one.logits])
    assert same([one.loss, one.logits], [other.loss, other.logits])
    assert torch.equal(probed.method.seen, not_probed.method.seen)


def test_weights_of_a_methods_own_move_once_where_it_is_asked_twice():
    batch, output = make_batch([0, 1, 2, -1])
    probed, not_probed = (here(discovery.find("adv"), told("adv")) for _ in range(2))
    for one in (probed, not_probed):
        one.begin(0)
    probed.answer(batch, output.logits, output.features, 1.0, probe=True)
    for one in (probed, not_probed):
        one.answer(batch, output.logits, output.features, 1.0)
    assert torch.equal(probed.state(), not_probed.state())


DRAWS = """
import random, numpy
self.seen += batch.images.mean((0, 2, 3)) + torch.rand(3) + random.random() + numpy.random.random()
return loss * (1 + self.seen.mean()) + output.losses[batch.select(batch.groups >= 0).samples].sum()
"""


def test_random_numbers_images_and_single_losses_are_the_same_there_too(tmp_path):
    plugin = plugin_of(tmp_path, DRAWS)
    mine = here(plugin, told("mine"))
    torch.manual_seed(5)
    with elsewhere(plugin) as make:
        theirs = make(told("mine"))
        # Pixels are bytes over 255, as a feed makes them: what is sent.
        own = course(_Grey(mine))
        torch.rand(7)  # as a backbone may draw between two losses
        assert same(own, course(_Grey(theirs)))
        assert torch.equal(mine.state(), theirs.state())


class _Grey:
    """A method that is given images whose pixels are bytes."""

    def __init__(self, method):
        self.method = method

    def __getattr__(self, name: str):
        return getattr(self.method, name)

    def answer(self, batch, *rest):
        if batch.shares is None:
            batch = replace(batch, images=(batch.images * 255).round().to(torch.uint8).float() / 255)
        return self.method.answer(batch, *rest)


def test_what_a_method_draws_is_not_what_the_backbone_draws(tmp_path):
    mine = here(plugin_of(tmp_path, DRAWS), told("mine"))
    torch.manual_seed(3)
    before = torch.get_rng_state()
    course(mine)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_state_goes_on_where_it_was_taken_there_or_here():
    plugin = discovery.find("adv")
    whole = here(plugin, told("adv"))
    first = course(whole, 1)
    kept = whole.state()
    rest = course(whole, 2, first=1)
    with elsewhere(plugin) as make:
        theirs = make(told("adv"))
        assert same(first, course(theirs, 1))
        course(theirs, 2, first=1)
        with pytest.raises(ValueError, match="."):
            theirs.resume(torch.zeros(10, dtype=torch.uint8))
        theirs.resume(kept)
        assert same(rest, course(theirs, 2, first=1))


def test_a_batch_that_asks_for_its_images_is_a_batch():
    batch, _ = make_batch([0, 1, 2])
    batch, asked = replace(batch, other_masks=batch.masks[[1, 2, 0]], shares=torch.rand(3)), []
    _, *rest = (getattr(batch, f.name) for f in fields(batch))
    far = Asked(lambda: asked.append(1) or batch.images, *rest)
    part, near = far.select(batch.groups > 0), batch.select(batch.groups > 0)
    assert asked == []
    assert all(torch.equal(getattr(part, f.name), getattr(near, f.name)) for f in fields(batch))
    assert asked == [1]


FAILS = {
    "raises": ("raise ValueError('no')", "mine.py:15: ValueError: no"),
    "no scalar": ("return output.losses", r"Mine.loss returned shape \(4,\)"),
    "dies": ("os._exit(3)", "it exited with status 3"),
    "hangs": ("time.sleep(60)", "it did not answer within 2 s"),
    "sends a pickle": (
        "import gc\n"
        "(line,) = [one for one in gc.get_objects() if type(one).__name__ == 'Line']\n"
        "line._socket.send(b'\\x80\\x04' * 99)\n"
        "return loss",
        "it sent what is no message",
    ),
}


@pytest.mark.parametrize("how", FAILS)
def test_what_a_method_does_wrong_there_is_one_sentence(tmp_path, how):
    body, said = FAILS[how]
    with elsewhere(plugin_of(tmp_path, body), Limits(step=2 if how == "hangs" else 60)) as make:
        method = make(told("mine"))
        with pytest.raises(TrialError, match=rf"^mine\.py, elsewhere: [^\n]*{said}"):
            course(method)


def header(kind: int, length: int, flags: int = 0, magic: bytes = lines.MAGIC) -> bytes:
    return lines._HEADER.pack(magic, kind, flags, length)


BATCH_BYTES = 8 + 4 * (4 * 3 * 8 * 8 + 4 * 8)
NONSENSE = {
    "silence": (b"", "did not answer within"),
    "another magic": (header(9, 8, magic=b"eqloss2\n"), "no message"),
    "an unknown kind": (header(99, 0), "no message"),
    "a length of exabytes": (header(9, 2**63, 3), "where at most"),
    "one gradient too few": (header(9, 8, 3) + bytes(8), "not a loss and the gradients"),
    "an unknown flag": (header(9, 8, 4) + bytes(8), "not a loss and the gradients"),
    "a byte more": (header(9, 9) + bytes(9), "not a loss and the gradients"),
    "a message that is not due": (header(8, 0), "a message that is not due"),
    "a step": (header(3, 0), "a message that is not due"),
    "half an answer": (header(9, BATCH_BYTES, 3) + bytes(50), "did not answer within"),
    "images for ever": (header(10, 0) * 2, "a message that is not due"),
    "an error of many lines": (header(12, 5) + b"a\nb\x1b\xff", "a b"),
}


@pytest.mark.parametrize("what", NONSENSE)
def test_nonsense_on_the_line_is_the_methods_failure(what):
    ours, theirs = socket.socketpair()
    said, sentence = NONSENSE[what]
    theirs.sendall(header(8, 0) + said)
    drain = threading.Thread(target=_drain, args=(theirs,), daemon=True)
    drain.start()
    limits = Limits(step=0.3 if "within" in sentence else 60)
    method = Remote(Line(ours), told("mine"), "mine.py", "mine.py", limits)
    batch, output = make_batch([0, 1, 2, -1])
    with pytest.raises(TrialError, match=sentence) as caught:
        method.answer(batch, output.logits, output.features, 1.0)
    assert str(caught.value).isprintable()
    ours.close()


def _drain(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while connection.recv(1 << 16):
            pass


def test_a_reader_that_takes_nothing_does_not_hold_the_training_up():
    ours, theirs = socket.socketpair()
    theirs.sendall(header(8, 0))
    method = Remote(Line(ours), told("mine"), "mine.py", "mine.py", Limits(step=0.3))
    batch, output = make_batch([0] * 400)
    with pytest.raises(TrialError, match="did not take a message within"):
        method.answer(batch, output.logits, output.features, 1.0)
    theirs.close()


def packed(*arrays: np.ndarray) -> bytes:
    return b"".join(one.tobytes() for one in arrays)


PARTNERS, SHARES = np.array([1, 0, 3, 2]), np.full(4, 0.5, np.float32)
BAD_MIX = {
    "a partner beyond the batch": (packed(np.array([1, 0, 4, 2]), SHARES), 0, "no row of a batch of 4"),
    "a partner before it": (packed(np.array([1, 0, -1, 2]), SHARES), 0, "no row of a batch of 4"),
    "a partner of 2^62": (packed(np.array([1, 0, 2**62, 2]), SHARES), 0, "no row of a batch of 4"),
    "a share above 1": (packed(PARTNERS, SHARES * 2.5), 0, r"a share that is not in \[0, 1\]"),
    "a share of 1e38": (packed(PARTNERS, SHARES * np.float32(1e38)), 0, "a share that is not in"),
    "a share below 0": (packed(PARTNERS, -SHARES), 0, "a share that is not in"),
    "a share that is no number": (packed(PARTNERS, SHARES * np.nan), 0, "a share that is not in"),
    "a sample too few": (packed(PARTNERS[:3], SHARES[:3]), 0, "a message of 36 bytes, where 48 are due"),
    "a sample too many": (packed(PARTNERS, SHARES, SHARES[:1]), 0, "a message that is not due"),
    "nothing, and yet something": (packed(PARTNERS, SHARES), 1, "a message of 48 bytes, where"),
    "an unknown flag": (b"", 2, "are due"),
}
BAD_WEIGHTS = {
    "no number": (np.full(5, np.nan), 0, "a weight that is not finite and at least 0"),
    "infinity": (np.array([1, 1, np.inf, 1, 1]), 0, "a weight that is not finite and at least 0"),
    "below 0": (np.array([1, 1, -1e-9, 1, 1]), 0, "a weight that is not finite and at least 0"),
    "all 0": (np.zeros(5), 0, "gave 0 for every sample"),
    "one too few": (np.ones(4), 0, "a message of 32 bytes, where 40 are due"),
    "ten thousand too many": (np.ones(10_000), 0, "a message of 80,000 bytes, where at most"),
    "nothing, and yet something": (np.ones(5), 1, "a message of 40 bytes, where"),
}


@pytest.mark.parametrize("what", BAD_MIX)
def test_a_mix_that_cannot_be_is_the_methods_failure(what):
    said, flags, sentence = BAD_MIX[what]
    method, close = answering(header(14, len(said), flags) + said)
    batch, _ = make_batch([0, 1, 2, -1])
    with pytest.raises(TrialError, match=f"^mine.py: .*{sentence}") as caught:
        method.mix(batch.groups, batch.samples)
    assert str(caught.value).isprintable()
    close()


@pytest.mark.parametrize("what", BAD_WEIGHTS)
def test_weights_that_cannot_be_are_the_methods_failure(what):
    weights, flags, sentence = BAD_WEIGHTS[what]
    method, close = answering(header(16, weights.nbytes, flags) + weights.tobytes())
    with pytest.raises(TrialError, match=f"^mine.py: .*{sentence}") as caught:
        method.weights(0, torch.rand(5))
    assert str(caught.value).isprintable()
    close()


def answering(said: bytes):
    """A method that says something when it is asked, and what ends it."""
    ours, theirs = socket.socketpair()
    theirs.sendall(header(8, 0) + said)
    threading.Thread(target=_drain, args=(theirs,), daemon=True).start()
    return Remote(Line(ours), told("mine"), "mine.py", "mine.py", Limits()), ours.close


VILLAINS = {
    "mixes_beyond_the_batch": "no row of a batch of 4",
    "mixes_a_hundred_times": "a share that is not in",
    "mixes_with_no_number": "a share that is not in",
    "mixes_gigabytes": "a message of 12,000,000 bytes, where at most",
    "weighs_with_no_number": "not finite and at least 0",
    "weighs_nobody": "gave 0 for every sample",
    "weighs_more_than_there_are": "a message of 9,600 bytes, where at most",
}


@pytest.mark.parametrize("name", VILLAINS)
def test_what_replaces_the_check_on_its_own_side_is_refused_on_ours(tmp_path, name):
    plugin = discovery.find(str(red_team.write_asked(tmp_path)[name]))
    with elsewhere(plugin) as make:
        theirs = make(told(plugin.name))
        said = pytest.raises(TrialError, match=rf"^{plugin.file.name}, elsewhere: [^\n]*{VILLAINS[name]}")
        with said:
            course(theirs, asked=Asks(mixes=name.startswith("mixes"), weighs=name.startswith("weighs")))


FURTHER = ("lisa", "sharpness-aware")


@pytest.mark.parametrize(
    "name", ["adv", "febs", *(pytest.param(name, marks=pytest.mark.slow) for name in FURTHER)]
)
def test_a_trial_whose_method_is_elsewhere_ends_in_the_same_bytes(tmp_path, tmp_path_factory, name):
    run = shared_run(tmp_path_factory)
    prepared = prepare([name], run, seeds=(0,))
    one = trial_of(prepared, name)
    if not prepared.store.is_done(one.id):
        assert trial.run(one, run, CPU) == "done"
    inputs = trial.gather(one, run, CPU)
    with elsewhere(one.plugin) as make:
        trained = trial.train_with(one, make, inputs, CPU, tmp_path, lambda *_: None)
    _, labels = prepared.store.predictions(one.id)
    assert (trained.labels == labels).all()
    curve = prepared.store.curve(one.id)
    assert [row[-1] for row in trained.curve] == list(curve["value"])


def test_a_process_that_never_calls_is_ended_and_said_to_be_late():
    ended = threading.Event()

    def waits(path, stop):
        stop.wait()
        ended.set()
        return Ended(reason="it exited with status 137")

    late = pytest.raises(TrialError, match=r"^x: it did not begin within 0\.3 s\.$")
    with boxed.opened(waits) as (box, door), late:
        box.accept(door, "x", 0.3)
    assert ended.is_set()


def test_a_process_that_ends_before_it_calls_says_why():
    said = pytest.raises(TrialError, match=r"^x: it ran out of memory\.$")
    with boxed.opened(lambda path, stop: Ended(reason="it ran out of memory")) as (box, door), said:
        box.accept(door, "x", 30)


def test_a_limit_is_said_also_where_the_engine_is_slow_to_end_what_went_over_it(monkeypatch):
    monkeypatch.setattr(boxed, "_DYING", 0.1)

    def slow(path, stop):
        stop.wait()
        return Ended(reason="it printed too much", limit="it printed too much")

    with boxed.opened(slow) as (box, _):
        assert box.why() == "it printed too much"


def test_an_engine_that_runs_nothing_is_not_the_methods_failure():
    def refused(path, stop):
        raise HarnessError("No Docker engine answers.")

    raised = pytest.raises(HarnessError, match="No Docker engine")
    with raised as caught, boxed.opened(refused) as (box, door):
        box.accept(door, "x", 30)
    assert not isinstance(caught.value, TrialError)


def test_only_its_own_user_can_reach_the_socket():
    with boxed.opened(lambda path, stop: stop.wait() and Ended()) as (box, _):
        folder = box._path.parent
        assert folder.stat().st_mode & 0o077 == 0
        box.close()
    assert not folder.exists()


def test_the_kinds_of_messages_have_their_numbers():
    # They are the same file on both sides, but a container may be older than the harness.
    assert [kind.value for kind in Kind] == list(range(1, 17))
