"""The whole configuration of a run, beside its checkpoints and in its logger."""

from __future__ import annotations

import re
from typing import Any

import yaml
from jsonargparse import ArgumentParser, Namespace
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback

from recsys_lightning.atomic import write_text
from recsys_lightning.callbacks.run_folder import run_folder

SECRET = re.compile(r"(?:^|_)key$|apikey|token|secret|passw|credential", re.IGNORECASE)


class SaveConfig(SaveConfigCallback):
    """Writes `config.yaml` into the run's folder, so that `--config` of it repeats the run, and logs it.

    Lightning's own writes to the logger's folder, which several W&B runs share: they overwrite one another.
    Values whose key says that they are secret are replaced.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "save_to_log_dir": False})

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Find the folder out while every process is here."""
        self._folder = run_folder(trainer)
        super().setup(trainer, pl_module, stage)

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write the file, and hand the values to the logger."""
        config = plain(self.parser, self.config)
        self._folder.mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
        write_text(self._folder / self.config_filename, text)
        for logger in trainer.loggers:
            logger.log_hyperparams(config)


def plain(parser: ArgumentParser, config: Namespace) -> dict[str, Any]:
    """A configuration as plain values, as it is written, without secrets."""
    values: dict[str, Any] = redact(yaml.safe_load(parser.dump(config, skip_none=False, format="yaml")))
    # a stale `ckpt_path: null` would win over an option that comes before the configuration
    values.pop("ckpt_path", None)
    return values


def redact(value: Any) -> Any:
    """The same nested values, with those replaced whose key says that they are secret."""
    if isinstance(value, dict):
        return {key: "(redacted)" if _secret(str(key), entry) else redact(entry) for key, entry in value.items()}
    return [redact(entry) for entry in value] if isinstance(value, list) else value


def _secret(key: str, entry: Any) -> bool:
    number_of_tokens = key.endswith("tokens") and isinstance(entry, int)
    return entry is not None and SECRET.search(key) is not None and not number_of_tokens
