"""Cached embeddings: equal to the encoder's, whatever the number of shards, after a kill too."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from test_run import Inline
from tiny import parse

from harness import cohorts
from harness.running import schedule
from harness.running.plan import Plan
from harness.running.prepare import Prepared
from harness.running.schedule import embed_cohort
from harness.running.trial import Paths
from harness.training import embed
from harness.training.augment import dihedral
from harness.training.train import build_backbone

CPU = torch.device("cpu")


@pytest.fixture
def frozen():
    return parse(
        backbone={"name": "sam", "variant": "tiny", "adapt": "frozen"},
        augmentation="flip",
        cohort={"source": "synthetic", "size": 64, "samples": 40, "shift": 1.0, "seed": 0},
    )


def untrained(protocol):
    return build_backbone(protocol.backbone, protocol.n_classes, protocol.cohort.size, 0, None).eval()


def filled(protocol, cache, shards):
    cohort = cohorts.load(protocol, None, cache)
    for shard in range(shards):
        torch.manual_seed(0)
        embed.embed_shard(protocol, cohort, cache, shard, shards, CPU)
    embed.finish(protocol, cohort, cache, CPU)
    return cohort, embed.open_embeddings(protocol, cohort, cache, CPU)


@pytest.fixture(autouse=True)
def same_encoder(monkeypatch):
    """The tiny encoder has no checkpoint, so its initial weights stand in for one."""
    monkeypatch.setattr(embed, "_encoder", lambda protocol, cache: untrained(protocol))


def test_embeddings_are_the_encoders_own(frozen, tmp_path):
    cohort, (maps,) = filled(frozen, tmp_path, 1)
    images = torch.from_numpy(cohort.images[:4]).movedim(-1, 1).float() / 255
    with torch.inference_mode():
        encoder = untrained(frozen)
        for variant in (0, 1):
            expected = encoder.encode(dihedral(images, variant))[0].numpy()
            np.testing.assert_allclose(maps[variant, :4], expected, atol=2e-3)
    assert maps.shape[:2] == (2, 40)
    assert maps.dtype == np.float16


def test_bits_do_not_depend_on_the_number_of_shards(frozen, tmp_path):
    _, (one,) = filled(frozen, tmp_path / "one", 1)
    _, (three,) = filled(frozen, tmp_path / "three", 3)
    assert np.array_equal(one, three)


def test_an_interrupted_run_goes_on_where_it_stopped(frozen, tmp_path):
    cohort = cohorts.load(frozen, None, tmp_path)
    embed.embed_shard(frozen, cohort, tmp_path, 0, 2, CPU)
    with pytest.raises(RuntimeError, match="not every batch"):
        embed.finish(frozen, cohort, tmp_path, CPU)
    assert not embed.are_cached(frozen, cohort, tmp_path, CPU)
    _, (resumed,) = filled(frozen, tmp_path, 1)
    _, (whole,) = filled(frozen, tmp_path / "whole", 1)
    assert np.array_equal(resumed, whole)


def test_whichever_shard_comes_first_lays_the_arrays_out(frozen, tmp_path, monkeypatch):
    # Threads that draw weights at once draw from one generator; shards are processes.
    encoder = untrained(frozen)
    monkeypatch.setattr(embed, "_encoder", lambda protocol, cache: encoder)
    cohort = cohorts.load(frozen, None, tmp_path / "apart")
    errors: list[BaseException] = []

    def shard(number):
        try:
            embed.embed_shard(frozen, cohort, tmp_path / "apart", number, 3, CPU)
        except BaseException as error:  # noqa: BLE001 - a thread's is seen by nobody else
            errors.append(error)

    shard(2)
    threads = [threading.Thread(target=shard, args=(number,)) for number in range(2)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert not errors
    embed.finish(frozen, cohort, tmp_path / "apart", CPU)
    (apart,) = embed.open_embeddings(frozen, cohort, tmp_path / "apart", CPU)
    _, (together,) = filled(frozen, tmp_path / "together", 1)
    assert np.array_equal(apart, together)
    assert not list((tmp_path / "apart" / "embeddings").glob("*.lock*"))


def test_another_cohort_or_precision_has_other_embeddings(frozen, tmp_path):
    cohort, _ = filled(frozen, tmp_path, 1)
    assert embed.are_cached(frozen, cohort, tmp_path, CPU)
    other = frozen.model_copy(update={"recipe": frozen.recipe.model_copy(update={"precision": "bfloat16"})})
    assert not embed.are_cached(other, cohort, tmp_path, CPU)


def test_the_key_holds_what_changes_the_bits_and_not_the_split(frozen, tmp_path):
    def key(device=CPU, **changes):
        chosen = frozen.model_copy(update=changes)
        return embed._folder(chosen, cohorts.load(chosen, None, tmp_path), tmp_path, device).name

    recipe = frozen.recipe.model_copy(update={"threads": 2})
    split = frozen.split.model_copy(update={"test": 0.3})
    assert len({key(), key(device=torch.device("cuda")), key(recipe=recipe)}) == 3
    assert key(split=split) == key()


def test_what_is_embedded_is_counted_shard_by_shard(frozen, tmp_path):
    cohort = cohorts.load(frozen, None, tmp_path)
    count, told = embed.counter(frozen, cohort, tmp_path, CPU), []
    for shard in range(2):
        told.append(count())
        embed.embed_shard(frozen, cohort, tmp_path, shard, 2, CPU)
    # Forty images in batches of four, as they are and mirrored; the first shard says how many there are.
    assert [*told, count()] == [(0, 0), (10, 20), (20, 20)]


def test_how_far_the_embeddings_are_is_told_to_the_end(frozen, tmp_path):
    cohort, paths = cohorts.load(frozen, None, tmp_path), Paths(tmp_path / "runs", None, tmp_path)
    told = []
    prepared = Prepared(frozen, cohort, Plan({}, ()), (), paths)
    embed_cohort(prepared, Inline(), 2, CPU, lambda what, done, total: told.append((done, total)))
    assert told[-1][0] == told[-1][1] > 0


def test_two_runs_that_embed_at_once_compute_it_once(frozen, tmp_path, monkeypatch):
    cohort, paths = cohorts.load(frozen, None, tmp_path), Paths(tmp_path / "runs", None, tmp_path)
    prepared, shards, embed_shard = (
        Prepared(frozen, cohort, Plan({}, ()), (), paths),
        [],
        schedule.embed_shard,
    )
    monkeypatch.setattr(schedule, "embed_shard", lambda *args: (shards.append(args[2]), embed_shard(*args)))
    both = [threading.Thread(target=embed_cohort, args=(prepared, Inline(), 2, CPU)) for _ in "ab"]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert shards == [0, 1]
    assert len(embed.open_embeddings(frozen, cohort, tmp_path, CPU)) == 1
    assert not list((tmp_path / "embeddings").glob("*/done.npy"))
