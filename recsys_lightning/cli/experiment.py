"""What an experiment's YAML says, for who must know it before anything is built of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

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
