"""What a run finds on this machine: devices, memory, places to write to, data, an account of W&B."""

from __future__ import annotations

import fcntl
import os
import re
import runpy
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from recsys_lightning import host
from recsys_lightning.cli.wandb_account import wandb_key
from recsys_lightning.data.cache import cache_folder
from recsys_lightning.data.root import data_root
from recsys_lightning.data.sources import DATA_SETS, open_source
from recsys_lightning.reports.health import Finding, State

GB = 10**9
CPU_INFO = Path("/proc/cpuinfo")
DRIVER = Path("/proc/driver/nvidia/version")
NVIDIA = Path("/dev/nvidia0")
SHARED = Path("/dev/shm")
LITTLE_MEMORY, LITTLE_DISK, LITTLE_SHARED = 4 * GB, 10 * GB, GB
TOO_LITTLE = GB
"""Of memory or disk; torch and Lightning alone take half of it."""


class Build(NamedTuple):
    """What a torch was built for; read without importing it, which takes seconds.

    Attributes:
        version: with its local part.
        accelerator: version of CUDA or ROCm; None of a CPU build.
    """

    version: str
    accelerator: str | None

    @classmethod
    def installed(cls) -> Build | None:
        """That of the torch that would be imported; None without one."""
        found = find_spec("torch")
        if found is None or found.origin is None:
            return None
        try:
            told = runpy.run_path(str(Path(found.origin).with_name("version.py")))
        except OSError:
            return None
        return cls(str(told["__version__"]), told["cuda"] or told.get("hip"))


def check_machine(build: Build | None, runs: Path) -> list[Finding]:
    """All of it.

    Args:
        build: of torch; None without one.
        runs: the folder of runs.
    """
    devices = [] if build is None else _devices(build)
    return [
        *devices,
        *_cpu(),
        _memory(),
        *_shared(),
        _place("runs", runs),
        _place("cache", cache_folder()),
        *_data(),
        _wandb(),
    ]


def _devices(build: Build) -> list[Finding]:
    """GPUs. Torch is imported only where it could use one."""
    torch: Any = None
    if build.accelerator or sys.platform == "darwin":
        try:
            import torch
        except Exception as error:  # broken installations raise whatever they come to
            reason = " ".join(str(error).split()) or type(error).__name__
            return [Finding("devices", "torch", "problem", f"cannot be imported ({reason}). Install it anew.")]
    found = [*_gpus(build, torch)]
    if torch is not None and torch.backends.mps.is_available():
        text = "there: --trainer.accelerator mps; figures can differ from those of a CPU in the last digits"
        found.append(Finding("devices", "mps", "note", text))
    return found


def _gpus(build: Build, torch: Any) -> Iterator[Finding]:
    built, group = build.accelerator, "devices"
    if torch is not None and torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            of, (free, total) = torch.cuda.get_device_properties(number), torch.cuda.mem_get_info(number)
            state: State = "ok" if free > total / 2 else "note"
            held = "" if state == "ok" else "; others hold the rest, see nvidia-smi"
            text = f"{of.name}, {free / GB:.1f} of {total / GB:.1f} GB free{held}; CUDA {built}, {_driver()}"
            yield Finding(group, f"cuda:{number}", state, text)
    elif built and NVIDIA.exists():
        text = (
            f"torch is built for CUDA {built} and cannot use the GPU that is here ({_driver()}). Update the driver, or "
            "install a torch of an older CUDA; look at CUDA_VISIBLE_DEVICES too."
        )
        yield Finding(group, "cuda", "problem", text)
    elif built:
        text = f"torch is built for CUDA {built} and sees no GPU: it runs on the CPU, for which a smaller build exists"
        yield Finding(group, "cuda", "note", text)
    elif NVIDIA.exists():
        text = f"a GPU is here ({_driver()}), and torch {build.version} is a CPU build. Install one for CUDA."
        yield Finding(group, "cuda", "problem", text)
    else:
        yield Finding(group, "cuda", "ok", f"no GPU, and torch {build.version} is no build for one")


def _driver() -> str:
    try:
        found = re.search(r"Module.*?\s(\d+\.[\d.]+)", DRIVER.read_text())
    except OSError:
        found = None
    return f"driver {found[1]}" if found else "driver unknown"


