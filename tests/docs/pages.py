"""The blocks of the documentation, and how tests run them.

    python              run, all those of a page in one namespace
    sh                  `recsys` lines run in this process, with training cut short; `make` targets must exist
    sh "refused"        must end with an error, which the `text "says"` after it is part of
    yaml                goes through the parser of the command line; what a fragment leaves out is filled in.
                        Files of experiments that a page shows have tests of their own
    torchrun, slurm     not run: their `recsys` command lines go through that parser
    text "message"      must be what some error of the package says, three dots being anything
    any "file.ext"      is written under that name; Python is compiled, configurations are parsed

All of a page happens in one folder, where `experiments` and the embedded sample lie.
"""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tests.conftest import REPOSITORY

DOCS = REPOSITORY / "docs"
PAGES = sorted((DOCS / "pages").rglob("*.md"))
FENCE = re.compile(r"^```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SNIPPET = re.compile(r'^--8<-- "([^"]+)"$')
KINDS = {"python", "sh", "yaml", "csv", "text", "torchrun", "slurm"}
SHORT = ["--trainer.max_epochs=1", "--trainer.limit_train_batches=2"]
QUIET = ["--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
SAMPLE = {
    "MovieTweetings",
    *(f"experiments/movietweetings/{name}.yaml" for name in ("ease", "lightgcn", "mf", "popularity")),
}
"""What stands in commands that are about the embedded sample, of which tests take the most active users."""
TRAINER_VERBS = ("fit", "validate", "test", "predict")


class Block(NamedTuple):
    """A fenced block of a page."""

    kind: str
    title: str
    text: str
    experiment: bool
    """Whether it is a file of experiments, which has tests of its own."""

    @property
    def is_file(self) -> bool:
        return "." in self.title

    @property
    def commands(self) -> list[list[str]]:
        """The words of each line; a backslash at its end goes on in the next one."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [words for line in lines if (words := shlex.split(line, comments=True))]


def blocks(page: Path) -> list[Block]:
    """Of a page, with files that are shown put in; none may be of a kind that no test knows."""
    text = page.read_text(encoding="utf-8")
    assert text.count("\n```") == 2 * len(FENCE.findall(text)), f"{page} has a block that no test would see"
    found = [_block(*parts) for parts in FENCE.findall(text)]
    assert {block.kind for block in found} <= KINDS
    return found


def _block(kind: str, title: str, body: str) -> Block:
    file = SNIPPET.match(body.strip())
    if file is None:
        return Block(kind, title, body, False)
    return Block(kind, title, (REPOSITORY / file[1]).read_text(encoding="utf-8"), file[1].startswith("experiments/"))


def recsys_words(words: list[str]) -> list[str] | None:
    """What a command line hands to `recsys`, in whatever way it is started; None for another program."""
    for at, word in enumerate(words):
        if word in ("recsys", "recsys_lightning"):
            return words[at + 1 :]
    return None


def shortened(words: list[str]) -> list[str]:
    """A command that a test has time for."""
    small = ["--data.recipe.limit_users=400"] if any(word in SAMPLE for word in words) else []
    if words[0] == "floors":
        return [*words, *small, "--only", "Popularity", "--trainer.accelerator=cpu"]
    if words[0] not in TRAINER_VERBS:
        return [*words, *small]
    return [*words, *small, *(SHORT if words[0] == "fit" else []), *QUIET, "--trainer.accelerator=cpu"]


@cache
def said() -> tuple[str, ...]:
    """All texts in the code of the package; what is filled into one is a zero byte."""
    files = (REPOSITORY / "recsys_lightning").rglob("*.py")
    return tuple(text for file in files for text in _texts(ast.parse(file.read_text(encoding="utf-8"))))


def _texts(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "\0" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def is_said(message: str) -> bool:
    """Whether the package has this text, with three dots for anything, but for what is filled in."""
    pieces = [re.escape(piece.strip()) for piece in message.strip().split("...")]
    pattern = re.compile(".*".join(pieces), re.DOTALL)
    return any(pattern.search(text) for text in said())
