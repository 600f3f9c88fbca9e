"""How much of a vector is left at each time of diffusion, and what follows from that."""

from __future__ import annotations

from math import cos, pi
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from recsys_lightning.errors import InputError

Prediction: TypeAlias = Literal["v", "x0"]

OFFSET = 0.008
"""s of the cosine schedule: the first steps are not too small."""


class CosineSchedule:
    """x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) noise, for t = 0 (data) .. T (noise).

        alpha_bar_t = cos^2(a_t) / cos^2(a_0),    a_t = (t / T + s) / (1 + s) * pi / 2

    The paper caps the step sizes, so that a predictor of noise can divide by what is left at T. Predictors of v and of
    x_0 need no such cap, and nothing is left: alpha_bar_T = 0, and samples start from what training ended in. (Why a
    rest does harm: Lin et al., arXiv 2305.08891.)

    Arithmetic is in the type of the vectors, coefficients are computed in float64.

    Source: Nichol and Dhariwal, ICML 2021, arXiv 2102.09672, equation 17.

    Args:
        timesteps: T, at least 1.

    Raises:
        InputError: there is no time.
    """

    def __init__(self, timesteps: int) -> None:
        if timesteps < 1:
            raise InputError(f"timesteps is {timesteps}; diffusion needs at least 1.")
        self.timesteps = timesteps

    @property
    def final_alpha_bar(self) -> float:
        """alpha_bar_T, the share of signal in what training ends in: 0, as samples start from noise alone."""
        return float(self.alpha_bar(torch.tensor(self.timesteps)))

    def final_deviation(self, x0: Tensor) -> Tensor:
        """Standard deviation of x_T over training data (n, D), (D,); samples start with 1 in each column."""
        left = self.final_alpha_bar
        return (left * x0.var(0, correction=0) + (1 - left)).sqrt()

    def alpha_bar(self, t: Tensor) -> Tensor:
        """Share of the variance that is signal, in float64: times (...) -> (...)."""
        at = (t.double() / self.timesteps + OFFSET) / (1 + OFFSET) * (pi / 2)
        left = at.cos().square() / cos(OFFSET / (1 + OFFSET) * pi / 2) ** 2
        return left.masked_fill(t >= self.timesteps, 0.0)  # the cosine of a rounded pi / 2 is not quite zero

    def diffuse(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """x_t of data and noise (B, D) at times (B,)."""
        signal, rest = self._coefficients(t, x0)
        return signal * x0 + rest * noise

    def velocity(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """What predictors of v say, sqrt(alpha_bar) noise - sqrt(1 - alpha_bar) x_0: (B, D).

        Source: Salimans and Ho, ICLR 2022, arXiv 2202.00512.
        """
        signal, rest = self._coefficients(t, x0)
        return signal * noise - rest * x0

    def target(self, x0: Tensor, noise: Tensor, t: Tensor, prediction: Prediction) -> Tensor:
        """What a network that predicts this is to say, (B, D)."""
        return x0 if prediction == "x0" else self.velocity(x0, noise, t)

    def x0(self, x_t: Tensor, predicted: Tensor, t: Tensor, prediction: Prediction) -> Tensor:
        """The data that a prediction (B, D) amounts to."""
        if prediction == "x0":
            return predicted
        signal, rest = self._coefficients(t, x_t)
        return signal * x_t - rest * predicted

    def noise(self, x_t: Tensor, x0: Tensor, t: Tensor) -> Tensor:
        """The noise that lies in x_t (B, D) if the data are x_0; t is at least 1."""
        signal, rest = self._coefficients(t, x_t)
        return (x_t - signal * x0) / rest

    def ladder(self, steps: int) -> Tensor:
        """(steps + 1,) times from T down to 0, as evenly apart as whole numbers are.

        Raises:
            InputError: there are not so many times.
        """
        if not 1 <= steps <= self.timesteps:
            raise InputError(
                f"{steps} sampling steps were asked for; with {self.timesteps} timesteps there can be 1 to "
                f"{self.timesteps}. Set model.recommender.steps, or timesteps and train again."
            )
        return torch.linspace(self.timesteps, 0, steps + 1, dtype=torch.float64).round().long()

    def _coefficients(self, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 1) each: sqrt(alpha_bar), sqrt(1 - alpha_bar)."""
        left = self.alpha_bar(t)[..., None]
        return left.sqrt().to(like.dtype), (1 - left).clamp_min(0.0).sqrt().to(like.dtype)
