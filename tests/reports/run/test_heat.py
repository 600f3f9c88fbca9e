from __future__ import annotations

import re

from recsys_lightning.reports.run.heat import heat
from tests.reports.run.runs import EVIL


def test_every_share_above_0_has_its_field_and_every_group_its_name() -> None:
    svg = heat(["one", EVIL], [[0.5, 0.25, 0.25], [0.0, 0.0, 1.0]], [("own", 2), ("shared", 1)])("heat", "about")
    words = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    assert {"one", "own", "shared"} <= set(words) and "<script" not in svg
    assert svg.count("fill: var(--s0)") == 4 and "#f1e2" not in svg
    assert "opacity: 0.5" in svg and "opacity: 0.25" in svg


def test_nothing_at_all_can_be_drawn() -> None:
    assert "<svg" in heat(["one"], [[0.0, 0.0]], [("own", 2)])("heat", "about")
