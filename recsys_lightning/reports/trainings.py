"""Whether tested runs are one model under several seeds, by the options that they were trained and tested with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

from recsys_lightning.errors import InputError
from recsys_lightning.reports.run.folder import read_config, training_of

TRAINED = frozenset(
    f"trainer.{name}"
    for name in (
        "max_epochs", "min_epochs", "max_steps", "min_steps", "max_time", "limit_train_batches", "limit_val_batches",
        "overfit_batches", "check_val_every_n_epoch", "val_check_interval", "accumulate_grad_batches",
        "gradient_clip_val", "gradient_clip_algorithm", "precision",
    )
)  # fmt: skip
"""Options of the trainer that decide what is learned, or which checkpoint is the best; others say where and how."""
PARTS = ("model", "data", "trainer", "early_stopping", "checkpoint")
MADE_IN_TEST = ("model", "data")
SERVING = ("model.recommender", "data")
"""Options that a test still goes by, when the weights come from a checkpoint."""
FREE = frozenset({"model.k", "model.sampled", "model.predict_k"})
FREE_NAMES = frozenset(
    {"seed", "root", "device", "test_views", "eval_batch_size", "every_n_steps", "verbose", "log_rank_zero_only"}
)
"""Options that make no other model: of what is reported, of places, of messages, and seeds themselves. Views of tests
are compared by what the tests say."""
VECTORS = "data.vectors"
"""The file that an earlier stage left, which is another one for each seed."""
SHOWN = 6


class _Run(NamedTuple):
    """A test, and what is known of how the model was made.

    Attributes:
        folder: of the test.
        training: where the tested checkpoint lies, or as it was written down; empty where the test made the model.
        tested: options of the test; none where they are not known.
        made: options that the model was made with, likewise.
        seed: that it was made with.
    """

    folder: Path
    training: str
    tested: Mapping[str, Any]
    made: Mapping[str, Any]
    seed: int | None


def refuse_no_seeds(folders: Sequence[Path], checkpoints: Sequence[str]) -> None:
    """Refuse tests as those of one model under several seeds where they are not, as far as their folders tell.

    Args:
        folders: of the tests.
        checkpoints: that were tested, as the tests wrote them down.

    Raises:
        InputError: two are of one training, were made with different options, or with the same ones and one seed.
    """
    runs = [_read(folder, checkpoint) for folder, checkpoint in zip(folders, checkpoints, strict=True)]
    for one, other in combinations(runs, 2):
        both = f"{one.folder} and {other.folder}"
        if one.training and one.training == other.training:
            raise InputError(f"{both} are tests of one training ({one.training}), and no two seeds.")
        if different := _different(one, other):
            shown = "".join(f"\n  {line}" for line in different[:SHOWN])
            more = f"\n  and {len(different) - SHOWN} more" if len(different) > SHOWN else ""
            raise InputError(
                f"{both} are to be one model under several seeds, and were made with different options:{shown}{more}\n"
                "Put a space between runs of different models."
            )
        if one.made and one.seed is not None and (one.seed, one.made) == (other.seed, other.made):
            raise InputError(
                f"{both} were made with the same options and the same seed_everything, {one.seed}: that is one model "
                "made twice, and no two seeds. Leave one out, or train another with --seed_everything N."
            )


def _read(folder: Path, checkpoint: str) -> _Run:
    training = training_of(folder)
    tested = read_config([folder])[1]
    made = tested
    if training is not None:
        made = read_config([training])[1]
    elif checkpoint:  # its options and seed went with it: those of the test need not be the same
        made = {}
    seed = made.get("seed_everything")
    return _Run(
        folder=folder,
        training=checkpoint if training is None else str(training.resolve()),
        tested=dict(_options(tested, MADE_IN_TEST)),
        made=dict(_options(made, MADE_IN_TEST if training is None else PARTS)),
        seed=seed if isinstance(seed, int) and not isinstance(seed, bool) else None,
    )


def _different(one: _Run, other: _Run) -> list[str]:
    """Options that are not the same, with both values; what is not known is not compared."""
    if one.made and other.made:
        served = ({name: run.tested[name] for name in run.tested if name.startswith(SERVING)} for run in (one, other))
        found = {**_unlike(*served), **_unlike(one.made, other.made)}
    else:
        found = _unlike(one.tested, other.tested)
    return [f"{name}: {_shown(first)} and {_shown(second)}" for name, (first, second) in found.items()]


def _unlike(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    names = dict.fromkeys([*one, *other]) if one and other else {}
    return {
        name: (one.get(name), other.get(name)) for name in names if one.get(name) != other.get(name) and name != VECTORS
    }


def _options(config: Mapping[str, Any], parts: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """What makes the model in these parts of a configuration, by the names of the command line; without nulls."""
    for part in parts:
        for name, value in _flat(part, config.get(part)):
            chosen = name in TRAINED if part == "trainer" else name not in FREE
            if chosen and value is not None and name.rpartition(".")[2] not in FREE_NAMES:
                yield name, value


def _flat(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, dict):
        yield name, value
        return
    for key, inner in value.items():
        yield from _flat(name if key in ("class_path", "init_args") else f"{name}.{key}", inner)


def _shown(value: Any) -> str:
    return "none" if value is None else str(value)
