from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch

from recsys_lightning.callbacks.memory import ExplainOutOfMemory
from recsys_lightning.errors import InputError
from recsys_lightning.models.mf import MF
from recsys_lightning.tasks.ranking import Ranking
from tests.tasks.test_base import data, trainer


class Exhausted(Ranking):
    fault: type[Exception] = torch.OutOfMemoryError

    def training_step(self, *_: object) -> None:  # type: ignore[override]
        raise self.fault("CUDA out of memory. Tried to allocate 3.05 GiB. GPU 0 has 79 GiB.\nMore words.")


def test_it_names_what_is_held_and_three_knobs(tmp_path: Path) -> None:
    fit = trainer(tmp_path, max_epochs=1, callbacks=[ExplainOutOfMemory()])
    with pytest.raises(torch.OutOfMemoryError) as caught:
        fit.fit(Exhausted(partial(MF, dim=1000)), data())
    cause = caught.value.__cause__
    assert isinstance(cause, InputError)
    said = str(cause)
    assert said.startswith("The device has no memory left (CUDA out of memory. Tried to allocate 3.05 GiB).")
    assert "batches of 64 rows, 60 users and 40 items" in said
    assert "recommender.user 0.2 MB, recommender.item 0.2 MB" in said
    for knob in ("--data.batch_size", "--trainer.precision bf16-mixed", "--model.recommender.dim"):
        assert knob in said


def test_other_errors_are_left_alone(tmp_path: Path) -> None:
    class Other(Exhausted):
        fault = RuntimeError

    fit = trainer(tmp_path, max_epochs=1, callbacks=[ExplainOutOfMemory()])
    with pytest.raises(RuntimeError) as caught:
        fit.fit(Other(partial(MF, dim=4)), data())
    assert caught.value.__cause__ is None
