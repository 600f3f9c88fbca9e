"""What serves a batch of GenreGAT, with all neighbours or some."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from recsys_lightning.models import GenreGAT
from tests.models import typed
from tests.models.genre_gats import (
    ATTENTIONS,
    CLOSE,
    RICH,
    batch_of,
    everywhere,
    trained,
)
from tests.models.typed import I, U


class TestParts:
    """What serves a batch."""

    @pytest.mark.parametrize("size", [2, 60])
    @pytest.mark.parametrize("shared", [False, True])
    @everywhere
    def test_what_is_encoded_for_a_batch_serves_it_as_all_do(
        self, data: dict[str, Any], options: dict[str, Any], shared: bool, size: int
    ) -> None:
        world = typed.world(**data)
        model = trained(world, **options)
        torch.manual_seed(size)
        user, item = torch.randint(U, (size,)), torch.randint(I, (size,))
        negative = torch.randint(I, (3,)) if shared else torch.randint(I, (size, 2))
        whole = model.encode(world.views)
        for fan_out in (None, [-1] * model.layers):
            model.fan_out = fan_out
            part = model.encode_for(world.views, batch_of(user, item, negative))
            if size == 2 or fan_out is not None:
                assert len(part.user) < U
                assert part.user_id is not None
            for name in ("users", "users_without", "terms", "influences"):
                index = (user,) if name == "users" else (user, item)
                for ours, theirs in zip(_flat(model, name, part, index), _flat(model, name, whole, index), strict=True):
                    torch.testing.assert_close(ours, theirs, **CLOSE)
            for index in (item, negative):
                torch.testing.assert_close(model.items(part, index), model.items(whole, index), **CLOSE)
            penalties = [model.penalty(state, user, item, negative) for state in (part, whole)]
            torch.testing.assert_close(*penalties, **CLOSE)

    @pytest.mark.parametrize("fan_out", [None, [-1, -1]])
    @pytest.mark.parametrize("missing", [0, 3, 16])
    def test_what_is_not_encoded_is_not_taken_for_something_else(self, missing: int, fan_out: list[int] | None) -> None:
        world = typed.world()
        model = trained(world, fan_out=fan_out)
        held = torch.tensor([1, 2, 4])
        state = model.encode_for(world.views, batch_of(held, held, held[:, None]))
        assert state.user_id is not None and state.item_id is not None
        mixed = torch.tensor([2, missing])
        for read in (
            lambda: model.users(state, mixed),
            lambda: model.items(state, mixed),
            lambda: model.items(state, mixed[:, None]),
            lambda: model.users_without(state, mixed, held[:2]),
            lambda: model.users_without(state, held[:2], mixed),
            lambda: model.terms(state, held[:2], mixed),
            lambda: model.influences(state, mixed, held[:2]),
        ):
            with pytest.raises(IndexError):
                read()

    @pytest.mark.parametrize("attention", ATTENTIONS)
    def test_gradients_of_all_neighbours_are_those_of_the_whole_graph(self, attention: str) -> None:
        world = typed.world(**RICH)
        model = trained(world, attention=attention)
        user, item = torch.tensor([0, 3, 22]), torch.tensor([1, 5, 2])
        gradients = []
        for fan_out in (None, [-1, -1]):
            model.fan_out = fan_out
            state = model.encode_for(world.views, batch_of(user, item, item[:, None]))
            loss = model.score(model.users_without(state, user, item), model.items(state, item)).tanh().sum()
            gradients.append(torch.autograd.grad(loss, list(model.parameters())))
        for ours, theirs in zip(*gradients, strict=True):
            torch.testing.assert_close(ours, theirs, **CLOSE)

    @pytest.mark.parametrize("attention", ATTENTIONS)
    def test_small_fan_outs_are_of_the_seed_and_learn(self, attention: str) -> None:
        world = typed.world(**RICH)
        model = trained(world, steps=5, sampled=True, attention=attention, fan_out=[2, 1])
        user, item = torch.tensor([0, 3, 22]), torch.tensor([1, 5, 2])

        def drawn() -> Tensor:
            state = model.encode_for(world.views, batch_of(user, item, item[:, None]))
            return model.score(model.users(state, user), model.items(state, item))

        torch.manual_seed(1)
        first, second = drawn(), drawn()
        torch.manual_seed(1)
        assert torch.equal(drawn(), first)
        assert not torch.equal(second, first)
        assert first.isfinite().all()


def _flat(model: GenreGAT, name: str, state: Any, index: tuple[Tensor, ...]) -> list[Tensor]:
    out = getattr(model, name)(state, *index)
    if isinstance(out, Tensor):
        return [out]
    return [part for value in out.values() for part in (value if isinstance(value, tuple) else (value,))]
