from __future__ import annotations

import re

from recsys_lightning.reports.run.canvas import VARIABLES
from recsys_lightning.reports.run.style import STYLE


def test_all_colours_of_plots_have_a_value_in_light_and_dark() -> None:
    for variable in VARIABLES:
        assert len(re.findall(rf"--{variable}:#", STYLE)) == 2
    assert STYLE.count("{") == STYLE.count("}")
    declared, used = set(re.findall(r"(--[\w-]+):", STYLE)), set(re.findall(r"var\((--[\w-]+)\)", STYLE))
    assert used | {f"--{variable}" for variable in VARIABLES} == declared
