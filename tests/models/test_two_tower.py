from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from recsys_lightning.batches import CSR, Views
from recsys_lightning.errors import InputError
from recsys_lightning.models import TwoTower
from recsys_lightning.models.mimic import unit
from recsys_lightning.schema import Schema
from tests import worlds
from tests.models import featured
from tests.models.contract import TrainedContract
from tests.models.featured import BARE, COLD, NOBODY, I, U
from tests.models.two_towers import CLOSE, FOLDING, FUSIONS, made, some


class Rich(TwoTower):
    """The model on data that have features."""

    def __init__(self, schema: Schema, **options: Any) -> None:
        super().__init__(featured.schema(schema.num_users, schema.num_items), **options)


class TestAdaptive(TrainedContract):
    model = Rich
    options = {"dim": 8, "hidden": 10, "mimic": "metadata", "dropout": 0.0}  # noqa: RUF012

    def views(self, matrix: Tensor, item_order: Tensor | None = None) -> Views:
        return featured.views(matrix, item_order)


class TestIdentity(TrainedContract):
    model = TwoTower
    options = {"dim": 8, "fusion": "identity"}  # noqa: RUF012


class TestMetadata(TestAdaptive):
    options = {"dim": 8, "hidden": 10, "fusion": "metadata", "similarity": "dot"}  # noqa: RUF012


class TestSum(TestAdaptive):
    options = {"dim": 8, "hidden": 10, "fusion": "sum", "categories": "learned", "category_dim": 4}  # noqa: RUF012


class TestConcat(TestAdaptive):
    options = {"dim": 8, "hidden": 10, "fusion": "concat", "similarity": "dot", "mimic": "metadata"}  # noqa: RUF012


class TestDualAugmented(TestAdaptive):
    options = {"dim": 8, "hidden": 10, "mimic": "dat"}  # noqa: RUF012


class TestEquations:
    @pytest.mark.parametrize("similarity", ["cosine", "dot"])
    @pytest.mark.parametrize("fusion", FUSIONS)
    def test_a_score_is_the_similarity_of_both_towers(self, fusion: str, similarity: str) -> None:
        matrix = featured.matrix()
        world = featured.views(matrix)
        model = made(fusion=fusion, similarity=similarity, temperature=0.25)
        state = model.encode(world)
        scores = model.score_all(model.users(state, torch.arange(U)), state)
        rows = None if fusion == "identity" else model.item_rows(world.features)
        for user in (0, NOBODY, 4, 22):
            for item in (0, 1, COLD, BARE):
                of_user = of_item = None
                if rows is not None and model.features is not None:
                    own = rows[matrix[user]].mean(0) if matrix[user].any() else rows[0] * 0
                    of_user, of_item = model.features.user(own[None]), model.features.item(rows[item, None])
                u = model.user(torch.tensor([user]), of_user)[0]
                i = model.item(torch.tensor([item]), of_item)[0]
                expected = u @ i
                if similarity == "cosine":
                    expected = expected / (u.norm() * i.norm()).clamp(min=1e-12) / 0.25
                torch.testing.assert_close(scores[user, item], expected, **CLOSE)

    def test_an_id_that_was_never_met_contributes_nothing_in_evaluation(self) -> None:
        """New users bring rows along: their metadata are made of these, and their untrained ID stays out."""
        matrix, given = featured.matrix(), featured.matrix()
        given[NOBODY, [1, 2]] = True
        model, user = made(), torch.tensor([NOBODY])
        world = featured.views(given)
        state = model.encode(world)
        u = model.users(state, user)
        torch.testing.assert_close(u, model.users_of(state, worlds.csr(given[user])), **CLOSE)
        assert not torch.allclose(u, model.users(model.encode(featured.views(matrix)), user))
        assert model.user.identity is not None
        model.user.identity.weight.data[NOBODY] += 5
        assert torch.equal(model.users(model.encode(world), user), u)

    @pytest.mark.parametrize("fusion", FOLDING)
    def test_new_users_are_users_without_ids(self, fusion: str) -> None:
        model, matrix = made(fusion=fusion), featured.matrix()
        state, user = model.encode(featured.views(matrix)), torch.arange(U)
        found = model.users_of(state, worlds.csr(matrix))
        assert not torch.allclose(found[0], found[1])
        model.user.degree.zero_()
        torch.testing.assert_close(found, model.users(state, user), **CLOSE)

    def test_gates_are_shares_of_metadata_and_whole_without_interactions(self) -> None:
        model, world = made(), featured.views(featured.matrix())
        gates = model.gates(world)
        assert {name: len(gate) for name, gate in gates.items()} == {"item": I, "user": U}
        assert torch.equal(gates["item"] == 1, world.popularity == 0)
        assert torch.equal(gates["user"] == 1, world.train.degree == 0)
        state = model.encode(world)
        assert state.metadata is not None and model.item.identity is not None
        share = gates["item"][:, None]
        mixed = unit(share * unit(state.metadata) + (1 - share) * unit(model.item.identity.weight))
        torch.testing.assert_close(mixed, model.items(state), **CLOSE)
        assert not gates["user"].requires_grad
        for fusion in ("identity", "metadata", "sum", "concat"):
            assert made(fusion=fusion).gates(world) == {}


