from __future__ import annotations

import warnings
from math import acos, log
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recsys_lightning.errors import InputError
from recsys_lightning.losses.conditions import (
    ConditionLoss,
    Conditions,
    Cosine,
    CrossCovariance,
    Diversity,
    DomainContrastive,
    DomainRanking,
    Reconstruction,
    refuse_contradictions,
)
from recsys_lightning.losses.ranking import bpr

B, M, D, K = 12, 2, 5, 3
KINDS: list[type[ConditionLoss]] = [
    Reconstruction,
    Cosine,
    Diversity,
    DomainRanking,
    DomainContrastive,
    CrossCovariance,
]


def batch(size: int = B, domains: int = M, seed: int = 0, **changes: Tensor) -> Conditions:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    every = changes.get("every", normal(size, domains, D))
    domain = torch.arange(size) % domains
    item = torch.randint(6, (size,), generator=generator) * domains + domain
    table = normal(6 * domains, D)
    plain = Conditions(
        user=normal(size, D),
        condition=every[torch.arange(size), domain],
        every=every,
        domain=domain,
        item=item,
        positive=table[item],
        known=torch.rand(size, generator=generator) < 0.7,
        negative=normal(size, K, D),
        who=torch.arange(size),
    )
    return plain._replace(**changes)


def prepared(loss: ConditionLoss, seed: int = 0) -> ConditionLoss:
    """The loss, with frozen vectors in which each domain's items have two directions of their own."""
    generator = torch.Generator().manual_seed(seed)
    item = torch.randn(60, D, dtype=torch.float64, generator=generator)
    domain = torch.arange(60) % 2
    item[domain == 0, 3:] *= 0.01
    item[domain == 1, :2] *= 0.01
    loss.prepare(torch.randn(200, D, dtype=torch.float64, generator=generator), item, domain)
    return loss


class TestEvery:
    @pytest.mark.parametrize("kind", KINDS)
    def test_is_a_finite_scalar_that_teaches_whatever_the_batch(self, kind: type[ConditionLoss]) -> None:
        loss = prepared(kind())
        odd = [
            batch(),
            batch(1),
            batch()._replace(known=torch.zeros(B, dtype=torch.bool)),
            batch(every=torch.zeros(B, M, D).double()),
        ]
        for one in odd:
            every = one.every.clone().requires_grad_()
            found = loss(one._replace(every=every, condition=every[torch.arange(len(one.user)), one.domain]))
            assert found.shape == ()
            assert found.isfinite()
            found.backward()
            assert every.grad is not None and every.grad.isfinite().all()

    @pytest.mark.parametrize("kind", KINDS)
    def test_needs_a_weight(self, kind: type[ConditionLoss]) -> None:
        with pytest.raises(InputError, match=f"{kind.__name__} needs a weight above 0, and was given 0"):
            kind(weight=0)

    def test_names(self) -> None:
        assert [kind().name for kind in KINDS] == [
            "reconstruction",
            "cosine",
            "diversity",
            "domain_ranking",
            "domain_contrastive",
            "cross_covariance",
        ]

    @pytest.mark.parametrize("options", [{"target": 1.1}, {"tolerance": -0.1}])
    def test_cosine_out_of_range(self, options: dict[str, float]) -> None:
        with pytest.raises(InputError, match="Cosine needs a target"):
            Cosine(**options)

    @pytest.mark.parametrize(
        ("kind", "options"),
        [
            (Diversity, {"target": -2.0}),
            (DomainRanking, {"temperature": 0.0}),
            (DomainContrastive, {"temperature": -1.0}),
            (CrossCovariance, {"ratio": 1.0}),
            (CrossCovariance, {"ridge": 0.0}),
        ],
    )
    def test_others_out_of_range(self, kind: Any, options: dict[str, float]) -> None:
        with pytest.raises(InputError, match=f"{kind.__name__} needs a"):
            kind(**options)


class TestKeeping:
    def test_the_user_as_it_is_costs_nothing(self) -> None:
        one = batch()
        same = one._replace(condition=one.user, every=one.user[:, None].expand(-1, M, -1))
        assert Reconstruction()(same) == 0
        assert Cosine(target=1, tolerance=0)(same) < 1e-20

    def test_reconstruction_is_relative(self) -> None:
        one = batch()
        twice = one._replace(condition=2 * one.user)
        assert Reconstruction()(twice).item() == pytest.approx(1)
        assert Reconstruction()(one._replace(condition=0 * one.user)).item() == pytest.approx(1)

    def test_cosines_within_the_tolerance_cost_nothing(self) -> None:
        user = torch.tensor([[1.0, 0.0]] * 3)
        angles = torch.tensor([0.86, 0.94, 0.5]).acos()
        one = batch(3)._replace(user=user, condition=2 * torch.stack([angles.cos(), angles.sin()], 1))
        assert Cosine()(one).item() == pytest.approx((0.85 - 0.5) ** 2 / 3, rel=1e-5)


