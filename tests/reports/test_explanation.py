from __future__ import annotations

from pathlib import Path

import pytest

from recsys_lightning.errors import InputError
from recsys_lightning.reports.explanation import check_page, page_html, page_markdown, write_page
from tests.reports.pages import USER, explanation, history, paths_of_three

SAFE = r'\<script\>alert("1")\</script\> & \*Co\* \| \`x\`'
"""How a table shows the name that would break a careless page."""


@pytest.fixture
def page() -> str:
    return page_markdown(USER, history(), [explanation("r1"), explanation("r2", None)], paths_of_three())


def test_everything_is_told(page: str) -> None:
    for told in (
        r"# Recommendations for user u\<1\>, and why",
        "4 items in the history, 2 recommendations, explained by `exact`.",
        "| 2013-05-28 | Alien | 9 |",
        "| rank | item | score | base | genre | director |",
        "| 1 | Film r1 | 1.5000 | 1.2000 | 0.4000 | -0.1000 |",
        "### 1. Film r1",
        "Score 1.5000 = base 1.2000 + genre 0.4000 - director 0.1000.",
        "| Alien | 0.5000 |",
        "These add up to 0.6250; all else 0.8750.",
        "| genre | of the user | of the item | adds |",
        "| Horror | 50% | 50% | 0.3000 |",
        "Attention to own items: Alien 75%;",
        "rank 1 becomes 37.",
        "| Film r1 | genre Horror | Alien | 0.5000 |",
        "other users | Clue |",
    ):
        assert told in page, told
    assert "### Film r2" in page  # the user has it already: no rank


def test_names_from_the_data_stay_text(page: str) -> None:
    assert SAFE in page
    assert "<script" not in page.replace(r"\<script", "")


def test_tables_are_whole(page: str) -> None:
    blocks = [block.splitlines() for block in page.split("\n\n") if block.startswith("|")]
    assert len(blocks) == 9
    for block in blocks:
        assert len({line.replace(r"\|", "").count("|") for line in block}) == 1


def test_the_least_that_there_can_be() -> None:
    bare = explanation(terms={"base": 1.5}, effects=(), rest=None, attention=(), influences={}, fidelity=None)
    page = page_markdown(USER, [], [bare], [])
    assert "Nothing yet." in page and "hang together" not in page and "\n\n\n" not in page
    assert "## Why" not in page_markdown(USER, [], [], [])


def test_a_rating_of_zero_is_a_rating() -> None:
    [zero, *_] = history()
    page = page_markdown(USER, [type(zero)("a", "Alien", 0.0)], [], [])
    assert "| Alien | 0 |" in page


@pytest.mark.parametrize(("name", "maker"), [("page.html", page_html), ("page.MD", page_markdown)])
def test_the_suffix_decides(tmp_path: Path, name: str, maker: object) -> None:
    file = tmp_path / "new" / name
    arguments = (USER, history(), [explanation()], paths_of_three())
    write_page(file, *arguments)
    write_page(file, *arguments)
    assert file.read_text(encoding="utf-8") == maker(*arguments)  # type: ignore[operator]
    assert list(file.parent.iterdir()) == [file]


def test_another_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"page\.pdf cannot be written: .* \.html or \.md"):
        write_page(tmp_path / "page.pdf", USER, history(), [], [])
    assert not list(tmp_path.iterdir())


def test_folders_and_what_lies_below_a_file_are_refused(tmp_path: Path) -> None:
    folder, text = tmp_path / "folder.html", tmp_path / "text.md"
    folder.mkdir()
    text.touch()
    with pytest.raises(InputError, match=r"folder\.html cannot be written: that is a folder"):
        check_page(folder)
    with pytest.raises(InputError, match=r"a\.md cannot be written: .*text\.md is a file, no folder"):
        check_page(text / "new" / "a.md")
    check_page(text)
    check_page(tmp_path / "new" / "newer" / "a.md")
    assert sorted(tmp_path.iterdir()) == [folder, text]


def test_nothing_is_left_of_a_page_that_could_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="No space left"):
        write_page(tmp_path / "page.md", USER, [], [], [])
    assert not list(tmp_path.iterdir())
