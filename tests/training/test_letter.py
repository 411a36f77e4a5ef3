"""What the protocols of the FairSeg scripts build, cell by cell against a table of the scripts' values."""

from __future__ import annotations

import functools
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from cohort_files import CODES
from scipy import ndimage
from segment_anything.modeling import MaskDecoder, PromptEncoder, TwoWayTransformer
from tiny import CPU

from harness import backbones, cohorts, protocol
from harness.backbones import prompt_free, sam
from harness.cohorts import fairseg
from harness.cohorts.cohort import Cohort
from harness.plugin import discovery
from harness.plugin.losses import segmentation_loss
from harness.seeds import generator
from harness.training import fit, side
from harness.training.augment import Augmentation, draw
from harness.training.checkpoint import Checkpoint
from harness.training.job import Job, Schedule
from harness.training.train import Inputs, Setting, job_of

TRAINED_ON = 8_000
"""Names in the official train.txt."""

SAMED = {
    "optimiser": ("AdamW", {"betas": (0.9, 0.999), "weight_decay": 0.1}),
    "batches": (48, 167, 32),  # 24 on each of two GPUs; the last batch of an epoch is smaller
    "epochs": (70, 100),
    "rate": (0.005, 250, 0.9),
    "loss": 0.8,
    "logits": 128,
    "size": (512, 512),
    "precision": "float32",
}
TRANSUNET = {
    "optimiser": ("SGD", {"momentum": 0.9, "weight_decay": 1e-4, "nesterov": False, "dampening": 0}),
    "batches": (24, 334, 8),
    "epochs": (200, 200),
    "rate": (0.01, 0, 0.9),
    "loss": 0.5,
    "logits": 224,
    "size": (512, 224),
    "precision": "float32",
}
SCRIPTS: dict[tuple[str, str], dict[str, Any]] = {
    ("fairseg", "first stage"): SAMED,
    ("fairseg", "FEBS"): SAMED
    | {"batches": (84, 96, 20), "epochs": (5, 10), "rate": (0.0005, 0, 0.9)},  # 42 on each of two GPUs
    ("fairseg-transunet", "first stage"): TRANSUNET,
    ("fairseg-transunet", "FEBS"): TRANSUNET | {"epochs": (5, 5)},
}
"""(protocol, stage) to cell: batch, batches an epoch, samples of the last; epochs run and planned; base rate,
steps of warm-up and power; share of soft Dice; side of the logits that are trained on; crop and input."""

CASES = pytest.mark.parametrize("case", SCRIPTS, ids=" ".join)
SHIPPED = sorted(protocol.shipped())


def test_both_protocols_of_the_scripts_are_in_the_table():
    assert {name for name, _ in SCRIPTS} == {name for name in SHIPPED if name.startswith("fairseg")}


@functools.cache
def job(case: tuple[str, str], tmp: Path = Path("unused")) -> Job:
    """The training that a shipped protocol builds, over as many samples as the official list has."""
    name, stage = case
    chosen = protocol.load(name)
    size = chosen.cohort.size
    images = np.broadcast_to(np.zeros((), np.uint8), (TRAINED_ON, size, size, 3))
    subjects = pd.DataFrame({"sample": np.arange(TRAINED_ON).astype(str), "split": "train"})
    subjects = subjects.assign(patient=subjects["sample"])
    cohort = Cohort("", "", "", False, images, images[..., 0], subjects, {}, "")
    setting = Setting(chosen.backbone, chosen.recipe, 3, size, "erm", {}, None, 0, stage == "FEBS")
    make = functools.partial(side.build, discovery.load(discovery.find("erm")))
    with torch.device("meta"):
        network = backbones.build(chosen.backbone, 3, size, None)
    inputs = Inputs(cohort, [], None, None)
    return job_of(setting, make, inputs, network, CPU, Checkpoint(tmp), lambda *_: None, None)


@CASES
def test_the_optimiser(case):
    kind, values = SCRIPTS[case]["optimiser"]
    built = fit._optimizer(job(case))
    assert type(built).__name__ == kind
    (group,) = built.param_groups
    assert {name: group[name] for name in values} == values
    assert group["base_lr"] == SCRIPTS[case]["rate"][0]


@CASES
def test_batches_and_steps(case):
    one, wanted = job(case), SCRIPTS[case]
    size, batches, last = wanted["batches"]
    per_epoch = one.schedule.steps_per_epoch(TRAINED_ON)
    picks = list(fit._batches(one, fit._State(), per_epoch))
    assert [len(batch) for batch in picks] == [size] * (batches - 1) + [last]
    assert sorted(np.concatenate(picks)) == list(range(TRAINED_ON))  # each once, as DataLoader's shuffle
    assert per_epoch == batches
    assert (one.schedule.epochs, one.schedule.planned_epochs) == wanted["epochs"]


