"""What a page of explanations says in words, the same in Markdown and in HTML."""

from __future__ import annotations

from collections.abc import Sequence

from recsys_lightning.explain.explanation import Effect, Explanation, Influence
from recsys_lightning.reports.explanation_paths import HistoryItem, Path
from recsys_lightning.reports.tables import number

EFFECTS, LISTENED, HISTORY = 5, 5, 30
"""So many effects, attention weights and items of the history are shown."""

OWNED = "the user has it, so it is not ranked and nothing is measured by taking edges away"

PATHS = (
    "Own items that share a value, such as a genre, with the recommended one: the strongest by their effect on the "
    "score times how rare that value is, which is also how thick a line is. Where no own item shares any, the one with "
    "the largest effect stands instead, over other users. The effects are the model's; what two items share is a fact "
    "of the data, and not always the model's reason."
)


def title(user: str) -> str:
    """Of the page."""
    return f"Recommendations for user {user}, and why"


def summary(history: Sequence[HistoryItem], explanations: Sequence[Explanation]) -> str:
    """What the page is about."""
    how = dict.fromkeys(f"`{one.explainer}`. {one.meaning}".strip() for one in explanations)
    by = f", explained by {' '.join(how)}" if how else "."
    return f"{_count(len(history), 'item')} in the history, {_count(len(explanations), 'recommendation')}{by}"


def left_out(history: Sequence[HistoryItem]) -> str:
    """How much of the history is not shown; nothing where all of it is."""
    rest = len(history) - HISTORY
    return f"{_count(rest, 'older item')} {'is' if rest == 1 else 'are'} not shown." if rest > 0 else ""


def sum_of_terms(explanation: Explanation) -> str:
    """The score and its parts."""
    terms = "".join(
        f" {'-' if value < 0 else '+'} {name} {number(abs(value))}" for name, value in explanation.terms.items()
    )
    return f"Score {number(explanation.score)} ={terms.removeprefix(' +')}."


def strongest(explanation: Explanation) -> list[Effect]:
    """The effects that a page shows: the largest of either sign."""
    return sorted(explanation.effects, key=lambda effect: -abs(effect.value))[:EFFECTS]


def effect_name(effect: Effect) -> str:
    """The user's own items by their title, other edges with what they are."""
    return effect.title if effect.relation == "rates" else f"{effect.title} ({effect.relation.replace('_', ' ')})"


def remainder(explanation: Explanation) -> str:
    """What the shown effects leave of the score; nothing where the explainer's effects are no parts of it."""
    if explanation.rest is None:
        return ""
    shown = sum(effect.value for effect in strongest(explanation))
    others = len(explanation.effects) - len(strongest(explanation))
    hidden = sum(effect.value for effect in explanation.effects) - shown
    more = f"{_count(others, 'weaker edge')} {number(hidden)}, " if others else ""
    return f"These add up to {number(shown)}; {more}all else {number(explanation.rest)}."


def influence_words(kind: str, influence: Influence) -> str:
    """What the attributes of one kind add, and with which weight."""
    return f"{kind} adds {number(influence.total)} (weight {number(influence.weight)})"


def attention_words(explanation: Explanation) -> list[str]:
    """Items that the model listens to, with their share."""
    return [f"{listened.title} {listened.weight:.0%}" for listened in explanation.attention[:LISTENED]]


def fidelity_words(explanation: Explanation) -> str:
    """What became of the item when its explanation was taken at its word; nothing where that was not tried."""
    found = explanation.fidelity
    if explanation.rank is None:
        return f"{OWNED[0].upper()}{OWNED[1:]}."
    if found is None:
        return ""
    edges = _count(found.removed, "strongest edge")
    tried = (
        f"Tried: without its {edges} the score goes from {number(explanation.score)} to {number(found.score)}, "
        f"{_moved(explanation.rank, found.rank)}."
    )
    if found.random_score is None or found.random_rank is None:
        return f"{tried} These were all of {in_question(explanation)}, so as many random ones would be the same."
    return (
        f"{tried} Without as many random ones of {in_question(explanation)} it is {number(found.random_score)}, in the "
        f"median rank {found.random_rank:,g}."
    )


def in_question(explanation: Explanation) -> str:
    """The edges that the explainer judged, of which fidelity draws its random ones."""
    own = all(effect.relation == "rates" for effect in explanation.effects)
    return "the user's edges" if own else "the edges of the user and of the item's attributes"


def path_words(path: Path) -> str:
    """What lies between the two items of a path."""
    return "other users" if path.via is None else f"{path.via[0]} {path.via[1]}"


def _moved(before: int, after: int) -> str:
    return f"still rank {after:,}" if before == after else f"rank {before:,} becomes {after:,}"


def _count(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
