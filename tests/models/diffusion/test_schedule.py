from __future__ import annotations

import math

import pytest
import torch

from recsys_lightning.errors import InputError
from recsys_lightning.models.diffusion import schedule
from recsys_lightning.models.diffusion.schedule import CosineSchedule


@pytest.mark.parametrize("timesteps", [1, 2, 20, 1000])
def test_nothing_is_left_at_the_end_and_everything_at_the_start(timesteps: int) -> None:
    made = CosineSchedule(timesteps)
    left = made.alpha_bar(torch.arange(timesteps + 1))
    assert left[0] == 1 and left[-1] == made.final_alpha_bar == 0
    assert (left.diff() < 0).all()


def test_the_middle_is_that_of_the_paper() -> None:
    left = CosineSchedule(1000).alpha_bar(torch.tensor([250, 500, 750]))
    for t, value in zip((0.25, 0.5, 0.75), left.tolist(), strict=True):
        expected = math.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2 / math.cos(0.008 / 1.008 * math.pi / 2) ** 2
        assert value == pytest.approx(expected, abs=1e-12)


def test_training_ends_in_what_samples_start_from_however_large_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    x0 = torch.randn(4000, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 3.0, 10.0])
    made = CosineSchedule(10)
    assert torch.equal(made.final_deviation(x0), torch.ones(3))
    monkeypatch.setattr(CosineSchedule, "alpha_bar", lambda self, t: torch.full(t.shape, 0.06))
    x = made.diffuse(x0, torch.randn(4000, 3), torch.tensor([10]))
    torch.testing.assert_close(made.final_deviation(x0), x.std(0), rtol=0.05, atol=0)
    assert made.final_deviation(x0)[2] > 2
    assert made.final_alpha_bar == pytest.approx(0.06)


def test_variance_is_kept() -> None:
    made, generator = CosineSchedule(100), torch.Generator().manual_seed(0)
    x0, noise = torch.randn(2, 50_000, 2, generator=generator)
    for t in (1, 30, 70, 100):
        x = made.diffuse(x0, noise, torch.full((50_000,), t))
        assert x.std() == pytest.approx(1.0, abs=0.01)
        v = made.velocity(x0, noise, torch.full((50_000,), t))
        assert (x * v).mean() == pytest.approx(0.0, abs=0.02)
    assert torch.equal(made.diffuse(x0, noise, torch.tensor([100])), noise)


@pytest.mark.parametrize("prediction", ["v", "x0"])
def test_a_right_prediction_gives_back_data_and_noise(prediction: schedule.Prediction) -> None:
    made, generator = CosineSchedule(50), torch.Generator().manual_seed(0)
    x0, noise = torch.randn(2, 50, 3, generator=generator, dtype=torch.float64)
    t = torch.arange(1, 51)
    x = made.diffuse(x0, noise, t)
    found = made.x0(x, made.target(x0, noise, t, prediction), t, prediction)
    torch.testing.assert_close(found, x0)
    torch.testing.assert_close(made.noise(x, found, t), noise)


def test_ladders_go_from_noise_to_data() -> None:
    made = CosineSchedule(1000)
    assert made.ladder(1).tolist() == [1000, 0]
    assert made.ladder(4).tolist() == [1000, 750, 500, 250, 0]
    assert len(made.ladder(1000).unique()) == 1001
    for steps in (0, 1001):
        with pytest.raises(InputError, match=f"{steps} sampling steps were asked for; with 1000 timesteps"):
            made.ladder(steps)


def test_no_time_is_refused() -> None:
    with pytest.raises(InputError, match="timesteps is 0; diffusion needs at least 1"):
        CosineSchedule(0)
