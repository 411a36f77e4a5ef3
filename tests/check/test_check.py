"""The checks themselves: a good plugin passes all, each bad one fails on the line that is about it."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import children
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from harness import check
from harness.check import bench, child, conduct, effects, losses, plugin_file, sandboxed, state, training
from harness.check.subject import Subject
from harness.cli import cli
from harness.plugin import discovery
from harness.plugin.new import write_method

PLUGIN = '''
import os
import torch
from torch import Tensor
from harness import Batch, Card, Method, Output, Task, segmentation_loss
{top}

class Bad(Method):
    """It is ERM, but for one thing."""

    card = Card(title="Bad", authors="A. Author", paper="unpublished", licence="MIT")

    def __init__(self, task: Task, strength: float = 1.0{more}) -> None:
        super().__init__(task)
        self.strength, self.steps = strength, 0

    def loss(self, batch: Batch, output: Output) -> Tensor:
        plain = segmentation_loss(output.logits, batch.masks, self.task.dice_weight)
        {loss}
'''


@pytest.fixture
def started(monkeypatch):
    """The bench with a smaller network, here and in every child."""
    monkeypatch.setattr(bench, "PROTOCOL", bench.PROTOCOL)
    children.shrink()
    monkeypatch.setattr(child, "_START", children.START)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)


@pytest.fixture
def forked(started, monkeypatch, server_of_processes):
    """Children that are forked, not started."""
    process = SimpleNamespace(**vars(subprocess) | {"Popen": children.Forked})
    monkeypatch.setattr(child, "subprocess", process)


@pytest.fixture
def subject(tmp_path, forked):
    """Make a subject of a plugin that is ERM but for what is given."""

    def make(loss: str = "return plain", top: str = "", more: str = "", text: str = "") -> Subject:
        file = tmp_path / "bad.py"
        filled = PLUGIN.format(loss=textwrap.indent(loss, " " * 8).strip(), top=top, more=more)
        file.write_text(text or filled)
        (tmp_path / "scratch").mkdir()
        return Subject(discovery.find(str(file)), (tmp_path / "scratch").resolve())

    return make


slowly = partial(pytest.param, marks=pytest.mark.slow)


def failed(lines) -> dict[str, str]:
    lines = list(lines)
    assert lines
    return {line.name: line.text for line in lines if line.status == "failed"}


@pytest.mark.slow
def test_a_new_method_with_its_card_filled_in_passes_every_check(tmp_path):
    file, _ = write_method("my-method", tmp_path / "methods")
    text = file.read_text().replace('authors=""', 'authors="A. Author"')
    file.write_text(text.replace('paper=""', 'paper="unpublished"'))
    done = CliRunner().invoke(cli, ["check", str(file)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    statuses = {line[8:32].strip(): line[:8].strip() for line in done.output.splitlines()[:-1]}
    # Whether there is an engine is another test's matter (tests/engines/docker).
    assert statuses.pop(sandboxed.NAME) in ("ok", "skipped")
    assert set(statuses.values()) == {"ok"}
    themes = (plugin_file, losses, training, effects, conduct)
    assert {name for theme in themes for name in theme.NAMES} == statuses.keys()
    # It is what `harness new` says it is, and the check says so too.
    assert "no, it is equal to ERM: the same losses and weights over 72 steps" in done.output


@pytest.mark.slow
def test_a_new_method_passes_every_check_on_a_smaller_network_too(tmp_path, forked):
    test_a_new_method_with_its_card_filled_in_passes_every_check(tmp_path)


@pytest.mark.parametrize(
    ("changes", "line", "why"),
    [
        (
            {"top": "from harness.running.trial import run"},
            "public names only",
            "imports 'harness.running.trial' from inside",
        ),
        ({"more": ", table: dict = {1: 2}"}, "hyper-parameters", "'table', {1: 2}, does not survive"),
        ({"more": ", pair: tuple = (1, 2)"}, "hyper-parameters", "'pair', (1, 2), does not survive"),
        ({"more": ", rate: float = float('inf')"}, "hyper-parameters", "'rate', inf, does not survive"),
        ({"more": ", rate=0.5"}, "hyper-parameters", "'rate' has no annotation"),
    ],
)
def test_a_file_that_says_too_little_or_reaches_too_far(subject, changes, line, why):
    bad = subject(**changes)
    found = failed(plugin_file.examine(bad.plugin, bad.scratch))
    assert list(found) == [line]
    assert why in found[line]


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('authors="A. Author", ', "", "authors is empty"),
        ('paper="unpublished", licence="MIT"', "", "licence, paper or url are empty"),
        ('paper="unpublished"', 'url="arxiv.org/abs/1"', "is no web address"),
        ('"""It is ERM, but for one thing."""', "", "the class has no docstring"),
    ],
)
def test_a_card_that_is_not_filled_in(subject, old, new, why):
    bad = subject(text=PLUGIN.format(loss="return plain", top="", more="").replace(old, new))
    found = failed(plugin_file.examine(bad.plugin, bad.scratch))
    assert list(found) == ["card"]
    assert why in found["card"]


@pytest.mark.parametrize(
    ("loss", "line", "why"),
    [
        ("return output.losses", "loss", "shape (8,). Return one scalar tensor; did you forget .mean()?"),
        ("return plain.item()", "loss", "the loss has float"),
        ("return plain.detach()", "loss", "has no gradient"),
        ("return plain * float('nan')", "loss", "the loss is nan"),
        ("return torch.zeros((), requires_grad=True) + plain.detach()", "loss", "reaches the backbone"),
        ("return output.losses[batch.groups == 1].mean()", "a missing group", "the loss is nan"),
        ("known = batch.groups[batch.groups >= 0].unique()\n"
         "return plain + (0 if len(known) != 1 else float('inf'))", "one group only", "the loss is inf"),
        ("return output.losses[batch.groups >= 0].mean()", "all groups unknown", "the loss is nan"),
        ("return plain + output.features.std(0).mean()", "one sample", "the loss is nan"),
        ("return plain / batch.masks.bool().float().mean()", "empty masks", "the loss is inf"),
        ("return plain + 0 * (batch.masks * output.logits[:, 0]).square().sum().sqrt()",
         "empty masks", "a gradient is not finite"),
        ("batch.groups.zero_()\nreturn plain", "batch left as it was", "wrote into batch.groups"),
        ("torch.manual_seed(0)\nreturn plain", "random state", "seeds torch's global generator"),
        ("__import__('numpy').random.seed(3)\nreturn plain", "random state", "seeds numpy's"),
        ("__import__('random').seed(3)\nreturn plain", "random state", "seeds random's"),
        ("raise KeyError('x')", "loss", "bad.py:19: KeyError: 'x'"),
    ],
)  # fmt: skip
def test_a_loss_that_fails_on_one_kind_of_batch(subject, loss, line, why):
    bad = subject(loss)
    found = failed(losses.examine(bad.plugin, bad.scratch))
    assert next(iter(found)) == line
    assert why in found[line]


def test_drawing_from_the_global_generator_is_allowed(subject):
    good = subject("return plain * (1 + 0 * torch.rand(()))")
    assert failed(losses.examine(good.plugin, good.scratch)) == {}


def set_and_restore(act, restore):
    before = state.snapshot()
    try:
        act()
        return state.difference(before, state.snapshot())
    finally:
        restore()


@pytest.mark.parametrize(
    ("act", "restore", "why"),
    [
        (partial(torch.set_default_dtype, torch.float64), partial(torch.set_default_dtype, torch.float32),
         "changed the default dtype from torch.float32 to torch.float64"),
        (partial(torch.set_grad_enabled, False), partial(torch.set_grad_enabled, True), "the grad mode"),
        (partial(os.environ.update, MINE="1"), partial(os.environ.pop, "MINE"), "the environment (MINE)"),
        (partial(np.seterr, all="raise"), partial(np.seterr, **np.geterr()), "numpy's error handling"),
        (partial(sys.setrecursionlimit, 5000), partial(sys.setrecursionlimit, sys.getrecursionlimit()),
         "changed the recursion limit"),
        (lambda: None, lambda: None, ""),
    ],
)  # fmt: skip
def test_a_setting_of_the_process_that_was_changed_is_named(act, restore, why):
    said = set_and_restore(act, restore)
    assert why in said
    assert bool(said) == bool(why)


def test_a_loss_that_leaves_a_setting_changed_fails_on_that_line_alone(subject):
    # In a process of its own: the number of threads is that of the whole process.
    bad = subject("torch.set_num_threads(2)\nreturn plain")
    found = failed(losses.check(bad))
    assert list(found) == ["global state"]
    assert "changed the number of threads from 1 to 2" in found["global state"]


HIDDEN = """
def quietly(act):
    try: act()
    except OSError: pass
