from __future__ import annotations

import re
from typing import Any

import pytest
import torch

from recsys_lightning.errors import InputError
from recsys_lightning.models import AttentionConditioner
from tests.models.test_conditioner import histories, made, users

U = users()
CONTEXT, MASK = histories()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((U[:, :3],), "users of the shape (B, 8), not (7, 3)"),
        ((U[0],), "users of the shape (B, 8), not (8,)"),
        ((U[0, 0],), "users of the shape (B, 8), not ()"),
        ((U.numpy(),), "users as a tensor, and was given a ndarray"),
        ((U.tolist(),), "users as a tensor, and was given a list"),
        ((U.half(),), "parameters are of torch.float64 and the users of torch.float16"),
        ((U, None, MASK), "a context_mask without a context"),
        ((U, CONTEXT[:2]), "has the shape (7, L, 8), not (2, 5, 8)"),
        ((U, CONTEXT[..., :3]), "has the shape (7, L, 8), not (7, 5, 3)"),
        ((U, CONTEXT.float()), "the context of torch.float32"),
        ((U, CONTEXT.tolist()), "a context as a tensor, and was given a list"),
        ((U, CONTEXT, MASK[:, :2]), "of bool and of the shape (7, 5), not of torch.bool and (7, 2)"),
        ((U, CONTEXT, MASK.float()), "of bool and of the shape (7, 5), not of torch.float32 and (7, 5)"),
        ((U, CONTEXT, MASK.tolist()), "of bool and of the shape (7, 5), not of type list"),
    ],
)
def test_what_does_not_fit_is_refused_before_it_is_looked_at(arguments: tuple[Any, ...], message: str) -> None:
    model = made()
    with pytest.raises(InputError, match=re.escape(message)):
        model(arguments[0], 0, *arguments[1:])
    with pytest.raises(InputError, match=re.escape(message)):
        model.all_domains(*arguments)


def test_autocast_may_mix_what_it_casts() -> None:
    model, half = AttentionConditioner(8).eval(), U.bfloat16()
    with pytest.raises(InputError, match=r"parameters are of torch\.float32 and the users of torch\.bfloat16"):
        model(half, 0)
    with torch.autocast("cpu", torch.bfloat16):
        assert model(half, 0, CONTEXT.float(), MASK).isfinite().all()
        with pytest.raises(InputError, match=r"users of torch\.float64"):
            model(U, 0)
