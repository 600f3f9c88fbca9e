"""Folders of runs: claimed by one run, gone on with, and removed where nothing came of it."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_only

from recsys_lightning.errors import InputError


def claim(root: Path, prefix: str) -> Path:
    """Make the next free `<prefix><n>` in a folder, so that two runs that start at once do not share one.

    Raises:
        InputError: it cannot be written to.
    """
    number = 0
    while True:
        folder = root / f"{prefix}{number}"
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            number += 1
        except OSError as error:
            raise InputError(
                f"{root} cannot be written to ({error.strerror}). Choose a writable folder: "
                "--trainer.default_root_dir FOLDER."
            ) from error


def next_version(folder: Path) -> str | None:
    """The folder of a run: the next free `version_<n>`.

    Processes that were launched by another one take the version that it claimed. Those of torchrun and SLURM leave the
    choice to Lightning, which tells all of them the first one's.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ or int(os.environ.get("SLURM_NTASKS", 1)) > 1:
        return None
    if int(os.environ.get("LOCAL_RANK", 0)) > 0:
        return os.environ.get("RECSYS_RUN")
    os.environ["RECSYS_RUN"] = name = claim(folder, "version_").name
    return name


@rank_zero_only
def discard(folder: Path | None) -> None:
    """Remove the folder of a run that ended before it left anything but its configuration."""
    if folder is not None and folder.is_dir():
        left = {path.name for path in folder.rglob("*") if path.is_file()}
        if left <= {"config.yaml", "hparams.yaml"}:
            shutil.rmtree(folder, ignore_errors=True)
            with suppress(OSError):  # that of all runs of the model on these data, unless others lie there
                folder.parent.rmdir()


@rank_zero_only
def keep_previous_log(folder: Path) -> None:
    """Lightning deletes the log of the run that is resumed: set it aside."""
    log = folder / "metrics.csv"
    if log.is_file():
        number = len(list(folder.glob("metrics.*.csv"))) + 1
        log.rename(folder / f"metrics.{number}.csv")