def scripts_rates(case: tuple[str, str]) -> list[float]:
    """The rate that the scripts' optimiser takes each step with: set once before and after every step."""
    base, warmup, power = SCRIPTS[case]["rate"]
    epochs, planned = SCRIPTS[case]["epochs"]
    batches = SCRIPTS[case]["batches"][1]
    rate, taken = base / warmup if warmup else base, []
    for step in range(epochs * batches):
        taken.append(rate)
        if step < warmup:
            rate = base * ((step + 1) / warmup)
        else:
            rate = base * (1.0 - (step - warmup) / (planned * batches)) ** power
    return taken


STEPS = (0, 1, 2, 249, 250, 251, 252, 10_000)


@pytest.mark.parametrize(
    ("case", "step"), [(case, at) for case in SCRIPTS for at in (*STEPS, -1) if at < len(scripts_rates(case))]
)
def test_the_rate_of_a_step(case, step):
    one, wanted = job(case), scripts_rates(case)
    at = step % len(wanted)
    factor = fit._factor(one, at, SCRIPTS[case]["batches"][1])
    assert one.schedule.learning_rate * factor == pytest.approx(wanted[at], rel=1e-12)


def test_rates_that_were_worked_out_by_hand():
    rates = scripts_rates(("fairseg", "first stage"))
    assert rates[0] == rates[1] == 0.005 / 250
    assert rates[2] == pytest.approx(0.005 * 2 / 250)
    assert rates[250] == rates[251] == 0.005
    assert rates[10_000] == pytest.approx(0.005 * (1 - 9_749 / 16_700) ** 0.9)
    assert len(rates) == 70 * 167


@CASES
def test_the_loss(case):
    """Cross-entropy over all pixels of a batch and soft Dice a class over the batch, background included."""
    share = SCRIPTS[case]["loss"]
    assert job(case).recipe.dice_weight == share
    rng = np.random.default_rng(0)
    logits, masks = rng.normal(size=(4, 3, 8, 8)), rng.integers(0, 3, (4, 8, 8))
    chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    truth = (masks[:, None] == np.arange(3)[:, None, None]).astype(float)
    entropy = -np.log((chances * truth).sum(1)).mean()
    dice = 0.0
    for one in range(3):
        p, t = chances[:, one], truth[:, one]
        dice += 1 - (2 * (p * t).sum() + 1e-5) / ((p * p).sum() + (t * t).sum() + 1e-5)
    expected = (1 - share) * entropy + share * dice / 3
    found = segmentation_loss(torch.from_numpy(logits), torch.from_numpy(masks), job(case).recipe.dice_weight)
    assert float(found) == pytest.approx(expected, rel=1e-9)


def test_what_is_drawn_to_augment():
    """Beside the scripts' own draws, one sample at a time: shares of each mirror image and degree."""
    python, rng, drawn = random.Random(0), np.random.default_rng(0), Counter()
    for _ in range(4_000):
        if python.random() > 0.5:
            square = np.rot90(np.arange(9).reshape(3, 3), rng.integers(0, 4))
            drawn[tuple(np.flip(square, axis=rng.integers(0, 2)).flatten())] += 1
        elif python.random() > 0.5:
            drawn[int(rng.integers(-20, 20))] += 1
        else:
            drawn[0] += 1
    assert {job(case).recipe.augmentation for case in SCRIPTS} == {"fairseg"}
    ours = draw("fairseg", 4_000, generator("x", 0))
    found: Counter[Any] = Counter()
    for variant, degrees in zip(ours.variants, ours.degrees, strict=True):
        square = Augmentation(np.array([variant]), np.zeros(1)).images(torch.arange(9.0).reshape(1, 1, 3, 3))
        found[tuple(square.int().flatten().tolist()) if variant else int(degrees)] += 1
    assert found.keys() == drawn.keys()
    assert max(abs(found[key] - drawn[key]) for key in drawn) < 0.03 * 4_000
    assert not (ours.variants.astype(bool) & ours.degrees.astype(bool)).any()


@pytest.mark.parametrize("degrees", [-20.0, -7.0, 13.0, 19.0])
def test_rotation_is_that_of_the_scripts_for_image_and_mask(degrees):
    rng = np.random.default_rng(1)
    mask = ndimage.zoom(rng.integers(0, 3, (6, 6)), 12, order=0).astype(np.uint8)
    image = rng.random((72, 72)).astype(np.float32)
    # scipy takes the outermost half pixel for outside.
    image[[0, -1]] = image[:, [0, -1]] = mask[[0, -1]] = mask[:, [0, -1]] = 0
    for sign in (1, -1):
        drawn = Augmentation(np.zeros(1, int), np.array([sign * degrees]))
        turned = drawn.images(torch.from_numpy(image)[None, None])[0, 0].numpy()
        labels = drawn.masks(torch.from_numpy(mask)[None], (72, 72))[0].numpy()
        expected = ndimage.rotate(image, sign * degrees, order=0, reshape=False)
        # A pixel that lies between two may fall either way.
        assert (turned != expected).mean() < 0.002
        assert (labels != ndimage.rotate(mask, sign * degrees, order=0, reshape=False)).mean() < 0.002


