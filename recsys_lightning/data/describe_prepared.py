"""What became of a data set: its splits, graph, buckets, features and text, for people."""

from __future__ import annotations

import textwrap

import numpy as np

from recsys_lightning.data.buckets import UNKNOWN
from recsys_lightning.data.describe import LATER, attributes
from recsys_lightning.data.graph import TypedGraph
from recsys_lightning.data.item_features.categories import Coded
from recsys_lightning.data.item_features.fit import ItemFeatures
from recsys_lightning.data.item_features.titles import title_of
from recsys_lightning.data.overlap import section
from recsys_lightning.data.prepared import Prepared
from recsys_lightning.data.text.item_text import ItemText
from recsys_lightning.schema import ITEM_ID, TITLE, TRAIN

_WIDTH = 100
_SHOWN = 10
"""Most frequent categories of a kind."""


def describe_prepared(
    prepared: Prepared, graph: TypedGraph, text: ItemText | None, features: ItemFeatures | None = None
) -> str:
    """Steps and splits, items, graph, context, features and text, as Markdown.

    Args:
        prepared: the data.
        graph: made of them.
        text: vectors of what is written about the items, where there are any.
        features: of the items, where there are any.
    """
    domains = section(prepared)
    lines = [
        f"# {prepared.name}: {prepared.split}",
        "",
        f"fingerprint {prepared.fingerprint[:16]}, graph {graph.digest}"
        + ("" if text is None else f", text {text.digest}")
        + ("" if features is None else f", features {features.digest}"),
        "",
        "| step | rows | users | items | note |",
        "|---|---:|---:|---:|---|",
        *(f"| {s.name} | {s.rows:,} | {s.users:,} | {s.items:,} | {s.note} |" for s in prepared.steps),
        "",
        *([*domains, ""] if domains else []),
        *(f"    {line}" for line in attributes("items", prepared.items.drop(columns=ITEM_ID), prepared)),
        "",
        *_nodes(prepared, graph),
    ]
    if graph.context is not None:
        lines += [
            "",
            f"Context: items by the buckets that the {int(prepared.in_train.sum()):,} items of train make.",
            "",
        ]
        lines += [
            line for place, name in enumerate(graph.context_sizes) for line in _buckets(prepared, graph, place, name)
        ]
    lines += ["", *_features(prepared, features)]
    return "\n".join([*lines, "", f"Text: {'none; data.text asks for it' if text is None else text.hits}."])


def _nodes(prepared: Prepared, graph: TypedGraph) -> list[str]:
    """Node types with their edges; values of one item only teach nothing about others."""
    item, rows = graph.item_type, prepared.interactions.item[prepared.positives(TRAIN)]
    lines = [
        f"| node type | nodes | edges to {item} | {item}s without | values of one {item} only |",
        "|---|---:|---:|---:|---:|",
        f"| user | {graph.num_users:,} | {len(rows):,} | {graph.num_items - len(np.unique(rows)):,} | |",
        f"| {item} | {graph.num_items:,} | | | |",
    ]
    for kind, attribute in graph.attributes.items():
        degree = np.bincount(attribute.value, minlength=len(attribute.values))
        without = graph.num_items - len(np.unique(attribute.item))
        lines.append(
            f"| {kind} | {len(degree):,} | {len(attribute.item):,} | {without:,} | {(degree == 1).mean():.1%} |"
        )
    for kind, pairs in graph.parents.items():
        lines += ["", f"The hierarchy of {kind} has {pairs.shape[1]:,} edges from value to parent."]
    if graph.num_features:
        lines += ["", f"Each {item} has {graph.num_features} features."]
    if graph.weights.kind != "none":
        lines += ["", f"Edges between users and {item}s are weighed by {graph.weights.kind}."]
    return lines


def _buckets(prepared: Prepared, graph: TypedGraph, place: int, name: str) -> list[str]:
    assert graph.context is not None
    code, size = graph.context[:, place], graph.context_sizes[name]
    values = prepared.items[name].to_numpy(np.float64, na_value=np.nan)
    parts = []
    for bucket in range(UNKNOWN + 1, size):
        own = values[(code == bucket) & prepared.in_train]
        ends = dict.fromkeys(f"{end:.10g}" for end in (own.min(), own.max()))
        parts.append(f"{' to '.join(ends)} ({int((code == bucket).sum()):,})")
    unknown = int((code == UNKNOWN).sum())
    head = f"* {name}: {len(parts)} buckets, unknown of {unknown:,} ({unknown / len(code):.1%})"
    return textwrap.wrap(f"{head}: {', '.join(parts)}", _WIDTH, subsequent_indent="  ")


def _features(prepared: Prepared, features: ItemFeatures | None) -> list[str]:
    """The numbers with what they were fitted on, and the kinds of categories with their codes."""
    if features is None:
        return ["Features: none; data.features asks for them."]
    known, items = prepared.in_train, prepared.items
    lines = [f"Features of {len(items):,} items, fitted on the {int(known.sum()):,} items of train."]
    rows = []
    for scale in features.spec["numbers"]:
        values = items[scale["column"]]
        mark = LATER if scale["column"] in prepared.later else ""
        rows.append((scale, values.notna().mean(), mark + (", of log(1 + x)" if scale["log"] else "")))
    if features.spec["title"]:
        titled = np.mean([bool(title_of(*pair)) for pair in zip(items[TITLE], items[ITEM_ID], strict=True)])
        rows += [(scale, titled, "") for scale in features.spec["title"]["scales"]]
    if rows:
        lines += ["", "| number | known of | mean | deviation |", "|---|---:|---:|---:|"]
        lines += [
            f"| {s['name']}{note} | {share:.1%} | {s['mean']:.4g} | {s['deviation']:.4g} |" for s, share, note in rows
        ]
        if flags := [name for name in features.numbers if name.endswith("_unknown")]:
            lines += ["", f"1 where unknown, else 0: {', '.join(flags)}."]
    if features.coded:
        lines.append("")
    for name, coded in features.coded.items():
        lines += _codes(name + (LATER if name in prepared.later else ""), coded)
    return lines


def _codes(name: str, coded: Coded) -> list[str]:
    own, hashed = coded.kind["codes"], coded.kind["hashed"]
    rest = coded.distinct - len(own)
    others = (
        f"the other {rest:,} share{'s' * (rest == 1)} {hashed:,} by their hash"
        if hashed
        else f"the other {rest:,} {'is' if rest == 1 else 'are'} left out"
    )
    having = np.diff(coded.crow) > 0
    count = np.bincount(coded.col, minlength=len(own))
    told = [
        f"{len(own):,} of {coded.distinct:,} values in train have a code" + (f", {others}" if rest or hashed else ""),
        f"{int(having.sum()):,} items ({having.mean():.1%}) have at least one",
        "most frequent " + ", ".join(f"{value} {count[code]:,}" for value, code in list(own.items())[:_SHOWN]),
    ]
    return textwrap.wrap(f"* {name}: {'; '.join(told[:2] if not own else told)}", _WIDTH, subsequent_indent="  ")
