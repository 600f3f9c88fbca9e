"""How well a synthetic world can be known: the best possible ranking, and what vectors hold of its planted tastes.

    python experiments/planted.py --data experiments/synthetic-domains/data.yaml
    python experiments/planted.py --data experiments/synthetic-domains/data.yaml --vectors RUN/vectors.safetensors ...

Without --vectors the planted tastes themselves rank the test rows, beside popularity: no model can be expected to do
better, as the rest is the chance in the choices. With --vectors, files as `recsys predict
--trainer.callbacks+=WriteVectors` leaves them, each is set beside the tastes: how much of these is linearly readable
from the users' vectors, the mean canonical correlation with them, fitted on one half of the users and measured on the
other; 1 is all, 0 is chance. What is made for a domain should hold the tastes in it, the shared ones and its own, and
nothing of those that count in another domain alone. One vector of a user for all domains has to hold them all.
Options that are not known here are of the data, as `recsys` takes them.
"""

from __future__ import annotations

import argparse
import os
import sys
from argparse import ArgumentError
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from commands import carry_out

from recsys_lightning.callbacks.vectors import WriteVectors
from recsys_lightning.cli.options import sentence
from recsys_lightning.cli.trainer import make_cli
from recsys_lightning.data.reading.checks import require_file
from recsys_lightning.data.sources import Planted, SyntheticDomains
from recsys_lightning.data.vectors import FrozenVectors, read_vectors
from recsys_lightning.datamodules.interactions import InteractionsDataModule
from recsys_lightning.errors import InputError
from recsys_lightning.metrics.subspaces import readable
from recsys_lightning.models import DotProduct, Popularity
from recsys_lightning.reports.floors import evaluate
from recsys_lightning.reports.tables import markdown_table, number
from recsys_lightning.schema import TEST

LEAST, MOST = 0.8, 0.2
"""What vectors must hold of the tastes in a domain, and may hold of those in another alone."""
K = 10


class Held(NamedTuple):
    """How much of planted tastes is readable from the users' vectors for a domain: 1 all, 0 none.

    `taste` is what counts in the domain, the `shared` tastes and its `own`; `other` are those of another domain alone,
    of the one that most is readable of. None where there is one domain.
    """

    taste: float
    shared: float
    own: float
    other: float | None


def planted(given: argparse.Namespace, options: Sequence[str]) -> str:
    """What is asked for, as Markdown.

    Raises:
        InputError: an option cannot be used, nobody planted the tastes in these data, or a file is not of these data.
    """
    data = _data(given.data, options)
    if not isinstance(data.source, SyntheticDomains):
        raise InputError(
            f"--data {given.data} is {data.source.name}, and nobody knows the tastes of its users. Name data of "
            "SyntheticDomains, for example experiments/synthetic-domains/data.yaml."
        )
    data.setup("fit" if given.vectors else "test")
    world = data.source.planted().aligned(data.prepared)
    return _told(world, data, given.vectors) if given.vectors else _ceiling(world, data)


def _data(name: str, options: Sequence[str]) -> InteractionsDataModule:
    """What the command line makes of options of the data."""
    if name.endswith(".yaml"):
        require_file(Path(name))
    words = ["--model", "Ranking", "--model.recommender", "Popularity", "--data", name, *options]
    try:
        data: InteractionsDataModule = make_cli(words, run=False).datamodule
    except (ArgumentError, ValueError) as error:
        said: BaseException | None = error
        while said is not None and not isinstance(said, InputError):  # the parser wraps what options are refused with
            said = said.__cause__ or said.__context__
        if said is None and not isinstance(error, ArgumentError):
            raise
        raise InputError(str(said or sentence(str(error), "data"))) from error
    return data


