from __future__ import annotations

import time
from types import SimpleNamespace

import pytest
import torch
from jsonargparse import Namespace
from torch import nn

from recsys_lightning.cli import measure
from recsys_lightning.cli.measure import Clock, Cut, Stopwatch, bytes_of
from recsys_lightning.reports.estimate import Seconds
from tests import worlds


def test_laps_add_up_to_what_went_by() -> None:
    begin = Seconds(time.perf_counter(), time.process_time())
    clock = Clock(begin)
    laps = clock.lap() + clock.lap()
    assert 0 < laps.wall <= time.perf_counter() - begin.wall
    assert 0 <= laps.cpu <= time.process_time() - begin.cpu


def test_a_cut_loader_is_as_long_as_the_whole_and_gives_two_batches_at_least() -> None:
    assert len(Cut([1, 2, 3, 4], seconds=0)) == 4
    assert list(Cut([1, 2, 3, 4], seconds=0)) == [1, 2]
    assert list(Cut([1, 2, 3, 4], seconds=60)) == [1, 2, 3, 4]


def test_each_tensor_is_counted_once_and_wherever_it_lies() -> None:
    one = torch.zeros(10)
    assert bytes_of([one, one[:5], {"a": (one, torch.zeros(2)), "b": "words"}]) == 48
    net = nn.Linear(3, 2)
    assert bytes_of(net) == 4 * 8 == bytes_of(net, besides=[one])
    assert bytes_of([one, net], besides=[one]) == 4 * 8
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    assert bytes_of(optimizer, besides=net.parameters()) == 2 * 4 * 8 + 2 * 4  # moments, and a count for each
    _, views = worlds.blocks()
    rows = bytes_of(views)
    assert rows == bytes_of(views.train) > views.train.col.nbytes
    assert bytes_of(views, views.popularity) == rows + views.popularity.nbytes == bytes_of(views)


@pytest.mark.parametrize(
    ("wall", "cpu", "steps"),
    [(1.0, 1.0, 6), (0.1, 0.1, 31), (1.0, 0.5, 7), (100.0, 0.0, 2)],
)
def test_training_ends_when_enough_is_known(
    monkeypatch: pytest.MonkeyPatch, wall: float, cpu: float, steps: int
) -> None:
    watch = Stopwatch(Clock(Seconds(0, 0)), seconds=3.0)
    monkeypatch.setattr(watch.clock, "lap", lambda: Seconds(wall + 1e-9, cpu + 1e-9))
    trainer = SimpleNamespace(should_stop=False)
    while not trainer.should_stop:
        watch.on_train_batch_end(trainer, None, None, None, 0)  # type: ignore[arg-type]
    assert len(watch.events) == steps


@pytest.mark.parametrize(
    ("devices", "accelerator", "number"),
    [(3, "cpu", 3), ("2", "gpu", 2), ([0, 2], "gpu", 2), ("auto", "cpu", 1), (-1, "gpu", 4), ("auto", "auto", 4)],
)
def test_number_of_devices(monkeypatch: pytest.MonkeyPatch, devices: object, accelerator: str, number: int) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert measure._number(Namespace(devices=devices, accelerator=accelerator)) == number
