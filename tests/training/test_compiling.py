"""What is compiled, where, and that a prediction runs as it was written."""

import copy

import pytest
import torch

from harness.backbones import build
from harness.protocol import BackboneSpec
from harness.training import compiling
from harness.training.compiling import as_written, compile_parts, fuse


def network(adapt="lora"):
    torch.manual_seed(0)
    return build(BackboneSpec(name="sam", variant="tiny", adapt=adapt), 3, 64, None)


def test_a_cpu_compiles_nothing_and_says_nothing(monkeypatch):
    monkeypatch.setattr(compiling, "fuse", lambda parts: pytest.fail("it compiles"))
    assert compile_parts(network(), torch.device("cpu")) == ""


@pytest.mark.parametrize(("adapt", "count"), [("frozen", 0), ("lora", 4), ("full", 4)])
def test_a_network_is_compiled_where_its_encoder_is_part_of_the_step(adapt, count):
    assert len(network(adapt).compilable()) == count


def test_a_machine_without_a_compiler_trains_as_before_and_says_why(monkeypatch):
    def broken(function):
        def run(*_):
            raise RuntimeError("Cannot find a working triton installation.\nmore")

        return run

    made = network()
    monkeypatch.setattr(compiling.torch, "compile", broken)
    monkeypatch.setattr(compiling.torch, "ones", lambda *size, device: None)
    monkeypatch.setattr(compiling, "fuse", lambda parts: pytest.fail("it compiles all the same"))
    why = compile_parts(made, torch.device("cuda"))
    assert why == "Cannot find a working triton installation."


@pytest.mark.slow
def test_what_is_compiled_has_the_gradients_of_what_is_not():
    # "aot_eager" takes the way through the compiler's graphs and runs them with torch's own kernels.
    plain = network()
    compiled = copy.deepcopy(plain)
    fuse(compiled.compilable(), backend="aot_eager")
    images = torch.rand(2, 3, 64, 64)
    for one in (plain, compiled):
        logits, features = one.train()(images)
        (logits.square().mean() + features.square().mean()).backward()
    for ours, theirs in zip(compiled.parameters(), plain.parameters(), strict=True):
        assert (ours.grad is None) == (theirs.grad is None)
        if ours.grad is not None:
            torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-7)


def test_a_prediction_runs_what_was_written_to_the_bit():
    plain = network().eval()
    compiled = copy.deepcopy(plain)
    calls = []

    def backend(graph, _):
        calls.append(graph)
        return lambda *_: pytest.fail("a compiled graph predicts")

    fuse(compiled.compilable(), backend=backend)
    images = torch.rand(1, 3, 64, 64)
    with torch.inference_mode(), as_written():
        assert torch.equal(compiled(images)[0], plain(images)[0])
    assert not calls


def test_what_a_compiler_fails_on_runs_as_it_is():
    plain = network()
    compiled = copy.deepcopy(plain)

    def backend(*_):
        raise RuntimeError("no kernel for that")

    fuse(compiled.compilable(), backend=backend)
    images = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(compiled(images)[0], plain(images)[0])
