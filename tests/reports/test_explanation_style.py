from __future__ import annotations

from recsys_lightning.reports.explanation_style import COLOURS, KINDS, STYLE


def test_every_kind_has_a_colour_in_light_and_dark() -> None:
    for kind in range(KINDS):
        assert STYLE.count(f"--kind{kind}:") == 2
        assert f".graph .kind{kind}.line" in COLOURS and f"h4.kind{kind}" in COLOURS
