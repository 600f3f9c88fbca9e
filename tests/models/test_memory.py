from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from recsys_lightning.errors import InputError
from recsys_lightning.models import memory

CPU = torch.device("cpu")


def test_available_is_what_the_kernel_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "meminfo"
    file.write_text("MemTotal:       24000000 kB\nMemFree:          100000 kB\nMemAvailable:   20000000 kB\n")
    monkeypatch.setattr(memory, "MEMINFO", file)
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    assert memory.available(CPU) == 20_000_000 * 1024
    for limit, expected in (("max", 20_000_000 * 1024), ("5000", 3000), ("1000", 0)):
        (tmp_path / "memory.max").write_text(limit)
        (tmp_path / "memory.current").write_text("2000")
        assert memory.available(CPU) == expected


def test_available_without_a_meminfo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "none")
    monkeypatch.setattr(os, "sysconf", {"SC_AVPHYS_PAGES": 3, "SC_PAGE_SIZE": 4096}.__getitem__)
    assert memory.available(CPU) == 3 * 4096


def test_system_that_does_not_tell_refuses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(name: str) -> int:
        raise ValueError(name)

    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "none")
    monkeypatch.setattr(os, "sysconf", unknown)
    assert memory.available(CPU) is None
    memory.require(10**18, CPU, "This", "")


def test_message_names_both_sizes_and_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available", lambda device: 2_000_000_000)
    memory.require(2_000_000_000, CPU, "It", "Buy more.")
    message = r"^It needs 2\.5 GB of memory on cpu, and 2\.0 GB are available\. Buy more\.$"
    with pytest.raises(InputError, match=message):
        memory.require(2_500_000_000, CPU, "It", "Buy more.")