@CASES
def test_the_labels_that_are_trained_on(case):
    """`scipy.ndimage.zoom` of order 0 brings them to the logits; the logits are as the scripts' `low_res`."""
    one, wanted = job(case), SCRIPTS[case]
    grid, side_of_logits = wanted["size"][1], wanted["logits"]
    mask = np.random.default_rng(2).integers(0, 3, (1, grid, grid), np.uint8)
    drawn = Augmentation(np.zeros(1, int), np.zeros(1))
    corners = one.recipe.label_resize == "corner"
    found = drawn.masks(torch.from_numpy(mask), (side_of_logits, side_of_logits), corners)[0].numpy()
    assert np.array_equal(found, ndimage.zoom(mask[0], side_of_logits / grid, order=0))
    images = torch.zeros(1, 3, grid, grid, device="meta")
    assert one.backbone.eval()(images)[0].shape[-2:] == (side_of_logits, side_of_logits)


@CASES
@pytest.mark.parametrize("generation", ["published", "scripts"])
def test_crop_and_size(case, generation, tmp_path):
    """The central 512 of a larger picture, train and test alike, resized as the scripts do where they do."""
    crop, size = SCRIPTS[case]["size"]
    rng = np.random.default_rng(3)
    picture = ndimage.gaussian_filter(rng.random((700, 640)), 3)
    picture = np.rint(255 * (picture - picture.min()) / np.ptp(picture))
    mask = ndimage.zoom(rng.integers(0, 3, (70, 64)), 10, order=0)
    codes = dict.fromkeys(CODES, 0)
    for name in ("a", "b"):
        if generation == "published":
            arrays = {"slo_fundus": picture, "disc_cup_mask": mask, "age": 50, "race": 0}
        else:
            arrays = {
                "fundus_slo": picture,
                "disc_cup": -mask,
                "age": 18_000,
                "race": 2,
                "pid": 1,
                "hispanic": 0,
            }
        np.savez(tmp_path / f"{name}.npz", **(codes | arrays))
    (tmp_path / "train.txt").write_text("a.npz\n")
    (tmp_path / "test.txt").write_text("b.npz\n")
    chosen = protocol.load(case[0])
    source = cohorts._open(chosen, tmp_path)
    # As crop_center of the scripts has it.
    top, left = 700 // 2 - crop // 2, 640 // 2 - crop // 2
    cut, labels = (one[top : top + crop, left : left + crop] for one in (picture, mask))
    for row in (0, 1):
        sample = source.read(row)
        if size == crop:
            assert np.array_equal(sample.image, cut)
        else:
            assert np.abs(sample.image - ndimage.zoom(cut / 255, size / crop, order=3) * 255).max() <= 0.51
        assert np.array_equal(sample.mask, ndimage.zoom(labels, size / crop, order=0))
    assert chosen.cohort.size == size


def test_a_test_crop_and_a_spline_are_there_for_whom_the_script_is_the_letter(tmp_path):
    picture = np.rint(255 * ndimage.gaussian_filter(np.random.default_rng(0).random((64, 64)), 1))
    codes = dict.fromkeys(CODES, 0) | {"age": 50, "race": 0}
    for name in ("a", "b"):
        np.savez(tmp_path / name, slo_fundus=picture, disc_cup_mask=picture > 127, **codes)
        (tmp_path / f"{name}.txt").write_text(name)
    given = {"folder": tmp_path, "train": "a.txt", "test": "b.txt", "crop": 64, "test_crop": 40}
    source = fairseg.open_source(fairseg.Options(resize="spline", **given), 64, None)
    assert np.array_equal(source.read(0).image, picture)
    expected = ndimage.zoom(picture[12:52, 12:52], 64 / 40, order=3)
    assert np.array_equal(source.read(1).image, np.rint(expected).clip(0, 255))
    assert np.array_equal(source.read(1).mask, ndimage.zoom(picture[12:52, 12:52] > 127, 1.6, order=0))
    plain = fairseg.open_source(fairseg.Options(**given), 64, None)
    assert plain.read(1).image.shape == (40, 40)
    assert plain.identity != source.identity
    with pytest.raises(ValueError, match="test_crop is of the images in the list 'test'"):
        fairseg.Options(test_crop=40)


