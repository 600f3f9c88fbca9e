from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recsys_lightning.errors import InputError
from recsys_lightning.models.diffusion.sampling import Denoise, Sampler, ddim, guided, noise_of
from recsys_lightning.models.diffusion.schedule import CosineSchedule

SCHEDULE = CosineSchedule(1000)
MEAN = torch.tensor([2.0, -1.0, 0.5], dtype=torch.float64)
FACTOR = torch.tensor([[1.0, 0.0, 0.0], [0.8, 0.5, 0.0], [-0.3, 0.2, 0.1]], dtype=torch.float64)
COVARIANCE = FACTOR @ FACTOR.T


def of_gaussian(x: Tensor, t: Tensor) -> Tensor:
    """E[x_0 | x_t] of data that are normal, exactly."""
    left = SCHEDULE.alpha_bar(t)
    gain = left.sqrt() * COVARIANCE @ torch.linalg.inv(left * COVARIANCE + (1 - left) * torch.eye(3))
    return MEAN + (x - left.sqrt() * MEAN) @ gain.T


def moments(denoise: Denoise, steps: int) -> tuple[Tensor, Tensor]:
    """Mean and covariance of samples: these are an affine map of the noise, which three and one points tell."""
    points = torch.cat([torch.zeros(1, 3), torch.eye(3)]).double()
    image = ddim(denoise, points, SCHEDULE, steps)
    columns = (image[1:] - image[0]).T
    return image[0], columns @ columns.T


def test_the_exact_denoiser_of_a_gaussian_gives_its_mean_and_covariance() -> None:
    errors = []
    for steps in (10, 50, 1000):
        mean, covariance = moments(of_gaussian, steps)
        torch.testing.assert_close(mean, MEAN)
        errors.append(float((covariance - COVARIANCE).norm() / COVARIANCE.norm()))
    assert errors[2] < 0.005 and errors[1] < 0.08
    assert errors[0] > 3 * errors[1] > 3 * errors[2]  # the error of the step size, and nothing else


def test_a_point_is_hit_in_any_number_of_steps() -> None:
    noise = torch.randn(7, 3, dtype=torch.float64)
    for steps in (1, 2, 20):
        found = ddim(lambda x, t: MEAN.expand_as(x), noise, SCHEDULE, steps)
        torch.testing.assert_close(found, MEAN.expand(7, 3))


@pytest.mark.parametrize("steps", [1, 20])
def test_predictors_of_v_and_of_x0_give_the_same_samples(steps: int) -> None:
    def by_v(x: Tensor, t: Tensor) -> Tensor:
        x0 = of_gaussian(x, t)
        v = SCHEDULE.velocity(x0, SCHEDULE.noise(x, x0, t), t)
        return SCHEDULE.x0(x, v, t, "v")

    noise = torch.randn(9, 3, dtype=torch.float64)
    torch.testing.assert_close(ddim(by_v, noise, SCHEDULE, steps), ddim(of_gaussian, noise, SCHEDULE, steps))


def test_the_first_step_sees_nothing_but_noise_at_the_last_time() -> None:
    seen: list[tuple[Tensor, Tensor]] = []

    def spy(x: Tensor, t: Tensor) -> Tensor:
        seen.append((x, t))
        return torch.zeros_like(x)

    noise = torch.randn(4, 3)
    ddim(spy, noise, SCHEDULE, 5)
    assert torch.equal(seen[0][0], noise) and [int(t) for _, t in seen] == [1000, 800, 600, 400, 200]


@pytest.mark.parametrize("guidance", [0.0, 1.0, 3.0])
def test_guidance_is_the_same_for_every_prediction(guidance: float) -> None:
    x, first, second = torch.randn(3, 5, 3, dtype=torch.float64)
    t = torch.tensor([300])
    by_x0 = guided(first, second, guidance)
    velocities = [SCHEDULE.velocity(x0, SCHEDULE.noise(x, x0, t), t) for x0 in (first, second)]
    torch.testing.assert_close(SCHEDULE.x0(x, guided(*velocities, guidance), t, "v"), by_x0)
    assert guidance != 0 or torch.equal(by_x0, second)


def test_noise_is_standard_normal_and_independent() -> None:
    noise = noise_of(torch.arange(20_000), 0, 4, 4, seed=0)[:, :2]
    assert noise.shape == (20_000, 2, 4) and noise.dtype == torch.float32
    columns = noise.flatten(1).T
    assert columns.mean(1).abs().max() < 0.03 and (columns.std(1) - 1).abs().max() < 0.02
    torch.testing.assert_close(torch.corrcoef(columns), torch.eye(8), atol=0.03, rtol=0)
    others = [noise_of(torch.arange(20_000), *key[:1], 4, 4, seed=key[1])[:, :2].flatten() for key in ((1, 0), (0, 1))]
    others.append(noise.roll(1, 0).flatten())
    for other in others:
        assert abs(torch.corrcoef(torch.stack([noise.flatten(), other]))[0, 1]) < 0.01
    quantiles = noise.flatten().sort().values[(torch.tensor([0.025, 0.5, 0.975]) * noise.numel()).long()]
    torch.testing.assert_close(quantiles, torch.tensor([-1.96, 0.0, 1.96]), atol=0.03, rtol=0)
    assert noise.abs().max() > 4


@pytest.mark.parametrize("samples", [1, 2, 5, 6])
def test_the_later_half_is_the_first_one_with_opposite_sign(samples: int) -> None:
    noise = noise_of(torch.arange(9), 1, samples, 3, seed=2)
    first = (samples + 1) // 2
    assert noise.shape == (9, samples, 3)
    assert torch.equal(noise[:, first:], -noise[:, : samples - first])
    assert torch.equal(noise[:, :1], noise_of(torch.arange(9), 1, 1, 3, seed=2)) or samples > 2


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 2**31), min_size=1, max_size=6), st.integers(0, 5), st.integers(0, 2**40))
def test_noise_does_not_depend_on_who_else_is_there(users: list[int], domain: int, seed: int) -> None:
    together = noise_of(torch.tensor(users), domain, 2, 3, seed)
    assert together.isfinite().all()
    for place, user in enumerate(users):
        assert torch.equal(noise_of(torch.tensor([user]), domain, 2, 3, seed)[0], together[place])


@pytest.mark.parametrize(
    "options", [{"steps": 0}, {"samples": 0}, {"seed": -1}, {"guidance": -0.5}, {"guidance": float("nan")}]
)
def test_numbers_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(InputError, match="and was given"):
        Sampler(**{"steps": 5, **options})  # type: ignore[arg-type]
