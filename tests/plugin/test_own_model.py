"""What a method of the second tier declares, and what one of the first may not."""

from __future__ import annotations

import textwrap

import pytest

from harness.errors import HarnessError
from harness.plugin import declared, discovery
from harness.sandbox import runs
from harness.sandbox.wire import BadResult

METHOD = """
from harness import Card, Method

class Mine(Method):
    card = Card(title="Mine")
{body}

    def loss(self, batch, output):
        return output.losses.mean()
{after}
"""


def plugin(folder, body: str, after: str = ""):
    file = folder / "mine.py"
    file.write_text(METHOD.format(body=textwrap.indent(body, "    "), after=after))
    return discovery.find(str(file))


def about(folder, body: str, after: str = ""):
    found = plugin(folder, body, after)
    return declared.of(discovery.load(found), found)


ADAPT = "def adapt(self, backbone, groups):\n    return backbone"
CALIBRATE = "def calibrate(self, seen):\n    pass"


def test_what_a_method_declares_is_known_of_it(tmp_path):
    told = about(tmp_path, f"trains_own_model = True\nreads_attribute_at_test = True\n{ADAPT}")
    assert (told.reads_attribute_at_test, told.adapts) == (True, True)
    told = about(tmp_path, f"trains_own_model = True\nreads_attribute_at_test = False\n{CALIBRATE}")
    assert (told.reads_attribute_at_test, told.adapts) == (False, False)
    assert not about(tmp_path, "sampler = 'uniform'").reads_attribute_at_test


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ("reads_attribute_at_test = True", "reads_attribute_at_test = True"),
        (ADAPT, "adapt"),
        (CALIBRATE, "calibrate"),
    ],
)
def test_the_first_tier_has_none_of_it(tmp_path, body, what):
    with pytest.raises(HarnessError, match=f"has {what}, which a loss cannot say; add `trains_own_model"):
        about(tmp_path, body)


def test_who_reads_no_attribute_reads_none_at_test(tmp_path):
    body = "trains_own_model = True\nreads_attribute = False\nreads_attribute_at_test = True"
    with pytest.raises(HarnessError, match="needs reads_attribute = True"):
        about(tmp_path, body)


WRITTEN_OUT = "reads_attribute_at_test is True or False, written out once"


@pytest.mark.parametrize(
    ("body", "after"),
    [
        ("reads_attribute_at_test = 1", ""),
        ("reads_attribute_at_test = not False", ""),
        ("reads_attribute_at_test = True\nreads_attribute_at_test = False", ""),
        ("reads_attribute_at_test: bool = bool('x')", ""),
        ("sampler = 'uniform'", "Mine.reads_attribute_at_test = bool(1)"),
        ("sampler = 'uniform'", "setattr(Mine, 'reads_attribute' + '_at_test', True)"),
        ("vars()['reads_attribute_at_test'] = True", ""),
        ("for reads_attribute_at_test in [True]: pass", ""),
        ("reads_attribute_at_test, other = True, 1", ""),
        ("reads_attribute_at_test = other = True", "Mine.reads_attribute_at_test = False"),
        ("reads_attribute_at_test = False\nreads_attribute_at_test |= True", ""),
        ("@property\ndef reads_attribute_at_test(self):\n    return True", ""),
    ],
)
def test_the_track_is_written_in_the_file_as_it_is_in_the_class(tmp_path, body, after):
    with pytest.raises(HarnessError, match=WRITTEN_OUT):
        about(tmp_path, f"trains_own_model = True\n{body}", after)


def test_a_plugin_in_a_container_cannot_say_another_track_than_its_source(tmp_path):
    found = plugin(tmp_path, f"trains_own_model = True\nreads_attribute_at_test = True\n{ADAPT}")
    told = declared.of(discovery.load(found), found)
    runs._check_declared(told, found)
    for field in ("reads_attribute_at_test", "trains_own_model"):
        lied = vars(told) | {field: False}
        with pytest.raises(BadResult, match=r"reads_attribute_at_test is not|trains_own_model = True may"):
            runs._check_declared(declared.About(**lied), found)
