"""Sections out of diagnostics.json on what is recommended to whom: groups, samples, hit ratios, correlations."""

from __future__ import annotations

import re

from recsys_lightning.reports.run.blocks import Block, Cell, Panel, Plot, Section, Table, Text
from recsys_lightning.reports.run.plots import Bar, bars_across, dots
from recsys_lightning.reports.run.values import Values
from recsys_lightning.reports.tables import number

FIGURE = re.compile(r"(?:recall|ndcg)_\d+")
"""Of a group: at the first cut-off of the test; the interval is that of recall."""
SHOWN = 20
"""Most correlations that are shown, the strongest."""
HISTORY = 8
"""Most titles of a history that are shown."""
SHARED = 4
"""Values of a kind that a recommended item shares with the user's own, before the rest are only counted."""


def groups(*found: Values) -> Section | None:
    """How good the model is for rare and frequent users and items; of a kind that comes twice, as it comes first."""
    kinds: dict[str, list[Values]] = {}
    left_out = {entry["of"].text(): entry["text"].text() for part in found for entry in part["left_out"]}
    for part in found:
        own: dict[str, list[Values]] = {}
        for bucket in part["buckets"]:
            own.setdefault(bucket["of"].text(), []).append(bucket)
        kinds |= {kind: buckets for kind, buckets in own.items() if kind not in kinds}
    panels = [
        _group(place, kind, buckets, left_out.get(kind, "")) for place, (kind, buckets) in enumerate(kinds.items())
    ]
    return Section("By groups", panels) if panels else None


def lists(found: Values) -> Section | None:
    """What is recommended: how much of it resembles what users have, and a few lists."""
    panels = [panel for panel in (_hit_ratios(found["hit_ratios"]),) if panel is not None]
    panels += [_sample(sample) for sample in found["samples"]]
    return Section("What is recommended", panels) if panels else None


def correlations(found: Values) -> Section | None:
    """Which features of items scores go with."""
    entries = [entry for entry in found["correlations"] if entry["r"].number() is not None]
    entries.sort(key=lambda entry: -abs(entry["r"].number() or 0.0))
    if not entries:
        return None
    about, shown = found["correlations_about"], entries[:SHOWN]
    bars = [
        Bar(entry["feature"].text(), value, entry["low"].number(), entry["high"].number(), None, _holds(entry))
        for entry in shown
        if (value := entry["r"].number()) is not None
    ]
    holding = sum(map(_holds, entries))
    alpha = about["alpha"].number() or 0.05
    text = f"{holding} of {len(entries)} features hold at {alpha:g} after Benjamini-Hochberg."
    if permuted := about["permuted"]:
        text += (
            f" Of {number(permuted['features'].whole())} permuted ones {number(permuted['significant'].whole())} do."
        )
    drawn = Plot(
        "correlations",
        f"Correlation of scores and features. {text}",
        dots(bars, "Pearson's r", 0.0),
        "Filled ones hold.",
    )
    rows = [_correlation(entry) for entry in shown]
    header = ("feature", "r", "95 % interval", "p (pairs)", "p", "q", "holds")
    rest = len(entries) - len(shown)
    left = [Text(f"{rest} weaker ones are in diagnostics.json.")] if rest else []
    panels = [Panel("", [drawn, Text(text), *left, Table(header, rows)], wide=True)]
    return Section("Scores and features", panels, _about_correlations(about))


