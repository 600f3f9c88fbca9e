"""What a swap test found: whether the condition of each domain is the right one for it, in words, tables and plots."""

from __future__ import annotations

from recsys_lightning.reports.run.blocks import Block, Cell, Panel, Plot, Remark, Section, Table, Text
from recsys_lightning.reports.run.diffusion import Sentence
from recsys_lightning.reports.run.folder import Run
from recsys_lightning.reports.run.plots import Bar, dots
from recsys_lightning.reports.run.values import Values, read_json
from recsys_lightning.reports.tables import number, text_table

FILE = "swap.json"
OWN, OTHERS, USER, SHIFT = "condition", "others", "user", "shift"
"""What ranks: the domain's condition, other domains' conditions, the user's vector, that vector moved by the mean."""
SIDES = {OTHERS: "conditions of other domains", USER: "user vectors", SHIFT: "user vectors moved by the mean shift"}
CONSTANT = 0.05
"""A smaller share of what conditions add to their users is their own: the rest is one shift for everybody."""

GAPS = "gaps by user vector's"
RANKED = ("domain", "ndcg at", "users", "its condition", "others' conditions", "user vector", "user + mean shift", GAPS)
DESCRIBED = ("domain", "beyond the mean", "found again", "cosine", "centred", "Jacobian", "beyond identity")
PAIRS = ("domains", "cosine", "centred", "linear CKA")
ABOUT = (
    "Items of a domain are ranked by the condition that is meant for it, and by others in its place: the conditions of "
    "other domains (the best of them, where there are several), the user's vector that conditions are made of, and "
    "that vector moved by the mean of what the condition adds to it. A domain passes where its condition is better "
    "than all three: the 95 % interval of the difference, paired by user, lies above 0. It is of this training with "
    "its users drawn anew, and knows nothing of other trainings. The last column has the three differences as shares "
    "of the ndcg of user vectors: a gap may be sure and yet small."
)
DESCRIPTION = (
    "Beyond the mean: share of what the condition adds to its user that is not the same for everybody. Found again: "
    "share of users who are nearest to their own condition, among {compared}. Cosine of user and condition, and "
    "centred, without the means. Jacobian of the condition with respect to the user, by the square root of its width: "
    "1 where the condition is the user; beyond identity, of what is added to it: 0 where that is the same for all."
)


def swap(run: Run) -> Section | None:
    """The section of a run whose test was also a swap test."""
    return None if run.tested is None else section_of(read_json(run.tested / FILE))


def section_of(found: Values) -> Section | None:
    """Verdicts, differences by domain, and what conditions are."""
    domains = [*found["domains"]]
    if not domains or not found["k"]:
        return None
    remarks: list[Block] = [Remark(verdict(domain, found), grave=False) for domain in domains]
    described: list[Block] = [
        Text(DESCRIPTION.format(compared=number(found["compared"].whole()))),
        Table(DESCRIBED, _described(domains)),
        Table(PAIRS, _pairs(found)),
    ]
    panels = [Panel("", [*remarks, Table(RANKED, _ranked(domains, found, intervals=True))], wide=True)]
    panels += [panel for domain in domains if (panel := _differences(domain, found)) is not None]
    return Section("Swap test", [*panels, Panel("What conditions are", described, wide=True)], ABOUT)


def terminal(found: Values) -> str:
    """Tables and verdicts for a terminal."""
    domains = [*found["domains"]]
    tables = [
        text_table(RANKED, _ranked(domains, found)),
        text_table(DESCRIBED, _described(domains)),
        text_table(PAIRS, _pairs(found)),
    ]
    passed = sum(_passes(domain, found) for domain in domains)
    verdicts = [verdict(domain, found) for domain in domains]
    end = f"Swap test: {passed} of {len(domains)} domains pass."
    return "\n".join(["", "\n\n".join(tables), "", *verdicts, end])


