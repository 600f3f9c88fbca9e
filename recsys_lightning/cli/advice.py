"""What `recsys recommend` and `recsys explain` share: their options, and a model that is ready to be asked."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import NamedTuple

from recsys_lightning.batches import CSR
from recsys_lightning.callbacks.checkpoint import read_checkpoint, usable_checkpoint
from recsys_lightning.cli.own_options import OwnOptions
from recsys_lightning.cli.trainer import make_cli
from recsys_lightning.datamodules.interactions import InteractionsDataModule
from recsys_lightning.errors import InputError
from recsys_lightning.explain.advisor import Advisor, require_explainable
from recsys_lightning.explain.catalogue import Catalogue
from recsys_lightning.schema import GIVEN, TRAIN, VAL
from recsys_lightning.tasks.evaluation import RankingTask


class Asked(NamedTuple):
    """A model that can be asked, and the data that it knows."""

    advisor: Advisor
    data: InteractionsDataModule


def read_options(parser: OwnOptions, words: list[str], verb: str) -> tuple[Namespace, list[str]]:
    """Options of the verb itself, and all others: those of a configuration.

    Raises:
        InputError: an option lacks its value, or nobody says for which user.
    """
    parser.add_argument("--user")
    parser.add_argument("--ckpt_path")
    parser.add_argument("--json", action="store_true")
    own, rest = parser.read(words)
    if own.user is None:
        raise InputError(f"Say for whom: recsys {verb} --user ID, an id as the raw data write it.")
    if not rest:
        raise InputError(f"Say with what model and data: recsys {verb} --config FILE --ckpt_path FILE --user ID.")
    return own, rest


def ask(options: list[str], checkpoint: str | None = None, verb: str = "recommend") -> Asked:
    """Make model and data as `predict` does, without a run and its folder.

    Args:
        options: of a configuration.
        checkpoint: None for a closed form, which is solved here.
        verb: for messages.

    Raises:
        InputError: options, data or checkpoint are not right, a network is to be asked before it was trained, or the
            model cannot be explained.
    """
    cli = make_cli(options, run=False)
    task, data = cli.model, cli.datamodule
    if not isinstance(task, RankingTask):
        raise InputError(
            f"`recsys {verb}` asks a recommender, and {type(task).__name__} has none: give --model Ranking."
        )
    data.trainer = cli.trainer
    data.setup("predict")
    task.schema = data.schema
    task.build(data.schema)
    if verb == "explain":  # before anybody trains a model for it
        require_explainable(task.recommender)
    if checkpoint is not None:
        content = read_checkpoint(usable_checkpoint(Path(checkpoint)))
        task.on_load_checkpoint(content)
        task.load_state_dict(content["state_dict"])
    elif task.needs_training:
        raise InputError(
            f"{type(task.recommender).__name__} is trained, so it can be asked by its checkpoint only. Name one: "
            f"recsys {verb} --config ... --ckpt_path RUN/checkpoints/best.ckpt and the rest as before."
        )
    device = cli.trainer.strategy.root_device
    fitting = data.fitting_views.to(device)
    views = fitting if data.views is data.fitting_views else data.views.to(device)
    model = task.recommender.to(device)
    if model.closed_form:
        model.fit(fitting)
    seen = CSR(*(tensor.to(device) for tensor in data.prepared.known(TRAIN, VAL, GIVEN)))
    return Asked(Advisor(model, views, catalogue(data), seen), data)


def catalogue(data: InteractionsDataModule) -> Catalogue:
    """Names of everything in the data."""
    tables = data.prepared
    return Catalogue(
        schema=data.schema,
        users=tables.interactions.user_ids.to_pylist(),
        items=tables.interactions.item_ids.to_pylist(),
        titles=tables.items["title"].tolist(),
        values={kind: attribute.values for kind, attribute in data.typed_graph.attributes.items()},
    )
