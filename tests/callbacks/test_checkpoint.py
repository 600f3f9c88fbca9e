from __future__ import annotations

import os
import signal
import time
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from recsys_lightning.atomic import TEMPORARY
from recsys_lightning.callbacks import checkpoint as module
from recsys_lightning.callbacks.checkpoint import AtomicCheckpointIO, BestAndLast, read_checkpoint, usable_checkpoint
from recsys_lightning.errors import InputError
from recsys_lightning.models.mf import MF
from recsys_lightning.tasks.ranking import Ranking
from tests.tasks.test_base import data, trainer


def write(path: Path, value: float = 1.0) -> None:
    AtomicCheckpointIO().save_checkpoint({"weight": torch.full((1000,), value)}, path)


def truncate(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write(tmp_path / "deep" / "last.ckpt", 3.0)
    assert read_checkpoint(tmp_path / "deep" / "last.ckpt")["weight"].sum() == 3000
    assert [path.name for path in (tmp_path / "deep").iterdir() if path.suffix == ".ckpt"] == ["last.ckpt"]


def test_a_failed_write_leaves_the_previous_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "last.ckpt"
    write(path, 1.0)

    def full(_: Any, file: Any) -> None:
        file.write(b"half a checkpoint")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.torch, "save", full)
    with pytest.raises(InputError, match=r"no room for the checkpoint .*last\.ckpt: it needs about 4,\d{3} bytes"):
        write(path, 2.0)
    assert read_checkpoint(path)["weight"][0] == 1.0
    assert not list(tmp_path.glob(f".*{TEMPORARY}*"))


def test_what_cannot_be_written_is_said_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "last.ckpt").mkdir()
    with pytest.raises(InputError, match=r"last\.ckpt cannot be written \(Is a directory\)\. The previous one"):
        write(tmp_path / "last.ckpt")
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]


def test_sizes_that_cannot_be_noted_lose_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / module.SIZES).mkdir()
    write(tmp_path / "last.ckpt", 2.0)
    assert read_checkpoint(tmp_path / "last.ckpt")["weight"][0] == 2.0
    assert {path.name for path in tmp_path.iterdir()} == {"last.ckpt", module.SIZES}


def test_a_truncated_checkpoint_is_named_with_its_bytes_and_the_newest_good_one(tmp_path: Path) -> None:
    write(tmp_path / "best.ckpt")
    write(tmp_path / "epoch.ckpt")
    os.utime(tmp_path / "best.ckpt", (1, 1))
    whole = (tmp_path / "epoch.ckpt").stat().st_size
    write(tmp_path / "other.ckpt")
    truncate(tmp_path / "other.ckpt", 100)
    with pytest.raises(
        InputError, match=rf"other\.ckpt \(100 of {whole:,} bytes\).*good one beside it is .*epoch\.ckpt"
    ):
        usable_checkpoint(tmp_path / "other.ckpt")


@pytest.mark.parametrize("size", [0, 100])
def test_a_broken_last_falls_back_by_itself(tmp_path: Path, size: int) -> None:
    write(tmp_path / "best.ckpt")
    write(tmp_path / "last.ckpt")
    truncate(tmp_path / "last.ckpt", size)
    with pytest.warns(UserWarning, match=r"Going on from .*best\.ckpt"):
        assert usable_checkpoint(tmp_path / "last.ckpt") == tmp_path / "best.ckpt"


def test_without_a_good_one_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "last.ckpt").write_bytes(b"")
    with pytest.raises(InputError, match="start again"):
        usable_checkpoint(tmp_path / "last.ckpt")
    with pytest.raises(InputError, match="There is no checkpoint"):
        usable_checkpoint(tmp_path / "missing" / "x.ckpt")


def test_a_pickle_that_runs_code_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "pwned"),)

    torch.save({"state_dict": Evil()}, tmp_path / "evil.ckpt")
    with pytest.raises(InputError, match="cannot be read"):
        read_checkpoint(tmp_path / "evil.ckpt")
    assert not (tmp_path / "pwned").exists()