@torch.no_grad()
def _ceiling(world: Planted, data: InteractionsDataModule) -> str:
    frozen = FrozenVectors(world.vectors(), "planted", "Planted")
    sighted = data.prepared.views(*data.visible_splits, vectors=frozen)
    oracle, popularity = DotProduct(data.prepared.schema(vectors=frozen)), Popularity(data.schema)
    domains = data.schema.domains
    figures = {
        "planted tastes": evaluate(oracle, sighted, sighted, data.ranking_loader(TEST), [K], domains),
        "popularity": evaluate(popularity, data.fitting_views, data.views, data.ranking_loader(TEST), [K], domains),
    }
    columns = [f"ndcg_{K}", *(f"ndcg_{K}_{name}" for name in domains)]
    rows = [(name, *(found[column] for column in columns)) for name, found in figures.items()]
    tested = [f"{int(figures['popularity'][f'users_{name}']):,} in {name}" for name in domains]
    about = (
        f"ndcg@{K} of test, every item a candidate that the user has no earlier row with; users tested: "
        f"{', '.join(tested) or format(int(figures['popularity']['users']), ',')}. No model can be "
        "expected to rank better than the planted tastes: the rest is the chance in the choices."
    )
    head = ("ranked by", "mean over domains" if domains else f"ndcg@{K}", *domains)
    return "\n\n".join([f"# The best possible ranking: {data.schema.name}", about, markdown_table(head, rows)])


def _told(world: Planted, data: InteractionsDataModule, files: Sequence[Path]) -> str:
    rows, verdicts = list[tuple[object, ...]](), list[str]()
    for label, file in zip(_labels(files), files, strict=True):
        frozen = read_vectors(file, data.prepared)
        found = dict(held(world, frozen))
        rows += [(label, frozen.model, name, *one) for name, one in found.items()]
        verdicts.append(f"* {label}: {_verdict(list(found.values()))}")
    about = (
        "How much of planted tastes is linearly readable from the users' vectors for a domain, 1 all and 0 none, on "
        "users that it was not fitted on: of the tastes in the domain, which are the shared ones and its own, of each "
        "of the two, and of the tastes in another domain alone."
    )
    head = ("file", "model", "domain", "tastes in it", "shared", "own", "another's own")
    title = f"# What vectors hold of the planted tastes: {data.schema.name}"
    return "\n\n".join([title, about, markdown_table(head, rows), "\n".join(verdicts)])


def held(world: Planted, frozen: FrozenVectors) -> Iterator[tuple[str, Held]]:
    """What vectors hold of the tastes, by domain.

    Args:
        world: aligned with the data that the vectors are of.
        frozen: one vector of a user for all domains, or one for each.
    """
    user = frozen.vectors.user
    for code, name in enumerate(world.domains):
        vector = user[:, code] if user.dim() == 3 else user
        factors = {"taste": world.taste(name), "shared": world.shared, "own": world.own[name]}
        found = {part: readable(vector, torch.from_numpy(factor)) for part, factor in factors.items()}
        others = [readable(vector, torch.from_numpy(own)) for other, own in world.own.items() if other != name]
        yield name, Held(**found, other=max(others, default=None))


def _verdict(found: Sequence[Held]) -> str:
    """In a sentence, over all domains."""
    taste = min(one.taste for one in found)
    said = f"at least {number(taste)} of the tastes in a domain ({LEAST} asked for)"
    reached = taste >= LEAST
    if others := [one.other for one in found if one.other is not None]:
        said += f", at most {number(max(others))} of those in another alone ({MOST} allowed)"
        reached = reached and max(others) <= MOST
    return f"{'reached' if reached else 'not reached'}: {said}."


def _labels(files: Sequence[Path]) -> list[str]:
    """What tells the files from one another: their runs, from the folder on in which all of these lie."""
    runs = [Path(os.path.abspath(file.parent if file.name == WriteVectors.FILE else file)) for file in files]
    common = os.path.commonpath([run.parent for run in runs])
    return [str(run.relative_to(common)) for run in runs]


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command line; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="of SyntheticDomains: a file, or the class by name")
    parser.add_argument("--vectors", type=Path, nargs="+", help="files of user vectors, or of one for each domain")
    return carry_out("planted", parser, planted, arguments)


if __name__ == "__main__":
    sys.exit(main())
