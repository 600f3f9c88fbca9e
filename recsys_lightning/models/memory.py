"""Asking whether a large matrix fits before it is allocated."""

from __future__ import annotations

import torch

from recsys_lightning import host
from recsys_lightning.errors import InputError


def available(device: torch.device) -> int | None:
    """Bytes that can be allocated now, or None where the system does not tell."""
    if device.type == "cuda":
        return (
            torch.cuda.mem_get_info(device)[0]
            + torch.cuda.memory_reserved(device)
            - torch.cuda.memory_allocated(device)
        )
    return host.available()


def resident(device: torch.device) -> int | None:
    """Bytes held now: on a GPU by tensors, else by this process; None where the system does not tell."""
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else host.resident()


def peak(device: torch.device) -> int | None:
    """The most held at a time since `forget_peak`, likewise."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else host.peak()


def forget_peak(device: torch.device) -> None:
    """Let the peak begin anew."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        host.forget_peak()


def require(needed: int, device: torch.device, purpose: str, advice: str) -> None:
    """Refuse in words what would not fit.

    Args:
        needed: bytes.
        device: where.
        purpose: what needs them: the subject of a sentence.
        advice: what to do instead: a sentence.

    Raises:
        InputError: fewer bytes are available.
    """
    free = available(device)
    if free is not None and needed > free:
        raise InputError(
            f"{purpose} needs {needed / 1e9:.1f} GB of memory on {device}, and {free / 1e9:.1f} GB are available. "
            f"{advice}"
        )
