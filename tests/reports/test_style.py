from __future__ import annotations

import re

import pytest

from recsys_lightning.reports.explanation_style import STYLE as EXPLANATION
from recsys_lightning.reports.run.style import STYLE as RUN
from recsys_lightning.reports.style import BASE, COLOURS, root


def luminance(colour: str) -> float:
    digits = colour.lstrip("#")
    whole = "".join(2 * digit for digit in digits) if len(digits) == 3 else digits
    parts = [int(whole[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(first: str, second: str) -> float:
    dark, light = sorted(map(luminance, (first, second)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("style", [EXPLANATION, RUN])
def test_pages_share_one_design(style: str) -> None:
    assert BASE in style and style.startswith(":root{color-scheme:light dark")


@pytest.mark.parametrize("side", [1, 2])
def test_words_can_be_read_on_every_ground(side: int) -> None:
    colours = {colour[0]: colour[side] for colour in COLOURS}
    for ground in ("page", "card", "track"):
        assert contrast(colours["text"], colours[ground]) > 10
        assert contrast(colours["quiet"], colours[ground]) > 4.5


@pytest.mark.parametrize("style", [EXPLANATION, RUN])
def test_colours_of_series_can_be_seen_on_cards(style: str) -> None:
    for dark, rules in enumerate(style.split("@media(prefers-color-scheme:dark)")[:2]):
        found = re.findall(r"--(?:s|kind)\d:(#\w+)", rules.split("}")[0])
        assert len(found) == 6
        assert min(contrast(colour, COLOURS[1][1 + dark]) for colour in found) > 3


def test_wide_tables_scroll_and_a_shade_tells_that_there_is_more() -> None:
    (rules,) = re.findall(r"\.wide\{([^}]*)\}", BASE.partition("@media")[0])
    assert "overflow-x:auto" in rules and rules.count(" scroll ") == rules.count(" local ") == 2


def test_own_colours_are_declared_for_both() -> None:
    assert root(("mine", "#111", "#eee")).count("--mine:") == 2
