"""Sections on what callbacks saw while a model was trained: conditions, their cosines, attention, overfitting."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from recsys_lightning.reports.run.blocks import Block, Panel, Plot, Remark, Section, Table
from recsys_lightning.reports.run.folder import Run
from recsys_lightning.reports.run.heat import heat
from recsys_lightning.reports.run.plots import Curve, curves, histogram
from recsys_lightning.reports.run.values import Values, read_json
from recsys_lightning.reports.tables import number

NAMES = {
    "diversity": "diversity",
    "diversity_centred": "centred diversity",
    "cka": "linear CKA",
    "cosine": "mean",
    "cosine_q05": "5 %",
    "cosine_q50": "median",
    "cosine_q95": "95 %",
    "cosine_85_95": "0.85 to 0.95",
    "cosine_below_70": "below 0.7",
    "cosine_centred": "centred",
    "entropy": "entropy",
    "divergence": "divergence of heads",
    "by_user": "by user",
    "dead_heads": "dead heads",
    "own": "own tokens",
    "shared": "shared tokens",
    "context": "the user's tokens",
    "gap": "behind its best",
    "loss_gap": "val less train",
    "value": "val",
    "train_loss": "loss of training",
    "val_loss": "loss of val",
}
"""Of figures, as people read them."""
LOSSES = "Losses"


def watched(run: Run) -> list[Section]:
    """A section for each file that a callback left beside the training."""
    sections = []
    for name, make in SECTIONS.items():
        for place in dict.fromkeys(filter(None, (run.trained, run.tested))):
            if section := make(read_json(Path(place) / f"{name}.json")):
                sections.append(section)
                break
    return sections


def diversity(found: Values) -> Section | None:
    """How unlike the conditions of one user are."""
    if not found["figures"]:
        return None
    shown = ("diversity", "diversity_centred", "cka")
    about = (
        "Diversity is 1 - cosine of the conditions of one user in two domains, a mean over users; centred, after the "
        "mean condition of each domain was subtracted: near 0 where domains differ by one shift for everybody. Linear "
        "CKA is 1 where two domains place users alike."
    )
    panels = [_over_time(found, "diversity", "Over the training", shown)]
    panels += _histograms(found, "1 - cosine")
    return _section("Diversity of conditions", found, about, panels, shown)


def cosines(found: Values) -> Section | None:
    """How far conditions are from their users."""
    if not found["figures"]:
        return None
    about = (
        "Cosine of a user's vector and the user's condition. From 0.85 to 0.95 a condition keeps its user and adds "
        "something; below 0.7 it has lost the user. Centred: without the mean user and the mean condition."
    )
    lines = ("cosine", "cosine_q05", "cosine_q95", "cosine_centred")
    panels = [_over_time(found, "cosine", "Over the training", lines)]
    panels.append(_over_time(found, "cosine-shares", "Shares of users", ("cosine_85_95", "cosine_below_70")))
    panels += _histograms(found, "cosine")
    return _section("Users and their conditions", found, about, panels, (*lines, "cosine_85_95", "cosine_below_70"))


def attention(found: Values) -> Section | None:
    """What heads attend to."""
    if not found["figures"]:
        return None
    kinds = [name for name, _ in found["tokens"].items()]
    about = (
        "Entropy of the weights by the logarithm of the number of tokens: 1 where they are uniform. Divergence is "
        "Jensen-Shannon's of two heads: 0 where they are identical. By user is the mutual information of user "
        "and token, by the same logarithm as entropy: 0 where all users have the same weights."
    )
    shown = ("entropy", "divergence", "by_user", *kinds)
    panels = [_over_time(found, "attention", "Over the training", ("entropy", "divergence", "by_user"))]
    panels.append(_over_time(found, "attention-shares", "Share of the weight", kinds))
    panels += [_map(found), _heads(found)]
    return _section("Attention", found, about, panels, (*shown, "dead_heads"))


def overfitting(found: Values) -> Section | None:
    """Whether val got worse while training got better."""
    if not found["figures"]:
        return None
    monitor = found["monitor"].text()
    about = f"How far `{monitor}` is behind its best so far, as a share of that, beside the loss of training."
    panels = [_over_time(found, "overfitting-gap", f"{monitor} behind its best", ("gap",), monitor)]
    panels.append(_over_time(found, "overfitting-loss", LOSSES, ("train_loss", "val_loss"), monitor))
    shown = ("value", "gap", "train_loss", "val_loss", "loss_gap")
    return _section("Overfitting", found, about, panels, shown, {"value": monitor})


SECTIONS: dict[str, Callable[[Values], Section | None]] = {
    "domain_diversity": diversity,
    "cosine_diagnostics": cosines,
    "attention_diagnostics": attention,
    "overfitting": overfitting,
}
"""What makes a section of a file, by the file's name."""


