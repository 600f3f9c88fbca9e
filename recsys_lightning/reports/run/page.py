"""The page of a run: its sections by what there is, and the files it is written to."""

from __future__ import annotations

from pathlib import Path

from recsys_lightning.atomic import write_text
from recsys_lightning.errors import InputError
from recsys_lightning.reports.run.background import cold_start, data_card, environment, method
from recsys_lightning.reports.run.behaviour import correlations, groups, lists
from recsys_lightning.reports.run.blocks import Block, Page, Section, Text, Tile, Tiles
from recsys_lightning.reports.run.diffusion import diffusion
from recsys_lightning.reports.run.folder import Run, class_named, read_run
from recsys_lightning.reports.run.geometry import gates, vectors
from recsys_lightning.reports.run.html import page_html
from recsys_lightning.reports.run.markdown import page_markdown
from recsys_lightning.reports.run.results import all_metrics, beside_the_floors, by_domain, headline, over_users
from recsys_lightning.reports.run.swap import swap
from recsys_lightning.reports.run.training import training
from recsys_lightning.reports.run.watched import watched
from recsys_lightning.reports.tables import number

MARKDOWN, HTML = "report.md", "report.html"


def write_pages(folder: Path, to: Path | None = None, html: bool = True) -> list[Path]:
    """Write the page of a run.

    Args:
        folder: of `recsys test` or of `recsys fit`.
        to: the folder to write to; the run's own without.
        html: also as HTML, whose plots take a second or two.

    Returns:
        The files, each written whole or not at all.

    Raises:
        InputError: there is no run, a file of it is damaged, or nothing can be written there.
    """
    page, goal = page_of(read_run(folder)), to or folder
    pages = {MARKDOWN: page_markdown(page), **({HTML: page_html(page)} if html else {})}
    try:
        goal.mkdir(parents=True, exist_ok=True)
        return [write_text(goal / name, text) for name, text in pages.items()]
    except OSError as error:
        raise InputError(
            f"The page cannot be written to {goal}: {error.strerror}. Choose another: --to FOLDER."
        ) from error


def page_of(run: Run) -> Page:
    """All that a run's folder tells."""
    sections: list[Section | None] = []
    report = run.report
    if report is None:
        title, head = _untested(run)
    else:
        title, head = f"{report.model} on {report.data}", headline(run, report)
        panels = [*all_metrics(report), *over_users(run, report)]
        sections += [beside_the_floors(run, report), by_domain(report), Section("Metrics", panels)]
    sections += [swap(run), diffusion(run)]
    found = run.diagnostics
    sections += [
        groups(run.facts, found),
        cold_start(run),
        lists(found),
        correlations(found),
        gates(found),
        vectors(found),
    ]
    sections += [training(run), *watched(run), data_card(report), method() if report else None, environment(run)]
    return Page(title, head, [section for section in sections if section is not None])


def _untested(run: Run) -> tuple[str, list[Block]]:
    """Title and head of a run that was trained only."""
    model = class_named(run.options, "model", "init_args", "recommender") or class_named(run.options, "model")
    data = class_named(run.options, "data")
    title = " on ".join(filter(None, (model, data))) or run.folder.resolve().name
    blocks: list[Block] = [Text("It was trained, and no test of it lies beside it: `recsys test` makes one.")]
    if run.curves is not None and run.curves.best is not None:
        value = number(run.curves.best[1])
        blocks.append(Tiles([Tile(f"best {run.curves.monitor}", value, "of val, which selects: no result")]))
    return title, blocks
