"""What `checks.json` says of a diffusion recommender: whether it diffuses, and what that is good for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypedDict

from recsys_lightning.reports.run.blocks import Block, Panel, Plot, Points, Remark, Section, Table, Text
from recsys_lightning.reports.run.folder import Run
from recsys_lightning.reports.run.plots import Bar, dots
from recsys_lightning.reports.run.values import Values, read_json
from recsys_lightning.reports.tables import number

FILE = "checks.json"

TESTED, OTHERS, UNCONDITIONAL, ONE_STEP = "as tested", "other users' conditions", "no condition", "one step"
CONDITIONS, USERS = "dot product of the conditions", "dot product of the user embedding"
FLOORS = ("Popularity", "EASE")
"""Ways to rank, by the names that the file has for them."""

MOST_LEFT = 0.05
LEAST_SPREAD = 0.01
"""Noise that makes less of the variance of single samples makes no difference."""
MARGIN = 0.25
"""A difference that is surely smaller than this share of Popularity's figure is none."""
LEVEL = 0.05
"""Of what is claimed of all differences together."""
GUIDANCE = "guidance "
"""How the names of ways with other guidance begin."""


class Sentence(TypedDict):
    """What was found, and whether it speaks against the model."""

    text: str
    against: bool


def sentences(found: Mapping[str, Any]) -> list[Sentence]:
    """What the figures say, in words.

    Args:
        found: as the file holds it, without the sentences.
    """
    said = list(_of_the_process(found))
    differences = {(entry["of"], entry["against"], entry["domain"]): entry for entry in found["differences"]}
    ways = {(entry["name"], entry["domain"]): entry["mean"] for entry in found["ways"]}
    for domain in found["domains"]:
        pairs = {(of, against): entry for (of, against, name), entry in differences.items() if name == domain}
        shown = found["figure"].replace("_", "@")
        lead = f"{domain}: " if domain else ""
        values = {name: mean for (name, other), mean in ways.items() if other == domain}
        if TESTED not in values:
            said.append(Sentence(text=f"{lead}nobody was tested.", against=True))
            continue
        said += [
            Sentence(text=f"{lead}{entry['text']}", against=entry["against"])
            for entry in (*_of_conditions(pairs, values, shown), *_beside_others(pairs, values, shown))
        ]
    said += _of_all(found)
    return said + [Sentence(text=note, against=False) for note in found["notes"]]


def diffusion(run: Run) -> Section | None:
    """What the checks of a test found; None where there were none."""
    found = read_json((run.tested or run.folder) / FILE)
    if not found:
        return None
    shown = found["figure"].text().replace("_", "@")
    blocks: list[Block] = []
    for entry in found["sentences"]:
        if entry["against"].flag():
            blocks.append(Remark(entry["text"].text(), grave=False))
    points = [entry["text"].text() for entry in found["sentences"] if not entry["against"].flag()]
    blocks += [Points(points)] if points else []
    panels = [Panel("What was found", blocks, wide=True)]
    panels += [_ways(found, domain.text(), shown) for domain in found["domains"]]
    panels.append(_differences(found, shown))
    sampler = found["sampler"]
    about = (
        f"Samples are drawn in {number(sampler['steps'].whole())} deterministic steps with guidance "
        f"{sampler['guidance'].number() or 0:g}, {number(sampler['samples'].whole())} of each user; the network "
        f"predicts {found['schedule']['prediction'].text()}. Every way below ranks for the same users."
    )
    return Section("Does it diffuse", panels, about)


def _of_the_process(found: Mapping[str, Any]) -> Iterator[Sentence]:
    schedule = found["schedule"]
    left = schedule["final_alpha_bar"]
    yield Sentence(
        text=f"The schedule ends in noise: the final alpha-bar is {left:.4f}, and may be at most {MOST_LEFT}."
        if left <= MOST_LEFT
        else f"The schedule does not end in noise: the final alpha-bar is {left:.4f}, above {MOST_LEFT}.",
        against=left > MOST_LEFT,
    )
    if found["sampler"]["steps"] == 1:
        yield Sentence(text="It samples in one step: it is a regressor, and generates nothing.", against=True)
    for start in found["start"]:
        lead = f"{start['domain']}: " if start["domain"] else ""
        stochastic = start["spread"] >= LEAST_SPREAD
        share = "all" if start["spread"] >= 0.995 else f"{start['spread']:.0%}"
        yield Sentence(
            text=f"{lead}samples start from noise of mean {start['mean']:.3f} and deviation {start['std']:.3f}, which "
            f"makes {share} of the variance of single samples"
            + ("." if stochastic else ": the samples hardly depend on it."),
            against=not stochastic,
        )


