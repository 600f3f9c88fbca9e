"""From noise to samples: noise that is known by whom it is for, and deterministic steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite, pi

import torch
from torch import Tensor

from recsys_lightning.errors import InputError
from recsys_lightning.models.diffusion.schedule import CosineSchedule

Denoise = Callable[[Tensor, Tensor], Tensor]
"""x_t (B, D) at one time (1,) -> x_0 (B, D)."""


@dataclass(frozen=True)
class Sampler:
    """How samples are drawn.

    Attributes:
        steps: of DDIM, from 1 to the schedule's timesteps.
        guidance: 0 ignores the condition, 1 samples by it, and more goes on in the direction from one to the other.
        samples: of each user, whose mean is taken.
        seed: of the noise.

    Raises:
        InputError: a number is out of its range.
    """

    steps: int
    guidance: float = 1.0
    samples: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.samples < 1 or self.seed < 0:
            raise InputError(
                "Diffusion needs steps and samples of at least 1 and a seed of at least 0, and was given steps "
                f"{self.steps}, samples {self.samples} and seed {self.seed}."
            )
        if not (isfinite(self.guidance) and self.guidance >= 0):
            raise InputError(f"Diffusion needs a guidance of at least 0, and was given {self.guidance}.")


def ddim(denoise: Denoise, noise: Tensor, schedule: CosineSchedule, steps: int) -> Tensor:
    """Deterministic samples: the same noise (B, D) gives the same sample (B, D).

        x_s = sqrt(alpha_bar_s) x_0 + sqrt(1 - alpha_bar_s) (x_t - sqrt(alpha_bar_t) x_0) / sqrt(1 - alpha_bar_t)

    with x_0 = denoise(x_t, t), from t = T down to 0; the last step leaves x_0.

    Source: Song et al., ICLR 2021, arXiv 2010.02502, equation 12 with sigma 0.

    Raises:
        InputError: the schedule has not so many steps.
    """
    times = schedule.ladder(steps).to(noise.device)
    x = noise
    for now, then in pairwise(times):
        x0 = denoise(x, now[None])
        x = schedule.diffuse(x0, schedule.noise(x, x0, now[None]), then[None])
    return x


def guided(with_condition: Tensor, without: Tensor, guidance: float) -> Tensor:
    """Classifier-free guidance: `without + guidance * (with_condition - without)`.

    It is the same for predictions of x_0, of v and of noise, which are affine in one another. Source: Ho and Salimans,
    arXiv 2207.12598, whose w is `guidance - 1`.
    """
    return without + guidance * (with_condition - without)


def noise_of(user: Tensor, domain: int, samples: int, width: int, seed: int) -> Tensor:
    """Standard normal noise (B, samples, width) in float32, of users (B,) in a domain.

    A pure function of (seed, user, domain, place): who else is in the batch, and on which process, changes nothing.
    Box and Muller's transform of numbers that are hashed, not drawn. The later half is the first one with opposite
    sign, without the last of an odd number: means over such pairs lack all that is linear in the noise (antithetic
    variates; Hammersley and Morton, 1956).
    """
    drawn = (samples + 1) // 2
    places = torch.arange(drawn * width * 2, device=user.device)
    stream = _mix(user.long() + 1)
    for part in (seed & 0x7FFFFFFF, domain + 1):
        stream = _mix(stream ^ _mix(torch.full_like(stream, part) + 0x9E3779B9 & 0xFFFFFFFF))
    numbers = _mix(stream[:, None] ^ _mix(places + 0x51ED270B)).double()
    first, second = ((numbers + 0.5) / 2**32).view(len(user), 2, drawn, width).unbind(1)
    noise = ((-2 * first.log()).sqrt() * (2 * pi * second).cos()).float()
    return torch.cat([noise, -noise], 1)[:, :samples]


def _mix(x: Tensor) -> Tensor:
    """Spread int64 numbers below 2^32 over that range, one to one; every step stays below 2^63."""
    for _ in range(2):
        x = ((x ^ (x >> 16)) * 0x45D9F3B) & 0xFFFFFFFF
    return x ^ (x >> 16)
