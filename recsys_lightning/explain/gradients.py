"""Explainers that weigh edges and follow the score's gradients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from recsys_lightning.batches import CSR, Views
from recsys_lightning.errors import InputError
from recsys_lightning.explain.edges import Edges, number, scores, weights
from recsys_lightning.explain.explainers import Effects, Explainer
from recsys_lightning.explain.protocols import Weighable
from recsys_lightning.models.base import Recommender


class IntegratedGradients(Explainer):
    """What each edge adds to the score on the way from a graph without the edges in question to the whole one.

    All of them gain weight t from 0 to 1 together; an edge gets the integral of the score's derivative by its weight.
    The integral is a Gauss-Legendre sum: exact where the score is a polynomial of t below degree 2 * steps, as it is
    for message passing without attention.

    Source: Sundararajan et al., ICML 2017, arXiv 1703.01365.

    Args:
        steps: points on the way, at least 1.
        everything: all edges of these types gain weight together, not only those in question; the others' share is
            in the rest.

    Raises:
        InputError: steps is below 1.
    """

    name = "integrated_gradients"
    meaning = (
        "The values are what each edge adds to the score while these edges gain weight together; with the rest they "
        "add up to it."
    )

    def __init__(self, steps: int = 16, everything: bool = False) -> None:
        if steps < 1:
            raise InputError(f"Integrated gradients need at least 1 step, and were given {steps}.")
        self.steps = steps
        self.everything = everything

    def effects(
        self, model: Recommender, views: Views, edges: Edges, user: int, item: Tensor, seen: CSR | None = None
    ) -> Effects:
        """One pass, and K ways back, for each step."""
        _require_weights(model, self.name)
        assert isinstance(model, Weighable)
        moved = {kind: torch.arange(number(views, kind), device=item.device) for kind in edges}
        moved = moved if self.everything else dict(edges)
        size = sum(map(len, moved.values()))
        values = torch.zeros(len(item), size, device=item.device)
        points, shares = np.polynomial.legendre.leggauss(self.steps)
        for point, share in zip((points + 1) / 2, shares / 2, strict=True):
            weight = torch.full((size,), float(point), device=item.device, requires_grad=True)
            with torch.enable_grad(), _frozen(model):
                score = scores(model, model.encode_weighed(views, weights(views, moved, weight)), user, item)
                values += float(share) * _rows(score, weight)
        with torch.no_grad():
            nothing = weights(views, moved, torch.zeros(size, device=item.device))
            rest = scores(model, model.encode_weighed(views, nothing), user, item)
        if self.everything:
            parts = torch.split(values, [*map(len, moved.values())], dim=1)
            named = [part[:, position] for part, position in zip(parts, edges.values(), strict=True)]
            rest = rest + values.sum(1)
            values = torch.cat(named, 1)
            rest = rest - values.sum(1)
        return Effects(edges, values, rest)


class GNN(Explainer):
    """PyG's GNNExplainer, by its public interface: a mask of edges, as small as it can be, that keeps the score.

        loss = (1 - (score with the mask - score with none of the n edges) / what the edges do for it)^2
               + size * mean of the mask

    The mask weighs the edges in question; all others stay. Two of PyG's settings are not its defaults, as with those
    the order of the mask says nothing where many edges add up: the entropy of the mask is left out, which pushes all
    of them to 1 alike, and the weight of its size goes down with n.

    Source: Ying et al., NeurIPS 2019, arXiv 1903.03894.

    Args:
        epochs: steps of optimisation for each item, at least 1.
        lr: of them, above 0.
        size: weight of the mask's size, above 0; below 2, as a larger one would leave nothing.
        seed: of the mask's start.

    Raises:
        InputError: an argument is out of its range.
    """

    name = "gnn"
    meaning = (
        "The values are a mask from 0 to 1, learned to keep the score with as few edges as it can (PyG's "
        "GNNExplainer): they say what is needed, not how much it gives."
    )

    def __init__(self, epochs: int = 100, lr: float = 0.1, size: float = 1.5, seed: int = 0) -> None:
        if epochs < 1 or not lr > 0 or not 0 < size < 2:
            raise InputError(
                "GNNExplainer needs at least 1 epoch, an lr above 0 and a size between 0 and 2, and was given "
                f"{epochs}, {lr} and {size}."
            )
        self.epochs = epochs
        self.lr = lr
        self.size = size
        self.seed = seed

    def effects(
        self, model: Recommender, views: Views, edges: Edges, user: int, item: Tensor, seen: CSR | None = None
    ) -> Effects:
        """Learn a mask for each item: `epochs` passes there and back each."""
        _require_weights(model, self.name)
        size = sum(map(len, edges.values()))
        if not size:
            return Effects(edges, torch.zeros(len(item), 0, device=item.device), None)
        random = [item.device] if item.device.type == "cuda" else []
        with torch.random.fork_rng(random), torch.enable_grad(), _frozen(model):
            torch.manual_seed(self.seed)
            # shown where standard error is a terminal
            bar = tqdm(torch.split(item, 1), desc=self.name, unit="item", leave=False, disable=None)
            masks = [self._mask(model, views, edges, user, one) for one in bar]
        return Effects(edges, torch.stack(masks), None)

    def _mask(self, model: Recommender, views: Views, edges: Edges, user: int, item: Tensor) -> Tensor:
        """The mask for one item, (n,)."""
        from torch_geometric.explain import Explainer as Search
        from torch_geometric.explain import GNNExplainer

        size = sum(map(len, edges.values()))
        nodes = torch.arange(size, device=item.device)
        x = torch.ones(size, 1, device=item.device)
        network = _as_network(model, views, edges, user, item)
        start = x.clone().requires_grad_()
        whole = network(start, nodes.expand(2, -1))
        if not _rows(whole, start).any():
            return x.new_zeros(size)  # PyG refuses what depends on no edge
        network.unit = (whole - network(0 * x, nodes.expand(2, -1))).detach().abs().clamp(min=1e-6)
        search = Search(
            network,
            algorithm=GNNExplainer(epochs=self.epochs, lr=self.lr, edge_size=self.size / size, edge_ent=0.0),
            explanation_type="model",
            edge_mask_type="object",
            model_config={"mode": "regression", "task_level": "graph", "return_type": "raw"},
        )
        mask: Tensor = search(x, nodes.expand(2, -1)).edge_mask
        return mask.detach()


def _as_network(model: Recommender, views: Views, edges: Edges, user: int, item: Tensor) -> Any:
    """The score as a network whose message passing weighs the edges.

    Its graph has a node for each edge in question, with one edge to itself: what arrives at a node when an explainer
    masks that edge is the weight of the edge that it stands for.
    """
    from torch_geometric.nn import MessagePassing

    class Score(MessagePassing):  # type: ignore[misc]
        unit = torch.ones(1, device=item.device)

        def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
            weight = self.propagate(edge_index, x=x)[:, 0]
            state = model.encode_weighed(views, weights(views, edges, weight))  # type: ignore[operator]
            return scores(model, state, user, item) / self.unit

    return Score(aggr="sum")


@contextmanager
def _frozen(model: Recommender) -> Iterator[None]:
    """Keep gradients from the parameters: PyG's search would add them up there."""
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)


def _rows(score: Tensor, weight: Tensor) -> Tensor:
    """The gradient of each score (K,) by the weights, in their shape: (K, ...); zeros where nothing depends on them."""
    if not score.requires_grad:
        return weight.new_zeros(len(score), *weight.shape)
    rows = [torch.autograd.grad(one, weight, retain_graph=True, allow_unused=True)[0] for one in score]
    return torch.stack([torch.zeros_like(weight) if row is None else row for row in rows])


def _require_weights(model: Recommender, explainer: str) -> None:
    if not isinstance(model, Weighable):
        raise InputError(
            f"{type(model).__name__} cannot be explained by {explainer}: it has no messages to weigh. The explainer "
            "occlusion works for every model that reads no histories."
        )
