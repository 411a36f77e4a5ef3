"""CUDA graphs without a GPU: torch's own `make_graphed_callables` over a recorder of operations on CPUs."""

from __future__ import annotations

import contextlib

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def _places(found):
    return {one.untyped_storage().data_ptr() for one in tree_leaves(found) if isinstance(one, torch.Tensor)}


class Tape:
    """Stands for `torch.cuda.CUDAGraph`: operations on fixed memory, done again by `replay`."""

    def __init__(self):
        self.operations = []
        self.replays = 0

    @torch.no_grad()
    def replay(self):
        self.replays += 1
        for func, args, kwargs, made in self.operations:
            again = func(*args, **kwargs)
            known = _places((args, kwargs))
            for was, now in zip(tree_leaves(made), tree_leaves(again), strict=True):
                # A view, and what was changed in place, lie in memory that is up to date already.
                if isinstance(was, torch.Tensor) and was.untyped_storage().data_ptr() not in known:
                    was.copy_(now)


class _Recording(TorchDispatchMode):
    def __init__(self, tape, refused):
        super().__init__()
        self.tape, self.refused = tape, refused

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.name() in self.refused:
            raise RuntimeError(
                f"CUDA error: operation not permitted when stream is capturing ({func.name()})"
            )
        made = func(*args, **(kwargs or {}))
        self.tape.operations.append((func, args, kwargs or {}, made))
        return made


def put(monkeypatch, refused=("aten::_local_scalar_dense", "aten::nonzero")):
    """Let `torch.cuda.make_graphed_callables` record on the CPU; return the tapes that it makes."""
    tapes = []

    def tape():
        tapes.append(Tape())
        return tapes[-1]

    monkeypatch.setattr(torch.cuda, "CUDAGraph", tape)
    monkeypatch.setattr(torch.cuda, "graph", lambda one, **_: _Recording(one, refused))
    monkeypatch.setattr(torch.cuda.graphs, "graph_pool_handle", lambda: (0, 0))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda *_: None)
    monkeypatch.setattr(torch.cuda, "Stream", lambda *_: None)
    monkeypatch.setattr(torch.cuda, "stream", lambda _: contextlib.nullcontext())
    return tapes
