"""Asking whether a large matrix fits before it is allocated."""

from __future__ import annotations

import os
import re
from pathlib import Path

import torch

from recsys_lightning.errors import InputError

MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")


def available(device: torch.device) -> int | None:
    """Bytes that can be allocated now, or None where the system does not tell."""
    if device.type == "cuda":
        return (
            torch.cuda.mem_get_info(device)[0]
            + torch.cuda.memory_reserved(device)
            - torch.cuda.memory_allocated(device)
        )
    if MEMINFO.exists() and (found := re.search(r"MemAvailable:\s+(\d+) kB", MEMINFO.read_text())):
        return min([int(found[1]) * 1024, *_container_limit()])
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def _container_limit() -> list[int]:
    """What a container may still take, where there is one with a limit: one number or none."""
    try:
        limit, used = (int((CGROUP / name).read_text()) for name in ("memory.max", "memory.current"))
    except (OSError, ValueError):  # no such files, or no limit: `max`
        return []
    return [max(0, limit - used)]


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
