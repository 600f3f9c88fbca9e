from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from recsys_lightning.explain.explanation import Influence, Share
from recsys_lightning.reports.explanation import HistoryItem, page_html
from tests.reports.pages import EVIL, USER, effect, explanation, history, paths_of_three

VOID = {"meta"}


class Reader(HTMLParser):
    """Checks that tags are closed in turn, and collects tags, attributes and text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += f" {data}"


@pytest.fixture
def page() -> str:
    explanations = [explanation("r1", 1), explanation("r2", 2, score=0.5, terms={"base": 0.5}), explanation("r3", 3)]
    return page_html(USER, history(), explanations, paths_of_three())


def test_everything_is_told(page: str) -> None:
    text = " ".join(Reader(page).text.split())
    for told in (
        f"Recommendations for user {USER}, and why",
        "4 items in the history, 3 recommendations, explained by exact .",
        f"2013-05-28 Alien 9 {EVIL.split(' | ')[0]}",
        "genre adds 0.4000 (weight 0.1000)",
        "Horror 50% 50% +0.3000 Opera 0% 50% +0.1000",
        "+0.5000",
        "-0.1250",
        "These add up to 0.6250; all else 0.8750.",
        "Alien 75%",
        "rank 1 becomes 37",
        "base 1.2000 genre 0.4000 director -0.1000",
        "dashed: over other users",
    ):
        assert told in text, told
    assert text.count("Why each") == 1 and text.count("Film r3") >= 2


def test_nothing_is_run_and_nothing_is_fetched(page: str) -> None:
    reader = Reader(page)
    assert not {"script", "link", "img", "iframe", "a", "object", "image", "use"} & set(reader.tags)
    names = {name for name, _ in reader.attributes}
    assert not {"href", "src", "srcset"} & names and not any(name.startswith("on") for name in names)
    assert not re.search(r"https?:|url\(|@import", page)


def test_names_from_the_data_stay_text(page: str) -> None:
    assert "<script" not in page
    assert "&lt;script&gt;" in page and "u&lt;1&gt;" in page


def test_it_can_be_read_in_the_dark_and_styles_only_what_it_uses(page: str) -> None:
    assert "prefers-color-scheme:dark" in page
    style = page[page.index("<style>") : page.index("</style>")]
    assert style.count("{") == style.count("}")
    declared, used = set(re.findall(r"(--\w+):", style)), set(re.findall(r"var\((--\w+)\)", style))
    assert used == declared


def test_bars_are_on_one_scale_and_stay_inside(page: str) -> None:
    stacks = re.findall(r'<div class="stack".*?</div>', page)
    widths = [sum(map(float, re.findall(r"width:([\d.]+)%", stack))) for stack in stacks]
    assert widths == [
        pytest.approx(100, abs=0.05),
        pytest.approx(100 * 0.5 / 1.6, abs=0.05),
        pytest.approx(100, abs=0.05),
    ]


def test_bars_of_effects_compare_by_size_and_show_the_sign(page: str) -> None:
    card = page[page.index("<article") : page.index("</article>")]
    bars = re.findall(r'<td class="bar"><span( class="minus")? style="width:([\d.]+)%">', card)
    assert bars == [("", "100.0"), ("", "50.0"), (' class="minus"', "25.0")]


def test_a_kind_has_one_colour_wherever_it_shows(page: str) -> None:
    director = set(re.findall(r'class="(kind\d)"></i>director', page))
    assert len(director) == 1
    assert f'<h4 class="{director.pop()}">director adds' in page


def test_the_least_that_there_can_be() -> None:
    bare = explanation(
        rank=None, terms={"base": 0.0}, effects=(), rest=None, attention=(), influences={}, fidelity=None
    )
    text = Reader(page_html(USER, [], [bare], [])).text
    assert "has it" in text and "Nothing yet." in text
    assert "The user has it, so it is not ranked" in text
    assert "What tells most" not in text and "hang together" not in text and "Attention" not in text
    assert "Why each" not in Reader(page_html(USER, [], [], [])).text


def test_zero_effects_and_influences_without_values_divide_by_nothing() -> None:
    one = explanation(effects=(effect("a", 0.0),), influences={"genre": Influence(0.0, 0.1)}, terms={"base": -1.0})
    assert "width:0.0%" in page_html(USER, history(), [one], [])


def test_more_kinds_than_colours() -> None:
    kinds = {f"kind {n}": Influence(0.1, 0.1, (Share("x", 1.0, 1.0, 0.1),)) for n in range(8)}
    text = Reader(page_html(USER, history(), [explanation(influences=kinds)], [])).text
    assert all(kind in text.casefold() for kind in kinds)


def test_long_histories_are_cut() -> None:
    long = [HistoryItem(str(n), f"Film {n}.") for n in range(100)]
    text = Reader(page_html(USER, long, [], [])).text
    assert "Film 29." in text and "Film 30." not in text and "70 older items are not shown." in text