def _section(
    title: str,
    found: Values,
    about: str,
    panels: Sequence[Panel | None],
    shown: Sequence[str],
    names: Mapping[str, str] | None = None,
) -> Section:
    """Panels behind what was said, and the figures of the first and the last validation."""
    rows = [*found["figures"]]
    chosen = {"first": rows[0], "last": rows[-1]}
    columns = [name for name in shown if any(row[name] for row in rows)]
    cells = [[when, row["epoch"].whole(), *(_figure(row[name]) for name in columns)] for when, row in chosen.items()]
    words = {**NAMES, **(names or {})}
    table = Table(["", "epoch", *(words.get(name, name) for name in columns)], cells)
    remarks: list[Block] = [Remark(sentence, grave=False) for sentence in found["said"].texts()]
    head = [Panel("", [*remarks, table], wide=True)]
    return Section(title, [*head, *(panel for panel in panels if panel is not None)], about)


def _figure(value: Values) -> float | int | None:
    """A figure as tables show it: counts are whole."""
    return value.whole() if value.key.endswith("dead_heads") else value.number()


def _over_time(found: Values, name: str, title: str, figures: Sequence[str], label: str = "") -> Panel | None:
    """Curves of figures; None where fewer than two validations have any."""
    rows = [*found["figures"]]
    epochs = [row["epoch"].number() for row in rows]
    along = "epoch" if len(set(epochs)) == len(epochs) else "step"
    lines: list[Curve] = []
    for figure in figures:
        points = [
            (x, y) for row in rows if (x := row[along].number()) is not None and (y := row[figure].number()) is not None
        ]
        if len(points) > 1:
            lines.append(Curve(NAMES.get(figure, figure), *zip(*points, strict=True)))
    if not lines:
        return None
    if len(lines) == 1 and title == LOSSES:
        title = lines[0].name.capitalize()
    said = "; ".join(f"{line.name} from {number(line.y[0])} to {number(line.y[-1])}" for line in lines)
    return Panel(title, [Plot(name, f"{title} by {along}, {label}: {said}", curves(lines, along, ""))])


def _histograms(found: Values, label: str) -> list[Panel]:
    """One of each at the last validation."""
    panels = []
    for name, values in found["histograms"].items():
        edges, counts = values["edges"].numbers(), values["counts"].numbers()
        if len(edges) != len(counts) + 1 or not sum(counts):
            continue
        title = f"{name.replace('_', ' ').capitalize()}, last validation"
        drawn = histogram(edges, counts, label, "users")
        panels.append(Panel(title, [Plot(f"last-{name}", f"Histogram of {name}, over users", drawn)]))
    return panels


def _map(found: Values) -> Panel | None:
    """Mean weights, a row for each head in each domain."""
    heads, names = found["heads"]["mean"], found["domains"].texts()
    rows: list[str] = []
    values: list[list[float]] = []
    for domain, of_domain in zip(names, heads, strict=False):
        for head, weights in enumerate(of_domain):
            rows.append(f"{domain}, head {head + 1}")
            values.append(weights.numbers())
    if not values or not values[0]:
        return None
    tokens = [(NAMES.get(kind, kind), size.whole() or 0) for kind, size in found["tokens"].items()]
    about = (
        f"Mean weights of {len(values[0])} tokens by {len(rows)} heads; the largest is {number(max(map(max, values)))}"
    )
    return Panel(
        "Mean weights", [Plot("attention-map", about, heat(rows, values, tokens), "The stronger the colour, the more.")]
    )


def _heads(found: Values) -> Panel | None:
    """Entropy, dependence on users, and what is wrong, by domain and head."""
    names, dead = found["domains"].texts(), found["dead"]
    columns = zip(names, found["heads"]["entropy"], found["heads"]["by_user"], strict=False)
    rows: list[tuple[object, ...]] = []
    for domain, entropies, by_user in columns:
        for head, (value, share) in enumerate(zip(entropies.numbers(), by_user.numbers(), strict=True), 1):
            rows.append((domain, head, value, share, dead[str(head)].text()))
    if not rows:
        return None
    return Panel("Heads", [Table(("domain", "head", "entropy", "by user", "dead"), rows)])
