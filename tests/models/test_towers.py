from __future__ import annotations

from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from recsys_lightning.errors import InputError
from recsys_lightning.models import IDTable, TowerEncoder
from recsys_lightning.models.mimic import unit
from recsys_lightning.models.towers import Fusion
from tests.models import featured

N, D = 7, 6
FUSIONS = get_args(Fusion)
DEGREE = torch.tensor([0, 1, 5, 0, 100, 3, 2])
every_fusion = pytest.mark.parametrize("fusion", FUSIONS)


def made(fusion: str, table: IDTable | None = None, augmented: bool = False, scaled: bool = False) -> TowerEncoder:
    torch.manual_seed(0)
    tower = TowerEncoder(N, D, fusion, table or IDTable(), augmented, scaled)  # type: ignore[arg-type]
    tower.degree.copy_(DEGREE)
    return featured.shaken(tower).double()  # type: ignore[no-any-return]


def metadata(fusion: str) -> Any:
    if fusion == "identity":
        return None
    return torch.randn(N, D, generator=torch.Generator().manual_seed(4), dtype=torch.float64)


def expected(tower: TowerEncoder, row: int, identity: Tensor, m: Tensor | None) -> Tensor:
    """The formula of each fusion, of one ID."""
    if tower.fusion == "identity" or m is None:
        return identity
    if tower.fusion == "metadata":
        return m
    if tower.fusion == "sum":
        return identity + m
    if tower.concat is not None:
        return tower.concat.weight @ torch.cat([identity, m]) + tower.concat.bias
    assert tower.gate is not None
    share = tower.gate.share(identity[None], m[None], DEGREE[row, None], DEGREE[row, None] > 0)[0]
    return share * unit(m) + (1 - share) * unit(identity)


@every_fusion
class TestFusions:
    @pytest.mark.parametrize("augmented", [False, True])
    def test_equal_their_formulas(self, fusion: str, augmented: bool) -> None:
        tower, m = made(fusion, augmented=augmented), metadata(fusion)
        index = torch.arange(N)
        found = tower(index, m)
        for row in range(N):
            known = DEGREE[row] > 0
            identity = tower.identity.weight[row] * known if tower.identity is not None else torch.zeros(D).double()
            vector = expected(tower, row, identity, None if m is None else m[row])
            if tower.augmented is not None and tower.merge is not None:
                extra = tower.augmented.weight[row] * known
                vector = tower.merge.weight @ torch.cat([vector, extra]) + tower.merge.bias
            torch.testing.assert_close(found[row], vector)

    @pytest.mark.parametrize("augmented", [False, True])
    def test_ids_that_were_never_met_or_are_hidden_are_as_new(self, fusion: str, augmented: bool) -> None:
        tower, m = made(fusion, augmented=augmented), metadata(fusion)
        index, shown = torch.arange(N), torch.tensor([True, False, True, True, False, True, True])
        found, whole = tower(index, m, shown), tower(index, m)
        unknown = (DEGREE == 0) | ~shown
        if m is None:
            nothing = tower(index, m, torch.zeros(N, dtype=torch.bool))
            torch.testing.assert_close(found[unknown], nothing[unknown])
        else:
            torch.testing.assert_close(found[unknown], tower.new(m)[unknown])
        torch.testing.assert_close(found[~unknown], whole[~unknown])
        before = found.detach().clone()
        for table in (tower.identity, tower.augmented):
            if table is not None:
                table.weight.data[unknown] += 10
        assert torch.equal(tower(index, m, shown)[unknown], before[unknown])

    def test_indices_come_in_any_order(self, fusion: str) -> None:
        tower, m = made(fusion), metadata(fusion)
        some = torch.tensor([4, 0, 4])
        torch.testing.assert_close(tower(some, None if m is None else m[some]), tower(torch.arange(N), m)[some])

    def test_sparse_tables_equal_dense_ones(self, fusion: str) -> None:
        sides = []
        for sparse in (False, True):
            tower = made(fusion, IDTable(sparse), augmented=True)
            some = torch.tensor([1, 5, 1])
            m = metadata(fusion)
            vectors = tower(some, None if m is None else m[some])
            (vectors.sin().sum() + tower.squared(some)).backward()
            for table in (tower.identity, tower.augmented):
                if table is not None and table.weight.grad is not None:
                    assert table.weight.grad.is_sparse == sparse
            gradients = [p.grad.to_dense() for p in tower.parameters() if p.grad is not None]
            sides.append([vectors, *gradients])
        assert len(sides[0]) == len(sides[1])
        for dense, sparsely in zip(*sides, strict=True):
            torch.testing.assert_close(dense, sparsely)


def test_the_gate_counts_fewer_interactions_where_told_and_none_below_zero() -> None:
    tower, m, index = made("adaptive_mimic"), metadata("adaptive_mimic"), torch.arange(N)
    fewer = torch.ones(N, dtype=torch.long)
    found = tower(index, m, fewer=fewer)
    known = DEGREE > 0
    assert tower.gate is not None and tower.identity is not None
    theirs = tower.gate(tower.identity(index), m, DEGREE - 1, known)
    torch.testing.assert_close(found[known], theirs[known])
    assert found.isfinite().all() and not torch.allclose(found[known], tower(index, m)[known])


def test_shares_are_those_of_the_gate() -> None:
    tower, m = made("adaptive_mimic"), metadata("adaptive_mimic")
    share = tower.share(torch.arange(N), m)
    assert torch.equal(share == 1, DEGREE == 0) and tower.identity is not None
    mixed = share[:, None] * unit(m) + (1 - share[:, None]) * unit(tower.identity.weight)
    torch.testing.assert_close(tower(torch.arange(N), m), mixed)


def test_rows_are_no_longer_than_the_limit() -> None:
    tower = made("identity", IDTable(max_norm=0.5))
    found = tower(torch.arange(N), None)
    assert tower.identity is not None
    torch.testing.assert_close(found[DEGREE > 0].norm(dim=1).max().item(), 0.5, atol=1e-4, rtol=1e-4)


def test_squares_are_of_embeddings_alone() -> None:
    index = torch.tensor([1, 1, 2])
    tower = made("sum", augmented=True)
    assert tower.identity is not None and tower.augmented is not None
    whole = sum(table.weight[[1, 1, 2]].square().sum() for table in (tower.identity, tower.augmented))
    torch.testing.assert_close(tower.squared(index), whole)
    assert float(made("metadata").squared(index)) == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_norm": 0.0}, r"table\.max_norm is 0\.0; it must be above 0"),
        ({"max_norm": float("nan")}, r"table\.max_norm is nan"),
    ],
)
def test_tables_that_cannot_be(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        IDTable(**options)