def test_images_reach_sam_as_they_are(monkeypatch):
    chosen = protocol.load("fairseg")
    small = chosen.backbone.model_copy(update={"variant": "tiny"})
    seen = []
    images = torch.rand(1, 3, 64, 64)
    for spec in (small, small.model_copy(update={"normalise": "pretrained"})):
        network = backbones.build(spec, 3, 64, None)
        network.encoder.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        network.encode(images)
    assert torch.equal(seen[0], images)
    mean, deviation = ([255 * one for one in values] for values in (prompt_free._MEAN, prompt_free._STD))
    assert mean == pytest.approx([123.675, 116.28, 103.53])
    assert deviation == pytest.approx([58.395, 57.12, 57.375])
    expected = (255 * images - torch.tensor(mean)[:, None, None]) / torch.tensor(deviation)[:, None, None]
    torch.testing.assert_close(seen[1], expected)


def count(module: torch.nn.Module, *without: str) -> int:
    return sum(p.numel() for name, p in module.named_parameters() if not name.startswith(without))


def test_the_number_of_trained_parameters():
    """LoRA's by hand, prompt encoder and mask decoder as segment_anything builds them for two classes."""
    lora = 12 * 2 * (768 * 4 + 4 * 768)  # q and v of twelve blocks, rank 4
    decoder = MaskDecoder(
        transformer_dim=256,
        transformer=TwoWayTransformer(depth=2, embedding_dim=256, mlp_dim=2048, num_heads=8),
        num_multimask_outputs=2,
    )
    prompts = PromptEncoder(256, (32, 32), (512, 512), 16)
    # What no gradient ever reaches: no prompt is given, and the loss does not see the predicted quality.
    idle = ("point_embeddings", "not_a_point_embed", "mask_downscaling", "iou_prediction_head")
    trained = sum(p.numel() for p in job(("fairseg", "FEBS")).backbone.parameters() if p.requires_grad)
    assert trained == lora + count(decoder, *idle) + count(prompts, *idle) == 3_933_376
    assert lora + count(decoder) + count(prompts) == 4_071_695  # all that the scripts give to the optimiser


@pytest.mark.parametrize("heads", ["random", "pretrained"])
def test_which_weights_of_the_checkpoint_begin_the_decoder(heads, tmp_path):
    """The scripts leave out of the checkpoint mask tokens, hypernetworks and the quality head."""
    torch.manual_seed(1)
    donor = backbones.build(protocol.BackboneSpec(name="sam", variant="tiny", adapt="full"), 4, 64, None)
    state = {key.replace("encoder.", "image_encoder.", 1) if key.startswith("encoder.") else key: value
             for key, value in donor.state_dict().items()}  # fmt: skip
    torch.save(state, tmp_path / "sam.pth")
    spec = protocol.load("fairseg").backbone.model_copy(update={"variant": "tiny", "heads": heads})
    torch.manual_seed(2)
    built = backbones.build(spec, 3, 64, tmp_path / "sam.pth").state_dict()
    fresh = ("mask_tokens", "output_hypernetworks_mlps", "iou_prediction_head")
    for key, value in built.items():
        if not key.startswith(("prompt_encoder.", "mask_decoder.")) or ".iou_prediction_head." in key:
            continue
        given = donor.state_dict()[key][: len(value)]
        same = torch.equal(value, given)
        assert same == (heads == "pretrained" or not any(one in key for one in fresh)), key
    torch.manual_seed(2)
    again = backbones.build(spec, 3, 64, tmp_path / "sam.pth").state_dict()
    assert all(torch.equal(again[key], built[key]) for key in built)  # drawn from the seed


@CASES
def test_precision(case):
    assert job(case).recipe.precision == SCRIPTS[case]["precision"]


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_protocol_warms_up_and_decays_as_its_file_says(name):
    """The last step of the warm-up has the whole rate, half the plan later it is half to the power."""
    recipe = protocol.load(name).recipe
    one = Job.__new__(Job)
    one.recipe, one.schedule = recipe, Schedule.of(recipe, finetunes=False)
    per_epoch, warmup = 20, recipe.warmup_steps + recipe.rate_lag
    assert fit._factor(one, warmup, per_epoch) == 1
    if recipe.warmup_steps:
        assert fit._factor(one, 0, per_epoch) == 1 / recipe.warmup_steps
        assert fit._factor(one, warmup - 1, per_epoch) == 1
    half = one.schedule.planned_epochs * per_epoch / 2
    assert fit._factor(one, warmup + half, per_epoch) == pytest.approx(0.5**recipe.power)
    lagging = replace(one.schedule, keeps_last=True)
    assert lagging.steps_per_epoch(one.schedule.batch_size + 1) == 2
    assert sam.VARIANTS["vit_b"].depth == 12
