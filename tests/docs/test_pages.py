"""Every block of the documentation runs, or at least is what the program understands: see `tests.docs.pages`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from tests.conftest import REPOSITORY
from tests.docs.pages import DOCS, PAGES, Block, blocks, is_said, recsys_words, shortened

NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))
FIGURE = re.compile(r"(?<![\d.\w])0?(\.\d{2,4})(?![\d\w])")
Run = Callable[[list[str]], tuple[int, str]]


def named(page: Path) -> str:
    return str(page.relative_to(DOCS / "pages"))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder as a reader has it, where modules are found; those that a test imports from it are forgotten."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "movietweetings").symlink_to(REPOSITORY / "data" / "movietweetings")
    (tmp_path / "experiments").symlink_to(REPOSITORY / "experiments")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RECSYS_DATA")
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def run(_lightning: None, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Carries out the words of a `recsys` command; its status and all that it says."""

    def carry_out(words: list[str]) -> tuple[int, str]:
        from recsys_lightning.cli import main

        monkeypatch.setattr("sys.argv", ["recsys"])
        monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
        capfd.readouterr()
        try:
            status = main(words)
        except SystemExit as end:  # what jsonargparse raises after --print_config
            status = int(end.code or 0)
        return status, "\n".join(capfd.readouterr())

    return carry_out


def write(block: Block, folder: Path) -> None:
    file = folder / block.title
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(block.text, encoding="utf-8")
    if block.kind == "python":
        compile(block.text, block.title, "exec")


def parse(block: Block, folder: Path, run: Run) -> None:
    """Hand a configuration to the command line, with what it leaves out."""
    content = yaml.safe_load(block.text)
    content.setdefault("data", {"class_path": "MovieTweetings"})
    content.setdefault("model", {"class_path": "Ranking", "init_args": {"recommender": "MF"}})
    file = folder / "parsed.yaml"
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    status, words = run(["fit", "--config", str(file), "--print_config"])
    assert status == 0, f"{block.text}\n{words}"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_what_is_not_run_is_understood(page: Path, place: Path, run: Run) -> None:
    for block in blocks(page):
        if block.is_file:
            write(block, place)
        if block.kind == "yaml" and not block.experiment:
            parse(block, place, run)
        elif block.kind in ("torchrun", "slurm"):
            commands = [words for line in block.commands if (words := recsys_words(line)) is not None]
            assert commands
            for words in commands:
                status, said = run([*words, "--print_config"])
                assert status == 0, said
        elif block.title == "message":
            assert is_said(block.text), f"no error of the package says so any more:\n{block.text}"
        elif block.kind == "sh" and block.title != "refused":
            for words in block.commands:
                check_command(words)


def check_command(words: list[str]) -> None:
    """Programs that are not run must be there; verbs and files of all commands too."""
    from recsys_lightning.cli import VERBS

    if words[0] == "make":
        assert re.search(rf"^{words[1]}:", (REPOSITORY / "Makefile").read_text(), re.MULTILINE), words
        return
    command = recsys_words(words)
    assert command is not None and command[0] in VERBS, words
    for word in command:
        if word.startswith("experiments/"):
            assert (REPOSITORY / word).is_file(), word


RUN = [page for page in PAGES if any(block.kind in ("python", "sh") and not block.is_file for block in blocks(page))]
"""Pages with something to carry out."""


@pytest.mark.filterwarnings("default")  # a training that is cut short gives reasons for warnings
@pytest.mark.slow
@pytest.mark.parametrize("page", RUN, ids=named)
def test_what_a_page_shows_runs(page: Path, place: Path, run: Run) -> None:
    space: dict[str, object] = {"__name__": "page"}
    shown = blocks(page)
    for block, after in zip(shown, [*shown[1:], None], strict=True):
        if block.is_file:
            write(block, place)
        elif block.kind == "python":
            exec(compile(block.text, named(page), "exec"), space)
        elif block.kind == "sh":
            for line in block.commands:
                words = recsys_words(line)
                if words is None:
                    continue
                status, said = run(shortened(words))
                if block.title != "refused":
                    assert status == 0, f"{line}\n{said}"
                    continue
                assert status == 2
                assert after is not None and after.title == "says"
                assert after.text.strip() in said, said


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_run_from_top_to_bottom(notebook: Path, place: Path, run: Run) -> None:
    content = json.loads(notebook.read_text(encoding="utf-8"))
    assert content["nbformat"] == 4
    space: dict[str, object] = {"__name__": "__main__"}
    for cell in content["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None, "outputs are not kept"
            exec(compile("".join(cell["source"]), notebook.name, "exec"), space)


def test_figures_are_those_of_the_readme() -> None:
    readme = set(FIGURE.findall((REPOSITORY / "README.md").read_text(encoding="utf-8")))
    for page in PAGES:
        text = re.sub(r"^```(?!text).*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        assert not (unknown := set(FIGURE.findall(text)) - readme), f"{named(page)}: {sorted(unknown)}"


def test_the_navigation_names_all_pages() -> None:
    listed = set(
        re.findall(r"^ +- (?:Overview: )?(\S+\.md)$", (DOCS / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    )
    notebooks = {f"notebooks/{notebook.stem}.md" for notebook in NOTEBOOKS}
    assert listed == {named(page) for page in PAGES} | notebooks


def test_every_model_has_a_page() -> None:
    from recsys_lightning import models
    from recsys_lightning.models import ClosedForm, Recommender

    texts = "\n".join(page.read_text(encoding="utf-8") for page in (DOCS / "pages" / "models").glob("*.md"))
    for name, kind in vars(models).items():
        if isinstance(kind, type) and issubclass(kind, Recommender) and kind not in (Recommender, ClosedForm):
            assert f"::: {kind.__module__}.{name}\n" in texts, f"no page shows {name}"


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    """Links, anchors, names of the API: all of it."""
    pytest.importorskip("mkdocs")
    words = ["-m", "mkdocs", "build", "--strict", "-q", "-f", str(DOCS / "mkdocs.yml"), "-d", str(tmp_path / "site")]
    made = subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=600)
    assert made.returncode == 0, made.stderr
    assert (tmp_path / "site" / "notebooks" / "data_and_floors.html").is_file()