def verdict(domain: Values, found: Values) -> str:
    """Whether a domain passes, and by what, at the first cut-off."""
    name, users = domain["name"].text(), domain["users"].whole() or 0
    if not users:
        return f"{name} was not tested: no user has test rows there."
    k = _first(found)
    own = domain["ndcg"][k][OWN].number()
    said = []
    for side, words in SIDES.items():
        less = domain["less"][k][side]
        if side == OTHERS and (best := domain["best_other"][k].text()):
            words = f"the condition of {best}, the best of other domains'"
        said.append(f"{_OUTCOMES[_sign(less)]} {words} ({number(domain['ndcg'][k][side].number())}; {_interval(less)})")
    result = "passes in this training" if _passes(domain, found) else "FAILS in this training"
    sentence = f"{name} {result}: its condition (ndcg@{k} {number(own)}, {users:,} users) is {'; '.join(said)}."
    if shares := _gaps(domain, k):
        sentence += f" The gaps are {' and '.join(shares.rsplit(', ', 1))} of the ndcg of user vectors."
    beyond = domain["beyond_mean"].number()
    if beyond is not None and beyond < CONSTANT:
        sentence += f" What it adds to users is nearly one shift for everybody: {beyond:.1%} of it is their own."
    return sentence


def sentences(found: Values) -> list[Sentence]:
    """The verdicts, each with whether it speaks against the model."""
    return [Sentence(text=verdict(domain, found), against=not _passes(domain, found)) for domain in found["domains"]]


_OUTCOMES = {1: "better than", 0: "not shown to be better than", -1: "worse than"}


def _passes(domain: Values, found: Values) -> bool:
    return bool(domain["users"].whole()) and all(_sign(domain["less"][_first(found)][side]) > 0 for side in SIDES)


def _sign(less: Values) -> int:
    """1 for an interval above 0, -1 for one below."""
    low, high = less["low"].number(), less["high"].number()
    return 0 if low is None or high is None else (low > 0) - (high < 0)


def _first(found: Values) -> str:
    return f"{found['k'].numbers()[0]:g}"


def _gaps(domain: Values, k: str) -> str:
    """The differences as shares of the ndcg of user vectors; nothing where that is 0."""
    base = domain["ndcg"][k][USER].number()
    means = [domain["less"][k][side]["mean"].number() for side in SIDES]
    return ", ".join(number(mean) if mean is None else f"{mean / base:+.1%}" for mean in means) if base else ""


def _ranked(domains: list[Values], found: Values, intervals: bool = False) -> list[list[object]]:
    """A row for each domain and cut-off; with intervals, those of the differences stand below the figures."""
    rows: list[list[object]] = []
    for domain in domains:
        for k in found["k"].numbers():
            figures = {side: domain["ndcg"][f"{k:g}"][side].number() for side in (OWN, *SIDES)}
            cells: list[object] = [*figures.values()]
            if intervals:
                less = domain["less"][f"{k:g}"]
                cells[1:] = [Cell(number(figures[side]), _interval(less[side])) for side in SIDES]
            rows.append([domain["name"].text(), int(k), domain["users"].whole(), *cells, _gaps(domain, f"{k:g}")])
    return rows


def _interval(less: Values) -> str:
    """The difference by which the condition is better, with its interval."""
    mean, low, high = (less[end].number() for end in ("mean", "low", "high"))
    if mean is None or low is None or high is None:
        return "too few users for an interval"
    return f"{mean:+.4f}, {low:+.4f} to {high:+.4f}"


def _described(domains: list[Values]) -> list[list[object]]:
    names = ("beyond_mean", "identified", "cosine", "cosine_centred", "jacobian", "jacobian_beyond")
    return [[domain["name"].text(), *(domain[name].number() for name in names)] for domain in domains]


def _pairs(found: Values) -> list[list[object]]:
    return [
        [" and ".join(pair["domains"].texts()), *(pair[name].number() for name in ("cosine", "cosine_centred", "cka"))]
        for pair in found["pairs"]
    ]


def _differences(domain: Values, found: Values) -> Panel | None:
    """A dot for each side that the condition is compared with."""
    bars = []
    for side, name_of in zip(SIDES, RANKED[4:7], strict=True):
        less = domain["less"][_first(found)][side]
        mean, low, high = (less[end].number() for end in ("mean", "low", "high"))
        if mean is not None:
            bars.append(Bar(name_of, mean, low, high, strong=_sign(less) > 0))
    if not bars:
        return None
    name, k = domain["name"].text(), _first(found)
    said = ", ".join(f"{bar.name} {bar.value:+.4f}" for bar in bars)
    about = f"ndcg@{k} of {name} by its condition, less that by: {said}"
    drawn = dots(bars, f"ndcg@{k} by its condition, less that by these", 0.0)
    return Panel(name, [Plot(f"swap-{name}", about, drawn, "Filled ones are shown to be above 0.")])
