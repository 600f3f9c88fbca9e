"""What every LightningModule of ours shares: a network built from the schema, and checkpoints that know their data."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from typing import Any, Protocol, cast

import torch
from lightning.pytorch import LightningModule

from recsys_lightning.batches import Views
from recsys_lightning.errors import InputError
from recsys_lightning.models.base import Recommender
from recsys_lightning.schema import Schema
from recsys_lightning.tasks.sharding import share_tables

SAME_TYPES = (
    "\nTypes of nodes and edges are the same. What may differ is data.graph.shuffle, min_items, weight, half_life, "
    "features, vectors, context, buckets or parents, or what lies in the files of items and those that these "
    "options name."
)
"""Said of two graphs that their types do not tell apart."""


class Data(Protocol):
    """What a task asks of a datamodule."""

    @property
    def schema(self) -> Schema:
        """Sizes and names."""

    @property
    def views(self) -> Views:
        """The resident tensors of the current stage, with the rows that new users bring along."""

    @property
    def fitting_views(self) -> Views:
        """Likewise without those: what parameters are trained on and closed forms are solved from."""

    @property
    def seed(self) -> int:
        """What all randomness of a run is keyed by."""

    @property
    def batch_size(self) -> int:
        """Positives of a training batch, on each device."""

    def holds(self, split: str) -> bool:
        """Whether any row belongs to this split."""


class Task(LightningModule):
    """A job to train and evaluate networks for.

    A subclass makes its network in `build`. That happens when the data is known (`setup`) or when a checkpoint is
    loaded, whichever comes first: a checkpoint holds the schema, so it loads without the data.
    """

    def __init__(self) -> None:
        super().__init__()
        self.schema: Schema | None = None
        self._trained = False
        self._trained_steps = 0
        self.steps_of_tests: list[int] = []
        """At which steps of training a test was run."""

    def build(self, schema: Schema) -> None:
        """Make the network for data of this schema."""
        raise NotImplementedError

    @property
    def needs_training(self) -> bool:
        """False for what is solved in closed form, and so may be tested without a checkpoint."""
        return True

    @property
    def reads_graph(self) -> bool:
        """Whether any network of this task depends on more than the rows: on attributes, features, weights of edges."""
        return any(isinstance(module, Recommender) and module.reads_graph for module in self.modules())

    @property
    def reads_text(self) -> bool:
        """Whether any network of this task depends on what is written about items."""
        return any(isinstance(module, Recommender) and module.reads_text for module in self.modules())

    @property
    def reads_features(self) -> bool:
        """Whether any network of this task depends on features of items."""
        return any(isinstance(module, Recommender) and module.reads_features for module in self.modules())

    @property
    def reads_history(self) -> bool:
        """Whether any network of this task depends on how much of the users' histories is kept."""
        return any(isinstance(module, Recommender) and module.reads_history for module in self.modules())

    @property
    def reads_vectors(self) -> bool:
        """Whether any network of this task depends on vectors that an earlier run left."""
        return any(isinstance(module, Recommender) and module.reads_vectors for module in self.modules())

    @property
    def datamodule(self) -> Data:
        """The data that the trainer was given."""
        datamodule = getattr(self.trainer, "datamodule", None)
        if datamodule is None:
            raise InputError(f"{type(self).__name__} needs data: give the trainer one of our datamodules.")
        return cast(Data, datamodule)

    def setup(self, stage: str) -> None:
        """Build the network, once, from the schema of the data at hand."""
        _refuse_copies(self.trainer.world_size)
        schema = self.datamodule.schema
        if self.schema is None:
            self.schema = schema
            self.build(schema)
        self._refuse_other_data(self.schema, schema)

    def configure_model(self) -> None:
        """Keep a share of each table only, where that is how it is trained."""
        if self._trainer is not None:  # none where a checkpoint is loaded by itself
            share_tables(self)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store the schema, and when tests were run."""
        if self.schema is not None:
            checkpoint["schema"] = self.schema.to_dict()
        checkpoint["steps_of_tests"] = self.steps_of_tests
        # classes and functions handed over from Python cannot be loaded under weights_only
        hyper_parameters = checkpoint.get("hyper_parameters", {})
        checkpoint["hyper_parameters"] = {name: value for name, value in hyper_parameters.items() if is_plain(value)}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Build the network the checkpoint was made with, and refuse a checkpoint of other data."""
        values = checkpoint.get("schema")
        if values is None:
            raise InputError("The checkpoint holds no schema: it was not written by recsys_lightning.")
        saved = Schema.from_dict(values)
        if self.schema is None:
            self.schema = saved
            self.build(saved)
        else:
            self._refuse_other_data(saved, self.schema)
        self._refuse_other_network(checkpoint["state_dict"])
        self.steps_of_tests = list(checkpoint["steps_of_tests"])
        self._trained_steps = checkpoint["global_step"]
        self._trained = True

    def on_train_batch_start(self, batch: object, batch_idx: int) -> None:
        """Key all randomness by (seed, step, rank, batch of the step), so that a resumed run repeats it."""
        key = f"{self.datamodule.seed}/{self.global_step}/{self.global_rank}"
        if batch_of_step := batch_idx % self.trainer.accumulate_grad_batches:
            key += f"/{batch_of_step}"
        torch.manual_seed(int.from_bytes(hashlib.blake2b(key.encode(), digest_size=7).digest(), "big"))

    def on_train_end(self) -> None:
        """From here on the parameters are worth testing."""
        self._trained = True
        self._trained_steps = self.global_step

    def on_validation_start(self) -> None:
        """Refuse to validate what was never trained."""
        if self.trainer.state.fn != "fit":
            self._refuse_untrained("validate")

    def on_test_start(self) -> None:
        """Refuse to test what was never trained."""
        self._refuse_untrained("test")
        self.steps_of_tests.append(self._trained_steps)

    def on_predict_start(self) -> None:
        """Refuse to predict with what was never trained."""
        self._refuse_untrained("predict")

    @property
    def looked_at_test(self) -> bool:
        """Whether test was run before the training that led to these parameters had ended."""
        return any(step < self._trained_steps for step in self.steps_of_tests)

    def _refuse_untrained(self, verb: str) -> None:
        if self.needs_training and not self._trained:
            raise InputError(
                f"The parameters of {type(self).__name__} are untrained, so `{verb}` would score noise. Name a "
                f"checkpoint after the configuration: recsys {verb} --config ... --ckpt_path RUN/checkpoints/best.ckpt "
                "(an option that comes later wins over `ckpt_path: null` in a configuration)."
            )

    def _refuse_other_data(self, saved: Schema, given: Schema) -> None:
        if saved.fingerprint != given.fingerprint:
            raise InputError(
                "The checkpoint was made with other data.\n"
                f"  checkpoint: {saved.name}, {saved.split}, {saved.num_users} users, {saved.num_items} items, "
                f"fingerprint {saved.fingerprint}\n"
                f"  given data: {given.name}, {given.split}, {given.num_users} users, {given.num_items} items, "
                f"fingerprint {given.fingerprint}\n"
                "Give the data options of its run (they lie in the run's config.yaml), or train again."
            )
        if self.reads_graph and saved.graph != given.graph:
            raise InputError(
                "The checkpoint was made with another graph of the same interactions.\n"
                f"  checkpoint: {_graph_in_words(saved)}\n"
                f"  given data: {_graph_in_words(given)}\n"
                "Give the options data.graph of its run (they lie in the run's config.yaml), or train again."
                f"{SAME_TYPES if saved.edge_types == given.edge_types else ''}"
            )
        if self.reads_history and saved.history_length != given.history_length:
            raise InputError(
                f"The checkpoint was made with histories of {saved.history_length} entries, and these data have "
                f"histories of {given.history_length}. Set data.history_length to {saved.history_length}, or train "
                "again."
            )
        if self.reads_text and saved.text != given.text:
            raise InputError(
                "The checkpoint was made with other texts of the same items.\n"
                f"  checkpoint: {_text_in_words(saved)}\n"
                f"  given data: {_text_in_words(given)}\n"
                "Give the options data.text of its run (they lie in the run's config.yaml), or train again."
            )
        if self.reads_features and saved.features != given.features:
            raise InputError(
                "The checkpoint was made with other features of the same items.\n"
                f"  checkpoint: {_features_in_words(saved)}\n"
                f"  given data: {_features_in_words(given)}\n"
                "Give the options data.features of its run (they lie in the run's config.yaml), or train again."
            )
        if self.reads_vectors and saved.vectors != given.vectors:
            raise InputError(
                "The checkpoint was made with other vectors of the same users and items.\n"
                f"  checkpoint: {_vectors_in_words(saved)}\n"
                f"  given data: {_vectors_in_words(given)}\n"
                "Give the file data.vectors of its run (its config.yaml names it), or train again."
            )

    def _refuse_other_network(self, saved: Mapping[str, torch.Tensor]) -> None:
        own = self.state_dict()
        differing = [
            name
            for name in sorted({*saved, *own})
            if name not in saved or name not in own or saved[name].shape != own[name].shape
        ]
        if differing:
            raise InputError(
                f"The checkpoint holds another network than the configuration asks for; they differ in "
                f"{', '.join(differing[:5])}{' ...' if len(differing) > 5 else ''}. Give the model options of its run "
                "(they lie in the run's config.yaml)."
            )


