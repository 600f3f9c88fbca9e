"""What a run stands on, as plain values: the data, the code of this package and that of the working folder."""

from __future__ import annotations

import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

from recsys_lightning import __version__
from recsys_lightning.code import PACKAGE, code_digest
from recsys_lightning.datamodules.interactions import InteractionsDataModule
from recsys_lightning.schema import SPLITS

SECONDS = 10
"""Git is not waited for any longer."""


def data_card(data: InteractionsDataModule) -> dict[str, Any]:
    """What the data are: name, split, sizes, the steps that led there, and the digests that tell them from others."""
    schema, prepared = data.schema, data.prepared
    rows = {split: int(prepared.mask(split).sum()) for split in SPLITS}
    digests = {
        name: getattr(schema, name) for name in ("graph", "text", "features", "vectors") if getattr(schema, name)
    }
    return {
        "name": schema.name,
        "split": schema.split,
        "fingerprint": schema.fingerprint,
        **digests,
        "users": schema.num_users,
        "items": schema.num_items,
        "rows": {split: number for split, number in rows.items() if number},
        "nodes": dict(schema.num_nodes),
        "domains": list(schema.domains),
        "test_views": data.test_views,
        "steps": [asdict(step) for step in prepared.steps],
    }


def code_state() -> dict[str, Any]:
    """Version and digest of this package; where it lies in a working folder of git, its commit too."""
    known = _git(PACKAGE, "ls-files", "--error-unmatch", "__init__.py") is not None
    return {"version": __version__, "digest": code_digest(), **(git_state(PACKAGE) if known else {})}


def git_state(folder: Path) -> dict[str, Any]:
    """Commit of a working folder, and whether files that git knows differ from it; empty where git tells nothing.

    Files that git does not know are not looked at: the folders of runs are such.
    """
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit:
        return {}
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "dirty": None if changed is None else bool(changed)}


def _git(folder: Path, *words: str) -> str | None:
    """What git says; None where it does not answer."""
    try:
        # without optional locks: another git command of the user must not meet ours
        command = ["git", "--no-optional-locks", "-C", str(folder), *words]
        said = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True)
    except (OSError, subprocess.SubprocessError, UnicodeError):
        return None
    return said.stdout.strip()
