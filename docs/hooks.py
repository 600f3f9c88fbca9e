"""Puts the notebooks among the pages: their texts as they are, their code as blocks of Python."""

from __future__ import annotations

import json
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

NOTEBOOKS = Path(__file__).parent / "notebooks"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for each notebook, and the notebook itself to be downloaded."""
    for notebook in sorted(NOTEBOOKS.glob("*.ipynb")):
        text = notebook.read_text(encoding="utf-8")
        page = f"{as_page(text)}\n\n[This page as a notebook]({notebook.name})\n"
        files.append(File.generated(config, f"notebooks/{notebook.stem}.md", content=page))
        files.append(File.generated(config, f"notebooks/{notebook.name}", content=text))
    return files


def as_page(notebook: str) -> str:
    """The cells of a notebook as Markdown."""
    parts = []
    for cell in json.loads(notebook)["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
    return "\n\n".join(parts)
