from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from recsys_lightning.errors import InputError
from recsys_lightning.serving.server import listen
from tests.serving.exports import write_export


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`recsys serve` in a process of its own, and its address."""
    command = [sys.executable, "-m", "recsys_lightning", "serve", str(folder), "--port", "0", *options]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        try:
            lines = [process.stdout.readline() for _ in range(3)]
            assert lines[2].startswith("interface: http://127.0.0.1:"), (
                lines,
                process.stderr and process.stderr.read(),
            )
            yield process, lines[1].removeprefix("page: ").strip()
        finally:
            process.kill()


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_answers_over_http_until_it_is_told_to_stop(tmp_path: Path, stop: signal.Signals) -> None:
    folder = write_export(tmp_path / "export")
    folder.rename(tmp_path / "moved")
    with serving(tmp_path / "moved", "--threads", "1") as (process, address):
        with urllib.request.urlopen(f"{address}recommend?user=u1&k=3") as answer:
            assert len(json.load(answer)["recommendations"]) == 3
            assert "server" not in {name.lower() for name in answer.headers}
        with urllib.request.urlopen(f"{address}docs") as answer:
            assert answer.status == 200
        process.send_signal(stop)
        out, err = process.communicate(timeout=30)
        assert (process.returncode, err) == (0, ""), (out, err)


def test_where_nobody_can_listen() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(
            InputError, match=f"Nobody can listen on 127.0.0.1, port {port} \\(Address already in use\\)"
        ):
            listen("127.0.0.1", port)
    with pytest.raises(InputError, match=r"Nobody can listen on 192\.0\.2\.1"):
        listen("192.0.2.1", 0)
    for host in ("no.such.host.invalid", "a" * 300):
        with pytest.raises(InputError, match="is no address of this machine"):
            listen(host, 0)


def test_both_kinds_of_addresses() -> None:
    with listen("127.0.0.1", 0) as listener:
        assert listener.getsockname()[1] > 0
    if socket.has_ipv6:
        try:
            listener = listen("::1", 0)
        except InputError:
            pytest.skip("there is no ::1 here")
        assert listener.family == socket.AF_INET6
        listener.close()
