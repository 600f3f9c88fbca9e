"""Dashboards as code: what a workspace of Weights & Biases shows of the runs of each task."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from recsys_lightning.errors import InputError, extra
from recsys_lightning.reports.floors import FLOORS

STEP = "trainer/global_step"
"""What figures of training are drawn over: the name under which Lightning logs the step."""
COLUMNS = ("best/score",)
"""Of the list of runs, beside their names and the figure of test that the first panel shows."""


@dataclass(frozen=True)
class Panel:
    """A picture of some figures.

    Attributes:
        title: of it.
        figures: names under which runs log them; one of a table.
        kind: `line` over the steps of training, `bar` of summaries, or `table`.
    """

    title: str
    figures: tuple[str, ...]
    kind: Literal["line", "bar", "table"] = "line"


Sections = dict[str, list[Panel]]


def dashboard(task: str, k: int = 10) -> Sections:
    """The panels of a task's dashboard, by section.

    Args:
        task: Ranking, Conditioning or Diffusion.
        k: cut-off of the figures; one of `model.k` of the runs.

    Raises:
        InputError: there is no such task.
    """
    if task not in TASKS:
        raise InputError(f"There is no dashboard of {task}; there are those of {', '.join(TASKS)}.")
    first, others = f"ndcg_{k}", [f"{name}_{k}" for name in ("recall", "mrr", "hit_rate")]
    floors = [f"floors/{floor.__name__}/{first}" for floor in FLOORS]
    beyond = [f"{name}_{k}" for name in ("coverage", "gini", "novelty", "popularity_lift")]
    return {
        "Quality": [
            Panel(f"{first} of val", (f"val/{first}",)),
            Panel("Other figures of val", tuple(f"val/{name}" for name in others)),
            Panel(f"{first} of test, and of the floors", (f"test/{first}", *floors), "bar"),
            Panel("Other figures of test", tuple(f"test/{name}" for name in others), "bar"),
        ],
        "Training": [
            Panel("Loss of a pass", ("train/loss_epoch",)),
            Panel("Loss of a step", ("train/loss_step",)),
        ],
        **TASKS[task](first),
        "Beyond accuracy": [Panel(f"{name} of val", (f"val/{name}",)) for name in beyond],
        "Behind the figures": [
            Panel("By group of users", ("test/buckets",), "table"),
            Panel("Recommendations, with hits marked", ("test/samples",), "table"),
            Panel("Floors", ("test/floors",), "table"),
            Panel("Items on a plane", ("test/projection",), "table"),
            Panel("Lengths of item vectors", ("test/norm_item",)),
            Panel("How the data were made", ("data/steps",), "table"),
        ],
    }


def workspace(task: str, k: int, entity: str, project: str) -> Any:
    """The dashboard as a `wandb_workspaces` Workspace; equal calls make equal ones.

    Raises:
        InputError: there is no such task, or the library is not installed.
    """
    sections = dashboard(task, k)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of pydantic, about the library itself
        extra("wandb_workspaces", "recsys dashboard", "dashboards")
        import wandb_workspaces.workspaces as ws

    columns = [f"summary:{name}" for name in (*COLUMNS, f"test/ndcg_{k}")]
    return ws.Workspace(
        entity=entity,
        project=project,
        name=f"recsys {task}",
        sections=[
            ws.Section(name=name, panels=[_panel(panel) for panel in panels], is_open=True)
            for name, panels in sections.items()
        ],
        settings=ws.WorkspaceSettings(x_axis=STEP),
        runset_settings=ws.RunsetSettings(pinned_columns=columns),
    )


def figures_of(spec: Any) -> set[str]:
    """Names of all figures that the JSON of a workspace shows: of lines, bars, tables and columns."""
    found: set[str] = set()
    if isinstance(spec, dict):
        if isinstance(spec.get("metrics"), list):
            found |= {name.removeprefix("summary_metrics.") for name in spec["metrics"]}
        if spec.get("nodeType") == "const" and spec.get("type") == "string":
            found.add(spec["val"])
        columns = spec.get("columnPinned")
        found |= {name.removeprefix("summary:") for name in columns or () if name.startswith("summary:")}
    for value in spec.values() if isinstance(spec, dict) else spec if isinstance(spec, list) else ():
        found |= figures_of(value)
    return found


def _panel(panel: Panel) -> Any:
    import wandb_workspaces.reports.v2 as reports

    made: Any
    if panel.kind == "table":
        made = reports.WeavePanelSummaryTable(table_name=panel.figures[0])
    elif panel.kind == "bar":
        summaries = [reports.SummaryMetric(name) for name in panel.figures]
        made = reports.BarPlot(title=panel.title, metrics=summaries)
    else:
        made = reports.LinePlot(title=panel.title, x=STEP, y=list(panel.figures))
    # drawn at random otherwise, so that the same dashboard would never be the same text
    made._id = hashlib.blake2b(repr(panel).encode(), digest_size=5).hexdigest()
    return made


def _ranking(first: str) -> Sections:
    return {
        "Reasons": [
            Panel("Why items are recommended", ("test/explanations",), "table"),
            Panel("Lengths of user vectors", ("test/norm_user",)),
        ]
    }


def _conditioning(first: str) -> Sections:
    losses = ("domain_ranking", "reconstruction", "cosine")
    return {
        "Domains": _of_domains(first),
        "Conditions": [
            Panel("Loss of val", ("val/loss",)),
            Panel("Losses of val", tuple(f"val/{name}" for name in losses)),
            Panel("Losses of training", tuple(f"train/{name}" for name in losses)),
            Panel("Cosines of users and conditions", _conditions("cosine", "cosine_q05", "cosine_q50", "cosine_q95")),
            Panel("Share of lost users", _conditions("cosine_below_70")),
            Panel("Conditions of two domains", _conditions("diversity", "cka")),
        ],
    }


def _diffusion(first: str) -> Sections:
    return {"Domains": _of_domains(first)}


def _of_domains(first: str) -> list[Panel]:
    return [
        Panel(f"{first} of the worst domain, val", (f"val/{first}_worst",)),
        Panel(f"{first} of the worst domain, test", (f"test/{first}_worst",), "bar"),
    ]


def _conditions(*names: str) -> tuple[str, ...]:
    return tuple(f"conditions/{name}" for name in names)


TASKS: dict[str, Callable[[str], Sections]] = {
    "Ranking": _ranking,
    "Conditioning": _conditioning,
    "Diffusion": _diffusion,
}


def outline(sections: Sections) -> Iterable[str]:
    """The sections and their panels, a line each, for people."""
    for name, panels in sections.items():
        yield f"{name}"
        for panel in panels:
            yield f"  {panel.title} ({panel.kind}): {', '.join(panel.figures)}"
