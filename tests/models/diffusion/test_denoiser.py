from __future__ import annotations

import pytest
import torch

from recsys_lightning.errors import InputError
from recsys_lightning.models.diffusion.denoiser import Denoiser, sines
from tests.models.learning import learn


def inputs(rows: int = 6) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    x, condition = torch.randn(rows, 3, generator=generator), torch.randn(rows, 4, generator=generator)
    return x, torch.rand(rows, generator=generator), condition, torch.arange(rows) % 2, torch.arange(rows) % 3 > 0


def made() -> Denoiser:
    torch.manual_seed(0)
    network = Denoiser(3, 4, 2, width=16, depth=2)
    with torch.no_grad():  # away from the start, which is the constant 0
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network


def test_it_starts_as_nothing() -> None:
    assert not Denoiser(3, 4, 2, 16, 2)(*inputs()).any()


def test_every_input_counts_and_conditions_only_where_they_are_known() -> None:
    network, given = made(), inputs()
    before = network(*given)
    assert before.shape == (6, 3)
    for place in (0, 1, 3):
        changed = [1 - part if n == place else part for n, part in enumerate(given)]
        assert ((network(*changed) - before).abs().amax(1) > 1e-4).all()
    moved = network(*given[:2], given[2] + 1, *given[3:])
    assert torch.equal((moved != before).any(1), given[4])


def test_rows_know_nothing_of_one_another_and_may_share_a_time() -> None:
    network, given = made(), inputs()
    everything = network(*given)
    torch.testing.assert_close(network(*(part[2:3] for part in given)), everything[2:3])
    time = torch.full((6,), 0.3)
    torch.testing.assert_close(network(given[0], time[:1], *given[2:]), network(given[0], time, *given[2:]))


def test_every_parameter_learns() -> None:
    network, given, goal = Denoiser(3, 4, 2, 16, 2), inputs(32), torch.randn(32, 3)
    learned = learn(network, lambda _: (network(*given) - goal).square().mean(), 60, frozenset())
    assert not learned.untouched and learned.losses[-1] < learned.losses[0]


def test_times_are_told_apart() -> None:
    marks = sines(torch.linspace(0, 1, 1001))
    assert torch.cdist(marks, marks).fill_diagonal_(1).min() > 0.05


def test_sizes_below_one_are_refused() -> None:
    with pytest.raises(InputError, match="width 0 and depth 2"):
        Denoiser(3, 4, 2, 0, 2)
