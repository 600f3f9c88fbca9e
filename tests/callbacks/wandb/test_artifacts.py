from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from recsys_lightning.callbacks.wandb.artifacts import LEDGER, file_digest, log_file, source_of, use


class Run:
    """What W&B would be told."""

    def __init__(self, offline: bool) -> None:
        self.id, self.project, self.entity, self.offline = "abc", "mine", "me", offline
        self.logged: dict[str, Any] = {}
        self.used: list[str] = []

    def log_artifact(self, artifact: Any, aliases: list[str]) -> None:
        self.logged[artifact.name] = (artifact, aliases)

    def use_artifact(self, name: str) -> None:
        self.used.append(name)


@pytest.fixture
def left(tmp_path: Path) -> Path:
    (tmp_path / "checkpoints").mkdir()
    file = tmp_path / "checkpoints" / "best.ckpt"
    file.write_bytes(b"weights")
    return file


def test_a_file_that_a_run_left_is_known_to_the_run_that_reads_it(left: Path) -> None:
    run = Run(offline=True)
    noted = log_file(run, left.parent.parent, left, "model", {"score": 0.5})
    artifact, aliases = run.logged["model-abc"]
    assert artifact.type == "model" and artifact.metadata["score"] == 0.5 and aliases == ["latest", file_digest(left)]
    assert list(artifact.manifest.entries) == ["best.ckpt"]
    assert artifact.manifest.entries["best.ckpt"].local_path == str(left), "the file is not copied"
    found = source_of(left)
    assert found == {"path": str(left), "digest": noted["digest"], "artifact": f"me/mine/model-abc:{file_digest(left)}"}


def test_a_changed_file_is_no_longer_that_artifact(left: Path) -> None:
    log_file(Run(offline=True), left.parent.parent, left, "model", {})
    left.write_bytes(b"others")
    assert "artifact" not in source_of(left)


def test_two_files_of_a_run_are_both_noted(left: Path) -> None:
    other = left.parent.parent / "vectors.safetensors"
    other.write_bytes(b"vectors")
    for file, kind in ((left, "model"), (other, "vectors")):
        log_file(Run(offline=True), left.parent.parent, file, kind, {})
    assert source_of(left)["artifact"].startswith("me/mine/model-") and "vectors-" in source_of(other)["artifact"]


@pytest.mark.parametrize("ledger", ["", "[]", '{"checkpoints/best.ckpt": 3}'])
def test_a_broken_note_is_none(left: Path, ledger: str) -> None:
    (left.parent.parent / LEDGER).write_text(ledger)
    assert set(source_of(left)) == {"path", "digest"}


def test_only_runs_that_are_online_ask_for_artifacts(left: Path) -> None:
    online, offline = Run(offline=False), Run(offline=True)
    for run in (online, offline):
        use(run, {"path": "a", "digest": "b", "artifact": "me/mine/model-abc:b"})
        use(run, {"path": "a", "digest": "b"})
    assert online.used == ["me/mine/model-abc:b"] and not offline.used
