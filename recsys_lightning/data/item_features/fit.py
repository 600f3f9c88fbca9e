"""From the columns of items to their features, and the same for items that are not in the data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recsys_lightning.data.item_features.recipe import FeatureRecipe

if TYPE_CHECKING:
    from recsys_lightning.batches import Features
    from recsys_lightning.data.prepared import Prepared


@dataclass(frozen=True, eq=False)
class ItemFeatures:
    """Features of all items."""

    @property
    def sizes(self) -> dict[str, Any]:
        """What the schema holds of them: `numbers`, `categories`, `features`."""
        raise NotImplementedError

    def tensors(self) -> Features:
        """As models read them."""
        raise NotImplementedError


def fit_features(prepared: Prepared, recipe: FeatureRecipe) -> ItemFeatures:
    """Fit on the items of train."""
    raise NotImplementedError
