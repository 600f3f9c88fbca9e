from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_lightning.reports.explanation import Path
from recsys_lightning.reports.explanation_picture import (
    BOX,
    ELLIPSIS,
    PADDING,
    ROW,
    WIDTH,
    Titles,
    picture,
    shorten,
    text_width,
)
from tests.reports.pages import EVIL, USER, paths_of_three

LONG = "The Assassination of Jesse James by the Coward Robert Ford (2007)"
TITLES = Titles({"a": "Alien", "b": EVIL}, {"r1": LONG, "r2": "Film 2", "r3": "Film 3"}, {"genre": "kind0"})


class Box:
    def __init__(self, group: ElementTree.Element) -> None:
        title, rect, text = group
        self.style = group.attrib["class"].split()[1]
        self.title, self.text = title.text or "", text.text or ""
        self.left, self.top = float(rect.attrib["x"]), float(rect.attrib["y"])
        self.right, self.bottom = self.left + float(rect.attrib["width"]), self.top + float(rect.attrib["height"])


def drawn(paths: Sequence[Path], titles: Titles = TITLES) -> tuple[ElementTree.Element, list[Box]]:
    root = ElementTree.fromstring(picture(paths, titles))
    return root, [Box(group) for group in root.iter("g")]


def many(items: int) -> tuple[list[Path], Titles]:
    paths = [
        Path(
            USER,
            f"own {(3 * n + k) % 14}",
            (("genre", "director")[k], f"value {(n * (k + 2)) % 9}"),
            f"r{n}",
            1 / (n + 1),
        )
        for n in range(items)
        for k in range(2)
    ]
    return paths, Titles({}, {f"r{n}": f"{LONG} {n}" for n in range(items)}, {"genre": "kind0", "director": "kind1"})


@pytest.mark.parametrize("items", [1, 3, 10, 30])
def test_boxes_lie_inside_and_apart(items: int) -> None:
    root, boxes = drawn(*many(items))
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    assert width == WIDTH
    assert all(0 < box.left < box.right < width and 0 < box.top < box.bottom <= height for box in boxes)
    for left in {box.left for box in boxes}:
        column = sorted((box for box in boxes if box.left == left), key=lambda box: box.top)
        gaps = [below.top - above.bottom for above, below in pairwise(column)]
        assert all(gap >= ROW - BOX - 0.2 for gap in gaps)
    lefts = sorted({(box.left, box.right) for box in boxes})
    assert len(lefts) == 4
    assert all(second[0] - first[1] > 40 for first, second in pairwise(lefts))


def test_lines_run_from_box_to_box() -> None:
    root, boxes = drawn(*many(10))
    middles = [(box.left, box.right, (box.top + box.bottom) / 2) for box in boxes]
    lines = [line for line in root.iter("path")]
    assert lines
    for line in lines:
        numbers = line.attrib["d"].replace("M", "").replace("C", " ").split()
        x, y, end, last = (float(numbers[at]) for at in (0, 1, 6, 7))
        assert any(x == right and abs(y - middle) < 0.11 for _, right, middle in middles)
        assert any(end == left and abs(last - middle) < 0.11 for left, _, middle in middles)


def test_recommended_items_stand_by_rank_also_those_without_a_path() -> None:
    _, boxes = drawn([path for path in paths_of_three() if path.item != "r2"])
    items = [box for box in boxes if box.style == "item"]
    assert [box.title for box in sorted(items, key=lambda box: box.top)] == [LONG, "Film 2", "Film 3"]


def test_a_node_is_drawn_once_and_lines_over_the_same_way_add_up() -> None:
    root, boxes = drawn(paths_of_three())
    assert sorted(box.title for box in boxes) == sorted(
        [USER, "Alien", EVIL, "c", "genre: Horror", f"director: {EVIL}", LONG, "Film 2", "Film 3"]
    )
    told = [line[0].text or "" for line in root.iter("path")]
    assert "Alien \N{RIGHTWARDS ARROW} Horror: 0.7500" in told
    assert "c \N{RIGHTWARDS ARROW} Film 3: 0.1250" in told
    assert len(told) == len(set(told)) == 3 + 2 + 3 + 1
    thick = {line[0].text: float(line.attrib["stroke-width"]) for line in root.iter("path")}
    assert thick["Alien \N{RIGHTWARDS ARROW} Horror: 0.7500"] == max(thick.values())


def test_colours_say_the_kind_and_what_goes_over_other_users() -> None:
    root, boxes = drawn(paths_of_three())
    assert {box.title: box.style for box in boxes}["genre: Horror"] == "kind0"
    styles = [line.attrib["class"].split()[1] for line in root.iter("path") if "Film 3" in (line[0].text or "")]
    assert styles == ["direct"]


def test_lines_between_neighbours_cross_less_than_in_the_order_they_came() -> None:
    paths = [Path(USER, f"o{n}", ("genre", f"v{n}"), f"r{n}", 1.0) for n in (3, 0, 2, 1)]
    _, boxes = drawn(paths, Titles({}, {f"r{n}": f"r{n}" for n in range(4)}, {}))
    for prefix in ("o", "genre: v"):
        column = sorted((box for box in boxes if box.title.startswith(prefix)), key=lambda box: box.top)
        assert [box.title[-1] for box in column] == ["0", "1", "2", "3"]


def test_an_item_may_be_both_own_and_recommended() -> None:
    _, boxes = drawn([Path(USER, "a", ("genre", "x"), "a", 1.0)], Titles({"a": "Alien"}, {"a": "Alien"}, {}))
    assert [box.title for box in boxes].count("Alien") == 2


def test_an_item_that_nobody_named_stands_last_under_its_id() -> None:
    _, boxes = drawn(paths_of_three(), Titles({}, {"r2": "Film 2"}, {}))
    items = [box for box in boxes if box.style == "item"]
    assert [box.title for box in sorted(items, key=lambda box: box.top)] == ["Film 2", "r1", "r3"]


def test_weights_of_zero_and_nothing_at_all() -> None:
    drawn([Path(USER, "a", None, "r1", 0.0)])
    assert "<svg" in picture([], Titles({}, {}, {}))


@given(st.text(max_size=80), st.integers(30, 300))
def test_shortened_texts_fit(text: str, width: int) -> None:
    shown = shorten(text, width)
    assert text_width(shown) <= max(width, text_width(ELLIPSIS))
    assert shown == text or (shown.endswith(ELLIPSIS) and text.startswith(shown[:-1]))


def test_long_titles_are_cut_and_told_in_full() -> None:
    _, boxes = drawn(paths_of_three())
    [box] = [box for box in boxes if box.title == LONG]
    assert box.text.endswith(ELLIPSIS) and len(box.text) > 25
    assert text_width(box.text) <= box.right - box.left - 2 * PADDING
