import textwrap

import pytest

from harness.errors import HarnessError
from harness.plugin import declared, discovery
from harness.plugin.discovery import Plugin

GOOD = """
from harness import Card, Method, segmentation_loss

class Mine(Method):
    card = Card(title="Mine")

    def __init__(self, task, strength: float = 0.5):
        super().__init__(task)
        self.strength = strength

    def loss(self, batch, output):
        return segmentation_loss(output.logits, batch.masks, self.task.dice_weight)
"""


def declaring(line: str) -> str:
    """A method with one more class attribute."""
    return GOOD.replace('card = Card(title="Mine")', f'card = Card(title="Mine")\n    {line}')


@pytest.fixture
def write(tmp_path):
    def _write(name: str, source: str) -> Plugin:
        file = tmp_path / name
        file.write_text(textwrap.dedent(source))
        return discovery.find(str(file))

    return _write


def test_the_shipped_methods_are_found_by_name():
    assert {"erm", "erm-balanced", "groupdro", "adv", "febs", "febs-released", "jtt", "lisa"} <= set(
        discovery.discover()
    )


def test_a_misspelt_name_is_answered_with_the_right_one():
    with pytest.raises(HarnessError, match="no method 'gropdro'. Did you mean 'groupdro'?"):
        discovery.find("gropdro")


def test_a_missing_file_is_named():
    with pytest.raises(HarnessError, match="nowhere.py: no such file"):
        discovery.find("nowhere.py")


def test_a_file_given_by_path_is_a_method(write):
    plugin = write("my_method.py", GOOD)
    assert plugin.name == "my-method"
    assert discovery.load(plugin).card.title == "Mine"
    assert declared.hyper_parameters(discovery.load(plugin), plugin) == {"strength": 0.5}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def broken(:\n", r"bad.py:1: SyntaxError"),
        ("\n\nimport no_such_module\n", r"bad.py:3: ModuleNotFoundError: No module named 'no_such_module'"),
        ("x = 1\nraise SystemExit(3)\n", r"bad.py:2: SystemExit: 3"),
        ("x = 1\n", r"one subclass of Method, not none"),
        (GOOD + "\nclass Other(Mine): pass\n", r"one subclass of Method, not Mine, Other"),
        (GOOD.replace('card = Card(title="Mine")', "pass"), r"Mine has no card"),
        (GOOD.replace("strength: float = 0.5", "strength"), r"takes 'strength' without a default"),
        (GOOD.replace("= 0.5", "= object()"), r"bad.py: Mine: the default of 'strength' is <object"),
        (GOOD.replace("= 0.5", "= float('nan')"), r"the default of 'strength' is nan, which no record can"),
        (declaring("sampler = 'Uniform'"), r"Mine.sampler = 'Uniform' is no sampler. Did you mean 'uniform'"),
        (declaring("controls = {'off': {'strenth': 0}}"), r"controls\['off'\] names 'strenth'.*'strength'\?"),
        (declaring("controls = {'off': {'strength': {1}}}"), r"controls\['off'\]: 'strength' is {1}"),
        (declaring("starts_from = 3"), r"Mine.starts_from is the name of a method, or None"),
        (declaring("takes = 'logit'"), r"Mine.takes is weights, logits, both, not 'logit'"),
        (declaring("takes = 'both'"), r"takes 'both' of no method; name one in starts_from"),
        (declaring("sharpness = 0.05"), r"Mine.sharpness is the name of a hyper-parameter, or None: give"),
        (declaring("sharpness = 'strenth'"), r"sharpness names 'strenth', .*Did you mean 'strength'\?"),
        (declaring("averages_from = True"), r"Mine.averages_from is the name of a hyper-parameter"),
        (
            declaring("averages_from = 'strength'").replace("= 0.5", "= 1.0"),
            r"strength = 1.0; it is a number, at least 0 and below 1",
        ),
        (
            declaring(
                "sampler = 'group-balanced'\n\n    def sampling_weights(self, epoch, losses): return losses"
            ),
            r"has sampling_weights and the sampler 'group-balanced'; they draw the same samples",
        ),
    ],
)
def test_a_broken_plugin_is_reported_with_its_line_and_the_others_load(write, source, message):
    good, bad = write("good.py", GOOD), write("bad.py", source)
    methods, broken = discovery.describe_all([bad, good])
    assert list(methods) == ["good"]
    (report,) = broken
    assert report.plugin == bad
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(report.error)
    assert "\n" not in report.error
    assert "Traceback" in report.trace


def test_two_folders_may_hold_helpers_of_the_same_name(tmp_path):
    titles = {}
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "helper.py").write_text(f"TITLE = {name!r}\n")
        source = "from helper import TITLE\n" + GOOD.replace('"Mine"', "TITLE")
        (tmp_path / name / "mine.py").write_text(source)
        titles[name] = discovery.load(discovery.find(str(tmp_path / name / "mine.py"))).card.title
    assert titles == {"one": "one", "two": "two"}


def test_annotations_may_name_what_only_a_type_checker_imports(write):
    source = "from __future__ import annotations\nfrom typing import TYPE_CHECKING\n"
    source += "if TYPE_CHECKING:\n    from collections.abc import Sequence\n"
    source += GOOD.replace("strength: float = 0.5", "strength: float = 0.5, widths: Sequence[int] = (1,)")
    described, broken = discovery.describe_all([write("mine.py", source)])
    assert broken == []
    assert described["mine"].kinds == {"strength": "float"}


def test_hyper_parameters_are_fitted_to_their_annotation(write):
    plugin = write("mine.py", GOOD)
    about = declared.of(discovery.load(plugin), plugin)
    values = declared.check_hyper_parameters(about, plugin, {"strength": 2}, "p.toml")
    assert values == {"strength": 2.0}
    assert isinstance(values["strength"], float)
    with pytest.raises(HarnessError, match="p.toml: mine has no 'strenth'. Did you mean 'strength'?"):
        declared.check_hyper_parameters(about, plugin, {"strenth": 2}, "p.toml")
    with pytest.raises(HarnessError, match="p.toml: mine.strength = 'much'"):
        declared.check_hyper_parameters(about, plugin, {"strength": "much"}, "p.toml")
