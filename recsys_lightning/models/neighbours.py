"""Neighbour sampling: the part of a typed graph that some nodes hear from in a few layers, with few edges a node.

torch_geometric's NeighborLoader samples in compiled code of pyg-lib or torch-sparse, does not run without one of them,
and knows nothing of `Relation`: so this is ours. The relations themselves stay in memory, 4 numbers an edge and
direction; what shrinks with the fan-out are the activations and the time of a step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from recsys_lightning.batches import CSR
from recsys_lightning.errors import InputError
from recsys_lightning.models.relations import Relation
from recsys_lightning.models.sparse import transpose
from recsys_lightning.schema import EdgeType


class Block(NamedTuple):
    """One layer of a sampled graph: from its sources, numbered from 0 in each node type, to its targets likewise."""

    relations: dict[EdgeType, Relation]  # on these numbers, those into a type that has targets
    source: dict[str, Tensor]  # (n_s,) nodes of the whole graph by node type; the targets come first
    target: dict[str, Tensor]  # (n_t,)


def sample(
    relations: Mapping[EdgeType, Relation],
    seeds: Mapping[str, Tensor],
    fan_out: Sequence[int],
    generator: torch.Generator | None = None,
) -> list[Block]:
    """What some nodes hear from in L layers.

    Of the d edges of a relation into a target, k = min(d, fan-out) are drawn without replacement, all sets of k being
    equally likely, and their norms grow by d / k: so a sum of neighbours weighted by norms is expected to be the whole
    sum, and is that sum at full fan-out. The draws of layers are independent.

    Args:
        relations: of the whole graph.
        seeds: nodes by node type, each once, that the last layer is for.
        fan_out: L numbers of neighbours for each target and relation, those of the seeds first and the outermost last;
            -1 for all neighbours.
        generator: of the nodes' device; torch's own where None.

    Returns:
        L blocks, the outermost first: the targets of each are the sources of the next, and those of the last are the
        seeds.

    Raises:
        InputError: a fan-out is neither -1 nor at least 1.
    """
    if any(size < 1 and size != -1 for size in fan_out):
        raise InputError(f"fan_out needs numbers from 1, or -1 for all neighbours, and was given {list(fan_out)}.")
    blocks: list[Block] = []
    target = dict(seeds)
    for size in fan_out:
        blocks.append(_block(relations, target, size, generator))
        target = blocks[-1].source
    return blocks[::-1]


def _block(
    relations: Mapping[EdgeType, Relation], target: dict[str, Tensor], size: int, generator: torch.Generator | None
) -> Block:
    drawn: dict[EdgeType, tuple[CSR, Tensor]] = {}
    places: dict[str, Tensor] = {}
    source = dict(target)
    for (kind, name, heard_by), relation in relations.items():
        if heard_by not in target:
            continue
        rows, norm = _draw(relation, target[heard_by], size, generator)
        drawn[kind, name, heard_by] = rows, norm
        if kind not in places:
            places[kind] = torch.full_like(relation.source.crow[1:], -1)
            source.setdefault(kind, target[heard_by][:0])
            places[kind][source[kind]] = _count(source[kind])
        new = rows.col[places[kind].index_select(0, rows.col) < 0].unique()  # type: ignore[no-untyped-call]
        places[kind][new.long()] = _count(new) + len(source[kind])
        source[kind] = torch.cat([source[kind], new.to(source[kind])])
    found = {}
    for edge_type, (rows, norm) in drawn.items():
        local = CSR(rows.crow, places[edge_type[0]].index_select(0, rows.col))
        back, position = transpose(local, len(source[edge_type[0]]))
        found[edge_type] = Relation(local, CSR(back.crow.int(), back.col.int()), position.int(), norm)
    return Block(found, source, target)


def _draw(relation: Relation, target: Tensor, size: int, generator: torch.Generator | None) -> tuple[CSR, Tensor]:
    """Some edges of each target: their sources, in numbers of the whole graph (N rows), and their norms from now on."""
    start = relation.target.crow[target].long()
    degree = relation.target.crow[target + 1].long() - start
    taken = degree if size < 0 else degree.clamp(max=size)
    crow = torch.cat([taken.new_zeros(1), taken.cumsum(0)])
    row = _count(target).long().repeat_interleave(taken, output_size=int(crow[-1]))
    position = torch.arange(len(row), device=row.device) + (start - crow[:-1])[row]
    many = (taken < degree).nonzero()
    if len(many):
        slot = crow[many] + torch.arange(size, device=many.device)
        position[slot] = start[many] + _subsets(degree[many], size, generator)
    norm = relation.norm[position] * (degree / taken).to(relation.norm.dtype)[row]
    return CSR(crow.int(), relation.target.col[position]), norm


def _subsets(total: Tensor, size: int, generator: torch.Generator | None) -> Tensor:
    """For each row a set of `size` numbers below its total, (n, 1), ascending, all sets equally likely: (n, size).

    Robert Floyd's algorithm (Bentley and Floyd, CACM 30(9), 1987) for all rows at a time: the j-th number is drawn
    below total - size + j + 1, and is the largest of these, which cannot be in the set yet, where it is in it already.
    """
    chosen = total.new_empty(len(total), size)
    uniform = torch.rand(len(total), size, generator=generator, device=total.device, dtype=torch.float64)
    for step in range(size):
        largest = total - size + step
        number = (uniform[:, step : step + 1] * (largest + 1)).long().clamp_(max=largest)
        taken = (chosen[:, :step] == number).any(1, keepdim=True)
        chosen[:, step : step + 1] = torch.where(taken, largest, number)
    return chosen.sort(1).values


def _count(nodes: Tensor) -> Tensor:
    return torch.arange(len(nodes), dtype=torch.int32, device=nodes.device)