class TestDiversity:
    def test_a_shift_that_is_the_same_for_everybody_counts_half(self) -> None:
        shift = torch.tensor([9.0, 0, 0, 0, 0]).double()
        user = 0.1 * batch().user
        moved = batch(every=torch.stack([user + shift, user - shift], 1))
        assert Diversity(centred=False)(moved) < 1e-6
        assert Diversity()(moved).item() == pytest.approx((1 - 0.7) ** 2 / 2, rel=1e-6)

    def test_is_the_mean_over_pairs_by_hand(self) -> None:
        one = batch(domains=3)
        found = 0.0
        for rows in one.every.numpy():
            for a, b in ((0, 1), (0, 2), (1, 2)):
                cosine = rows[a] @ rows[b] / np.linalg.norm(rows[a]) / np.linalg.norm(rows[b])
                found += max(0.0, cosine - 0.1) ** 2 / 3 / B
        assert Diversity(target=0.1, centred=False)(one).item() == pytest.approx(found, rel=1e-9)

    def test_one_domain_has_nothing_to_differ_from(self) -> None:
        assert Diversity()(batch(domains=1)) == 0


class TestRanking:
    def test_is_that_of_known_items_by_hand(self) -> None:
        one, total = batch(), 0.0
        for row in range(B):
            if one.known[row]:
                scores = np.exp(
                    (torch.cat([one.positive[row, None], one.negative[row]]) @ one.condition[row] / 2).numpy()
                )
                total -= log(scores[0] / scores.sum())
        assert DomainRanking(temperature=2)(one).item() == pytest.approx(total / int(one.known.sum()), rel=1e-9)

    def test_with_one_negative_it_is_bpr(self) -> None:
        one = batch(known=torch.ones(B, dtype=torch.bool))
        one = one._replace(negative=one.negative[:, :1])
        positive, negative = ((one.condition * rows).sum(1) for rows in (one.positive, one.negative[:, 0]))
        assert DomainRanking()(one).item() == pytest.approx(bpr(positive, negative[:, None]).item(), rel=1e-9)

    def test_contrast_is_with_other_items_of_the_domain_by_hand(self) -> None:
        one, total = batch(), 0.0
        unit = [torch.nn.functional.normalize(rows, dim=1).numpy() for rows in (one.condition, one.positive)]
        for row in range(B):
            if one.known[row]:
                others = [
                    other
                    for other in range(B)
                    if other == row
                    or (one.known[other] and one.domain[other] == one.domain[row] and one.item[other] != one.item[row])
                ]
                scores = {other: np.exp(unit[0][row] @ unit[1][other] / 0.1) for other in others}
                total -= log(scores[row] / sum(scores.values()))
        assert DomainContrastive()(one).item() == pytest.approx(total / int(one.known.sum()), rel=1e-9)


