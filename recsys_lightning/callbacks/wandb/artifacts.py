"""Files that a run leaves for others, as W&B artifacts, and from which run each file that it reads comes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recsys_lightning.callbacks.results import write_json

LEDGER = "wandb.json"
"""In the folder of a run: which artifacts its files are. Offline runs know their artifacts by nothing else."""


def file_digest(file: Path) -> str:
    """16 hexadecimal digits of a file's content."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, lambda: hashlib.blake2b(digest_size=8)).hexdigest()


def log_file(run: Any, folder: Path, file: Path, kind: str, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Log a file as an artifact of a run, and note it in the run's folder for the runs that read it.

    The artifact's name is `<kind>-<run id>`; it has the file's digest as an alias, by which a later run finds exactly
    this version. The file is not copied: it lies in the run's folder until W&B has it.

    Args:
        run: of W&B.
        folder: of the run.
        file: below it.
        kind: type of the artifact: `model` or `vectors`.
        metadata: of the artifact.

    Returns:
        What was noted.
    """
    import wandb

    digest, name = file_digest(file), f"{kind}-{run.id}"
    artifact = wandb.Artifact(name, type=kind, metadata={**metadata, "file": str(file), "digest": digest})
    artifact.add_file(str(file), policy="immutable", skip_cache=True)
    run.log_artifact(artifact, aliases=["latest", digest])
    place = "/".join(part for part in (run.entity, run.project, name) if part)
    noted = {"artifact": f"{place}:{digest}", "type": kind, "digest": digest, "offline": bool(run.offline)}
    known = _ledger(folder)
    write_json(folder / LEDGER, {**known, file.relative_to(folder).as_posix(): noted})
    return noted


def source_of(file: Path) -> dict[str, Any]:
    """Where a file that a run reads comes from: its path, its digest, and the artifact that it is, if it is one."""
    digest = file_digest(file)
    found = {"path": str(file), "digest": digest}
    for folder in (file.parent, file.parent.parent):
        noted = _ledger(folder).get(file.relative_to(folder).as_posix())
        if isinstance(noted, dict) and noted.get("digest") == digest:
            found["artifact"] = str(noted.get("artifact", ""))
    return found


def use(run: Any, source: Mapping[str, Any]) -> None:
    """Tell W&B that a run uses an artifact; an offline run cannot ask for one, and has it in its configuration only."""
    if source.get("artifact") and not run.offline:
        run.use_artifact(source["artifact"])


def _ledger(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / LEDGER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
