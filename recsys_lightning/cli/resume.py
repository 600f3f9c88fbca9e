"""A training that goes on is one training: what it was begun with does not change halfway."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from recsys_lightning.cli.experiment import read_yaml
from recsys_lightning.errors import InputError

KEPT = (
    ("seed_everything",),
    ("model",),
    ("data", "init_args", "batch_size"),
    ("data", "init_args", "negatives"),
    ("checkpoint", "monitor"),
    ("checkpoint", "mode"),
)
"""Options of which a checkpoint would take no notice, or half of a training; of data their fingerprint tells more."""
FREE = {"k", "sampled", "predict_k"}
"""Among them what does not touch the training."""


def refuse_other_options(run: Path, given: Mapping[str, Any]) -> None:
    """Refuse to go on with a run under other options than those it was begun with.

    Args:
        run: its folder, in which `config.yaml` says what these are.
        given: the whole configuration as it would be written there.

    Raises:
        InputError: they differ.
    """
    begun = read_yaml(run / "config.yaml", "The run's configuration")
    found = [line for path in KEPT for line in _differing(path, _at(begun, path), _at(given, path))]
    if found:
        shown = [*found[:5], *([f"and {len(found) - 5} more"] if len(found) > 5 else [])]
        raise InputError(
            f"The run {run} was begun with other options:\n" + "".join(f"  {line}\n" for line in shown) + "A training "
            f"goes on as it was begun: give --config {run / 'config.yaml'} and leave the others out, or begin a new "
            "one without --ckpt_path."
        )


def _at(config: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        config = config.get(key) if isinstance(config, Mapping) else None
    return config


def _differing(path: tuple[str, ...], begun: Any, given: Any) -> Iterator[str]:
    """A line for each option that both have and that differs; one that only newer code knows does not."""
    if isinstance(begun, Mapping) and isinstance(given, Mapping):
        for key in begun:
            if key in given and key not in FREE:
                yield from _differing((*path, key), begun[key], given[key])
    elif begun != given:
        name = ".".join(key for key in path if key not in ("init_args", "class_path"))
        yield f"{name}: {_short(begun)}, and now {_short(given)}"


def _short(value: Any) -> str:
    return str(value.get("class_path", value)) if isinstance(value, Mapping) else str(value)