@pytest.mark.parametrize("fusion", FOLDING)
@pytest.mark.parametrize("options", [{}, {"categories": "learned", "similarity": "dot"}, {"mimic": "dat"}])
def test_what_is_exported_is_what_is_encoded(fusion: str, options: dict[str, Any]) -> None:
    if fusion == "metadata" and options.get("mimic"):
        pytest.skip("needs IDs")
    matrix = featured.matrix()
    model, world = made(fusion=fusion, **options), featured.views(matrix)
    state = model.encode(world)
    rows = model.item_rows(world.features)
    torch.testing.assert_close(model.item_from_row(rows)[COLD], model.items(state)[COLD], **CLOSE)
    own = torch.stack([rows[has].mean(0) if has.any() else rows[0] * 0 for has in matrix])
    torch.testing.assert_close(model.user_from_row(own), model.users_of(state, worlds.csr(matrix)), **CLOSE)
    tables, item = model.category_tables(), 0
    parts = [world.features.numbers[item].double()]
    for codes, table in zip(world.features.categories, tables, strict=True):
        parts.append(table[codes.col[codes.crow[item] : codes.crow[item + 1]]].mean(0))
    torch.testing.assert_close(torch.cat(parts), rows[item], **CLOSE)


def test_penalty_is_of_the_ids_that_a_batch_touches() -> None:
    model, batch = made(), some((0, 1), (0, 2), negative=[[4], [1]])
    assert model.user.identity is not None and model.item.identity is not None
    rows = [model.user.identity.weight[[0, 0]], model.item.identity.weight[[1, 2, 4, 1]]]
    expected = torch.cat(rows).square().sum() / 4
    torch.testing.assert_close(model.penalty(model.encode(featured.views(featured.matrix())), *batch[:3]), expected)


@pytest.mark.parametrize("options", [{"mimic": "metadata"}, {"mimic": "dat", "categories": "learned"}])
def test_half_precision(options: dict[str, Any]) -> None:
    matrix = featured.matrix()
    world = featured.views(matrix)
    torch.manual_seed(0)
    model = TwoTower(featured.schema(), 8, 10, **options)
    with torch.autocast("cpu", torch.bfloat16):
        loss = featured.loss(model.train(), world, featured.batch(matrix))
    loss.backward()
    assert loss.isfinite()
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in model.parameters())
    scores: list[Tensor] = []
    model.eval()
    for half in (False, True):
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=half):
            state = model.encode(world)
            scores.append(model.score_all(model.users(state, torch.arange(U)), state).float())
    torch.testing.assert_close(*scores, atol=0.3, rtol=0.1)


def test_what_is_read_and_who_folds_in() -> None:
    reads = {fusion: (made(fusion=fusion).reads_features, made(fusion=fusion).folds_in) for fusion in FUSIONS}
    assert reads == {fusion: (fusion != "identity",) * 2 for fusion in FUSIONS}
    assert made(fusion="identity", mimic="dat").reads_features and not TwoTower.reads_features
    plain = made(schema=worlds.schema(U, I), fusion="identity")
    state = plain.encode(Views(worlds.csr(featured.matrix()), I))
    nobody = CSR(torch.zeros(1, dtype=torch.long), torch.zeros(0, dtype=torch.long))
    calls: list[Callable[[], object]] = [
        lambda: plain.users_of(state, nobody),
        lambda: plain.item_rows(featured.features()),
        lambda: plain.user_from_row(torch.zeros(1, 3)),
    ]
    for call in calls:
        with pytest.raises(NotImplementedError, match="identity"):
            call()


PLAIN = worlds.schema(2, 2)
NO_CATEGORIES = replace(featured.schema(2, 2), categories={})


@pytest.mark.parametrize(
    ("schema", "options", "words"),
    [
        (PLAIN, {}, r"fusion adaptive_mimic and mimic none reads features.*Say in data\.features"),
        (PLAIN, {"fusion": "identity", "mimic": "dat"}, r"fusion identity and mimic dat reads features"),
        (NO_CATEGORIES, {"mimic": "dat"}, r"Name some in data\.features\.categories"),
        (None, {"fusion": "product"}, r"as fusion identity, metadata, sum, concat, adaptive_mimic, .* 'product'\."),
        (None, {"mimic": "ids"}, r"as mimic none, metadata, dat, and was given 'ids'\."),
        (None, {"similarity": "l2"}, r"as similarity cosine, dot, and"),
        (None, {"categories": "hashed"}, r"as categories one_hot, learned, and"),
        (None, {"dim": 0}, r"needs dim of at least 1, and was given 0\."),
        (None, {"hidden": 0}, r"needs hidden of at least 1"),
        (None, {"category_dim": 0}, r"needs category_dim of at least 1"),
        (None, {"dropout": 1.0}, r"needs dropout from 0 to less than 1, and was given 1\.0\."),
        (None, {"id_dropout": -0.1}, r"needs id_dropout from 0"),
        (None, {"mimic_weight": -1.0}, r"needs mimic_weight from 0, and was given -1\.0\."),
        (None, {"alignment_weight": float("nan")}, r"needs alignment_weight from 0, and was given nan\."),
        (None, {"temperature": 0.0}, r"needs temperature above 0, and was given 0\.0\."),
        (None, {"fusion": "identity", "mimic": "metadata"}, r"mimic metadata needs a fusion of IDs and metadata"),
        (None, {"fusion": "metadata", "mimic": "metadata"}, r"and was given metadata\. Set mimic none"),
        (None, {"fusion": "metadata", "mimic": "dat"}, r"mimic dat needs a fusion with IDs"),
    ],
)
def test_arguments_out_of_range(schema: Schema | None, options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        TwoTower(schema or featured.schema(2, 2), **options)