def _of_conditions(
    pairs: Mapping[tuple[str, str], Mapping[str, Any]], values: Mapping[str, float], shown: str
) -> Iterator[Sentence]:
    """Whether what is ranked comes from the conditions."""
    entry = pairs.get((OTHERS, "Popularity"))
    if entry is not None:
        said = f"with {OTHERS} {shown} is {values[OTHERS]:.4f}, that of Popularity {values['Popularity']:.4f}"
        margin, sign = MARGIN * values["Popularity"], _sign(entry)
        alike = -margin <= entry["low"] and entry["high"] <= margin
        if alike:
            end = f"it falls to popularity: the interval lies within {100 * MARGIN:.0f} % of it."
        elif sign > 0:
            end = "it stays above, so that not all of it comes from the users' own conditions."
        elif sign < 0:
            end = "it falls below popularity, which is not its quality: such lists are worse than one list for all."
        else:
            end = "it is not shown to differ from popularity, nor to be within "
            end += f"{100 * MARGIN:.0f} % of it{_by_holm(entry)}."
        yield Sentence(text=f"{said} ({_difference(entry)}): {end}", against=sign > 0 and not alike)
    entry = pairs.get((TESTED, OTHERS))
    if entry is not None and _sign(entry) <= 0:
        text = f"the users' own conditions are no better than those of others ({_difference(entry)})."
        yield Sentence(text=text, against=True)
    entry = pairs.get((UNCONDITIONAL, "Popularity"))
    if entry is not None:
        text = f"without conditions {shown} is {values[UNCONDITIONAL]:.4f} ({_difference(entry)} to Popularity)."
        yield Sentence(text=text, against=_sign(entry) > 0)


def _beside_others(
    pairs: Mapping[tuple[str, str], Mapping[str, Any]], values: Mapping[str, float], shown: str
) -> Iterator[Sentence]:
    """Whether it is better than what is simpler."""
    for (of, other), entry in pairs.items():
        if of != TESTED or other == OTHERS:
            continue
        name = f"the same network in {ONE_STEP}" if other == ONE_STEP else f"the {other}"
        name = other if other in FLOORS else name
        sign, ours = _sign(entry), f"{shown} {values[TESTED]:.4f} of this training"
        if sign > 0:
            verdict, end = "beats", ""
        elif sign < 0:
            verdict, end = "does not beat", ": it is worse"
        else:
            chance = "the difference may be chance"
            corrected = f"among so many comparisons {chance}{_by_holm(entry)}"
            verdict, end = "does not beat", f": {corrected if _by_holm(entry) else chance}"
        text = f"{ours} {verdict} {name}, {values[other]:.4f} ({_difference(entry)}){end}."
        yield Sentence(text=text, against=sign <= 0)


def _of_all(found: Mapping[str, Any]) -> Iterator[Sentence]:
    """What all comparisons have in common."""
    number_of = len(found["differences"])
    if number_of:
        all_of_them = "The 1 comparison is" if number_of == 1 else f"All {number_of} comparisons together are"
        text = f"{all_of_them} claimed at {100 * LEVEL:.0f} % by Holm (paired t). Each interval is of this training "
        yield Sentence(text=f"{text}with its users drawn anew, and knows nothing of other trainings.", against=False)
    swept = list(dict.fromkeys(way["name"] for way in found["ways"] if way["name"].startswith(GUIDANCE)))
    if swept:
        text = f"{', '.join(swept)}: figures of test rows, which do not choose; choose guidance on val rows "
        yield Sentence(text=f"{text}(`recsys validate`).", against=False)


def _sign(entry: Mapping[str, Any]) -> int:
    """1 for a difference that is claimed to be above 0, -1 for one below; 0 where it may be chance."""
    return 0 if entry["holm"] > LEVEL else int(entry["low"] > 0) - int(entry["high"] < 0)


def _by_holm(entry: Mapping[str, Any]) -> str:
    """Why a difference whose own interval leaves 0 is not claimed; nothing where that does not."""
    return "" if entry["low"] <= 0 <= entry["high"] else f" (p {entry['holm']:.4f} by Holm)"


def _difference(entry: Mapping[str, Any]) -> str:
    return f"difference {entry['mean']:+.4f}, 95 % interval {entry['low']:+.4f} to {entry['high']:+.4f}"


def _ways(found: Values, domain: str, shown: str) -> Panel:
    bars, rows = [], []
    for entry in found["ways"]:
        if entry["domain"].text() != domain:
            continue
        name, mean, low, high = entry["name"].text(), *(entry[key].number() for key in ("mean", "low", "high"))
        rows.append((name, mean, "" if low is None or high is None else f"{number(low)} to {number(high)}"))
        if mean is not None:
            bars.append(Bar(name, mean, low, high, strong=name == TESTED))
    if not rows:
        return Panel(domain, [Text("Nobody was tested.")])
    said = ", ".join(f"{bar.name} {number(bar.value)}" for bar in bars)
    plot = [Plot(f"checks-{domain or 'all'}", f"{shown}: {said}", dots(bars, shown))] if bars else []
    return Panel(domain, [*plot, Table(("ranked by", shown, "95 % interval"), rows, (shown,))])


def _differences(found: Values, shown: str) -> Panel:
    rows = []
    for entry in found["differences"]:
        mean, low, high = (entry[key].number() for key in ("mean", "low", "high"))
        interval = "" if low is None or high is None else f"{number(low)} to {number(high)}"
        names = (entry[key].text() for key in ("domain", "of", "against"))
        rows.append((*names, mean, interval, entry["holm"].number()))
    header = ("domain", shown, "less that of", "difference", "95 % interval", "p by Holm")
    return Panel("Differences on the same users", [Table(header, rows)], wide=True)
