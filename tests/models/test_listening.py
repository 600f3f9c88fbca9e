from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from recsys_lightning.models.listening import Listening, Scoring
from recsys_lightning.models.relations import Relation
from tests.models import graphs

D, H, TARGETS, SOURCES = 6, 3, 9, 7
SCORINGS: list[Scoring] = ["gat", "gatv2", "none"]
CLOSE = {"atol": 1e-9, "rtol": 1e-9}


def world(scoring: Scoring, symmetric: bool, learned: bool = True) -> tuple[Any, Tensor, Tensor, Relation]:
    """A layer, sources, targets, and edges; target 4 hears nobody."""
    torch.manual_seed(0)
    matrix = torch.rand(TARGETS, SOURCES) < 0.5
    matrix[4] = False
    edges = graphs.edges(matrix)
    layer: Any = Listening(D, H, scoring, symmetric).double()
    if learned:
        for parameter in layer.parameters():
            torch.nn.init.normal_(parameter, std=3.0)
    source, target = (torch.randn(n, D, dtype=torch.float64, requires_grad=True) for n in (SOURCES, TARGETS))
    return layer, source, target, edges._replace(norm=edges.norm.double())


def alphas(layer: Any, source: Tensor, target: Tensor, edges: Relation, symmetric: bool) -> list[dict[int, Tensor]]:
    """By target and source, the coefficients (H,) or (1,), one edge at a time as the docstring has it."""
    norms: list[dict[int, float]] = [{} for _ in range(TARGETS)]
    for t, s, norm in zip(edges.target.row.tolist(), edges.target.col.tolist(), edges.norm.tolist(), strict=True):
        norms[t][s] = norm
    found = []
    for t, own in enumerate(norms):
        prior = own if symmetric else dict.fromkeys(own, 1 / max(1, len(own)))
        mass, weight = sum(prior.values()), {}
        for s, p in prior.items():
            if layer.scoring == "gat":
                score = torch.nn.functional.leaky_relu(
                    (source[s] @ layer.source + target[t] @ layer.target) / D**0.5, 0.2
                )
            elif layer.scoring == "gatv2":
                both = torch.nn.functional.leaky_relu(source[s] @ layer.source + target[t] @ layer.target, 0.2)
                score = (both.view(H, -1) * layer.score).sum(1) / D**0.5
            else:
                score = source.new_zeros(1)
            weight[s] = p * score.exp()
        total = sum(weight.values())
        found.append({s: mass * w / total for s, w in weight.items()})
    return found


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("scoring", SCORINGS)
class TestListening:
    def test_it_is_the_formula_and_so_are_its_gradients(self, scoring: Scoring, symmetric: bool) -> None:
        layer, source, target, edges = world(scoring, symmetric)
        found = alphas(layer, source, target, edges, symmetric)
        rows = []
        for own in found:
            heard = [alpha.repeat_interleave(D // len(alpha)) * source[s] for s, alpha in own.items()]
            rows.append(sum(heard, source.new_zeros(D)))
        expected, weights = torch.stack(rows), torch.randn(TARGETS, D, dtype=torch.float64)
        out = layer(source, target, edges, 0.0)
        torch.testing.assert_close(out, expected, **CLOSE)
        assert not out[4].any()
        coefficients = layer.coefficients(source, target, edges)
        for alpha, t, s in zip(coefficients, edges.target.row.tolist(), edges.target.col.tolist(), strict=True):
            torch.testing.assert_close(alpha, found[t][s].to(alpha), **CLOSE)
        learned = [source, target, *layer.parameters()]
        options = {"allow_unused": True, "materialize_grads": True}
        pairs = [torch.autograd.grad((part * weights).sum(), learned, **options) for part in (out, expected)]
        for ours, theirs in zip(*pairs, strict=True):
            torch.testing.assert_close(ours, theirs, **CLOSE)

    def test_it_starts_at_the_prior(self, scoring: Scoring, symmetric: bool) -> None:
        layer, source, target, edges = world(scoring, symmetric, learned=False)
        alpha = layer.coefficients(source, target, edges)
        prior = edges.norm if symmetric else 1 / edges.target.degree.double()[edges.target.row]
        torch.testing.assert_close(alpha, prior[:, None].expand_as(alpha), **CLOSE)

    def test_dropout_is_of_the_seed_and_unbiased(self, scoring: Scoring, symmetric: bool) -> None:
        layer, source, target, edges = world(scoring, symmetric)
        torch.manual_seed(1)
        first, second = (layer(source, target, edges, 0.4) for _ in range(2))
        torch.manual_seed(1)
        assert torch.equal(layer(source, target, edges, 0.4), first)
        assert not torch.equal(first, second)
        with torch.no_grad():
            drawn = torch.stack([layer(source, target, edges, 0.4) for _ in range(3000)])
        error = (drawn.mean(0) - layer(source, target, edges, 0.0)).abs()
        assert (error <= 4.5 * drawn.std(0) / len(drawn) ** 0.5 + 1e-9).all()

    def test_penalty_is_of_the_attention_vectors(self, scoring: Scoring, symmetric: bool) -> None:
        layer, *_ = world(scoring, symmetric)
        vectors = {"gat": ["source", "target"], "gatv2": ["score"], "none": []}[scoring]
        expected = sum(value**2 / 2 for name in vectors for value in getattr(layer, name).flatten().tolist())
        assert layer.penalty().item() == pytest.approx(expected)
