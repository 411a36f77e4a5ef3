"""The audit's page is one file that shows what the model will see."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from cohort_files import make_protocol
from PIL import Image

from harness import cohorts
from harness.cohorts.audit import audit
from harness.cohorts.survey import survey
from harness.commands import audit_page, sight


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("page")
    chosen = make_protocol(size=48, samples=80, attributes={"gender": {}, "maritalstatus": {}})
    cohort = cohorts.load(chosen, None, folder)
    masks = np.array(cohort.masks)
    masks[3] = 0
    object.__setattr__(cohort, "masks", masks)
    object.__setattr__(cohort, "title", "<b>Eyes</b>")
    seen = survey(cohort, chosen)
    file = folder / "audit.html"
    found = audit(cohort, chosen, seen)
    audit_page.write(file, cohort, chosen, seen, found, sight.sights(cohort, chosen), 0.15)
    return file.read_text(encoding="utf-8")


def test_a_page_needs_nothing_beside_it(page: str):
    addresses = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert addresses
    assert all(address.startswith("data:image/webp;base64,") for address in addresses)
    assert "default-src 'none'" in page


def test_a_page_has_findings_groups_histograms_and_tiles(page: str):
    assert "1 of 80 masks are empty" in page
    assert "What it does:" in page
    assert "What to do:" in page
    assert "from the column “maritalstatus”" in page
    assert page.count("<svg") == 2 * (1 + 3)  # attributes x (brightness and three structures)
    assert "&lt;b&gt;Eyes" in page


def test_masks_are_drawn_on_the_tiles(page: str):
    data = re.findall(r'src="data:image/webp;base64,([^"]*)"', page)
    # Two genders and, of marital status, five groups and the unknown; at most three tiles a split.
    assert 12 < len(data) <= 8 * 2 * audit_page.TILES
    tile = np.asarray(Image.open(io.BytesIO(base64.b64decode(data[0]))).convert("RGB")).astype(int)
    green = np.abs(tile - np.array([0, 158, 115])).sum(axis=2) < 90
    assert green.sum() > 20


def test_a_histogram_has_the_same_area_for_a_small_and_a_large_group():
    values = np.concatenate([np.zeros(90), np.ones(10)])
    plot = audit_page._plot(
        "any",
        values,
        {"a": np.arange(90), "b": np.arange(90, 100)},
        {"a": ("x", "solid"), "b": ("y", "solid")},
    )
    tops = [min(float(pair.split(",")[1]) for pair in line.points.split()) for line in plot.lines]
    assert tops[0] == tops[1]
