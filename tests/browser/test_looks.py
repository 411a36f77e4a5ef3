"""Every kind of page looks as it was last looked at: screenshots against reviewed references.

`UPDATE_REFERENCES=1 pytest tests/browser/test_looks.py` writes them anew: look at each before you commit it.
"""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.browser

REFERENCES = Path(__file__).parent / "references"
PAGES = {
    "board": "index.html",
    "method": "quick/groupdro.html",
    "protocol": "quick/protocol.html",
    "cases": "quick/cases.html",
}
MODES = {
    "desktop": {"viewport": {"width": 1280, "height": 800}},
    "phone": {"viewport": {"width": 400, "height": 800}},
    "dark": {"viewport": {"width": 1280, "height": 800}, "color_scheme": "dark"},
    "print": {"viewport": {"width": 1032, "height": 703}},
}
SCALE = 4
"""Of what is kept: a quarter of the screen's pixels each way, in grey."""
BLOCK = 4
"""Of what is compared, again: means of 16 by 16 pixels, in which letters are no more than a tone."""
TONE = 20
MOST = 0.02
"""Share of blocks that may differ by more than TONE of 255: another font moves lines a little."""


def look(page, mode: str) -> np.ndarray:
    """Return what is on the screen, uint8 [height / SCALE, width / SCALE]."""
    if mode == "print":
        page.emulate_media(media="print")
    shot = Image.open(io.BytesIO(page.screenshot(animations="disabled"))).convert("L")
    return np.asarray(shot.reduce(SCALE))


def differing(one: np.ndarray, other: np.ndarray) -> float:
    """Return the share of blocks that differ in tone."""
    blocks = [
        np.asarray(Image.fromarray(picture).reduce(BLOCK), float)
        for picture in (one, other[: one.shape[0], : one.shape[1]])
    ]
    return float((np.abs(blocks[0] - blocks[1]) > TONE).mean())


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", PAGES)
def test_a_page_looks_as_it_was_last_looked_at(new_tab, site, kind, mode):
    found = look(new_tab(site.out.as_uri(), **MODES[mode]).open(PAGES[kind]), mode)
    path = REFERENCES / f"{kind}-{mode}.png"
    if os.environ.get("UPDATE_REFERENCES"):
        Image.fromarray(found).quantize(16).save(path, optimize=True)
    kept = np.asarray(Image.open(path).convert("L"))
    assert kept.shape == found.shape
    assert differing(found, kept) <= MOST, f"{path.name}: look at the page; UPDATE_REFERENCES=1 keeps it"


BREAKS = {
    "the drawings are gone": "svg.in { display: none !important; }",
    "cells lose their places": "table.drawn :is(th, td) { position: static !important; }",
    "the tabs stand below one another": "nav.strip, nav.strip ul { display: block !important; }",
    "letters are half as large again": "body { font-size: 24px !important; } .verdict { font-size: 3rem; }",
    "the page has no style": "",
}


@pytest.mark.parametrize("what", BREAKS)
def test_a_broken_layout_does_not_pass_for_the_reference(new_tab, site, what):
    tab = new_tab(site.out.as_uri(), **MODES["desktop"])
    css = (site.out / "assets" / "site.css").read_text()
    broken = css + BREAKS[what] if BREAKS[what] else ""
    tab.page.route("**/site.css", lambda route: route.fulfill(body=broken, content_type="text/css"))
    found = look(tab.open(), "desktop")
    kept = np.asarray(Image.open(REFERENCES / "board-desktop.png").convert("L"))
    assert differing(found, kept) > MOST
