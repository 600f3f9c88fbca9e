from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from recsys_lightning.errors import InputError
from recsys_lightning.reports.run.folder import read_run
from recsys_lightning.reports.run.page import page_of, write_pages
from tests.reports.run import runs
from tests.reports.test_explanation_html import Reader

ALWAYS = ["Beside the floors", "Metrics", "Data", "How it was measured", "The run"]
PARTS = {
    "buckets": "By groups",
    "samples": "What is recommended",
    "hit_ratios": "What is recommended",
    "correlations": "Scores and features",
    "gate": "Gate against degree",
    "norms": "Vectors",
    "cohesion": "Vectors",
    "alignment": "Vectors",
}


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Markdown and HTML of a run with all that there can be."""
    folder = runs.everything(tmp_path_factory.mktemp("all"))
    return {file.suffix: file.read_text(encoding="utf-8") for file in write_pages(folder)}


def titles(folder: Path) -> list[str]:
    return [section.title for section in page_of(read_run(folder)).sections]


def test_a_test_without_diagnostics_has_the_sections_that_every_test_has(tmp_path: Path) -> None:
    assert titles(runs.tested(tmp_path)) == ALWAYS


@pytest.mark.parametrize(("key", "section"), PARTS.items())
def test_a_section_appears_by_what_the_run_has(tmp_path: Path, key: str, section: str) -> None:
    folder = runs.tested(tmp_path)
    runs.write(folder / "diagnostics.json", {key: runs.diagnostics()[key]})
    assert set(titles(folder)) == {*ALWAYS, section}


@pytest.mark.parametrize("empty", [None, {}, []])
def test_what_is_empty_has_no_section(tmp_path: Path, empty: object) -> None:
    folder = runs.tested(tmp_path)
    names = {key for key, value in runs.diagnostics().items() if isinstance(value, type(empty)) or empty is None}
    runs.write(folder / "diagnostics.json", dict.fromkeys(names, empty))
    runs.write(folder / "shots.json", {"metric": "ndcg_10", "curves": []})
    assert titles(folder) == ALWAYS


def test_cold_start_and_training(tmp_path: Path) -> None:
    folder = runs.tested(tmp_path, checkpoint=runs.trained(tmp_path) / "checkpoints" / "best.ckpt")
    assert set(titles(folder)) == {*ALWAYS, "Training"}
    runs.write(folder / "shots.json", runs.shots())
    assert set(titles(folder)) == {*ALWAYS, "Training", "Cold start"}


def test_a_training_that_is_gone_is_said_to_be(tmp_path: Path) -> None:
    folder = runs.tested(tmp_path, checkpoint=Path("gone/version_0/checkpoints/best.ckpt"))
    text = write_pages(folder, html=False)[0].read_text()
    assert "The run of `gone/version_0/checkpoints/best.ckpt` is not here: no curves." in text


def test_a_training_without_a_test(tmp_path: Path) -> None:
    folder = runs.trained(tmp_path)
    assert titles(folder) == ["Training", "The run"]
    markdown, html = (file.read_text() for file in write_pages(folder))
    assert markdown.startswith("# TwoTower on Goodbooks\n") and "no test of it" in markdown
    assert "best val/ndcg_5" in html and "no result" in html and "How it was measured" not in html


def test_a_training_shows_its_test_and_says_which(tmp_path: Path) -> None:
    folder = runs.trained(tmp_path)
    for version in (1, 2):
        runs.tested(tmp_path, version, folder / "checkpoints" / "best.ckpt")
    files = write_pages(folder, html=False)
    assert files == [folder / "report.md"]
    assert re.search(r"Shown is the test in `version_\d`, the newest of 2\.", files[0].read_text())


@pytest.mark.parametrize("kind", [".md", ".html"])
def test_figures_on_the_page_are_those_of_the_files(pages: dict[str, str], kind: str) -> None:
    text = pages[kind]
    figures = ["0.1365", "0.2332", "0.7071", "0.1235", "0.1357", "9,000", "8,990", "420,672", "3.1%", "25.0%"]
    figures += [
        "0.3137 to 0.3367",
        "0.2797 to 0.3027",
        "26 permuted ones 1 do",
        "0.7100",
        "0.3300",
        "+0.310",
        "&lt; 0.001" if kind == ".html" else "\\< 0.001",
        "1,071",
        "-0.8100",
    ]
    figures += ["0.6100", "0.0610", "0.0549, 0.0671", "2.1100", "1.4440", "0.4200", "0.0700", "60.0%", "0.9300"]
    assert [figure for figure in figures if figure not in text] == []
    for word in ("2.10.0", "2026-11-22 04:30:00 UTC", "0123456789abcdef" * 4, "f00d", "recall@k = hits / held-out"):
        assert word in text


def test_the_page_is_whole_runs_nothing_and_fetches_nothing(pages: dict[str, str]) -> None:
    page = pages[".html"]
    reader = Reader(page)
    assert not {"script", "link", "img", "iframe", "object", "image", "foreignobject"} & set(reader.tags)
    assert all(value is not None and value.startswith("#") for name, value in reader.attributes if name == "href")
    assert not any(name == "src" or name.startswith("on") for name, _ in reader.attributes)
    assert not re.search(r"https?:|@import|url\((?!#)", page)
    assert "default-src 'none'" in page
    names = [value for name, value in reader.attributes if name == "id"]
    assert len(names) == len(set(names))
    used = re.findall(r'(?:href="|url\()#([^")]+)', page)
    assert set(used) <= set(names)


def test_names_from_the_data_stay_text(pages: dict[str, str]) -> None:
    assert "<script" not in pages[".html"] and "<br" not in pages[".html"]
    assert "&lt;script&gt;alert" in pages[".html"] and "u&lt;7&gt;" in pages[".html"]
    assert "<script" not in pages[".md"].replace("\\<script", "") and "wandb\\_key" not in pages[".md"]


def test_every_plot_is_told_in_words(pages: dict[str, str]) -> None:
    plots = re.findall(r'<svg class="plot" [^>]*role="img" aria-label="([^"]+)"', pages[".html"])
    assert len(plots) == len(set(plots)) == pages[".html"].count("<svg") >= 16
    assert any("average_rating" in text for text in re.findall(r"<text[^>]*>([^<]*)", pages[".html"]))


def test_it_can_be_read_in_the_dark_and_styles_only_what_it_uses(pages: dict[str, str]) -> None:
    page = pages[".html"]
    assert "prefers-color-scheme:dark" in page and not re.search(r"(?:fill|stroke): #", page)
    declared, used = set(re.findall(r"(--[\w-]+):", page)), set(re.findall(r"var\((--[\w-]+)\)", page))
    assert used <= declared


def test_the_markdown_has_tables_and_no_drawings(pages: dict[str, str]) -> None:
    text = pages[".md"]
    assert "<" not in text.replace("\\<", "") and "| average_rating |" in text
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1


def test_the_same_run_gives_the_same_bytes(tmp_path: Path, pages: dict[str, str]) -> None:
    folder = runs.everything(tmp_path)
    first = [file.read_bytes() for file in write_pages(folder)]
    assert [file.read_bytes() for file in write_pages(folder, tmp_path / "new" / "place")] == first
    assert [path.name for path in (tmp_path / "new" / "place").iterdir()].__len__() == 2


def test_what_must_not_be_overlooked_comes_first(tmp_path: Path) -> None:
    folder = runs.tested(tmp_path, **{"test/users": 50.0, "test/ndcg_5": 0.1, "looked_at_test": True})
    head = write_pages(folder)[0].read_text().split("## ")[0]
    order = [
        head.index(word) for word in ("UNDER THE FLOOR", "PARTIAL: 50 of 200", "WATERMARK", "Only 50 users", "Split:")
    ]
    assert order == sorted(order)
    html = (folder / "report.html").read_text()
    assert html.count('class="remark grave"') == 3 and html.count('class="remark"') == 1


def test_a_test_of_an_older_version_is_shown_and_said_to_be(tmp_path: Path) -> None:
    folder = runs.tested(tmp_path)
    os.remove(folder / "facts.json")
    os.remove(folder / "per_user.parquet")
    text = write_pages(folder)[0].read_text()
    assert "There is no facts.json" in text and "No floors are known" in text and "## Data" not in text
    assert "There are no timestamps" not in text


def test_nothing_is_left_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = runs.tested(tmp_path)
    write_pages(folder, html=False)
    before = (folder / "report.md").read_bytes()
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(InputError, match=r"cannot be written to .*No space left on device.*--to FOLDER"):
        write_pages(folder, html=False)
    assert (folder / "report.md").read_bytes() == before
    assert not [path for path in folder.iterdir() if "tmp" in path.name]


def test_a_file_is_no_place_to_write_to(tmp_path: Path) -> None:
    folder = runs.tested(tmp_path)
    with pytest.raises(InputError, match="--to FOLDER"):
        write_pages(folder, runs.write(tmp_path / "taken", "x"), html=False)
    shutil.rmtree(folder)