import socket, subprocess
quietly(lambda: socket.create_connection(("127.0.0.1", 9), 1))
quietly(lambda: subprocess.run(["true"]))
quietly(lambda: open({outside!r}, "w"))
"""


def test_what_it_tries_and_hides_is_noticed_and_refused(subject, tmp_path):
    bad = subject(top=HIDDEN.format(outside=str(tmp_path / "stray.txt")))
    assert failed(plugin_file.check(bad)) == {}
    found = failed(conduct.check(bad))
    assert list(found) == ["needs no network", "starts no process", "writes nothing outside"]
    whats = ("called socket.getaddrinfo on '127.0.0.1'", "called subprocess.Popen 'true'", "called open on ")
    for said, what in zip(found.values(), whats, strict=True):
        assert said.startswith(what)
        assert "(refused)" in said
    assert not (tmp_path / "stray.txt").exists()


def test_writing_in_its_own_folder_is_allowed(subject):
    good = subject(top="open('mine.txt', 'w').write('x')")
    assert failed([*plugin_file.check(good), *conduct.check(good)]) == {}


@pytest.mark.parametrize(
    ("top", "why"),
    [
        ("os._exit(3)", "its process exited with status 3"),
        ("os.kill(os.getpid(), 11)", "its process was ended by SIGSEGV"),
        ("import no_such_module", "No module named 'no_such_module'"),
        ("__import__('time').sleep(99)", "did not end within 5 s; look for an endless loop"),
    ],
)
def test_a_plugin_that_dies_costs_its_line_and_the_rest_is_skipped(subject, monkeypatch, top, why):
    if "sleep" in top:
        monkeypatch.setattr(plugin_file, "LIMIT", 5.0)
    bad = subject(top=top)
    lines = [line for theme in check.CHECKS[:3] for line in theme(bad)]
    assert [line.name for line in lines] == [*plugin_file.NAMES, *losses.NAMES, *training.NAMES]
    assert lines[0].status == "failed"
    assert why in lines[0].text
    assert {line.status for line in lines[1:]} == {"skipped"}


WHOLE = PLUGIN.format(loss="return plain", top="", more="")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("VALUE = 1\n", "defines one subclass of Method, not none"),
        (WHOLE.replace("card = Card", "kard = Card"), "has no card"),
        (WHOLE.replace("    card", '    sampler = "even"\n    card'), "sampler = 'even' is no sampler"),
        (
            WHOLE.replace("    card", "    reads_attribute = 1\n    card"),
            "Bad.reads_attribute is True or False",
        ),
    ],
)
def test_a_file_that_imports_is_not_said_not_to(subject, text, why):
    bad = subject(text=text)
    lines = [line for theme in check.CHECKS[:4] for line in theme(bad)]
    assert [line.name for line in lines if line.status == "ok"] == ["imports alone"]
    assert {line.name: line.text for line in lines if line.status == "failed"}.keys() == {"is a method"}
    assert why in lines[1].text
    assert not [line for line in lines if "does not import" in line.text]
    assert {line.text for line in lines[2:]} == {"the file holds no method that can be used"}


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("def after_epoch(self, epoch): self.steps = epoch", "`after_epoch` is called by nobody."),
        ("def after_epoch(self, epoch): self.steps = epoch", "Did you mean `on_epoch_end`?"),
        ("def mixup(self, groups): return groups", "Did you mean `mix`?"),
        ("def sample_weights(self, losses): return losses", "Did you mean `sampling_weights`?"),
        ("def on_epoch_ends(self, epoch): pass", "Did you mean `on_epoch_end`?"),
        ("def configure_optimizers(self): return []", "Did you mean `parameter_groups`?"),
        ("def forward(self, batch): return batch", "`forward` is called by nobody. Did you mean `loss`?"),
        ("def on_epoch_start(self, epoch): pass", "There is no hook before an epoch"),
        ("def after_step(self): pass", "There is no hook around a step: `loss` is called once a step"),
        ("@staticmethod\n    def weigh(x): return x", "`weigh` is called by nobody: the harness calls loss"),
        ("read_attribute = False", "Bad.read_attribute is read by nobody"),
        ("read_attribute = False", "Did you mean 'reads_attribute'?"),
        ('start_from = "erm"', "Did you mean 'starts_from'?"),
        ('samplers = "group-balanced"', "Did you mean 'sampler'?"),
        ('require: tuple = ("x",)', "Did you mean 'requires'?"),
    ],
)  # fmt: skip
def test_a_name_that_the_harness_never_looks_at_is_answered_with_the_one_that_was_meant(subject, body, why):
    text = PLUGIN.format(loss="return plain", top="", more="").replace(
        "    def __init__", f"    {body}\n\n    def __init__"
    )
    bad = subject(text=text)
    found = failed(plugin_file.examine(bad.plugin, bad.scratch))
    assert list(found) == ["hooks"]
    assert why in found["hooks"]


def test_what_a_class_reads_set_on_an_instance_is_told(subject):
    bad = subject("self.sampler = 'group-balanced'\nreturn plain")
    found = failed(plugin_file.examine(bad.plugin, bad.scratch))
    assert list(found) == ["hooks"]
    assert (
        "sets self.sampler, which the harness reads from the class: write `sampler = ...`" in found["hooks"]
    )


def test_helpers_that_a_method_calls_itself_are_its_own_affair(subject):
    text = PLUGIN.format(loss="return self.weigh(plain) * self.factor", top="", more="")
    helpers = "    factor = 2.0\n\n    def weigh(self, x): return x\n\n    def __init__"
    good = subject(text=text.replace("    def __init__", helpers))
    assert failed(plugin_file.examine(good.plugin, good.scratch)) == {}


def effects_of(bad: Subject) -> dict[str, child.Line]:
    return {line.name: line for line in effects.examine(bad.plugin, bad.scratch)}


def test_a_loss_that_becomes_nan_at_step_40_does_not_pass(subject):
    bad = subject("self.steps += 1\nreturn self.strength * plain * (float('nan') if self.steps > 40 else 1)")
    assert failed(losses.examine(bad.plugin, bad.scratch)) == {}
    lines = effects_of(bad)
    assert {name for name, line in lines.items() if line.status == "failed"} == {"trains on"}
    assert "Bad.loss became nan at step 40" in lines["trains on"].text


def test_an_exception_in_the_seventh_epoch_does_not_pass(subject):
    text = PLUGIN.format(loss="return self.strength * plain", top="", more="")
    bad = subject(text=text + "\n    def on_epoch_end(self, epoch):\n        1 / (6 - epoch)\n")
    assert effects_of(bad)["trains on"].text.endswith("ZeroDivisionError: division by zero")


@pytest.mark.parametrize(
    ("more", "loss", "idle"),
    [
        ("", "return plain", "strength"),
        slowly(", name: str = 'x'", "return self.strength * plain", "name"),
        slowly(", flag: bool = False", "return self.strength * plain", "flag"),
        slowly(", weights: list | None = None", "return self.strength * plain", "weights"),
    ],
)
def test_a_hyper_parameter_that_changes_nothing_is_named(subject, more, loss, idle):
    lines = effects_of(subject(loss, more=more))
    assert {name for name, line in lines.items() if line.status == "failed"} == {"hyper-parameters matter"}
    assert lines["hyper-parameters matter"].text.startswith(f"'{idle}' changes nothing: the same losses")


@pytest.mark.parametrize(
    ("more", "use"),
    [
        (", after: int = 1000", "self.steps += 1; factor = 2 if self.steps > {} else 1"),
        slowly(", warmup: float = 0.0", "self.steps += 1; factor = 1 + (self.steps > 40) * {}"),
        slowly(", kind: str = 'plain'", "factor = {{'plain': 1.0}}[{}]"),
        slowly(", flag: bool = False", "factor = 2.0 if {} else 1.0"),
        slowly(", every: list = [1, 2]", "factor = sum({}) if {} else 0"),
        slowly(", maybe: float | None = None", "factor = 1.0 if {} is None else 3.0"),
    ],
)
def test_a_hyper_parameter_that_matters_only_later_or_elsewhere_passes(subject, more, use):
    name = more.split(":")[0].strip(", ")
    body = use.replace("{}", f"self.{name}").replace("{{", "{").replace("}}", "}")
    text = PLUGIN.format(loss=f"{body}\n        return self.strength * factor * plain", top="", more=more)
    good = subject(
        text=text.replace("super().__init__(task)", f"super().__init__(task); self.{name} = {name}")
    )
    lines = effects_of(good)
    assert lines["hyper-parameters matter"].status == "ok", lines["hyper-parameters matter"].text


def test_a_method_that_never_leaves_its_warm_up_is_said_to_be_erm(subject):
    bad = subject("return plain if self.steps == 0 else self.strength * output.losses.max()")
    assert effects_of(bad)["differs from ERM"].text.startswith("no, it is equal to ERM: the same losses")


def test_what_begins_late_is_said_with_its_step(subject):
    late = subject(
        "self.steps += 1\nreturn plain if self.steps <= 50 else self.strength * output.losses.max()"
    )
    assert effects_of(late)["differs from ERM"].text == "from step 50 on"


HOOKS = {
    "weights of what was not drawn": (
        "sampling_weights(self, epoch, losses): return losses",
        "sampling weights",
        "it: sampling_weights gave a weight that is not finite and at least 0",
    ),
    "a share of two": (
        "mix(self, groups, samples): return samples * 0, samples * 0 + 2.0",
        "mix",
        "in [0, 1]",
    ),
    "a row of the table": (
        "mix(self, groups, samples): return samples + 8, torch.ones(len(samples))",
        "mix",
        "a partner that is no row of a batch of 8",
    ),
}


@pytest.mark.parametrize("what", HOOKS)
def test_a_hook_that_answers_what_cannot_be_fails_on_its_line_alone(subject, what):
    hook, line, why = HOOKS[what]
    text = PLUGIN.format(loss="return plain", top="", more="") + f"\n    def {hook}\n"
    bad = subject(text=text)
    found = failed(losses.examine(bad.plugin, bad.scratch))
    assert list(found) == [line]
    assert why in found[line]


def test_hooks_that_answer_well_say_how_often(subject):
    text = PLUGIN.format(loss="return plain", top="", more="") + (
        "\n    def mix(self, groups, samples): return samples, torch.ones(len(samples))\n"
        "\n    def sampling_weights(self, epoch, losses): return None if epoch else losses.nan_to_num(1)\n"
    )
    good = subject(text=text)
    lines = {line.name: line for line in losses.examine(good.plugin, good.scratch)}
    assert failed(lines.values()) == {}
    assert lines["sampling weights"].text == "after 1 of 3 epochs"
    assert lines["mix"].text == "24 of 24 batches"


ASKING = ("distillation", "jtt", "lisa", "sharpness-aware", "swad")


@pytest.mark.parametrize(
    "name",
    [
        "groupdro",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("erm", "erm-balanced", "adv", "febs", "febs-released", *ASKING)
        ),
    ],
)
def test_a_shipped_method_has_its_names_right_and_its_hyper_parameters_matter(name, tmp_path):
    plugin = discovery.find(name)
    assert failed([*plugin_file.examine(plugin, tmp_path), *effects.examine(plugin, tmp_path)]) == {}


def trained(bad: Subject) -> child.Result:
    return child.call(bad, "training:train", "first", limit=90)


@pytest.mark.slow
def test_what_two_processes_do_differently_is_not_the_same_seed(subject, monkeypatch):
    # What is forked has its parent's hashes.
    monkeypatch.setattr(child, "subprocess", subprocess)
    bad = subject("return plain * (1 + hash('a text') % 97 / 97)")
    lines = {line.name: line for line in training.repeats(bad, trained(bad))}
    assert lines["same seed, same bits"].status == "failed"
    assert "trained weights differ. Draw from" in lines["same seed, same bits"].text
    assert lines["killed and resumed"].status == "skipped"


def test_state_that_is_in_no_buffer_is_lost_when_killed(subject, monkeypatch):
    bad = subject("self.steps += 1\nreturn plain * (1 + self.steps / 10)")
    first = trained(bad)
    lines = {line.name: line for line in training.repeats(bad, first)}
    assert lines["same seed, same bits"].status == "ok"
    assert lines["killed and resumed"].status == "failed"
    assert "Keep what it learns in buffers and parameters" in lines["killed and resumed"].text
    # Its costs beside its own, which are one time each, and its Dice beside one that it cannot reach.
    (bad.scratch / "reference").symlink_to(bad.scratch / "first")
    assert failed(training.costs(bad, first, first)) == {}
    monkeypatch.setattr(training, "MOST_TIME", 0.5)
    monkeypatch.setattr(training, "MOST_MEMORY", 0.5)
    reference = child.Result(values=first.values | {"untrained": 1.0})
    found = failed([training.learns(bad, reference, first), *training.costs(bad, reference, first)])
    assert list(found) == ["learns", "time", "peak memory"]
    assert "1.0 times ERM's, of at most 0.5" in found["time"]
