from __future__ import annotations

import subprocess
import sys

from recsys_lightning import __version__


def test_the_module_is_the_command() -> None:
    module = [sys.executable, "-m", "recsys_lightning"]
    told = subprocess.run([*module, "--version"], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == __version__
    refused = subprocess.run([*module, "train"], capture_output=True, text=True, check=False)
    assert refused.returncode == 2 and "There is no verb train" in refused.stderr
