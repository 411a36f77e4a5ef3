"""Vega-Lite specs -> SVG that takes its colours and fonts from the page."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import cache, cached_property
from importlib.metadata import version
from typing import Any
from xml.etree import ElementTree

from markupsafe import Markup

from leaderboard import kept
from leaderboard.draw import drawer

# Colours in the specs are names in disguise: each becomes a CSS class, so that light, dark and print differ.
COLOURS = {
    name: f"#0000{number:02x}"
    for number, name in enumerate(
        ("ink", "soft", "line", "accent", "band", "good", "g0", "g1", "g2", "g3", "g4", "g5", "paper"),
        start=1,
    )
}
_CLASSES = {code: name for name, code in COLOURS.items()}

CONFIG: dict[str, Any] = {
    "background": None,
    "font": "Liberation Sans",
    "view": {"stroke": None},
    "axis": {
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "titlePadding": 8,
        "labelColor": COLOURS["soft"],
        "titleColor": COLOURS["soft"],
        "gridColor": COLOURS["line"],
        "domain": False,
        "ticks": False,
        "labelPadding": 6,
    },
    # Else labels at the ends are moved inwards, away from their ticks.
    "axisX": {"labelFlush": False},
    "axisY": {"labelColor": COLOURS["ink"], "labelLimit": 240},
    "legend": {
        "labelFontSize": 12,
        "labelColor": COLOURS["ink"],
        "title": None,
        "orient": "top",
        "labelLimit": 140,
    },
    "header": {
        "labelColor": COLOURS["soft"],
        "labelFontSize": 12,
        "labelFontWeight": "normal",
        "title": None,
    },
}

_KEPT = frozenset(
    {
        *("d", "x", "y", "x1", "x2", "y1", "y2", "width", "height", "cx", "cy", "r", "transform", "viewBox"),
        *("text-anchor", "font-size", "fill", "fill-opacity", "opacity"),
        *("stroke", "stroke-width", "stroke-dasharray", "stroke-opacity"),
    }
)
_NUMBER = re.compile(r"-?\d+\.\d{2,}(?:e-?\d+)?")


class Drawing:
    """A figure that is being drawn: an `<svg role="img">` named `label`.

    A mark's description shows when the pointer is on it.
    """

    def __init__(self, spec: dict[str, Any], label: str) -> None:
        self._label = label
        self._whole = _begun(spec | {"config": CONFIG})

    @cached_property
    def svg(self) -> Markup:
        """The drawing, once it is there. Raises what drawing raises."""
        root = ElementTree.fromstring(self._whole())
        out = ElementTree.Element(
            "svg", _attributes(root) | {"role": "img", "aria-label": self._label, "class": "figure"}
        )
        width = root.get("width", "0")
        out.set("width", str(round(float(width))))
        out.extend(copy for child in root if (copy := _copy(child)) is not None)
        return Markup(ElementTree.tostring(out, encoding="unicode"))

    def __html__(self) -> str:
        return self.svg


def _begun(spec: dict[str, Any]) -> Callable[[], str]:
    """Have a figure drawn unless its drawing is kept; return what waits for it."""
    name, of = f"{__name__}._drawn", (spec, drawn_with())
    wait = drawer.ask(spec) if not kept.has(name, of) else lambda: drawer.ask(spec)()
    return lambda: kept.made(name, of, wait)


@cache
def drawn_with() -> tuple[str, tuple[tuple[str, int], ...]]:
    """Return what else makes a drawing: the library's version, and the fonts by which it measures texts.

    Of these the folders of the system with the time at which a font last came or went.
    """
    places = (
        *("/usr/share/fonts", "/usr/local/share/fonts", "~/.fonts", "~/.local/share/fonts"),
        *("/Library/Fonts", "/System/Library/Fonts", "~/Library/Fonts"),
    )
    folders = [folder for place in places for folder, _, _ in os.walk(os.path.expanduser(place))]
    return version("vl-convert-python"), tuple((one, os.stat(one).st_mtime_ns) for one in sorted(folders))


def _copy(element: ElementTree.Element) -> ElementTree.Element | None:
    """Return the element with what a reader can see and nothing else, or None if that is nothing."""
    tag = element.tag.rpartition("}")[2]
    children = [copy for child in element if (copy := _copy(child)) is not None]
    if tag == "g" and not children:
        return None
    if tag == "path" and element.get("class") in ("background", "foreground"):
        return None
    if element.get("display") == "none" or tag not in (
        "g",
        "path",
        "rect",
        "line",
        "text",
        "circle",
        "tspan",
    ):
        return None
    if tag == "g" and len(children) == 1 and not _attributes(element):
        return children[0]
    copy = ElementTree.Element(tag, _attributes(element))
    copy.text = element.text if tag in ("text", "tspan") else None
    copy.extend(children)
    label = element.get("aria-label")
    if label and tag not in ("g", "text"):
        title = ElementTree.SubElement(copy, "title")
        title.text = label
    return copy


def _attributes(element: ElementTree.Element) -> dict[str, str]:
    kept = {key: _short(value) for key, value in element.attrib.items() if key in _KEPT}
    classes = []
    for key in ("fill", "stroke"):
        value = kept.get(key, "")
        if value in _CLASSES:
            del kept[key]
            classes.append(f"{key[0]}-{_CLASSES[value]}")
    if kept.get("transform") in ("translate(0,0)", "translate(0.5,0.5)"):
        del kept["transform"]
    if kept.get("opacity") == "1":
        del kept["opacity"]
    return kept | ({"class": " ".join(classes)} if classes else {})


def _short(value: str) -> str:
    return _NUMBER.sub(lambda match: f"{float(match[0]):.1f}".removesuffix(".0"), value)
