"""The web page in front of the server: one file, and the policy that lets nothing run but what stands in it."""

from __future__ import annotations

import base64
import hashlib
import re
from importlib.resources import files
from typing import NamedTuple


class Page(NamedTuple):
    """The page and the header `Content-Security-Policy` to send with it."""

    text: str
    policy: str


def read_page() -> Page:
    """The page out of the package.

    Script and style are allowed by their hashes: a title that should ever become markup could still run nothing, nor
    load anything from elsewhere.
    """
    text = files("recsys_lightning.serving").joinpath("page.html").read_text(encoding="utf-8")
    rules = [
        "default-src 'none'",
        f"script-src {_hash(text, 'script')}",
        f"style-src {_hash(text, 'style')}",
        "connect-src 'self'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    ]
    return Page(text, "; ".join(rules))


def _hash(text: str, tag: str) -> str:
    (inside,) = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
    return f"'sha256-{base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()}'"
