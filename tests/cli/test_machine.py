from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from recsys_lightning import host
from recsys_lightning.cli import machine
from recsys_lightning.cli.machine import Build, check_machine
from recsys_lightning.reports.health import Finding

Found = Callable[..., dict[str, Finding]]
CPU = Build("2.13.0+cpu", None)
CUDA = Build("2.13.0", "13.0")


@pytest.fixture
def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Found:
    """What is found, on a machine without a GPU whose folders can be written to."""
    monkeypatch.setattr(machine, "NVIDIA", tmp_path / "none")
    monkeypatch.setenv("RECSYS_CACHE", str(tmp_path / "cache"))

    def find(build: Build | None = CPU, runs: Path | None = None) -> dict[str, Finding]:
        return {one.name: one for one in check_machine(build, runs or tmp_path / "runs")}

    return find


def cuda(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    """A torch that sees a GPU of 80 GB."""
    of = SimpleNamespace(
        is_available=lambda: free > 0,
        device_count=lambda: 1,
        get_device_properties=lambda number: SimpleNamespace(name="H100"),
        mem_get_info=lambda number: (free, 80 * machine.GB),
    )
    mps = SimpleNamespace(is_available=lambda: False)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=of, backends=SimpleNamespace(mps=mps)))


def test_a_plain_machine_has_no_problem(found: Found, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    everything = found()
    assert not [one for one in everything.values() if one.state == "problem"]
    assert {"cuda", "cpu", "threads", "memory", "runs", "cache", "data", "wandb"} <= everything.keys()
    assert "(to be made)" in everything["runs"].text and "files can be locked" in everything["runs"].text
    assert "movietweetings" in everything["data"].text and "offline" in everything["wandb"].text
    assert not list(tmp_path.iterdir())
    assert "cuda" not in found(None)


def test_gpus(found: Found, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cuda(monkeypatch, free=0)
    assert found(CUDA)["cuda"].state == "note" and "sees no GPU" in found(CUDA)["cuda"].text
    (tmp_path / "nvidia0").touch()
    (tmp_path / "version").write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  Sun Jul 27\n")
    monkeypatch.setattr(machine, "NVIDIA", tmp_path / "nvidia0")
    monkeypatch.setattr(machine, "DRIVER", tmp_path / "version")
    for build, text in ((CUDA, "cannot use the GPU that is here (driver 580.65.06)"), (CPU, "is a CPU build")):
        assert found(build)["cuda"].state == "problem" and text in found(build)["cuda"].text
    for free, state in ((70, "ok"), (10, "note")):
        cuda(monkeypatch, free=free * machine.GB)
        assert found(CUDA)["cuda:0"].state == state
        assert f"H100, {free}.0 of 80.0 GB free" in found(CUDA)["cuda:0"].text


def test_a_torch_that_cannot_be_imported(found: Found, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    assert found(CUDA)["torch"].state == "problem" and "cannot be imported" in found(CUDA)["torch"].text


def test_more_threads_than_cores(found: Found, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "cores", lambda: 16)
    monkeypatch.setattr(host, "core_limit", lambda: 2.0)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert "of which a limit leaves 2" in found()["cpu"].text
    assert found()["threads"].state == "note" and "Set OMP_NUM_THREADS=2" in found()["threads"].text
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert found()["threads"].state == "ok"


@pytest.mark.parametrize(("gb", "state"), [(0.5, "problem"), (2, "note"), (20, "ok")])
def test_memory(found: Found, monkeypatch: pytest.MonkeyPatch, gb: float, state: str) -> None:
    monkeypatch.setattr(host, "available", lambda: int(gb * machine.GB))
    monkeypatch.setattr(host, "container_limit", lambda: 32 * machine.GB)
    memory = found()["memory"]
    assert memory.state == state and "limited to 32.0 GB" in memory.text


def test_places_that_cannot_be_written_to(found: Found, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setenv("RECSYS_CACHE", str(file))
    everything = found(runs=file / "runs")
    assert everything["runs"].state == everything["cache"].state == "problem"
    assert "--trainer.default_root_dir FOLDER" in everything["runs"].text
    assert "RECSYS_CACHE=FOLDER" in everything["cache"].text


@pytest.mark.parametrize(("gb", "state"), [(0.5, "problem"), (5, "note"), (50, "ok")])
def test_room(found: Found, monkeypatch: pytest.MonkeyPatch, gb: float, state: str) -> None:
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda folder: SimpleNamespace(free=int(gb * machine.GB)))
    everything = found()
    assert everything["runs"].state == everything["cache"].state == state


def test_data_that_are_not_there(found: Found, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECSYS_DATA", str(tmp_path / "none"))
    assert found()["data"].state == "problem" and "RECSYS_DATA=FOLDER" in found()["data"].text
    monkeypatch.setenv("RECSYS_DATA", str(tmp_path))
    assert found()["data"].state == "note" and "no data set that is known" in found()["data"].text
    monkeypatch.delenv("RECSYS_DATA")
    monkeypatch.chdir(tmp_path)
    assert found()["data"].state == "note" and "RECSYS_DATA is unset" in found()["data"].text


def test_wandb(found: Found, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    assert found()["wandb"].state == "note" and "wandb login" in found()["wandb"].text
    monkeypatch.setenv("WANDB_API_KEY", "secret-of-mine")
    assert found()["wandb"].state == "ok" and "secret-of-mine" not in found()["wandb"].text


def test_the_build_is_read_without_an_import() -> None:
    import torch

    assert Build.installed() == (torch.__version__, torch.version.cuda or torch.version.hip)