class TestCrossCovariance:
    def test_is_the_mean_squared_canonical_correlation(self) -> None:
        one, loss = batch(400), prepared(CrossCovariance(ridge=1e-9))
        assert isinstance(loss, CrossCovariance) and loss.directions is not None
        expected = []
        for domain in range(M):
            foreign = (one.user @ loss.directions[domain]).numpy()
            bases = [
                np.linalg.svd(x - x.mean(0), full_matrices=False)[0] for x in (one.every[:, domain].numpy(), foreign)
            ]
            expected.append(np.square(np.linalg.svd(bases[0].T @ bases[1])[1]).sum() / foreign.shape[1])
        assert loss(one).item() == pytest.approx(np.mean(expected), abs=0.02)

    @settings(max_examples=20, deadline=None)
    @given(scale=st.floats(1e-3, 1e3), seed=st.integers(0, 100))
    def test_telling_it_softly_is_telling_it(self, scale: float, seed: int) -> None:
        one, loss = batch(100, seed=seed), prepared(CrossCovariance())
        same = one.user[:, None].expand(-1, M, -1)
        found = loss(one._replace(every=same))
        assert found > 0.8
        assert loss(one._replace(every=scale * same + scale)).item() == pytest.approx(found.item(), rel=1e-6)

    @pytest.mark.parametrize("users", [64, 128, 256, 1024])
    @pytest.mark.parametrize("rank", [3, 24])
    def test_conditions_that_hold_nothing_cost_nothing_however_few(self, users: int, rank: int) -> None:
        """Also where they have fewer dimensions than they are long."""
        width, loss, found = 24, CrossCovariance(), []
        loss.directions = torch.eye(width).double()[:, :6].expand(M, -1, -1)
        for seed in range(20):
            random = torch.Generator().manual_seed(seed)
            turn = torch.randn(rank, width, generator=random).double()
            every = torch.randn(users, M, rank, generator=random).double() @ turn
            one = batch(users, seed=seed)._replace(
                every=every, user=torch.randn(users, width, generator=random).double()
            )
            found.append(loss(one).item())
        assert max(found) <= (0.1 if users > 4 * width else 0.15)
        assert np.mean(found) < 0.03

    @pytest.mark.parametrize("users", [64, 1024])
    def test_conditions_that_hold_all_cost_one_however_few(self, users: int) -> None:
        one, loss = batch(users), prepared(CrossCovariance())
        assert loss(one._replace(every=one.user[:, None].expand(-1, M, -1))).item() == pytest.approx(1, abs=0.01)

    def test_a_user_who_comes_twice_counts_once(self) -> None:
        one, loss = batch(50), prepared(CrossCovariance())
        order = torch.arange(80).remainder(50).flip(0)
        twice = Conditions(*(part[order] for part in one))
        torch.testing.assert_close(loss(twice), loss(one))
        assert loss(one) != loss(batch(50, seed=1))

    def test_too_few_users_cost_nothing_and_are_named(self) -> None:
        loss = prepared(CrossCovariance())
        few = batch(2 * D - 1)
        every = few.every.clone().requires_grad_()
        with pytest.warns(UserWarning, match="CrossCovariance compares 10 or more users, and a batch holds fewer"):
            found = loss(few._replace(every=every))
        found.backward()
        assert found == 0
        assert every.grad is not None and not every.grad.any()
        again = Conditions(*(torch.cat([part, part]) for part in few))
        with pytest.warns(UserWarning, match="a batch holds fewer"):
            assert loss(again) == 0

    def test_users_without_what_is_foreign_cost_nothing(self) -> None:
        one, loss = batch(5000), prepared(CrossCovariance())
        assert isinstance(loss, CrossCovariance) and loss.directions is not None
        every = []
        centred = one.user - one.user.mean(0)
        for directions in loss.directions:
            foreign = centred @ directions
            every.append(centred - foreign @ torch.linalg.lstsq(foreign, centred).solution)
        assert loss(one._replace(every=torch.stack(every, 1))) < 1e-6

    def test_domains_whose_items_lie_alike_have_nothing_foreign(self) -> None:
        loss = CrossCovariance()
        with pytest.warns(UserWarning, match="CrossCovariance has nothing to take away"):
            loss.prepare(batch().user, batch().user.repeat(2, 1), torch.arange(2 * B) // B)
        assert loss(batch()) == 0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loss.prepare(batch().user, batch().user, torch.zeros(B, dtype=torch.long))
        assert loss(batch(domains=1)) == 0

    @pytest.mark.parametrize("apart", [0.0, 2.0])
    def test_what_lies_between_two_other_domains_hides_and_makes_no_direction(self, apart: float) -> None:
        """All domains have the very same items, those of two moved along an axis in which no item varies."""
        generator = torch.Generator().manual_seed(0)
        items = torch.zeros(200, 8).index_copy(1, torch.arange(4), torch.randn(200, 4, generator=generator))
        every, domain = items.repeat(3, 1), torch.arange(600) // 200
        every[:, 6] += apart * (domain - 1)
        user, loss = torch.randn(300, 8, generator=generator), CrossCovariance()
        given = every.clone()
        with pytest.warns(UserWarning, match="has nothing to take away"):
            loss.prepare(user, every, domain)
        assert torch.equal(every, given)  # the resident vectors stay as they are


class TestContradictions:
    @settings(max_examples=50, deadline=None)
    @given(keep=st.floats(-1, 1), apart=st.floats(-1, 1))
    def test_targets_are_refused_where_no_three_vectors_meet_them(self, keep: float, apart: float) -> None:
        possible = acos(apart) <= 2 * acos(keep)
        losses = [Cosine(target=keep, tolerance=0), Diversity(target=apart)]
        for order in (losses, losses[::-1]):
            if possible:
                refuse_contradictions(order)
            else:
                with pytest.raises(InputError, match="Set Diversity's target to at least"):
                    refuse_contradictions(order)

    def test_in_words(self) -> None:
        with pytest.raises(InputError) as caught:
            refuse_contradictions([Cosine(target=0.95, tolerance=0.05), DomainRanking(), Diversity(target=0.2)])
        assert "at least 0.62, or Cosine's lower" in str(caught.value)

    @settings(max_examples=100, deadline=None)
    @given(keep=st.integers(-100, 100) | st.floats(-100, 100), tolerance=st.integers(0, 10))
    def test_the_least_target_that_is_suggested_is_taken(self, keep: float, tolerance: int) -> None:
        cosine = Cosine(target=keep / 100, tolerance=tolerance / 100)
        try:
            refuse_contradictions([cosine, Diversity(target=-1.0)])
        except InputError as refused:
            least = str(refused).split("at least ")[1].split(",")[0]
            refuse_contradictions([cosine, Diversity(target=float(least))])
            with pytest.raises(InputError):
                refuse_contradictions([cosine, Diversity(target=max(-1.0, float(least) - 0.011))])

    def test_a_loss_twice(self) -> None:
        with pytest.raises(InputError, match="names DomainRanking twice"):
            refuse_contradictions([DomainRanking(), Cosine(), DomainRanking(2.0)])
