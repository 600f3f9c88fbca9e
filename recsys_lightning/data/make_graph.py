"""From prepared data and a recipe to the typed graph: which attributes, hierarchies, features and weights it has."""

from __future__ import annotations

import difflib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from recsys_lightning.data.buckets import buckets
from recsys_lightning.data.edge_weights import EdgeWeights
from recsys_lightning.data.features import numbers, vectors
from recsys_lightning.data.graph import TypedGraph
from recsys_lightning.data.graph_recipe import GraphRecipe
from recsys_lightning.data.hierarchy import read_parents
from recsys_lightning.data.vocabulary import Attribute, common, moved
from recsys_lightning.errors import InputError
from recsys_lightning.schema import TRAIN

if TYPE_CHECKING:
    from recsys_lightning.data.prepared import Prepared


def make_graph(prepared: Prepared, recipe: GraphRecipe, root: Path) -> TypedGraph:
    """What the recipe makes of prepared data.

    Args:
        prepared: the data; its train rows decide vocabularies, means, deviations and buckets.
        recipe: what is wanted.
        root: the data root, where the recipe's files lie.

    Raises:
        InputError: the data or files lack what is wanted.
    """
    attributes = _attributes(prepared, recipe)
    features = _features(prepared, recipe, root)
    context, sizes = None, dict[str, int]()
    if recipe.context:
        context, sizes = buckets(prepared.items, recipe.context, recipe.buckets, prepared.in_train)
    if recipe.shuffle is not None:
        place = _places(prepared.in_train, recipe.shuffle)
        attributes = {kind: moved(attribute, place) for kind, attribute in attributes.items()}
        if features is not None:
            features = features[np.argsort(place)]
        if context is not None:
            context = context[np.argsort(place)]
    parents: dict[str, NDArray[np.int64]] = {}
    for kind, file in recipe.parents.items():
        if kind not in attributes:
            raise InputError(
                f"data.graph.parents names a hierarchy of {kind}, which is no node type of this graph; it has "
                f"{', '.join(attributes) or 'no attributes'}. Name it in data.graph.attributes too, or leave it out."
            )
        values, parents[kind] = read_parents(root / file, attributes[kind].values)
        attributes[kind] = replace(attributes[kind], values=values)
    weights = EdgeWeights()
    if recipe.weight != "none":  # else the rows need not be copied
        train = prepared.interactions.take(prepared.positives(TRAIN))
        weights = EdgeWeights.fit(recipe.weight, train, recipe.half_life)
    return TypedGraph(
        num_users=prepared.num_users,
        num_items=prepared.num_items,
        item_type=prepared.item_type,
        attributes=attributes,
        parents=parents,
        weights=weights,
        features=features,
        context=context,
        context_sizes=sizes,
        domains=prepared.domains,
        domain=prepared.domain,
    )


def _attributes(prepared: Prepared, recipe: GraphRecipe) -> dict[str, Attribute]:
    """The attributes asked for, in the order asked for, with the values that are common enough."""
    offered = dict.fromkeys(prepared.attributes.values())
    wanted = [kind for kind in offered if kind not in prepared.on_request]
    if recipe.attributes is not None:
        wanted = list(recipe.attributes)
    found: dict[str, Attribute] = {}
    for kind in wanted:
        if kind not in offered:
            near = difflib.get_close_matches(kind, offered, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise InputError(
                f"data.graph.attributes names {kind}, and {prepared.name} has "
                f"{', '.join(offered) if offered else 'no attributes that could be nodes'}.{hint}"
            )
        if kind in ("user", prepared.item_type):
            raise InputError(
                f"The attributes of {prepared.name} make nodes of type {kind}, which the users or items have already. "
                "Give that attribute another node type."
            )
        attribute = prepared.item_attributes.get(kind)
        kept = None if attribute is None else common(attribute, prepared.in_train, recipe.min_items)
        if kept is not None and kept.values:
            found[kind] = kept
        elif recipe.attributes is not None:
            few = "no item of train has one" if recipe.min_items == 1 else f"none has {recipe.min_items} items of train"
            more = "" if recipe.min_items == 1 else ", or choose a smaller data.graph.min_items"
            raise InputError(f"data.graph.attributes names {kind}, but {few}. Leave {kind} out{more}.")
    return found


def _features(prepared: Prepared, recipe: GraphRecipe, root: Path) -> NDArray[np.float32] | None:
    """(I, F) numbers, then vectors; None where neither is asked for."""
    parts: list[NDArray[Any]] = []
    if recipe.features:
        parts.append(numbers(prepared.items, recipe.features, prepared.in_train))
    if recipe.vectors is not None:
        parts.append(vectors(root / recipe.vectors, prepared.interactions.item_ids, prepared.in_train))
    return np.concatenate(parts, axis=1) if parts else None


def _places(known: NDArray[np.bool_], seed: int) -> NDArray[np.int64]:
    """(I,) the item that each item's attributes go to; those of train exchange theirs among themselves."""
    random = np.random.default_rng(seed)
    place = np.empty(len(known), np.int64)
    for group in (np.flatnonzero(known), np.flatnonzero(~known)):
        place[group] = random.permutation(group)
    return place
