"""Several domains in one dot product: what makes a model with a user vector for each domain an ordinary one."""

from __future__ import annotations

import torch
from torch import Tensor

from recsys_lightning.batches import Views
from recsys_lightning.errors import InputError
from recsys_lightning.models.base import Embeddings
from recsys_lightning.schema import Schema


def by_domain(user: Tensor, item: Tensor, domain: Tensor) -> Embeddings:
    """Vectors whose dot product is that of an item with the user's vector for the item's own domain.

        score(u, i) = u_domain(i) . v_i

    A user's vectors stand one after the other, and an item's stands in the block of its domain, among zeros.

    Args:
        user: (U, M, D), a vector for each domain.
        item: (I, D).
        domain: (I,) of each item, below M.

    Returns:
        user (U, M * D) and item (I, M * D).
    """
    num_domains, width = user.shape[1:]
    place = torch.arange(len(item), device=item.device), domain
    blocks = item.new_zeros(len(item), num_domains, width).index_put(place, item)
    return Embeddings(user.flatten(1), blocks.flatten(1))


def domain_of(views: Views) -> Tensor:
    """(I,) the domain of each item; zeros where there is one."""
    if views.domain is not None:
        return views.domain
    return torch.zeros(views.num_items, dtype=torch.long, device=views.device)


def require_vectors(schema: Schema, name: str) -> None:
    """Check that the data bring vectors of an earlier run.

    Raises:
        InputError: they bring none.
    """
    if not schema.vector_width:
        raise InputError(
            f"{name} reads vectors of users and items that an earlier run left, and these data bring none. Choose "
            "--data EmbeddingDataModule with --data.vectors FILE, which `recsys predict --trainer.callbacks+="
            "WriteVectors` of that run writes."
        )
