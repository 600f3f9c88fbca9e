from __future__ import annotations

import warnings
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from recsys_lightning.batches import CSR, Views
from recsys_lightning.callbacks.vectors import WriteVectors
from recsys_lightning.data.vectors import read_vectors
from recsys_lightning.errors import InputError
from recsys_lightning.losses.conditions import (
    ConditionLoss,
    Conditions,
    Cosine,
    Diversity,
    DomainContrastive,
    DomainRanking,
    Reconstruction,
)
from recsys_lightning.metrics.subspaces import readable, share_beyond_mean
from recsys_lightning.models.conditioned import Conditioned
from recsys_lightning.schema import VAL
from recsys_lightning.tasks import conditioning as module
from recsys_lightning.tasks.conditioning import Conditioning, default_losses
from tests.tasks.planted import Planted, gain, train, world
from tests.tasks.test_base import trainer

ONE_TOKEN: dict[str, Any] = {"num_tokens": 1, "shared_tokens": 0}
EPOCHS = 25


def conditions(task: Conditioning, planted: Planted) -> tuple[Tensor, Tensor]:
    """Users as they came (U, D), and in each domain (U, M, D)."""
    views = planted.data.views
    with torch.no_grad():
        return views.vectors.user, task.recommender.conditions(views)


def told(every: Tensor, planted: Planted) -> list[tuple[float, float]]:
    """Of each domain's conditions, what is readable of the tastes in the domain and of those in the other alone."""
    pairs = enumerate(zip(planted.taste, planted.foreign, strict=True))
    return [(readable(every[:, code], taste), readable(every[:, code], foreign)) for code, (taste, foreign) in pairs]


def shifted(user: Tensor, condition: Tensor) -> Tensor:
    """The users, all of them moved by what conditions differ from them in the mean."""
    return user + (condition - user).mean(0)


def jacobian(task: Conditioning, planted: Planted) -> float:
    """Norm of the derivative of a condition's shift by the user."""
    model, user = task.recommender.conditioner, planted.data.views.vectors.user[0]
    found: Tensor = torch.autograd.functional.jacobian(lambda row: model(row[None], 0)[0] - row, user)
    return float(found.norm())


@pytest.fixture(
    scope="module", params=[0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)]
)
def planted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return world(tmp_path_factory.mktemp("planted"), request.param, users=4000)


@pytest.fixture(scope="module")
def task(planted: Planted, tmp_path_factory: pytest.TempPathFactory) -> Conditioning:
    return train(tmp_path_factory.mktemp("runs"), planted.data, EPOCHS)


class TestClaims:
    """What is claimed of conditions, on a world in which it is known what they should hold."""

    def test_conditions_hold_the_tastes_in_their_domain_and_not_those_in_the_other(
        self, task: Conditioning, planted: Planted
    ) -> None:
        user, every = conditions(task, planted)
        for own, foreign in told(every, planted):
            assert own >= 0.8
            assert foreign <= 0.2
        assert min(foreign for _, foreign in told(user[:, None].expand(-1, 2, -1), planted)) > 0.9

    def test_conditions_pass_the_swap_test(self, task: Conditioning, planted: Planted) -> None:
        user, every = conditions(task, planted)
        for code in range(2):
            own, other = every[:, code], every[:, 1 - code]
            assert gain(planted.data, own, other, code).low > 0
            assert gain(planted.data, own, user, code).low > 0

    def test_conditions_are_no_constant_shift(self, task: Conditioning, planted: Planted) -> None:
        user, every = conditions(task, planted)
        for code in range(2):
            assert gain(planted.data, every[:, code], shifted(user, every[:, code]), code).low > 0
            assert share_beyond_mean(every[:, code] - user) > 0.5
        assert jacobian(task, planted) > 0.1

    def test_the_one_token_form_fails_all_of_that(self, planted: Planted, tmp_path: Path) -> None:
        with pytest.warns(UserWarning, match="one token"):
            task = train(tmp_path, planted.data, epochs=4, **ONE_TOKEN, mode="residual")
        user, every = conditions(task, planted)
        for code, (_, foreign) in enumerate(told(every, planted)):
            assert foreign > 0.9
            assert gain(planted.data, every[:, code], every[:, 1 - code], code).mean < 0.02
            difference = gain(planted.data, every[:, code], shifted(user, every[:, code]), code)
            assert abs(difference.mean) < 1e-3  # it is a constant shift
            assert share_beyond_mean(every[:, code] - user) < 1e-6
        assert jacobian(task, planted) < 1e-5

    @pytest.mark.slow
    def test_scaling_by_one_token_does_not_help_it(self, planted: Planted, tmp_path: Path) -> None:
        with pytest.warns(UserWarning, match="one token"):
            task = train(tmp_path, planted.data, EPOCHS, **ONE_TOKEN)
        _, every = conditions(task, planted)
        assert min(foreign for _, foreign in told(every, planted)) > 0.9


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return world(tmp_path_factory.mktemp("small"), users=90, items=60, batch_size=64, val=1)