def _graph_in_words(schema: Schema) -> str:
    """What may differ between two graphs of the same rows; the digest, where nothing else tells them apart."""
    rows = ("user", schema.item_type)
    attributes = [f"{size} of {kind}" for kind, size in schema.num_nodes.items() if kind not in rows]
    parents = [f"parents of {source}" for source, _, target in schema.edge_types if source == target]
    buckets = [f"{size} buckets of {name}" for name, size in schema.context.items()]
    parts = [*(attributes or ["no attributes"]), *parents, f"{schema.num_features} features of items", *buckets]
    return f"{', '.join(parts)}, edges weighed by {schema.edge_weight}, digest {schema.graph}"


def _text_in_words(schema: Schema) -> str:
    if not schema.text_width:
        return "no texts"
    return f"vectors of {schema.text_width} numbers, at most {schema.max_reviews} reviews, digest {schema.text}"


def _features_in_words(schema: Schema) -> str:
    if not schema.features:
        return "no features"
    kinds = [f"{size} codes of {kind}" for kind, size in schema.categories.items()]
    return f"{', '.join([f'{len(schema.numbers)} numbers', *kinds])}, digest {schema.features}"


def _vectors_in_words(schema: Schema) -> str:
    return f"vectors of {schema.vector_width} numbers, digest {schema.vectors}" if schema.vectors else "no vectors"


def _refuse_copies(world_size: int) -> None:
    """Under torchrun, Lightning trains unsynchronised copies in silence where it is not told how many there are."""
    launched = int(os.environ.get("WORLD_SIZE", 1)) if "TORCHELASTIC_RUN_ID" in os.environ else world_size
    if launched != world_size:
        raise InputError(
            f"torchrun started {launched} processes, and the trainer knows of {world_size}. Say how many there are on "
            f"each machine: --trainer.devices N (and --trainer.num_nodes)."
        )


def is_plain(value: object) -> bool:
    """Whether a value consists of nothing but numbers, strings, lists and dictionaries."""
    if isinstance(value, dict):
        return all(is_plain(key) and is_plain(entry) for key, entry in value.items())
    if isinstance(value, list | tuple):
        return all(is_plain(entry) for entry in value)
    return value is None or isinstance(value, str | int | float | bool)
