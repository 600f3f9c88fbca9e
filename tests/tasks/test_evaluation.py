"""Full ranking by any task, of one domain and of several."""

from __future__ import annotations

from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from recsys_lightning.batches import Views
from recsys_lightning.callbacks.checkpoint import read_checkpoint
from recsys_lightning.data.recipe import Recipe
from recsys_lightning.datamodules.interactions import InteractionsDataModule
from recsys_lightning.errors import InputError
from recsys_lightning.metrics.evaluator import ACCURACY
from recsys_lightning.models.base import Embeddings
from recsys_lightning.models.ease import EASE
from recsys_lightning.models.mf import MF
from recsys_lightning.models.popularity import Popularity
from recsys_lightning.tasks.evaluation import TopItems
from recsys_lightning.tasks.ranking import Ranking
from tests.tasks.test_base import data, trainer
from tests.worlds import DomainSource, MemorySource


def test_closed_forms_are_tested_without_training_and_not_fitted(tmp_path: Path) -> None:
    task = Ranking(partial(EASE, regularization=10.0), k=[5])
    trainer(tmp_path).test(task, data(), verbose=False)
    assert task.results["test/ndcg_5"] > 0.1
    with pytest.raises(InputError, match="closed form"):
        trainer(tmp_path, max_epochs=1).fit(Ranking(EASE), data())


def test_means_are_those_of_the_users(tmp_path: Path) -> None:
    task = Ranking(Popularity, k=[5, 10])
    trainer(tmp_path).test(task, data(), verbose=False)
    assert task.per_user is not None
    assert len(task.per_user.user) == task.results["test/users"]
    for name in ("recall_5", "ndcg_10"):
        assert task.results[f"test/{name}"] == pytest.approx(float(task.per_user.values[name].mean()), abs=1e-12)