class Spy(ConditionLoss):
    """Keeps what it is given."""

    def __init__(self) -> None:
        super().__init__(2.0)
        self.seen: list[Conditions] = []

    def forward(self, batch: Conditions) -> Tensor:
        self.seen.append(batch)
        return batch.every.square().mean()


def test_losses_see_users_in_domains_with_an_item_of_theirs(tmp_path: Path, small: Planted) -> None:
    spy = Spy()
    task = Conditioning(losses=[spy])
    trainer(tmp_path, max_epochs=1, limit_val_batches=0).fit(task, small.data)
    views = small.data.views
    users, items = views.vectors
    assert views.domain is not None
    assert sum(len(batch.user) for batch in spy.seen) == 2 * views.num_users
    own = torch.zeros(views.num_users, views.num_items, dtype=torch.bool)
    own[views.train.row, views.train.col] = True
    for batch in spy.seen:
        assert torch.equal(views.domain[batch.item], batch.domain)
        assert torch.equal(batch.positive, items[batch.item])
        assert torch.equal(batch.condition, batch.every[torch.arange(len(batch.user)), batch.domain])
        user = (batch.user[:, None] == users).all(2).int().argmax(1)
        assert torch.equal(own[user, batch.item], batch.known)
    first = spy.seen[0]
    torch.testing.assert_close(first.every, first.user[:, None].expand(-1, 2, -1))  # as no step was done yet


def test_terms_are_logged_one_by_one_and_weighed(tmp_path: Path, small: Planted) -> None:
    losses = [*default_losses(), DomainContrastive()]
    task = Conditioning(losses=losses)
    made = trainer(tmp_path, max_epochs=1, limit_val_batches=0, limit_train_batches=1)
    made.fit(task, small.data)
    figures = made.callback_metrics
    total = sum(loss.weight * float(figures[f"train/{loss.name}"]) for loss in losses)
    assert float(figures["train/loss"]) == pytest.approx(total, rel=1e-5)
    assert len({loss.name for loss in losses}) == 6


def test_the_losses_of_val_are_those_of_its_rows_and_can_select(tmp_path: Path, small: Planted) -> None:
    spy = Spy()
    task = Conditioning(losses=[spy, Reconstruction(weight=0.5)])
    made = trainer(tmp_path, max_epochs=1, limit_train_batches=1)
    made.fit(task, small.data)
    figures = made.callback_metrics
    expected = 2.0 * figures["val/spy"] + 0.5 * figures["val/reconstruction"]
    torch.testing.assert_close(figures["val/loss"], expected)
    own = small.data.prepared.csr(VAL)
    held_out = set(zip(own.row.tolist(), own.col.tolist(), strict=True))
    users = small.data.views.vectors.user
    before, last = spy.seen[0], spy.seen[-1]
    assert torch.equal(before.user, last.user) and torch.equal(before.negative, last.negative)  # at every validation
    for batch in (before, last):
        user = (batch.user[:, None] == users).all(2).int().argmax(1)
        pairs = set(zip(user[batch.known].tolist(), batch.item[batch.known].tolist(), strict=True))
        assert pairs and pairs <= held_out
    task.refuse_unsound_monitor("val/loss")
    task.refuse_unsound_monitor("val/reconstruction")
    with pytest.raises(InputError, match="there will be no such figure"):
        task.refuse_unsound_monitor("val/cosine")


def test_the_losses_of_val_do_not_depend_on_the_batch_size(tmp_path: Path) -> None:
    found = []
    for size in (16, 100):
        data = world(tmp_path, users=90, items=60, batch_size=size, val=1).data
        still = partial(torch.optim.SGD, lr=0.0)
        task = Conditioning(losses=[*default_losses(), DomainContrastive()], optimizer=still)
        trainer(tmp_path, max_epochs=1, limit_train_batches=1).fit(task, data)
        found.append({name: figure for name, figure in task.results.items() if name in task.other_figures})
    assert found[0] == found[1]
    assert len(found[0]) == 7


def test_val_samples_are_bounded(tmp_path: Path, small: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "VAL_SAMPLES", 50)
    spy = Spy()
    task = Conditioning(losses=[spy])
    trainer(tmp_path, max_epochs=1, limit_train_batches=1).fit(task, small.data)
    batch = spy.seen[-1]
    assert 25 <= len(batch.user) <= 50


