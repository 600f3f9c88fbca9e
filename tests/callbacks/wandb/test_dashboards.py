from __future__ import annotations

import json
from typing import Any

import pytest

from recsys_lightning.callbacks.wandb.dashboards import TASKS, dashboard, figures_of, outline, workspace
from recsys_lightning.errors import InputError
from tests.callbacks.wandb.conftest import Told


@pytest.fixture(scope="session")
def logged(ranking: dict[str, Told], on_vectors: dict[str, list[Told]]) -> dict[str, set[str]]:
    """Everything that fit and test of a task log, by task."""
    told = {"Ranking": list(ranking.values()), **on_vectors}
    return {
        task: {name for one in of_task for name in (*one.run.names, *one.run.summary)} for task, of_task in told.items()
    }


@pytest.mark.parametrize("task", TASKS)
def test_every_figure_of_a_dashboard_is_one_that_the_task_logs(task: str, logged: dict[str, set[str]]) -> None:
    spec = json.loads(json.dumps(workspace(task, 10, "me", "mine")._spec))
    shown = figures_of(spec)
    assert len(shown) > 20 and not shown - logged[task]
    assert shown >= {name for panels in dashboard(task).values() for panel in panels for name in panel.figures}


def test_figures_are_found_wherever_the_json_names_them() -> None:
    const: dict[str, Any] = {"nodeType": "const", "type": "string", "val": "t"}
    spec = {
        "a": [{"metrics": ["x", "summary_metrics.y"]}, {"b": const}],
        "columnPinned": {"summary:z": True, "run:n": 1},
    }
    assert figures_of(spec) == {"x", "y", "z", "t"}


def test_the_same_dashboard_is_the_same_text_and_another_cut_off_another_one() -> None:
    one, same, other = (json.dumps(workspace("Ranking", k, "me", "mine")._spec) for k in (10, 10, 20))
    assert one == same != other and "ndcg_10" not in other


def test_the_outline_names_every_panel() -> None:
    sections = dashboard("Diffusion", 5)
    lines = list(outline(sections))
    assert len(lines) == len(sections) + sum(map(len, sections.values())) and any(
        "val/ndcg_5_worst" in line for line in lines
    )


def test_an_unknown_task_is_named() -> None:
    with pytest.raises(
        InputError, match="no dashboard of Sorting; there are those of Ranking, Conditioning, Diffusion"
    ):
        dashboard("Sorting")
