"""`recsys compare`: whether tested runs differ by more than chance."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

from recsys_lightning.atomic import write_text
from recsys_lightning.cli.own_options import OwnOptions
from recsys_lightning.errors import InputError

if TYPE_CHECKING:
    from recsys_lightning.reports.compare import Comparison

HELP = """\
recsys compare RUN RUN [RUN ...] [options]: are the differences real: paired tests on the same users

  RUN                the folder of `recsys test`; or several of one model, trained under several seeds, with commas
                     between: a,b,c; seeds are paired in the order in which they are given
  --base RUN         the one that others are compared with; the first without
  --metric NAME,...  columns of per_user.parquet; ndcg and recall at the first cut-off without. Groups of users (by
                     domain, rows, popularity of the held-out items, days) are compared by the first
  --to FOLDER        write compare.md there
  --latex            also as tables for booktabs: compare.tex in that folder, or in print
  --wandb            also as a table in Weights & Biases; offline where there is no key

A difference is claimed where its 95 % interval (paired bootstrap over users, and over seeds where there are several)
leaves 0, and p (paired t test) is at most 0.05 after Holm's correction for all comparisons that are printed: ask for
one metric to claim more of it. Runs of other data, other users or other views are refused, and so are seeds of one
model that were trained with other options, or under the same seed.
"""
FILE, LATEX = "compare.md", "compare.tex"


def run(words: list[str]) -> None:
    """Carry out `recsys compare`; `words` starts with it."""
    options = OwnOptions("--metric", "--base", "--to")
    for name in ("--latex", "--wandb"):
        options.add_argument(name, action="store_true")
    own, runs = options.read(words[1:])
    if unknown := [word for word in runs if word.startswith("-")]:
        raise InputError(f"There is no option {unknown[0]}: `recsys compare --help` says what there is.")
    if own.base is not None:
        runs = _with_base(runs, own.base)
    if len(runs) < 2:
        raise InputError(f"`recsys compare` takes the folders of two runs or more, and was given {len(runs)}.")
    from recsys_lightning.reports.compare import compare, latex, markdown
    from recsys_lightning.reports.tested import read_all

    found = compare(read_all(runs), [name for name in (own.metric or "").split(",") if name])
    texts = {FILE: markdown(found), **({LATEX: latex(found)} if own.latex else {})}
    folder = Path(own.to or "runs")
    if own.to is not None or own.wandb:
        _refuse_unwritable(folder)
    print(texts[FILE])
    if own.to is not None:
        _write(folder, texts)
    elif own.latex:
        print(texts[LATEX])
    if own.wandb:
        print(_log(found, folder))


def _with_base(runs: list[str], base: str) -> list[str]:
    """The runs with the base before the others."""
    same = [word for word in runs if _places(word) == _places(base)]
    return [base, *(word for word in runs if word not in same)]


def _places(word: str) -> list[Path]:
    return [Path(folder).resolve() for folder in word.split(",")]


def _refuse_unwritable(folder: Path) -> None:
    """Make the folder; what it cannot take must not be found out under a whole comparison."""
    with _to(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass


def _write(folder: Path, texts: dict[str, str]) -> None:
    with _to(folder):
        for name, text in texts.items():
            print(write_text(folder / name, text))


@contextmanager
def _to(folder: Path) -> Iterator[None]:
    """Say in words that a folder cannot be written to."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"The comparison cannot be written to {folder}: {error.strerror}. Choose another: --to FOLDER."
        ) from error


def _log(found: Comparison, folder: Path) -> str:
    """Log the lines as a table; where they are then."""
    from recsys_lightning.cli.wandb_account import settle_wandb
    from recsys_lightning.errors import extra
    from recsys_lightning.reports.compare import COLUMNS

    wandb = extra("wandb", "--wandb")
    settle_wandb()
    config = {run.name: [str(place) for place in run.folders] for run in found.runs}
    about = {"runs": config, "fingerprint": found.runs[0].fingerprint}
    with wandb.init(name="compare", job_type="compare", dir=str(folder), config=about) as logged:
        logged.log({"compare": wandb.Table(columns=list(COLUMNS), data=[line.plain for line in found.lines])})
        return f"W&B: {logged.url or logged.dir}"
