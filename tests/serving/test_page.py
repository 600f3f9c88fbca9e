import html.parser
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from recsys_lightning.reports.style import COLOURS
from recsys_lightning.serving.format import Scorer
from recsys_lightning.serving.page import read_page
from tests.serving.exports import NASTY, write_export


class Parts(html.parser.HTMLParser):
    """What stands in a page: its elements, and which ids and references they have."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def values(self, attribute: str) -> list[str]:
        return [value for _, attributes in self.elements if (value := attributes.get(attribute))]


@pytest.fixture(scope="module")
def parts() -> Parts:
    return Parts(read_page().text)


def test_the_page_needs_nothing_from_elsewhere(parts: Parts) -> None:
    text = read_page().text.replace("http://www.w3.org/2000/svg", "")  # the name of a namespace, which nobody fetches
    assert not re.search(r"https?:|//[a-z]+\.", text)
    assert not parts.values("src")
    assert all(address.startswith("data:") for address in parts.values("href"))


def test_nothing_becomes_markup(parts: Parts) -> None:
    text = read_page().text
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", text)
    assert not any(name.startswith("on") or name == "style" for _, attributes in parts.elements for name in attributes)


def test_the_policy_lets_run_what_stands_in_the_page_and_nothing_else() -> None:
    page = read_page()
    rules = dict(rule.split(" ", 1) for rule in page.policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["connect-src"] == "'self'"
    for kind in ("script-src", "style-src"):
        assert re.fullmatch(r"'sha256-[\w+/]{43}='", rules[kind])
    assert "unsafe" not in page.policy


def test_it_looks_like_the_other_pages() -> None:
    light, dark = read_page().text.split("prefers-color-scheme:dark", 1)
    for name, in_the_light, in_the_dark in COLOURS:
        assert f"--{name}:{in_the_light};" in light
        assert f"--{name}:{in_the_dark};" in dark


def test_every_field_has_a_name_and_every_reference_a_target(parts: Parts) -> None:
    ids = parts.values("id")
    assert len(ids) == len(set(ids))
    for reference in ("for", "aria-controls", "aria-describedby", "aria-labelledby"):
        assert set(parts.values(reference)) <= set(ids), reference
    fields = [attributes for tag, attributes in parts.elements if tag == "input"]
    outside_labels = [field["id"] for field in fields if field["type"] in ("text", "number")]
    assert outside_labels and set(outside_labels) <= set(parts.values("for"))


# In a browser, over HTTP, as people use it


CHROMIUM = Path("/usr/bin/chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-proxy-server"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"there is no browser at {CHROMIUM}")
    with playwright.sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., str]]:
    """Starts `recsys serve` on a small export, and says at which address."""
    running = []

    def start(scorer: Scorer, folds_in: bool) -> str:
        folder = write_export(tmp_path_factory.mktemp("served") / "export", scorer, folds_in)
        words = [sys.executable, "-m", "recsys_lightning", "serve", str(folder), "--port", "0"]
        running.append(subprocess.Popen(words, stdout=subprocess.PIPE, text=True))
        for line in running[-1].stdout or ():
            if line.startswith("page: "):
                return line.removeprefix("page: ").strip()
        raise AssertionError("the server did not start")

    yield start
    for process in running:
        process.terminate()
        assert process.wait(20) == 0
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture
def opened(browser: Any) -> Iterator[Callable[[str], Any]]:
    """Opens the page; nothing may go wrong in it, and nobody else be asked, until the test ends."""
    context = browser.new_context(viewport={"width": 420, "height": 900})
    wrong: list[str] = []
    asked: list[str] = []

    def open_page(address: str) -> Any:
        page = context.new_page()
        page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: wrong.append(dialog.message))
        page.on("request", lambda request: asked.append(request.url.removeprefix(address)))
        page.goto(address)
        page.get_by_text("made-up").wait_for()
        return page

    yield open_page
    context.close()
    answers = "status of 404", "ERR_CONNECTION_REFUSED"  # which the browser says of itself
    assert [line for line in wrong if not any(answer in line for answer in answers)] == []
    assert all(not address.startswith("http") for address in asked), asked


@pytest.mark.slow
def test_a_user_is_recommended_to(served: Callable[..., str], opened: Callable[[str], Any]) -> None:
    page = opened(served("vectors", True))
    page.get_by_role("button", name="Try user u0").click()
    page.get_by_text("For user u0", exact=True).wait_for()
    assert page.get_by_label("User id").input_value() == "u0"
    page.get_by_label("User id").fill("")
    page.get_by_label("User id").focus()
    page.keyboard.type("u2")
    page.keyboard.press("Enter")
    rows = page.locator(".items > li")
    rows.nth(9).wait_for()
    assert page.locator("#heading").inner_text() == "For user u2"
    assert "War" in rows.first.inner_text()
    rows.first.get_by_role("button", name="Why").press("Enter")
    page.get_by_text("What tells most").wait_for()
    assert rows.first.locator(".panel tr").count() == 8
    assert "genre War" in rows.first.locator(".shared").inner_text()
    rows.first.get_by_role("button", name="Similar").click()
    page.get_by_text("Similar titles").wait_for()
    assert rows.first.locator(".panel tr").count() == 8
    page.get_by_label("User id").fill("nobody")
    page.keyboard.press("Enter")
    page.get_by_role("alert").filter(has_text="There is no user 'nobody'").wait_for()
    assert rows.count() == 0
    page.get_by_label("How many").fill("0")
    page.get_by_role("button", name="Recommend", exact=True).click()
    page.get_by_role("alert").filter(has_text="from 1 to 1,000").wait_for()
    assert not page.evaluate("document.documentElement.scrollWidth > innerWidth"), "it is wider than the screen"


@pytest.mark.slow
@pytest.mark.parametrize("scorer", ["vectors", "dense"])
def test_titles_are_picked(served: Callable[..., str], opened: Callable[[str], Any], scorer: Scorer) -> None:
    page = opened(served(scorer, True))
    page.get_by_label("Titles I like").check()
    search = page.get_by_role("combobox")
    for words in ("dune", "script", "no such thing"):
        search.press_sequentially(words)
        page.get_by_role("option").first.wait_for()
        search.press("Enter")
    picked = page.locator("#picked li")
    assert picked.count() == 3
    assert NASTY.split(">")[0] in picked.nth(1).inner_text()
    assert page.locator("main script, main img").count() == 0, "a title became markup"
    page.get_by_text("Not in the catalogue, so left out: “no such thing”.").wait_for()
    assert page.locator("#heading").inner_text() == "For 2 titles"
    page.get_by_role("button", name="Why").first.click()
    page.get_by_text("What tells most").wait_for()
    assert page.locator(".panel tr").count() == 2
    for _ in range(2):
        search.press("Backspace")
    page.get_by_text("For 1 title", exact=True).wait_for()
    page.get_by_label("Remove Dune").click()
    page.get_by_text("Search for a title and pick it").wait_for()
    assert page.locator(".items > li").count() == 0


@pytest.mark.slow
def test_a_model_that_does_not_fold_in_says_so(served: Callable[..., str], opened: Callable[[str], Any]) -> None:
    page = opened(served("vectors", False))
    page.get_by_text("MF knows only the users that it learned from").wait_for()
    assert page.get_by_label("Titles I like").is_disabled()
    page.get_by_label("User id").fill("u0")
    page.keyboard.press("Enter")
    page.locator(".items > li").first.get_by_role("button", name="Similar").click()
    page.get_by_text("Similar titles").wait_for()
    assert page.get_by_role("button", name="Like").count() == 0


@pytest.mark.slow
def test_a_late_answer_does_not_replace_a_newer_one(served: Callable[..., str], opened: Callable[[str], Any]) -> None:
    page = opened(served("dense", True))
    held: list[Any] = []

    def hold(route: Any) -> None:
        if '"u1"' in (route.request.post_data or ""):
            held.append(route)
        else:
            route.continue_()

    page.route("**/recommend", hold)
    field = page.get_by_label("User id")
    for user in ("u1", "u2"):
        field.fill(user)
        field.press("Enter")
    page.get_by_text("For user u2", exact=True).wait_for()
    (late,) = held
    with suppress(Exception):  # the page has given it up, so that it can no longer be answered
        late.continue_()
    page.wait_for_timeout(300)
    assert page.locator("#heading").inner_text() == "For user u2"


@pytest.mark.slow
def test_a_server_that_went_away_is_told(served: Callable[..., str], opened: Callable[[str], Any]) -> None:
    page = opened(served("dense", True))
    page.route("**/recommend", lambda route: route.abort("connectionrefused"))
    page.get_by_label("User id").fill("u1")
    page.keyboard.press("Enter")
    page.get_by_role("alert").filter(has_text="The server does not answer").wait_for()
    assert not page.get_by_text("For user u1", exact=True).is_visible()
