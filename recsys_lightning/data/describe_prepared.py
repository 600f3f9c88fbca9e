"""What became of a data set: its splits, the nodes of its graph, its buckets and its text, for people."""

from __future__ import annotations

import textwrap

import numpy as np

from recsys_lightning.data.buckets import UNKNOWN
from recsys_lightning.data.describe import attributes
from recsys_lightning.data.graph import TypedGraph
from recsys_lightning.data.prepared import Prepared
from recsys_lightning.data.text.item_text import ItemText
from recsys_lightning.schema import ITEM_ID, TRAIN

_WIDTH = 100


def describe_prepared(prepared: Prepared, graph: TypedGraph, text: ItemText | None) -> str:
    """Steps and splits, items, graph, context and text, as Markdown.

    Args:
        prepared: the data.
        graph: made of them.
        text: vectors of what is written about the items, where there are any.
    """
    lines = [
        f"# {prepared.name}: {prepared.split}",
        "",
        f"fingerprint {prepared.fingerprint[:16]}, graph {graph.digest}"
        + ("" if text is None else f", text {text.digest}"),
        "",
        "| step | rows | users | items | note |",
        "|---|---:|---:|---:|---|",
        *(f"| {s.name} | {s.rows:,} | {s.users:,} | {s.items:,} | {s.note} |" for s in prepared.steps),
        "",
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
