from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from tests.conftest import Recsys
from tests.serving.exports import write_export


@pytest.mark.parametrize("words", [[], ["-h"], ["--help"]])
def test_help(recsys: Recsys, words: list[str]) -> None:
    outcome = recsys("serve", *words)
    assert outcome.status == 0
    assert all(option in outcome.out for option in ("--host", "--port", "--index", "--threads", "127.0.0.1"))
    assert "described at /openapi.json; /docs shows the same to readers, and needs the\ninternet" in outcome.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--port", "8000"], "Say what to serve: recsys serve FOLDER"),
        (["none"], "There is no folder none. Make one: recsys export RUN --to none."),
        (["."], ". is no export: it has no manifest.json."),
        (["x", "--port", "70000"], "--port is 70000; it must be a whole number from 0 to 65535."),
        (["x", "--port", "-1"], "--port is -1; it must be a whole number"),
        (["x", "--port"], "--port is given without a value"),
        (["x", "--threads", "0"], "--threads is 0; it must be a whole number from 1 to 256."),
        (["x", "--index", "hnsw"], "--index is hnsw; it can be exact or faiss."),
        (["x", "--workers", "3"], "--workers is no option of `recsys serve`."),
        (["x", "y"], "y is no option of `recsys serve`."),
    ],
)
def test_bad_input_is_a_sentence(
    recsys: Recsys, words: list[str], message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = recsys("serve", *words)
    assert outcome.status == 2
    assert outcome.err.startswith(f"recsys: {message}") and outcome.err.count("\n") == 1


def test_a_port_that_is_taken(recsys: Recsys, tmp_path: Path) -> None:
    folder = write_export(tmp_path / "export")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        outcome = recsys("serve", folder, "--port", taken.getsockname()[1])
    assert outcome.status == 2 and "Nobody can listen on 127.0.0.1, port" in outcome.err


@pytest.mark.parametrize("library", ["onnx", "onnxruntime", "faiss"])
def test_a_library_of_the_extra_that_is_missing(
    recsys: Recsys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    folder = write_export(tmp_path / "export")
    monkeypatch.setitem(sys.modules, library, None)
    outcome = recsys("serve", folder, "--port", "0", "--index", "faiss")
    assert outcome.status == 2 and outcome.err.count("\n") == 1
    assert f"needs {library}: pip install recsys-lightning[serve]." in outcome.err


def test_without_the_extra(recsys: Recsys, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("server", "app"):
        monkeypatch.delitem(sys.modules, f"recsys_lightning.serving.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    outcome = recsys("serve", "x")
    assert outcome.status == 2
    assert "`recsys serve` needs uvicorn: pip install recsys-lightning[serve]." in outcome.err
