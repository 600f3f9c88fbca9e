from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from recsys_lightning.models import AdaptiveMimic
from recsys_lightning.models.mimic import augmentation, category_alignment, imitation, unit
from tests import worlds
from tests.models import featured

N, D = 9, 6


def vectors(seed: int = 0, n: int = N) -> Tensor:
    return torch.randn(n, D, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def made(scaled: bool = False) -> AdaptiveMimic:
    torch.manual_seed(0)
    return featured.shaken(AdaptiveMimic(D, scaled)).double()  # type: ignore[no-any-return]


class TestGate:
    @pytest.mark.parametrize("scaled", [False, True])
    def test_equals_the_formula(self, scaled: bool) -> None:
        gate, identity, metadata = made(scaled), vectors(0), vectors(1)
        degree = torch.arange(N)
        found = gate(identity, metadata, degree, degree > 0)
        share = gate.share(identity, metadata, degree, degree > 0)
        for row in range(N):
            e, m = identity[row] / identity[row].norm(), metadata[row] / metadata[row].norm()
            hidden = (gate.hidden.weight @ torch.cat([e, m]) + gate.hidden.bias).tanh()
            logit = gate.score.weight[0] @ hidden + gate.slope * math.log(1 + row) + gate.intercept
            s = logit.sigmoid() if row else torch.tensor(1.0).double()
            length = 1 if gate.length is None else gate.length
            torch.testing.assert_close(share[row], s)
            torch.testing.assert_close(found[row], length * (s * m + (1 - s) * e))

    def test_before_training_it_falls_with_interactions_and_is_even_at_five(self) -> None:
        gate, degree = AdaptiveMimic(D).double(), torch.arange(1, N + 1)
        share = gate.share(vectors(0), vectors(1), degree, degree > 0)
        torch.testing.assert_close(share[4].item(), 0.5)
        assert (share.diff() < 0).all()

    def test_without_an_id_it_is_metadata_alone(self) -> None:
        gate, metadata = made(scaled=True), vectors(1)
        nothing = torch.zeros(N, dtype=torch.bool)
        for identity in (vectors(0), torch.zeros(N, D).double()):
            found = gate(identity, metadata, torch.arange(N), nothing)
            torch.testing.assert_close(found, gate.alone(metadata))
        torch.testing.assert_close(gate.alone(metadata), gate.length * unit(metadata))

    @pytest.mark.parametrize("scaled", [False, True])
    def test_every_parameter_learns(self, scaled: bool) -> None:
        gate = made(scaled)
        gate(vectors(0), vectors(1), torch.arange(N), torch.arange(N) > 0).sin().sum().backward()
        assert all(parameter.grad is not None and parameter.grad.any() for parameter in gate.parameters())

    def test_bends_no_vectors_to_its_needs(self) -> None:
        gate, identity, metadata = made(), vectors(0).requires_grad_(), vectors(1).requires_grad_()
        assert gate.share(identity, metadata, torch.arange(N), torch.arange(N) > 0).requires_grad
        gate.share(identity, metadata, torch.arange(N), torch.arange(N) > 0).sum().backward()
        assert identity.grad is None and metadata.grad is None

    def test_vectors_that_vanish_have_finite_gradients(self) -> None:
        gate, nothing = made(), torch.zeros(N, D, dtype=torch.float64, requires_grad=True)
        gate(nothing, nothing, torch.arange(N), torch.arange(N) > 0).sin().sum().backward()
        assert nothing.grad is not None and nothing.grad.abs().max() < 1e4


class TestImitation:
    def test_is_the_weighted_mean_of_one_minus_cosine(self) -> None:
        metadata, identity, degree = vectors(0), vectors(1), torch.tensor([0, 1, 5, 0, 100, 3, 2, 0, 7])
        total = weights = 0.0
        for row in range(N):
            weight = math.log(1 + degree[row])
            total += weight * (1 - float(torch.cosine_similarity(metadata[row], identity[row], 0)))
            weights += weight
        assert float(imitation(metadata, identity, degree)) == pytest.approx(total / weights)

    def test_ids_stay_and_unknown_ones_teach_nothing(self) -> None:
        metadata, identity = vectors(0).requires_grad_(), vectors(1).requires_grad_()
        degree = torch.tensor([0, 1] * 4 + [0])
        imitation(metadata, identity, degree).backward()
        assert identity.grad is None and metadata.grad is not None
        assert torch.equal(metadata.grad.any(1), degree > 0)
        assert not imitation(metadata, identity, degree * 0)


def test_augmentation_moves_the_augmented_vectors_alone() -> None:
    augmented, other = vectors(0).requires_grad_(), vectors(1).requires_grad_()
    loss = augmentation(augmented, other)
    expected = sum(((a - p) ** 2).sum() for a, p in zip(augmented, other, strict=True)) / N
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert other.grad is None and augmented.grad is not None
    torch.testing.assert_close(augmented.grad, (2 * (augmented - other) / N).detach())


class TestCategoryAlignment:
    @given(st.integers(0, 1000))
    def test_is_the_mean_squared_distance_of_covariances(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        belongs, rows = torch.rand(N, 4, generator=generator) < 0.5, vectors(seed + 1)
        sizes = belongs.sum(0)
        counted = [category for category in range(4) if sizes[category] > 1]
        found = category_alignment(rows, worlds.csr(belongs))
        if len(counted) < 2:
            assert float(found) == 0
            return
        covariance = {category: rows[belongs[:, category]].T.cov() for category in counted}
        major = max(counted, key=lambda category: int(sizes[category]))
        others = [((covariance[major] - covariance[c]) ** 2).sum() for c in counted if c != major]
        torch.testing.assert_close(found, torch.stack(others).mean())

    @pytest.mark.parametrize("shape", [(N, 0), (N, 1), (N, 3)])
    def test_too_few_categories_are_zero_with_a_gradient(self, shape: tuple[int, int]) -> None:
        rows = vectors().requires_grad_()
        belongs = torch.zeros(shape, dtype=torch.bool)
        belongs[:, :1] = True
        loss = category_alignment(rows, worlds.csr(belongs))
        loss.backward()
        assert not loss and rows.grad is not None and not rows.grad.any()

    def test_aligned_categories_cost_nothing(self) -> None:
        rows = torch.cat([vectors(), vectors() + 7])
        belongs = torch.zeros(2 * N, 2, dtype=torch.bool)
        belongs[:N, 0] = belongs[N:, 1] = True
        assert float(category_alignment(rows, worlds.csr(belongs))) < 1e-12
        assert float(category_alignment(rows * torch.arange(2 * N)[:, None], worlds.csr(belongs))) > 1
