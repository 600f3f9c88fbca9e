"""What the system says of its memory and cores, of the container's limits, and of this process."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")
PROCESS = Path("/proc/self")


def available() -> int | None:
    """Bytes of memory that can be allocated now, or None where the system does not tell."""
    if MEMINFO.exists() and (found := re.search(r"MemAvailable:\s+(\d+) kB", MEMINFO.read_text())):
        return min([int(found[1]) * 1024, *_left_in_container()])
    return _pages("SC_AVPHYS_PAGES")


def total() -> int | None:
    """Bytes of memory of the machine, likewise."""
    return _pages("SC_PHYS_PAGES")


def container_limit() -> int | None:
    """Bytes of memory that a container may take in all; None without a limit."""
    try:
        return int((CGROUP / "memory.max").read_text())
    except (OSError, ValueError):  # no such file, or no limit: `max`
        return None


def cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def core_limit() -> float | None:
    """How many cores a container may keep busy; None without a limit."""
    try:
        quota, period = (CGROUP / "cpu.max").read_text().split()
        return int(quota) / int(period)
    except (OSError, ValueError):
        return None


def resident() -> int | None:
    """Bytes of memory that this process holds now; None where the system does not tell."""
    return _status("VmRSS")


def peak() -> int | None:
    """The most that it held at a time since `forget_peak`."""
    return _status("VmHWM")


def forget_peak() -> None:
    """Let the peak begin anew; where the system does not let it, it stays that of the whole process."""
    with suppress(OSError):
        (PROCESS / "clear_refs").write_text("5")


def _status(name: str) -> int | None:
    try:
        found = re.search(rf"{name}:\s+(\d+) kB", (PROCESS / "status").read_text())
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None


def _pages(name: str) -> int | None:
    try:
        return os.sysconf(name) * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def _left_in_container() -> list[int]:
    """What a container may still take, where there is one with a limit: one number or none."""
    try:
        limit, used = (int((CGROUP / name).read_text()) for name in ("memory.max", "memory.current"))
    except (OSError, ValueError):
        return []
    return [max(0, limit - used)]
