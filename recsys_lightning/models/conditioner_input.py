"""What an attention conditioner can read, and in words why it cannot read the rest."""

from __future__ import annotations

import torch
from torch import Tensor

from recsys_lightning.errors import InputError

HALF = (torch.float16, torch.bfloat16)


def refuse_tensors(user: object, context: object, mask: object, weight: Tensor) -> None:
    """Check users, the context and its mask before anything is computed.

    Args:
        user: should be (B, D).
        context: should be (B, L, D), or None.
        mask: should be (B, L) bool, or None.
        weight: (.., D) of the layer that reads users, of the type that they should have.

    Raises:
        InputError: a type or shape does not fit, or there is a mask without a context.
    """
    width = weight.shape[1]
    user = _tensor("users", user, weight)
    if user.dim() != 2 or user.shape[1] != width:
        raise InputError(f"AttentionConditioner reads users of the shape (B, {width}), not {tuple(user.shape)}.")
    if context is None:
        if mask is not None:
            raise InputError("There is a context_mask without a context. Hand over both, or neither.")
        return
    context = _tensor("a context", context, weight)
    if context.dim() != 3 or context.shape[::2] != user.shape:
        raise InputError(
            f"The context of {len(user)} users has the shape ({len(user)}, L, {width}), not {tuple(context.shape)}."
        )
    if mask is None:
        return
    shape, given = tuple(context.shape[:2]), f"of type {type(mask).__name__}"
    if isinstance(mask, Tensor):
        if mask.shape == shape and mask.dtype == torch.bool:
            return
        given = f"of {mask.dtype} and {tuple(mask.shape)}"
    raise InputError(f"The context_mask is a tensor of bool and of the shape {shape}, not {given}.")


def _tensor(name: str, given: object, weight: Tensor) -> Tensor:
    """What is given, if it is a tensor that the layer can read."""
    if not isinstance(given, Tensor):
        raise InputError(f"AttentionConditioner reads {name} as a tensor, and was given a {type(given).__name__}.")
    cast = torch.is_autocast_enabled(weight.device.type) and given.dtype in (torch.float32, *HALF)
    if given.dtype != weight.dtype and not cast:
        raise InputError(
            f"AttentionConditioner's parameters are of {weight.dtype} and the {name.split()[-1]} of {given.dtype}. "
            f"Convert one of them: .to({weight.dtype}) makes the {name.split()[-1]} fit."
        )
    return given
