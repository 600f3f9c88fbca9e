"""Plots as inline SVG that takes its colours and its font from the page it stands on.

Matplotlib draws with stand-ins for colours; afterwards each becomes a variable of the page's style, so that one drawing
reads well in light and dark. Text stays text. Nothing in it depends on the time or on chance.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH = 470
"""Of every plot, in pixels; a page scales it to the room there is, so that a phone does not shrink it to dust."""
SIZE = 12.5
"""Of letters, in pixels."""
SERIES = 6
"""So many colours of curves there are, `s0` and on, each beside a mark of its own."""
VARIABLES = ("text", "quiet", "rule", "card", "track", *(f"s{number}" for number in range(SERIES)))


def ink(variable: str) -> str:
    """The stand-in for a colour of the page's style."""
    return f"#f1e2{VARIABLES.index(variable):02x}"


def draw(name: str, about: str, height: float, paint: Callable[[Figure], None], width: float = WIDTH) -> str:
    """A plot as an `<svg>` element.

    Args:
        name: unlike that of any other plot of the page: names inside the drawing are made of it.
        about: what it shows, for those who do not see it.
        height: in pixels.
        paint: draws on the figure.
        width: in pixels.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_settings(name)), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # the reader's font has it
        figure = Figure(figsize=(width / 72, height / 72), layout="constrained")
        paint(figure)
        buffer = io.StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    return _inline(buffer.getvalue(), about, width, height)


def _settings(name: str) -> dict[Any, Any]:
    quiet, rule, text = ink("quiet"), ink("rule"), ink("text")
    sides = {f"axes.spines.{side}": side == "bottom" for side in ("top", "right", "left", "bottom")}
    return {
        "svg.fonttype": "none",
        "svg.hashsalt": name,
        "text.parse_math": False,
        "font.size": SIZE,
        "axes.labelsize": SIZE,
        "axes.titlesize": SIZE,
        "xtick.labelsize": SIZE,
        "ytick.labelsize": SIZE,
        "legend.fontsize": SIZE,
        "text.color": text,
        "axes.titlecolor": text,
        "axes.labelcolor": quiet,
        "axes.edgecolor": rule,
        "xtick.color": rule,
        "ytick.color": rule,
        "xtick.labelcolor": quiet,
        "ytick.labelcolor": quiet,
        "ytick.major.size": 0,
        "grid.color": rule,
        "axes.axisbelow": True,
        "legend.frameon": False,
        **sides,
    }


def _inline(svg: str, about: str, width: float, height: float) -> str:
    """The drawing without what a page does not need: metadata, a style of its own, names of groups, long numbers."""
    root = ElementTree.fromstring(svg)
    body = "".join(map(_element, root)).replace("><", ">\n<")
    attributes = f'viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(about)}"'
    return f'<svg class="plot" {attributes}>\n{body}\n</svg>'


def _element(node: ElementTree.Element) -> str:
    tag = node.tag.rpartition("}")[2]
    inside = "".join(map(_element, node)) or (escape(node.text or "") if tag == "text" else "")
    attributes = {name.rpartition("}")[2]: _attribute(value) for name, value in node.items()}
    if tag == "g":
        attributes.pop("id", None)
    if attributes.get("transform", "").startswith("rotate(-0 "):
        del attributes["transform"]
    if tag in ("metadata", "style") or (tag in ("g", "defs") and not inside):
        return ""
    if tag == "g" and not attributes:
        return inside
    written = "".join(f' {name}="{escape(value)}"' for name, value in attributes.items())
    return f"<{tag}{written}>{inside}</{tag}>" if inside else f"<{tag}{written}/>"


def _attribute(value: str) -> str:
    value = re.sub(
        r"font: ([\d.]+px) [^;]*|font-family: [^;]*;? ?", lambda font: f"font-size: {font[1]}" if font[1] else "", value
    )
    for variable in VARIABLES:
        value = value.replace(ink(variable), f"var(--{variable})")
    return re.sub(r"(\d\.\d\d)\d+", r"\1", " ".join(value.split()))