def test_losses_see_what_has_train_rows(tmp_path: Path, small: Planted) -> None:
    seen: list[Tensor] = []

    class Taking(Spy):
        def prepare(self, user: Tensor, item: Tensor, domain: Tensor) -> None:
            seen.extend([user, item, domain])

    task = Conditioning(losses=[Taking()])
    made = trainer(tmp_path, max_epochs=1, limit_train_batches=1, limit_val_batches=0)
    made.fit(task, small.data)
    plain = task.fitting_views
    rows = (plain.train.row > 2) & (plain.train.col > 2)
    degree = torch.bincount(plain.train.row[rows], minlength=plain.num_users)
    crow = torch.cat([degree.new_zeros(1), degree.cumsum(0)])
    fewer = Views(
        CSR(crow, plain.train.col[rows]), plain.num_items, domain=plain.domain, build_vectors=lambda: plain.vectors
    )
    seen.clear()
    task._fitting_views = fewer
    task._prepare()
    user, item = degree > 0, torch.bincount(plain.train.col[rows], minlength=plain.num_items) > 0
    assert not user[:3].any() and not item[:3].any()
    assert plain.domain is not None
    expected = plain.vectors.user[user], plain.vectors.item[item], plain.domain[item]
    assert all(torch.equal(*pair) for pair in zip(seen, expected, strict=True))


@pytest.mark.parametrize("options", [{}, {"history": 5, "dropout": 0.1}, {"mode": "residual"}, {"mode": "attention"}])
def test_fit_test_and_predict(tmp_path: Path, small: Planted, options: dict[str, Any]) -> None:
    task = Conditioning(partial(Conditioned, **options), k=[5])
    made = trainer(tmp_path, max_epochs=2, callbacks=[WriteVectors()])
    made.fit(task, small.data)
    made.save_checkpoint(tmp_path / "trained.ckpt")
    again = Conditioning(partial(Conditioned, **options), k=[5])
    made.test(again, small.data, ckpt_path=tmp_path / "trained.ckpt", verbose=False, weights_only=True)
    assert {"test/ndcg_5", "test/ndcg_5_movie", "test/ndcg_5_book"} <= set(again.results)
    made.predict(again, small.data, ckpt_path=tmp_path / "trained.ckpt", return_predictions=False, weights_only=True)
    [file] = tmp_path.rglob(WriteVectors.FILE)
    again.eval()
    written = read_vectors(file, small.data.prepared).vectors
    assert written.user.shape == (90, 2, 32)
    torch.testing.assert_close(written.user, conditions(again, small)[1])


@pytest.mark.parametrize("history", [0, 5])
def test_half_precision_trains_and_ranks(tmp_path: Path, small: Planted, history: int) -> None:
    task = Conditioning(partial(Conditioned, history=history), k=[5])
    made = trainer(tmp_path, max_epochs=2, precision="bf16-true")
    made.fit(task, small.data)
    assert all(value.dtype == torch.bfloat16 and value.isfinite().all() for value in task.parameters())
    made.save_checkpoint(tmp_path / "trained.ckpt")
    found = []
    for precision in ("32-true", "bf16-true", "16-true"):  # what is trained may be ranked by in any of them
        again = Conditioning(partial(Conditioned, history=history), k=[5])
        measured: Any = {"ckpt_path": tmp_path / "trained.ckpt", "verbose": False, "weights_only": True}
        trainer(tmp_path, precision=precision).test(again, small.data, **measured)
        found.append(again.results["test/ndcg_5"])
    assert found[0] > 0 and found == pytest.approx([found[0]] * 3, abs=0.02)


def test_a_resumed_run_ends_as_one_that_was_not_cut(tmp_path: Path, small: Planted) -> None:
    ends = []
    for cut in (False, True):
        torch.manual_seed(0)
        task = Conditioning()
        made = trainer(tmp_path, max_epochs=1 if cut else 3, limit_val_batches=0)
        made.fit(task, small.data)
        if cut:
            made.save_checkpoint(tmp_path / "cut.ckpt")
            task = Conditioning()
            made = trainer(tmp_path, max_epochs=3, limit_val_batches=0)
            made.fit(task, small.data, ckpt_path=tmp_path / "cut.ckpt", weights_only=True)
        ends.append(torch.cat([value.flatten() for value in task.state_dict().values()]))
    assert torch.equal(*ends)


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        ([], r"model\.losses is empty"),
        ([Cosine(), Cosine()], "names Cosine twice"),
        ([Cosine(), Diversity(target=0.0)], "No conditions have a cosine"),
    ],
)
def test_losses_that_cannot_be(losses: list[ConditionLoss], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Conditioning(losses=losses)


def test_data_without_vectors_are_refused(tmp_path: Path) -> None:
    from tests.tasks.test_base import data

    with pytest.raises(InputError, match="reads vectors of users and items"):
        trainer(tmp_path, max_epochs=1).fit(Conditioning(losses=[DomainRanking()]), data())


def test_default_losses_do_not_contradict_and_leave_out_the_contrastive_one() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        task = Conditioning()
    names = {type(loss).__name__ for loss in task.losses}
    assert names == {"DomainRanking", "CrossCovariance", "Reconstruction", "Cosine", "Diversity"}
