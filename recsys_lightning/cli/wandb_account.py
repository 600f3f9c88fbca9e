"""What commands know of the account of Weights & Biases, without importing its library."""

from __future__ import annotations

import netrc
import os

PROJECT = "recsys_lightning"
"""The project of runs where neither an option nor WANDB_PROJECT names one."""


def wandb_key() -> bool:
    """Whether there is a key, in the environment or in the file that `wandb login` writes."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators("api.wandb.ai") is not None
    except (OSError, netrc.NetrcParseError):
        return False


def wandb_project() -> str:
    """The project of runs whose options name none."""
    return os.environ.get("WANDB_PROJECT") or PROJECT


def settle_wandb() -> None:
    """Let the library ask for nothing: without a key it stays offline, without a project it takes ours."""
    if not wandb_key():
        os.environ.setdefault("WANDB_MODE", "offline")
    os.environ["WANDB_PROJECT"] = wandb_project()
