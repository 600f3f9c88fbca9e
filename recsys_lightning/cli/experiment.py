"""What an experiment's YAML says, for who must know it before anything is built of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

from recsys_lightning.cli.own_options import OwnOptions
from recsys_lightning.errors import InputError


def read_yaml(file: Path, what: str) -> Any:
    """The content of a YAML file.

    Args:
        file: to read.
        what: it is, for messages: the option that names it, or "The sweep".

    Raises:
        InputError: it cannot be read, or is no YAML.
    """
    try:
        return yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{what} {file} cannot be read: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeError) as error:
        raise InputError(f"{what} {file} is no YAML: {' '.join(str(error).split())}.") from error


def read_config(file: Path) -> dict[str, Any]:
    """The options of a configuration, as `--config` names one.

    Raises:
        InputError: it cannot be read, is no YAML, or holds something else than options by name.
    """
    content = read_yaml(file, "--config")
    if not isinstance(content, dict):
        held = "is empty" if content is None else f"holds {'a list' if isinstance(content, list) else 'a single value'}"
        raise InputError(
            f"--config {file} {held}: an experiment names its data and its model, as "
            "experiments/movietweetings/lightgcn.yaml does."
        )
    return content


def check_configs(words: list[str]) -> None:
    """Refuse, by its name, a configuration of a command line that holds no options: the parser does not name it.

    Raises:
        InputError: one is such.
    """
    options = OwnOptions()
    options.add_argument("--config", action="append", default=[])
    for name in options.read(words)[0].config:
        if os.path.isfile(name):  # the parser takes options in place of a file, too, and says what is not there
            read_config(Path(name))


def recommender_of(content: Any) -> str | None:
    """The class of the recommender that a configuration names, without its module; None where it names none."""
    try:
        return class_of(content["model"]["init_args"]["recommender"])
    except (KeyError, TypeError):
        return None


def class_of(value: Any) -> str | None:
    """The class that the value of an option names, in short or with its options; without its module."""
    named = value.get("class_path") if isinstance(value, dict) else value
    return named.rpartition(".")[2] if isinstance(named, str) else None


def closed_form(recommender: str | None) -> bool:
    """Whether a recommender is solved when it is tested, and so not fitted; what is not of this project is fitted."""
    from recsys_lightning import models

    return bool(getattr(getattr(models, recommender or "", None), "closed_form", False))