@pytest.mark.parametrize(
    ("key", "message"),
    [("val/ndcg_10_sampled_5", "Monitor val/ndcg_10"), ("test/ndcg_10", "Monitor val/ndcg_10")],
)
def test_unsound_keys_cannot_be_monitored(tmp_path: Path, key: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        trainer(tmp_path, callbacks=[EarlyStopping(key)]).fit(Ranking(MF, sampled=5), data())


def test_monitoring_val_without_val_rows_is_refused(tmp_path: Path) -> None:
    module = InteractionsDataModule(MemorySource(), Recipe(split="random", val=0))
    with pytest.raises(InputError, match="no val rows"):
        trainer(tmp_path, callbacks=[EarlyStopping("val/ndcg_10")]).fit(Ranking(MF), module)


def test_sampled_metrics_carry_it_in_their_names(tmp_path: Path) -> None:
    task = Ranking(Popularity, k=[5], sampled=10)
    trainer(tmp_path).test(task, data(), verbose=False)
    assert task.results["test/ndcg_5_sampled_10"] > task.results["test/ndcg_5"]


def test_predict_ranks_unseen_items_only(tmp_path: Path) -> None:
    task, module = Ranking(Popularity, predict_k=7), data()
    batches = trainer(tmp_path).predict(task, module)
    known = module.prepared.csr("train", "val")
    users = 0
    for batch in batches or []:
        assert isinstance(batch, TopItems)
        assert (batch.score.diff() <= 0).all()
        for user, items in zip(batch.user, batch.item, strict=True):
            own = known.col[known.crow[user] : known.crow[user + 1]]
            assert not np.isin(items, own).any()
            users += 1
    assert users == module.schema.num_users


class Counting(MF):
    """Counts how often it is asked to encode."""

    calls = 0

    def encode(self, views: Views) -> Embeddings:
        type(self).calls += 1
        return super().encode(views)


def test_the_model_encodes_once_per_step_and_once_per_evaluation(tmp_path: Path) -> None:
    module = InteractionsDataModule(MemorySource(), Recipe(split="random"), batch_size=64, eval_batch_size=7)
    task = Ranking(partial(Counting, dim=4))
    Counting.calls = 0
    trainer(tmp_path, max_epochs=1, num_sanity_val_steps=0).fit(task, module)
    steps = task.global_step
    assert Counting.calls == steps + 1


def test_cut_offs_are_checked() -> None:
    with pytest.raises(InputError, match=r"model\.k"):
        Ranking(MF, k=[])


# Several domains


def domains(**recipe: Any) -> InteractionsDataModule:
    return InteractionsDataModule(DomainSource(), Recipe(split="random", **recipe), batch_size=64)


def test_each_domain_is_ranked_by_itself(tmp_path: Path) -> None:
    """By hand: each user's unseen items of the domain, by popularity."""
    task, module = Ranking(Popularity, k=[5]), domains()
    trainer(tmp_path).test(task, module, verbose=False)
    prepared, popularity = module.prepared, module.views.popularity
    assert prepared.domain is not None and prepared.domains == ("movie", "book")
    seen, relevant, found = prepared.csr("train", "val"), prepared.csr("test"), {}
    for code, name in enumerate(prepared.domains):
        items = torch.from_numpy(np.flatnonzero(prepared.domain == code))
        values = []
        for user in range(prepared.num_users):
            wanted = relevant.col[relevant.crow[user] : relevant.crow[user + 1]]
            wanted = wanted[torch.isin(wanted, items)]
            if not len(wanted):
                continue
            open_items = items[~torch.isin(items, seen.col[seen.crow[user] : seen.crow[user + 1]])]
            least = popularity[open_items].sort(descending=True).values[:5][-1]
            sure = open_items[popularity[open_items] > least]
            ties = int((popularity[open_items] == least).sum())
            chance = min(1.0, (5 - len(sure)) / ties)
            values.append((len(set(sure.tolist()) & set(wanted.tolist())) / len(wanted), chance))
        found[name] = values
        assert task.results[f"test/users_{name}"] == len(values)
        own = task.results[f"test/recall_5_{name}"]
        assert np.mean([least for least, _ in values]) <= own <= np.mean([least + chance for least, chance in values])
    assert task.results["test/users"] == sum(map(len, found.values()))
    both = [task.results[f"test/recall_5_{name}"] for name in prepared.domains]
    assert task.results["test/recall_5"] == pytest.approx(np.mean(both))
    assert task.results["test/recall_5_worst"] == min(both)


def test_values_of_users_say_in_which_domain_they_are(tmp_path: Path) -> None:
    task = Ranking(Popularity, k=[5])
    trainer(tmp_path).test(task, domains(), verbose=False)
    assert task.per_user is not None and task.per_user.domain is not None
    for code, name in enumerate(task.domains):
        values = task.per_user.values["ndcg_5"][task.per_user.domain == code]
        assert float(values.mean()) == pytest.approx(task.results[f"test/ndcg_5_{name}"], abs=1e-12)


def test_a_training_on_domains_logs_figures_and_losses_of_each(tmp_path: Path) -> None:
    task, made = (
        Ranking(partial(MF, dim=8), optimizer=partial(torch.optim.Adam, lr=0.05), k=[5]),
        trainer(tmp_path, max_epochs=12),
    )
    module = domains()
    made.fit(task, module)
    logged = {name: float(value) for name, value in made.callback_metrics.items()}
    for figure in ACCURACY:
        both = [logged[f"val/{figure}_5_{name}"] for name in ("movie", "book")]
        assert logged[f"val/{figure}_5"] == pytest.approx(np.mean(both), abs=1e-6)
        assert logged[f"val/{figure}_5_worst"] == pytest.approx(min(both), abs=1e-6)
    # a third of each domain's items are of the own block: random lists of 5 of 40 and 30 items reach .13 and .17
    assert logged["val/recall_5_movie"] > 0.25 and logged["val/recall_5_book"] > 0.25
    pairs = [len(part.user) for part in module.train_dataloader().parts]
    of_domains = [logged["train/loss_movie"], logged["train/loss_book"]]
    assert logged["train/loss_epoch"] == pytest.approx(np.average(of_domains, weights=pairs), abs=1e-5)


def test_predict_ranks_the_items_of_one_domain_at_a_time(tmp_path: Path) -> None:
    task, module = Ranking(Popularity, predict_k=7), domains()
    batches = trainer(tmp_path).predict(task, module) or []
    known, domain, lists = module.prepared.csr("train", "val"), module.views.domain, []
    assert domain is not None
    for batch in batches:
        assert isinstance(batch, TopItems)
        (code,) = domain[batch.item[batch.item >= 0]].unique().tolist()
        for user, items in zip(batch.user.tolist(), batch.item, strict=True):
            assert not np.isin(items, known.col[known.crow[user] : known.crow[user + 1]]).any()
            lists.append((code, user))
    assert sorted(lists) == [(code, user) for code in (0, 1) for user in range(module.schema.num_users)]


@pytest.mark.parametrize("key", ["val/ndcg_5", "val/ndcg_5_book", "val/ndcg_5_worst", "train/loss_movie"])
def test_figures_of_domains_can_be_monitored(tmp_path: Path, key: str) -> None:
    best = ModelCheckpoint(tmp_path, "best", monitor=key, save_weights_only=True)
    made = trainer(tmp_path, callbacks=[best], max_epochs=1)
    made.fit(Ranking(partial(MF, dim=4), k=[5]), domains())
    assert best.best_model_score == made.callback_metrics[key]
    assert not [name for name in read_checkpoint(tmp_path / "best.ckpt")["state_dict"] if "metrics" in name]


SAID = (
    r"will be no such figure\. With model\.k \[5\] there are val/recall_5, val/precision_5, val/ndcg_5, val/map_5 "
    r"and others"
)
OF_EACH = r", and of each domain: val/ndcg_5_movie, val/ndcg_5_book, val/ndcg_5_worst\.$"


@pytest.mark.parametrize("key", ["val/ndcg_5_song", "val/ndcg_10_book", "val/ndcg_book", "val/gini_5_worst"])
def test_figures_that_no_domain_has_are_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(InputError, match=f"^{key} is monitored, and there {SAID}{OF_EACH}"):
        trainer(tmp_path, callbacks=[EarlyStopping(key)]).fit(Ranking(MF, k=[5]), domains())


@pytest.mark.parametrize("key", ["val/ndcg_5_book", "val/ndcg_5_worst"])
def test_one_domain_has_no_figures_of_domains(tmp_path: Path, key: str) -> None:
    with pytest.raises(InputError, match=rf"{SAID}\.$"):
        trainer(tmp_path, callbacks=[EarlyStopping(key)]).fit(Ranking(MF, k=[5]), data())


def test_unsound_figures_of_domains_are_refused_too(tmp_path: Path) -> None:
    for key, message in (("val/ndcg_5_sampled_9_book", "sampled candidates"), ("test/ndcg_5_book", "val/ndcg_5_book")):
        with pytest.raises(InputError, match=message):
            trainer(tmp_path, callbacks=[EarlyStopping(key)]).fit(Ranking(MF, k=[5], sampled=9), domains())


def on_some_processes(processes: int, folder: Path) -> list[dict[str, float]]:
    """Train on so many processes; what is then measured on one, and on so many."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    options: dict[str, Any] = {} if processes == 1 else {"devices": processes, "strategy": "ddp_fork"}
    saved, module = ModelCheckpoint(folder, f"{processes}"), domains()
    made = trainer(folder, max_epochs=2, callbacks=[saved], **options)
    made.fit(Ranking(partial(MF, dim=4), k=[5], sampled=6), module)
    found = []
    for some in ({}, options):
        tester = trainer(folder, **some)
        task = Ranking(partial(MF, dim=4), k=[5], sampled=6)
        tester.test(task, module, ckpt_path=folder / f"{processes}.ckpt", verbose=False)
        found.append({name: float(value) for name, value in tester.callback_metrics.items()})
    return found


def test_two_processes_train_and_measure_domains_as_one_does(elsewhere: Executor, tmp_path: Path) -> None:
    """Guarantee G12."""
    one, two = elsewhere.submit(on_some_processes, 2, tmp_path).result(timeout=600)
    assert one["test/users"] > 0 and {"test/ndcg_5_worst", "test/ndcg_5_sampled_6_book"} <= set(one)
    assert two == pytest.approx(one, abs=1e-9, nan_ok=True)
