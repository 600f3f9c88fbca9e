"""Sections out of diagnostics.json on vectors and gates: norms, neighbours, alignment, gate against degree."""

from __future__ import annotations

from recsys_lightning.reports.run.blocks import Block, Panel, Plot, Section, Table, Text
from recsys_lightning.reports.run.plots import Bar, Curve, bars_across, histogram, steps
from recsys_lightning.reports.run.values import Values
from recsys_lightning.reports.tables import number

ROUNDING = 1e-4
"""Norms that differ by no larger a share are equal."""


def vectors(found: Values) -> Section | None:
    """What the vectors of users and items look like."""
    panels: list[Panel | None] = []
    equal = []
    for name, values in found["norms"].items():
        if (norm := _only_norm(values)) is None:
            panels.append(_norms(name, values))
        else:
            equal.append(f"all {name} vectors have the norm {number(norm)}")
    panels += [_cohesion(found["cohesion"]), _alignment(found["alignment"])]
    kept = [panel for panel in panels if panel is not None]
    about = f"Norms tell nothing apart: {', '.join(equal)}." if equal else ""
    if not kept:
        return Section("Vectors", [Panel("", [Text(about)])]) if equal else None
    return Section("Vectors", kept, about)


def gates(found: Values) -> Section | None:
    """Whether the gate hears metadata more where there is little else."""
    panels = [panel for name, gate in found["gate"].items() if (panel := _gate(name, gate)) is not None]
    about = "Share of the metadata in a vector, from 0 (its own embedding alone) to 1 (metadata alone)."
    return Section("Gate against degree", panels, about) if panels else None


def _only_norm(values: Values) -> float | None:
    """The norm that all vectors have but for rounding, as those of cosine models; None where they differ."""
    quantiles = [quantile.number() for _, quantile in values["quantiles"].items()]
    known = [quantile for quantile in quantiles if quantile is not None]
    if sum(count > 0 for count in values["counts"].numbers()) != 1 or not known:
        return None
    return known[0] if max(known) - min(known) <= ROUNDING * abs(known[0]) else None


def _norms(name: str, values: Values) -> Panel | None:
    if not values:
        return None
    quantiles = {float(share): value.number() for share, value in values["quantiles"].items()}
    said = [f"{share:.0%} {number(value)}" for share, value in sorted(quantiles.items()) if share != 0.5]
    middle = quantiles.get(0.5)
    text = f"Mean {number(values['mean'].number())}, median {number(middle)}; quantiles {', '.join(said)}."
    lines = {} if middle is None else {"median": middle}
    blocks = [*_histogram(f"norms-{name}", f"norm of {name} vectors", f"{name}s", values, lines), Text(text)]
    return Panel(f"Norms of {name} vectors", blocks)


def _cohesion(found: Values) -> Panel | None:
    rows, bars = [], []
    for entry in found:
        observed, expected = entry["observed"].number(), entry["expected"].number()
        rows.append((entry["kind"].text(), entry["k"].whole(), observed, expected, entry["items"].whole()))
        if observed is not None:
            bars.append(Bar(entry["kind"].text(), observed, beside=expected))
    if not rows:
        return None
    about = "Share of an item's nearest items that share a value with it, beside the share of random pairs"
    said = ", ".join(f"{bar.name} {number(bar.value)} against {number(bar.beside)}" for bar in bars)
    plot = [Plot("cohesion", f"{about}: {said}", bars_across(bars, "share", "random pairs"))] if bars else []
    table = Table(("kind", "nearest", "observed", "expected", "items"), rows)
    return Panel("Nearest neighbours", [Text(f"{about}."), *plot, table])


def _alignment(found: Values) -> Panel | None:
    if not found:
        return None
    mean, shuffled, users = found["mean"].number(), found["shuffled"].number(), found["users"].whole()
    lines = {name: value for name, value in (("mean", mean), ("others' items", shuffled)) if value is not None}
    text = (
        f"Cosine of a user's vector and the mean of the own items': mean {number(mean)} over {number(users)} users; "
        f"with another user's items in their place {number(shuffled)}."
    )
    return Panel("Users and their items", [*_histogram("alignment", "cosine", "users", found, lines), Text(text)])


def _gate(name: str, gate: Values) -> Panel | None:
    if not gate:
        return None
    rho, low, high = (gate[key].number() for key in ("spearman", "low", "high"))
    text = f"Spearman of gate and train degree {number(rho)}"
    if low is not None and high is not None:
        text += f", 95 % interval {number(low)} to {number(high)}"
    text += f", over {number(gate['count'].whole())} {name}s."
    groups = []
    for point in gate["points"]:
        first, last, mean = point["from"].whole(), point["to"].whole(), point["mean"].number()
        if first is not None and mean is not None:
            degree = f"{first:,}" if last in (None, first) else f"{first:,} to {last:,}"
            groups.append((degree, point["count"].whole(), mean, point["low"].number(), point["high"].number()))
    if not groups:
        return Panel(f"{name.capitalize()}s", [Text(text)])
    low_ends = [group[3] for group in groups if group[3] is not None]
    high_ends = [group[4] for group in groups if group[4] is not None]
    whole = len(low_ends) == len(high_ends) == len(groups)
    places = list(range(len(groups)))
    line = Curve(name, places, [group[2] for group in groups], low_ends if whole else (), high_ends if whole else ())
    firsts = [group[0].partition(" ")[0] for group in groups]
    drawn = steps(line, firsts, f"train rows of the {name}, from", "share of metadata")
    plot = Plot(
        f"gate-{name}",
        f"Mean gate of {name}s by their train rows. {text}",
        drawn,
        "Bars hold the middle half of a group.",
    )
    table = Table((f"train rows of the {name}", f"{name}s", "mean", "25 %", "75 %"), groups)
    return Panel(f"{name.capitalize()}s", [plot, Text(text), table])


def _histogram(name: str, label: str, of: str, values: Values, lines: dict[str, float]) -> list[Block]:
    edges, counts = values["edges"].numbers(), values["counts"].numbers()
    if len(edges) != len(counts) + 1 or not counts:
        return []
    said = ", ".join(f"{line} {number(value)}" for line, value in lines.items())
    return [Plot(name, f"Histogram of {label}; {said}", histogram(edges, counts, label, of, lines))]
