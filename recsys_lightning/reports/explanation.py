"""The page that explains a user's recommendations: as Markdown here, as HTML in `explanation_html`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path as File

from recsys_lightning.atomic import write_text
from recsys_lightning.errors import InputError
from recsys_lightning.explain.explanation import Explanation, Influence
from recsys_lightning.reports import explanation_words as words
from recsys_lightning.reports.explanation_html import page_html as page_html
from recsys_lightning.reports.explanation_paths import HistoryItem as HistoryItem
from recsys_lightning.reports.explanation_paths import Path as Path
from recsys_lightning.reports.explanation_paths import paths as paths
from recsys_lightning.reports.tables import markdown_table


def page_markdown(
    user: str, history: Sequence[HistoryItem], explanations: Sequence[Explanation], paths: Sequence[Path]
) -> str:
    """The page in Markdown; arguments as of `page_html`. The paths are a table."""
    parts = [f"# {_safe(words.title(user))}", words.summary(history, explanations)]
    parts += ["## History, newest first", _history(history), words.left_out(history)]
    if explanations:
        parts += ["## Recommendations", _list(explanations)]
    if paths:
        parts += ["## How they hang together", words.PATHS, _paths(history, explanations, paths)]
    if explanations:
        parts += ["## Why each", *(part for one in explanations for part in _why(one))]
    return "\n\n".join(filter(None, parts)) + "\n"


MAKERS = {".html": page_html, ".md": page_markdown}
"""Of pages, by the suffix of the file."""


def write_page(
    file: File, user: str, history: Sequence[HistoryItem], explanations: Sequence[Explanation], paths: Sequence[Path]
) -> None:
    """Write the page, whole or not at all; the suffix of the file says how, `.html` or `.md`.

    Raises:
        InputError: no page can be written there.
    """
    check_page(file)
    text = MAKERS[file.suffix.lower()](user, history, explanations, paths)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, text)


def check_page(file: File) -> None:
    """Refuse what no page can be written to.

    Raises:
        InputError: its suffix is another one, it is a folder, or it would lie below a file.
    """
    if file.suffix.lower() not in MAKERS:
        raise InputError(f"The page {file} cannot be written: its name must end in {' or '.join(MAKERS)}.")
    if file.is_dir():
        raise InputError(f"The page {file} cannot be written: that is a folder. Name a file in it.")
    above = next(folder for folder in file.absolute().parents if folder.exists())
    if not above.is_dir():
        raise InputError(f"The page {file} cannot be written: {above} is a file, no folder. Name another place.")


def _list(explanations: Sequence[Explanation]) -> str:
    terms = list(dict.fromkeys(name for one in explanations for name in one.terms))
    rows = [[one.rank, _safe(one.title), one.score, *(one.terms.get(name) for name in terms)] for one in explanations]
    return markdown_table(["rank", "item", "score", *terms], rows)


def _paths(history: Sequence[HistoryItem], explanations: Sequence[Explanation], paths: Sequence[Path]) -> str:
    items = {one.item: one.title for one in explanations}
    own = {effect.target: effect.title for one in explanations for effect in one.effects if effect.source == one.user}
    own |= {entry.item: entry.title for entry in history}
    rows = [
        [
            _safe(items.get(path.item, path.item)),
            _safe(words.path_words(path)),
            _safe(own.get(path.own, path.own)),
            path.weight,
        ]
        for path in paths
    ]
    return markdown_table(["recommended", "over", "own item", "weight"], rows)


def _why(one: Explanation) -> list[str]:
    rank = "" if one.rank is None else f"{one.rank}. "
    parts = [f"### {rank}{_safe(one.title)}", _safe(words.sum_of_terms(one))]
    effects = [[_safe(words.effect_name(effect)), effect.value] for effect in words.strongest(one)]
    if effects:
        parts += [markdown_table(["what tells most", "effect"], effects), words.remainder(one)]
    parts += [part for kind, influence in one.influences.items() for part in _influence(kind, influence)]
    if one.attention:
        parts.append(f"Attention to own items: {_safe('; '.join(words.attention_words(one)))}.")
    return [*parts, words.fidelity_words(one)]


def _influence(kind: str, influence: Influence) -> list[str]:
    sentence = f"{_safe(words.influence_words(kind, influence))}."
    rows = [
        [_safe(share.name), f"{share.affinity:.0%}", f"{share.strength:.0%}", share.contribution]
        for share in (*influence.common, *influence.other)
    ]
    return [sentence, markdown_table([kind, "of the user", "of the item", "adds"], rows)] if rows else [sentence]


def _history(history: Sequence[HistoryItem]) -> str:
    shown = history[: words.HISTORY]
    if not shown:
        return "Nothing yet."
    rows = [[entry.when, _safe(entry.title), None if entry.rating is None else f"{entry.rating:g}"] for entry in shown]
    return markdown_table(["when", "item", "rating"], rows)


def _safe(text: str) -> str:
    """A text that Markdown takes as it is, on one line; tables see to their bars."""
    return re.sub(r"([\\`*_\[\]<>#~])", r"\\\1", " ".join(text.split()))
