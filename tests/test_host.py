from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from recsys_lightning import host


def test_available_is_what_the_kernel_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "meminfo"
    file.write_text("MemTotal:       24000000 kB\nMemFree:          100000 kB\nMemAvailable:   20000000 kB\n")
    monkeypatch.setattr(host, "MEMINFO", file)
    monkeypatch.setattr(host, "CGROUP", tmp_path)
    assert host.available() == 20_000_000 * 1024
    for limit, expected in (("max", 20_000_000 * 1024), ("5000", 3000), ("1000", 0)):
        (tmp_path / "memory.max").write_text(limit)
        (tmp_path / "memory.current").write_text("2000")
        assert host.available() == expected
        assert host.container_limit() == (None if limit == "max" else int(limit))


def test_available_without_a_meminfo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"SC_AVPHYS_PAGES": 3, "SC_PHYS_PAGES": 5, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr(host, "MEMINFO", tmp_path / "none")
    monkeypatch.setattr(os, "sysconf", sizes.__getitem__)
    assert (host.available(), host.total()) == (3 * 4096, 5 * 4096)


def test_system_that_does_not_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(name: str) -> int:
        raise ValueError(name)

    for place in ("MEMINFO", "CGROUP", "PROCESS"):
        monkeypatch.setattr(host, place, tmp_path / "none")
    monkeypatch.setattr(os, "sysconf", unknown)
    found = host.available(), host.total(), host.container_limit(), host.core_limit(), host.resident(), host.peak()
    assert found == (None,) * 6
    host.forget_peak()


@pytest.mark.parametrize(("text", "limit"), [("150000 100000\n", 1.5), ("max 100000\n", None), ("", None)])
def test_core_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, limit: float | None) -> None:
    monkeypatch.setattr(host, "CGROUP", tmp_path)
    (tmp_path / "cpu.max").write_text(text)
    assert host.core_limit() == limit
    assert host.cores() >= 1


def test_the_peak_is_what_was_held_in_between() -> None:
    if host.peak() is None:
        pytest.skip("this system does not tell")
    host.forget_peak()
    before = host.resident()
    large = np.ones(80_000_000 // 8)  # too large to lie in memory that was freed
    del large
    peak, after = host.peak(), host.resident()
    assert before is not None and peak is not None and after is not None
    assert peak - before > 70_000_000
    assert peak - after > 70_000_000
