"""The network of diffusion: what was there before the noise, given a condition."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from recsys_lightning.errors import InputError

FREQUENCIES = 64
"""Sines, and as many cosines, of the time embedding."""

LONGEST = 10_000.0
"""Longest period of these, in thousandths of the whole time."""


class Denoiser(nn.Module):
    """A residual MLP whose blocks are scaled and shifted by what is known beside the noisy vector.

        c = silu(W_t sines(t) + W_c condition + domain)
        h = W_in x;    h += W_2 silu(W_1 (norm(h) * (1 + gamma(c)) + beta(c)))  for each block;    out = W_out norm(h)

    Every block starts as identity, and the network as the constant 0. Rows without condition have a learned vector in
    its place.

    Args:
        dim: D, of the vectors.
        condition_dim: C, of the conditions.
        num_domains: M.
        width: of the hidden layers.
        depth: blocks.

    Raises:
        InputError: a size is below 1.
    """

    def __init__(self, dim: int, condition_dim: int, num_domains: int = 1, width: int = 256, depth: int = 3) -> None:
        super().__init__()
        if min(dim, condition_dim, num_domains, width, depth) < 1:
            raise InputError(
                f"Denoiser needs sizes of at least 1, and was given dim {dim}, condition_dim {condition_dim}, "
                f"num_domains {num_domains}, width {width} and depth {depth}."
            )
        self.time = nn.Sequential(nn.Linear(2 * FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width))
        self.condition = nn.Linear(condition_dim, width)
        self.nothing = nn.Parameter(torch.zeros(width))
        self.domain = nn.Embedding(num_domains, width)
        nn.init.normal_(self.domain.weight, std=0.1)
        self.into = nn.Linear(dim, width)
        self.blocks = nn.ModuleList(_Block(width) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, dim)
        for zero in (self.out.weight, self.out.bias):
            nn.init.zeros_(zero)

    def forward(self, x: Tensor, time: Tensor, condition: Tensor, domain: Tensor, known: Tensor) -> Tensor:
        """Predict.

        Args:
            x: (B, D) noisy vectors.
            time: (B,) share of the whole time, from 0 (data) to 1 (noise); or (1,) the same for all rows.
            condition: (B, C).
            domain: (B,).
            known: (B,) bool; False for rows that are to be predicted without their condition.
        """
        told = torch.where(known[:, None], self.condition(condition), self.nothing.to(condition.dtype))
        context = silu(self.time(sines(time).to(x.dtype)) + told + self.domain(domain))
        hidden = self.into(x)
        for block in self.blocks:
            hidden = block(hidden, context)
        predicted: Tensor = self.out(self.norm(hidden))
        return predicted


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulate = nn.Linear(width, 2 * width)
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)
        for zero in (self.second.weight, self.second.bias):
            nn.init.zeros_(zero)

    def forward(self, hidden: Tensor, context: Tensor) -> Tensor:
        scale, shift = self.modulate(context).chunk(2, -1)
        changed: Tensor = self.second(silu(self.first(self.norm(hidden) * (1 + scale) + shift)))
        return hidden + changed


def sines(time: Tensor) -> Tensor:
    """Times from 0 to 1, (B,) -> (B, 2 * FREQUENCIES), as transformers mark positions 0 to 1,000, in float32."""
    steps = torch.arange(FREQUENCIES, device=time.device, dtype=torch.float32) / FREQUENCIES
    angle = 1000.0 * time.float()[:, None] * (-math.log(LONGEST) * steps).exp()
    return torch.cat([angle.sin(), angle.cos()], 1)
