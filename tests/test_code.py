from __future__ import annotations

from pathlib import Path

import pytest

from recsys_lightning import code


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "models").mkdir()
    for file in ("models/a.py", "models/b.py", "batches.py"):
        (tmp_path / file).write_text("pass\n", encoding="utf-8")
    monkeypatch.setattr(code, "PACKAGE", tmp_path)
    code.code_digest.cache_clear()
    return tmp_path


def digest(*parts: str) -> str:
    code.code_digest.cache_clear()
    return code.code_digest(*parts)


def test_it_changes_with_the_files_of_its_parts_alone(package: Path) -> None:
    models, all_of_it = digest("models"), digest()
    (package / "batches.py").write_text("x = 1\n", encoding="utf-8")
    assert digest("models") == models
    assert digest() != all_of_it != models
    (package / "models" / "b.py").rename(package / "models" / "c.py")
    assert digest("models") != models


def test_a_process_keeps_what_it_saw_first(package: Path) -> None:
    first = code.code_digest("models")
    (package / "models" / "a.py").write_text("x = 1\n", encoding="utf-8")
    assert code.code_digest("models") == first
