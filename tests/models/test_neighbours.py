from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recsys_lightning.errors import InputError
from recsys_lightning.models.attention import mix
from recsys_lightning.models.neighbours import Block, sample
from recsys_lightning.models.relations import Relation, relations
from recsys_lightning.schema import EdgeType
from tests.models import graphs

U, I = 23, 17  # noqa: E741
SIZES = {"user": U, "item": I, **graphs.KINDS}
BACK = ("item", "rev_rates", "user")


def world(seed: int = 0) -> dict[EdgeType, Relation]:
    """Relations of users, items and attributes, in float64; user 3 and item 5 have no edges to each other."""
    matrix = torch.rand(U, I, generator=torch.Generator().manual_seed(seed)) < 0.4
    matrix[3], matrix[:, 5] = False, False
    found = graphs.views(matrix).derive(relations(graphs.schema(U, I)))
    return {key: relation._replace(norm=relation.norm.double()) for key, relation in found.items()}


def tables(seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {kind: torch.randn(size, 6, dtype=torch.float64, generator=generator) for kind, size in SIZES.items()}


def layer(x: dict[str, Tensor], found: dict[EdgeType, Relation], own: dict[str, Tensor]) -> dict[str, Tensor]:
    """A node's own row and the sum of its neighbours' by norm, over all relations."""
    out = {kind: rows / 2 for kind, rows in own.items()}
    for (source, _, target), relation in found.items():
        out[target] = out[target] + mix(x[source], relation.norm[:, None], relation)
    return out


def propagate(blocks: list[Block], x: dict[str, Tensor]) -> dict[str, Tensor]:
    x = {kind: x[kind][nodes] for kind, nodes in blocks[0].source.items()}
    for block in blocks:
        own = {kind: x[kind][: len(nodes)] for kind, nodes in block.target.items()}
        x = layer(x, block.relations, own)
    return x


chosen = st.lists(st.integers(0, I - 1), unique=True, max_size=8)


@given(seed=st.integers(0, 999), user=chosen, item=chosen, depth=st.integers(1, 3), size=st.sampled_from([-1, 99]))
@settings(max_examples=30, deadline=None)
def test_at_full_fan_out_it_is_the_full_batch(
    seed: int, user: list[int], item: list[int], depth: int, size: int
) -> None:
    found, x = world(seed), tables(seed)
    seeds = {kind: torch.tensor(nodes, dtype=torch.long) for kind, nodes in (("user", user), ("item", item))}
    whole = x
    for _ in range(depth):
        whole = layer(whole, found, whole)
    part = propagate(sample(found, seeds, [size] * depth), x)
    assert set(part) == {"user", "item"}
    for kind, nodes in seeds.items():
        torch.testing.assert_close(part[kind], whole[kind][nodes], atol=1e-12, rtol=1e-12)


@given(
    seed=st.integers(0, 999), user=chosen, fan_out=st.lists(st.sampled_from([-1, 1, 2, 3, 50]), min_size=1, max_size=3)
)
@settings(max_examples=40, deadline=None)
def test_blocks_are_parts_of_the_graph_that_fit_together(seed: int, user: list[int], fan_out: list[int]) -> None:
    found, seeds = world(seed), {"user": torch.tensor(user, dtype=torch.long)}
    blocks = sample(found, seeds, fan_out)
    assert blocks[-1].target == seeds
    for outer, inner in pairwise(blocks):
        assert outer.target is inner.source
    for block, size in zip(blocks, reversed(fan_out), strict=True):
        assert set(block.relations) == {key for key in found if key[2] in block.target}
        for kind, nodes in block.source.items():
            assert len(nodes.unique()) == len(nodes)
            own = block.target.get(kind, nodes[:0])
            assert torch.equal(nodes[: len(own)], own)
            heard = [relation.target.col for key, relation in block.relations.items() if key[0] == kind]
            new = torch.cat(heard).unique() if heard else torch.empty(0)
            assert set(range(len(own), len(nodes))) <= set(new.tolist())  # no source that nobody hears
        for (source, name, target), part in block.relations.items():
            whole = found[source, name, target]
            degree = whole.target.degree[block.target[target]]
            assert torch.equal(part.target.degree, degree if size < 0 else degree.clamp(max=size))
            pairs = list(
                zip(
                    block.target[target][part.target.row].tolist(),
                    block.source[source][part.target.col.long()].tolist(),
                    strict=True,
                )
            )
            assert len(set(pairs)) == len(pairs)
            everything = zip(whole.target.row.tolist(), whole.target.col.tolist(), strict=True)
            norm = dict(zip(everything, whole.norm.tolist(), strict=True))
            growth = (degree / part.target.degree)[part.target.row]
            expected = torch.tensor([norm[pair] for pair in pairs], dtype=torch.float64) * growth
            torch.testing.assert_close(part.norm, expected, atol=1e-6, rtol=1e-6)
            tensors = (*part.target, *part.source, part.position)
            assert all(tensor.dtype == torch.int32 for tensor in tensors)
            assert torch.equal(part.source.row[part.reverse.position.long()].int(), part.target.col)
            assert torch.equal(part.target.row[part.position.long()].int(), part.source.col)


def test_all_sets_of_neighbours_are_equally_likely() -> None:
    matrix = torch.ones(400, 5, dtype=torch.bool)
    found = {BACK: graphs.edges(matrix)}
    torch.manual_seed(0)
    counts: Counter[tuple[int, ...]] = Counter()
    for _ in range(50):
        (block,) = sample(found, {"user": torch.arange(400)}, [3])
        items = block.source["item"][block.relations[BACK].target.col.long()].view(400, 3)
        counts.update(tuple(sorted(row)) for row in items.tolist())
    assert len(counts) == 10
    drawn = torch.tensor(list(counts.values())).double()
    chi_squared = ((drawn - 2000) ** 2 / 2000).sum()
    assert chi_squared < 27.9  # the .999 quantile with 9 degrees of freedom


def test_sums_by_norm_are_unbiased() -> None:
    found, x = world(), tables()
    seeds = {"user": torch.arange(U), "item": torch.arange(I)}
    expected = layer(layer(x, found, x), found, layer(x, found, x))
    torch.manual_seed(0)
    drawn = [propagate(sample(found, seeds, [3, 2]), x) for _ in range(1500)]
    for kind in seeds:
        rows = torch.stack([out[kind] for out in drawn])
        error = (rows.mean(0) - expected[kind]).abs()
        assert (error <= 4.5 * rows.std(0) / len(drawn) ** 0.5 + 1e-9).all()
        assert rows.std(0).max() > 0.1


def test_a_seed_gives_the_same_blocks() -> None:
    found, seeds = world(), {"user": torch.arange(U)}

    def norms(generator: torch.Generator | None) -> Tensor:
        blocks = sample(found, seeds, [2, 2], generator)
        return torch.cat([relation.norm for block in blocks for relation in block.relations.values()])

    torch.manual_seed(1)
    first, second = norms(None), norms(None)
    torch.manual_seed(1)
    assert torch.equal(norms(None), first)
    assert not torch.equal(first, second)
    state = torch.get_rng_state()
    own = norms(torch.Generator().manual_seed(4))
    assert torch.equal(norms(torch.Generator().manual_seed(4)), own)
    assert torch.equal(torch.get_rng_state(), state)


def test_without_layers_or_seeds() -> None:
    found = world()
    assert sample(found, {"user": torch.arange(3)}, []) == []
    (block,) = sample(found, {"user": torch.arange(0)}, [2])
    assert not len(block.source["item"])


@pytest.mark.parametrize("size", [0, -2])
def test_fan_out_out_of_range(size: int) -> None:
    with pytest.raises(InputError, match=rf"from 1, or -1 for all neighbours, and was given \[5, {size}\]\."):
        sample(world(), {}, [5, size])