def _cpu() -> Iterator[Finding]:
    cores, limit = host.cores(), host.core_limit()
    name = re.search(r"model name\s*:\s*(.+)", CPU_INFO.read_text()) if CPU_INFO.exists() else None
    usable = cores if limit is None else min(cores, limit)
    held = f", of which a limit leaves {limit:g}" if usable < cores else ""
    yield Finding("devices", "cpu", "ok", f"{name[1] if name else 'CPU'}, {cores} cores{held}")
    said = os.environ.get("OMP_NUM_THREADS", "")
    threads = int(said) if said.isdecimal() and int(said) else cores
    whence = f"OMP_NUM_THREADS is {said or 'unset'}"
    if threads <= usable:
        yield Finding("devices", "threads", "ok", f"torch computes with {threads} at most: {whence}")
        return
    text = f"torch computes with up to {threads}, more than there are cores, and they wait for one another: {whence}. "
    yield Finding("devices", "threads", "note", f"{text}Set OMP_NUM_THREADS={max(1, int(usable))}")


def _memory() -> Finding:
    free, total, limit = host.available(), host.total(), host.container_limit()
    if free is None:
        return Finding("memory", "memory", "note", "this system does not tell how much is free")
    whole = "" if total is None else f" of {total / GB:.1f} GB"
    held = "" if limit is None else f"; the container is limited to {limit / GB:.1f} GB"
    text, state = f"{free / GB:.1f}{whole} available{held}", _state(free, LITTLE_MEMORY)
    if state != "ok":
        text += ". End what else runs, or take a larger machine: torch and Lightning alone take 0.5 GB"
    return Finding("memory", "memory", state, text)


def _shared() -> Iterator[Finding]:
    """What workers of loaders hand batches over in; ours have none, those of a task of one's own may."""
    if SHARED.is_dir():
        free = shutil.disk_usage(SHARED).free
        text = f"{free / GB:.1f} GB free in {SHARED}"
        if free < LITTLE_SHARED:
            text += ": too little for loaders with workers and for NCCL; ours have no workers. docker run --shm-size 8g"
        yield Finding("memory", "shared memory", "ok" if free >= LITTLE_SHARED else "note", text)


def _place(name: str, folder: Path) -> Finding:
    """Whether a folder can be written to, or made, and has room."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    cure = {"runs": "--trainer.default_root_dir FOLDER", "cache": "RECSYS_CACHE=FOLDER"}[name]
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(b"1")
            file.flush()
            locked = _lockable(file.fileno())
    except OSError as error:
        text = f"{folder} cannot be written to ({error.strerror}, in {there}). Choose another folder: {cure}"
        return Finding("places", name, "problem", text)
    free = shutil.disk_usage(there).free
    state = _state(free, LITTLE_DISK)
    text = f"{folder.absolute()}{'' if there == folder.absolute() else ' (to be made)'}, {free / GB:.1f} GB free"
    if state != "ok":
        return Finding("places", name, state, f"{text}: checkpoints need room. Free some, or choose another: {cure}")
    if not locked:
        return Finding(
            "places", name, "note", f"{text}; files cannot be locked there: searches that share a study wait"
        )
    return Finding("places", name, "ok", f"{text}, files can be locked")


def _lockable(file: int) -> bool:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _data() -> Iterator[Finding]:
    root, group = data_root(), "places"
    said = "RECSYS_DATA" if "RECSYS_DATA" in os.environ else "the default, as RECSYS_DATA is unset"
    if not root.is_dir():
        text = f"{root} is not there ({said}). Name the folder of your data: RECSYS_DATA=FOLDER, or --data.root FOLDER"
        yield Finding(group, "data", "problem" if "RECSYS_DATA" in os.environ else "note", text)
        return
    there = [name for name in sorted(DATA_SETS) if _present(name, root)]
    if there:
        yield Finding(group, "data", "ok", f"{root.absolute()} ({said}) has {', '.join(there)}")
    else:
        text = f"{root.absolute()} ({said}) has no data set that is known by name; `recsys data list` shows them"
        yield Finding(group, "data", "note", text)


def _present(name: str, root: Path) -> bool:
    files = open_source(name, root).files()
    return bool(files) and all(file.is_file() for file in files)


def _wandb() -> Finding:
    mode = os.environ.get("WANDB_MODE")
    if mode in ("offline", "disabled"):
        text = f"WANDB_MODE is {mode}: runs with WandbLogger stay on this machine; send them with wandb sync"
        return Finding("accounts", "wandb", "ok", text)
    if wandb_key():
        return Finding("accounts", "wandb", "ok", "a key is there: runs with --trainer.logger WandbLogger are sent")
    text = "no key: runs with --trainer.logger WandbLogger stay on this machine, and all else works. wandb login"
    return Finding("accounts", "wandb", "note", text)


def _state(free: int, little: int) -> State:
    if free < TOO_LITTLE:
        return "problem"
    return "ok" if free >= little else "note"
