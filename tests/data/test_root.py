from __future__ import annotations

from pathlib import Path

import pytest

from recsys_lightning.data.root import data_root


def test_the_environment_names_the_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RECSYS_DATA", str(tmp_path))
    assert data_root() == tmp_path
    monkeypatch.delenv("RECSYS_DATA")
    assert data_root() == Path("data")