def test_a_folder_that_cannot_be_written_to_stops_before_the_first_step(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    fit = trainer(tmp_path / "file", max_epochs=1, callbacks=[BestAndLast()])
    task = Ranking(partial(MF, dim=4))
    with pytest.raises(InputError, match="Checkpoints cannot be written to"):
        fit.fit(task, data())
    assert fit.global_step == 0


def test_leftovers_of_killed_writers_are_swept(tmp_path: Path) -> None:
    leftover = tmp_path / "checkpoints" / f".last.ckpt{TEMPORARY}999999999-x"
    leftover.parent.mkdir()
    leftover.write_bytes(b"half")
    trainer(tmp_path, max_epochs=1, callbacks=[BestAndLast()]).fit(Ranking(partial(MF, dim=4)), data())
    assert not leftover.exists()
    assert {path.name for path in leftover.parent.glob("*.ckpt")} == {"best.ckpt", "last.ckpt"}


def test_best_is_the_best_on_val(tmp_path: Path) -> None:
    keeper = BestAndLast("val/ndcg_10")
    every = ModelCheckpoint(tmp_path / "all", "{epoch}", save_top_k=-1, save_on_train_epoch_end=False)
    scores = []

    class Task(Ranking):
        def on_validation_epoch_end(self) -> None:
            super().on_validation_epoch_end()
            if not self.trainer.sanity_checking:
                scores.append(self.results["val/ndcg_10"])

    task = Task(partial(MF, dim=4), optimizer=partial(torch.optim.Adam, lr=0.1))
    trainer(tmp_path, max_epochs=5, callbacks=[keeper, every]).fit(task, data())
    best = read_checkpoint(tmp_path / "checkpoints" / "best.ckpt")
    assert best["epoch"] == scores.index(max(scores))


def killed(path: Path, delay: float) -> float:
    """Kill a process that writes one checkpoint after the other; what is read then. To be called where one may fork."""
    torch.set_num_threads(1)
    ours, theirs = os.pipe()
    child = os.fork()
    if not child:
        value = 0.0
        while True:
            AtomicCheckpointIO().save_checkpoint({"weight": torch.full((3_000_000,), value)}, path)
            os.write(theirs, b"x")
            value += 1
    for _ in range(2):
        os.read(ours, 1)
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(ours)
    os.close(theirs)
    weight = read_checkpoint(path)["weight"]
    assert (weight == weight[0]).all()
    return float(weight[0])


@pytest.mark.parametrize("delay", [0.0, 0.02, 0.05, 0.1])
def test_a_writer_killed_at_any_time_leaves_a_good_checkpoint(
    elsewhere: Executor, tmp_path: Path, delay: float
) -> None:
    assert elsewhere.submit(killed, tmp_path / "last.ckpt", delay).result(timeout=120) >= 1


def test_nothing_is_written_between_an_epochs_last_step_and_its_validation(tmp_path: Path) -> None:
    """A run that is resumed from there would never validate that epoch, and might miss its best."""
    found: list[bool] = []

    class Task(Ranking):
        def on_validation_start(self) -> None:
            super().on_validation_start()
            found.append((tmp_path / "checkpoints" / "last.ckpt").exists())

    module = data()
    steps = len(module.train_dataloader())
    fit = trainer(tmp_path, max_epochs=1, num_sanity_val_steps=0, callbacks=[BestAndLast(every_n_steps=steps)])
    fit.fit(Task(partial(MF, dim=4)), module)
    assert found == [False] and fit.global_step == steps


def test_steps_are_at_least_one() -> None:
    with pytest.raises(InputError, match=r"checkpoint\.every_n_steps is 0"):
        BestAndLast(every_n_steps=0)


def test_last_is_the_last_epoch_even_where_it_is_not_the_best(tmp_path: Path) -> None:
    task = Ranking(partial(MF, dim=4), optimizer=partial(torch.optim.SGD, lr=0.0))
    trainer(tmp_path, max_epochs=3, callbacks=[BestAndLast()]).fit(task, data())
    epochs = {name: read_checkpoint(tmp_path / "checkpoints" / f"{name}.ckpt")["epoch"] for name in ("best", "last")}
    assert epochs == {"best": 0, "last": 2}


def known(folder: str, best: str) -> BestAndLast:
    """What knows a best score of .5 after it has read a checkpoint in a folder."""
    callback = BestAndLast()
    callback.dirpath, score = folder, torch.tensor(0.5)
    callback.load_state_dict(
        {
            "dirpath": str(Path(best).parent),
            "best_model_path": best,
            "best_model_score": score,
            "kth_best_model_path": best,
            "kth_value": score,
            "best_k_models": {best: score},
            "last_model_path": "",
        }
    )
    return callback


def test_the_best_score_is_known_however_its_folder_is_spelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "best.ckpt")
    monkeypatch.chdir(tmp_path.parent)
    callback = known(str(tmp_path), f"{tmp_path.name}/best.ckpt")
    here = str(tmp_path / "best.ckpt")
    assert callback.best_model_path == here == callback.kth_best_model_path
    assert callback.best_k_models == {here: 0.5} and callback.best_model_score == 0.5
    assert callback.kth_value == 0.5


def test_a_best_checkpoint_that_lies_elsewhere_is_not_counted(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=r"so far, .*old/best\.ckpt, does not lie in .*: what is best there will be"):
        callback = known(str(tmp_path), str(tmp_path / "old" / "best.ckpt"))
    assert callback.best_model_path == "" and callback.best_model_score is None and not callback.best_k_models
