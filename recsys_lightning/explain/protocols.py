"""What explainers ask of a model beyond the contract. A model implements what it can, and imports nothing for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from torch import Tensor

from recsys_lightning.batches import Views
from recsys_lightning.models.base import State
from recsys_lightning.schema import EdgeType


@runtime_checkable
class Weighable(Protocol):
    """Its messages can be weighed, edge by edge."""

    def encode_weighed(self, views: Views, weight: Mapping[EdgeType, Tensor]) -> State:
        """The state when what each edge passes on, in both directions, is multiplied by its weight (E,).

        Degrees and attention stay as they were; gradients reach the weights. Edge types are forward ones: users'
        edges in the order of `views.train`, others in that of the graph. Types that are left out weigh 1.
        """


@runtime_checkable
class Additive(Protocol):
    """Its scores are sums over the user's own items, and something else."""

    def contributions(self, views: Views, state: State, user: int, item: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Own items (n,) in the order of `views.train`, the value of each for items (K,) -> (K, n), and the rest (K,).

        Values and rest add up to the scores.
        """


@runtime_checkable
class Attentive(Protocol):
    """It weighs neighbours by attention."""

    def attention(self, views: Views) -> list[dict[EdgeType, Tensor]]:
        """For each layer the attention of each edge (E, heads), in the order of `Relation.target`."""


@runtime_checkable
class Influenced(Protocol):
    """It scores the attributes that users and items share."""

    def influences(self, state: State, user: Tensor, item: Tensor) -> dict[str, tuple[Tensor, Tensor, Tensor, Tensor]]:
        """Affinity, strength, contribution (B, G each) and weight (B,) by kind, for pairs (B,), (B,).

        The user has an affinity for each of the kind's G values, and the item has the value so strongly. Contributions
        add up to the kind's term, and the weight is what the model gives the kind for that user.
        """
