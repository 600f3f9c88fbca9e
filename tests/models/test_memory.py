from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch

from recsys_lightning import host
from recsys_lightning.errors import InputError
from recsys_lightning.models import memory

CPU = torch.device("cpu")


def test_memory_of_the_cpu_is_that_of_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    forgotten: list[bool] = []
    for number, name in enumerate(("available", "resident", "peak")):
        monkeypatch.setattr(host, name, lambda number=number: number)
    monkeypatch.setattr(host, "forget_peak", lambda: forgotten.append(True))
    assert (memory.available(CPU), memory.resident(CPU), memory.peak(CPU)) == (0, 1, 2)
    memory.forget_peak(CPU)
    assert forgotten


@pytest.mark.gpu
def test_memory_of_a_gpu_is_that_of_its_tensors() -> None:
    device = torch.device("cuda")
    memory.forget_peak(device)
    before = memory.resident(device)
    large = torch.ones(1 << 20, device=device)
    del large
    peak, after = memory.peak(device), memory.resident(device)
    assert before == after and peak is not None and before is not None and peak - before == 4 << 20


def test_system_that_does_not_tell_refuses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for told, refused in ((0, True), (None, False)):
        monkeypatch.setattr(host, "available", lambda told=told: told)
        assert memory.available(CPU) == told
        with pytest.raises(InputError) if refused else nullcontext():
            memory.require(10**18, CPU, "This", "")


def test_message_names_both_sizes_and_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available", lambda device: 2_000_000_000)
    memory.require(2_000_000_000, CPU, "It", "Buy more.")
    message = r"^It needs 2\.5 GB of memory on cpu, and 2\.0 GB are available\. Buy more\.$"
    with pytest.raises(InputError, match=message):
        memory.require(2_500_000_000, CPU, "It", "Buy more.")