def _group(place: int, kind: str, buckets: list[Values], left_out: str) -> Panel:
    names = {key.partition("_")[0]: key for bucket in buckets for key, _ in bucket.items() if FIGURE.fullmatch(key)}
    recall, ndcg = names.get("recall", "recall_10"), names.get("ndcg")
    shown = recall.replace("_", "@")
    bars, rows = [], []
    for bucket in buckets:
        name, value = bucket["name"].text(), bucket[recall].number()
        low, high = bucket["low"].number(), bucket["high"].number()
        if value is not None:
            bars.append(Bar(name, value, low, high))
        interval = "" if low is None or high is None else f"{number(low)} to {number(high)}"
        row = [name, bucket["users"].whole(), bucket["relevant"].whole(), value, interval]
        rows.append([*row, bucket[ndcg].number()] if ndcg else row)
    values = ", ".join(f"{bar.name} {number(bar.value)}" for bar in bars)
    plot: list[Block] = [Plot(f"groups-{place}", f"{shown} by {kind}: {values}", bars_across(bars, shown))]
    header = [kind, "users", "held out", shown, "95 % interval", *([ndcg.replace("_", "@")] if ndcg else [])]
    said = [Text(left_out)] if left_out else []
    return Panel(f"By {kind}", [*(plot if bars else []), Table(header, rows), *said])


def _hit_ratios(found: Values) -> Panel | None:
    rows, bars = [], []
    for kind, ratio in found.items():
        value, random = ratio["lists"].number(), ratio["random"].number()
        rows.append((kind, value, random, ratio["users"].whole()))
        if value is not None:
            bars.append(Bar(kind, value, beside=random))
    if not rows:
        return None
    about = "Share of recommended items that share a value with the user's own items, beside random items"
    said = ", ".join(f"{bar.name} {number(bar.value)} against {number(bar.beside)}" for bar in bars)
    plot = [Plot("hit-ratios", f"{about}: {said}", bars_across(bars, "share", "random items"))] if bars else []
    return Panel("", [*plot, Text(f"{about}."), Table(("kind", "lists", "random", "users"), rows)], wide=True)


def _sample(sample: Values) -> Panel:
    """A user's list beside the history."""
    history = [title.replace("`", "'") for title in sample["history"].texts()]
    more = f" and {len(history) - HISTORY} more" if len(history) > HISTORY else ""
    blocks: list[Block] = [Text(f"Has {'; '.join(history[:HISTORY])}{more}.")] if history else []
    rows = []
    for line in sample["recommendations"]:
        own = [f"{kind}: {_some(values.texts())}" for kind, values in line["shared"].items() if values]
        title = line["title"].text() or line["item"].text()
        hit = "hit" if line["hit"].flag() else ""
        shared = f"({'; '.join(own)})" if own else ""
        rows.append((line["rank"].whole(), Cell(title, shared), hit, line["score"].number()))
    blocks.append(Table(("rank", "title (and what it shares with own items)", "held out", "score"), rows))
    ratios = [
        f"{kind} {value.number():.0%}" for kind, value in sample["hit_ratio"].items() if value.number() is not None
    ]
    if ratios:
        blocks.append(Text(f"Share of the list that shares a value: {', '.join(ratios)}."))
    return Panel(f"User {sample['user'].text()}", blocks)


def _some(values: list[str]) -> str:
    more = f" and {len(values) - SHARED} more" if len(values) > SHARED else ""
    return f"{', '.join(values[:SHARED])}{more}"


def _correlation(entry: Values) -> tuple[object, ...]:
    low, high = entry["low"].number(), entry["high"].number()
    interval = "" if low is None or high is None else f"{low:+.3f} to {high:+.3f}"
    chances = [_chance(entry[key].number()) for key in ("p", "p_clustered", "q")]
    return (entry["feature"].text(), f"{entry['r'].number():+.3f}", interval, *chances, "yes" if _holds(entry) else "")


def _about_correlations(about: Values) -> str:
    drawn = ""
    if about["pairs"].whole() is not None:
        drawn = f" Over {number(about['pairs'].whole())} pairs of {number(about['users'].whole())} users"
        drawn += f", {number(about['resamples'].whole())} resamples." if about["resamples"].whole() else "."
    return (
        f"Pearson's correlation of scores with features of items.{drawn} Pairs of one user, or of one item, are not "
        "independent: p (pairs) takes them so and is shown for comparison. Intervals draw users and items with "
        "replacement; p is the larger of what these draws and exchanges of features among items say, and q corrects it "
        "for the number of features."
    )


def _holds(entry: Values) -> bool:
    return entry["significant"].flag()


def _chance(value: float | None) -> str:
    if value is None:
        return number(None)
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
