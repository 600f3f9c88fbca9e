"""The page that explains a user's recommendations, as one HTML file without scripts or anything from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from recsys_lightning.explain.explanation import Effect, Explanation, Influence, Share
from recsys_lightning.reports import explanation_words as words
from recsys_lightning.reports.explanation_paths import HistoryItem, Path
from recsys_lightning.reports.explanation_picture import Titles, picture
from recsys_lightning.reports.explanation_style import COLOURS, KINDS, STYLE
from recsys_lightning.reports.tables import number

Colours = Mapping[str, str]
"""Class of each kind of attribute, which is also the name of its term."""


def page_html(
    user: str, history: Sequence[HistoryItem], explanations: Sequence[Explanation], paths: Sequence[Path]
) -> str:
    """The page in HTML.

    Args:
        user: raw id.
        history: what the user has, newest first.
        explanations: of the recommendations, by rank.
        paths: as `paths` finds them.
    """
    colours = _colours(explanations, paths)
    scale = max((_length(explanation) for explanation in explanations), default=1.0) or 1.0
    title, cards = escape(words.title(user)), [_card(one, scale, colours) for one in explanations]
    return "\n".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width,initial-scale=1">',
            f"<title>{title}</title><style>{STYLE}{COLOURS}</style></head><body><main>",
            f"<h1>{title}</h1>",
            f'<p class="quiet">{_code(words.summary(history, explanations))}</p>',
            *_history(history),
            *(_picture(history, explanations, paths, colours) if paths else []),
            '<h2>Why each</h2><div class="why">' if cards else "",
            *cards,
            "</div>" if cards else "",
            "</main></body></html>\n",
        ]
    )


def _picture(
    history: Sequence[HistoryItem], explanations: Sequence[Explanation], paths: Sequence[Path], colours: Colours
) -> list[str]:
    own = {effect.target: effect.title for one in explanations for effect in one.effects if effect.source == one.user}
    titles = Titles(
        own={**own, **{entry.item: entry.title for entry in history}},
        item={one.item: one.title for one in explanations},
        colours=colours,
    )
    kinds = dict.fromkeys(path.via[0] for path in paths if path.via is not None)
    legend = "".join(f'<span><i class="{colours[kind]}"></i>{escape(kind)}</span>' for kind in sorted(kinds))
    direct = "<span>dashed: over other users</span>" if any(path.via is None for path in paths) else ""
    return [
        "<h2>How they hang together</h2>",
        f'<p class="quiet">{escape(words.PATHS)}</p><div class="card"><div class="wide">',
        picture(paths, titles),
        f'</div><div class="legend">{legend}{direct}</div></div>',
    ]


def _history(history: Sequence[HistoryItem]) -> list[str]:
    entries = []
    for entry in history[: words.HISTORY]:
        when = f"<time>{escape(entry.when)}</time>" if entry.when else ""
        rating = f"<b>{entry.rating:g}</b>" if entry.rating is not None else ""
        entries.append(f'<li>{when}<span class="name">{escape(entry.title)}</span>{rating}</li>')
    more = f'<p class="quiet small">{escape(words.left_out(history))}</p>' if words.left_out(history) else ""
    body = f'<ul class="history">{"".join(entries)}</ul>' if entries else '<p class="quiet">Nothing yet.</p>'
    return [f'<h2>History, newest first</h2><div class="card">{body}{more}</div>']


def _card(one: Explanation, scale: float, colours: Colours) -> str:
    rank = "has it" if one.rank is None else f"{one.rank:,}"
    parts = [
        f'<div class="top"><span class="rank">{rank}</span><h3>{escape(one.title)}</h3>'
        f'<span class="score">{number(one.score)}</span></div>',
        _terms(one, scale, colours),
        _effects(one),
        *(_influence(kind, influence, colours) for kind, influence in one.influences.items()),
    ]
    if one.attention:
        listened = "; ".join(words.attention_words(one))
        parts.append(f'<h4>Attention to own items</h4><p class="small">{escape(listened)}</p>')
    if tried := words.fidelity_words(one):
        parts.append(f'<p class="tried">{escape(tried)}</p>')
    return f'<article class="card">{"".join(parts)}</article>'


def _terms(one: Explanation, scale: float, colours: Colours) -> str:
    """The terms as parts of one bar, all bars on one scale. Terms below zero are only written."""
    spans = "".join(
        f'<span class="{colours.get(name, "base")}" style="width:{100 * value / scale:.2f}%"></span>'
        for name, value in one.terms.items()
        if value > 0
    )
    named = "".join(
        f'<span><i class="{colours.get(name, "base")}"></i>{escape(name)} {number(value)}</span>'
        for name, value in one.terms.items()
    )
    bar = f'<div class="stack" role="img" aria-label="{escape(words.sum_of_terms(one))}">{spans}</div>'
    return f'{bar}<div class="terms">{named}</div>'


def _effects(one: Explanation) -> str:
    shown = words.strongest(one)
    if not shown:
        return ""
    most = max(abs(effect.value) for effect in shown) or 1.0
    rows = "".join(_effect_row(effect, most) for effect in shown)
    rest = words.remainder(one)
    note = f'<p class="small quiet">{escape(rest)}</p>' if rest else ""
    return f"<h4>What tells most</h4><table>{rows}</table>{note}"


def _effect_row(effect: Effect, most: float) -> str:
    sign = ' class="minus"' if effect.value < 0 else ""
    bar = f'<span{sign} style="width:{100 * abs(effect.value) / most:.1f}%"></span>'
    name = escape(words.effect_name(effect))
    return f'<tr><td>{name}</td><td class="bar">{bar}</td><td>{effect.value:+.4f}</td></tr>'


def _influence(kind: str, influence: Influence, colours: Colours) -> str:
    head = f'<h4 class="{colours.get(kind, "base")}">{escape(words.influence_words(kind, influence))}</h4>'
    rows = [*(_share(share, "") for share in influence.common), *(_share(share, "rare") for share in influence.other)]
    if not rows:
        return head
    columns = f"<tr><th>{escape(kind)}</th><th>of the user</th><th>of the item</th><th>adds</th></tr>"
    return f"{head}<table>{columns}{''.join(rows)}</table>"


def _share(share: Share, style: str) -> str:
    cells = [escape(share.name), f"{share.affinity:.0%}", f"{share.strength:.0%}", f"{share.contribution:+.4f}"]
    return f'<tr class="{style}">{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'


def _colours(explanations: Iterable[Explanation], paths: Iterable[Path]) -> dict[str, str]:
    kinds = {path.via[0] for path in paths if path.via is not None}
    kinds |= {kind for one in explanations for kind in one.influences}
    return {kind: f"kind{place % KINDS}" for place, kind in enumerate(sorted(kinds))}


def _length(one: Explanation) -> float:
    return sum(value for value in one.terms.values() if value > 0)


def _code(text: str) -> str:
    """A text in which what stands between backquotes is code."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if place % 2 else part for place, part in enumerate(parts))
