from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pandas as pd
import pytest

from recsys_lightning.callbacks.signals import ENDED
from recsys_lightning.cli import INTERRUPTED, chain
from tests.conftest import Recsys
from tests.experiments import stages_in_this_process

DATA = """
class_path: SyntheticDomains
init_args: {users: 40, items: {movie: 30, book: 30}, rows: 6}
"""
LIGHTGCN = """
data: data.yaml
model:
  class_path: Ranking
  init_args: {recommender: {class_path: LightGCN, init_args: {dim: 8, layers: 1}}}
trainer: {max_epochs: 1, enable_progress_bar: false, enable_model_summary: false, accelerator: cpu}
"""
EASE = """
data: data.yaml
model: {class_path: Ranking, init_args: {recommender: EASE}}
trainer: {enable_progress_bar: false, accelerator: cpu}
"""
DOT = """
data:
  class_path: EmbeddingDataModule
  init_args: {interactions: data.yaml}
model: {class_path: Ranking, init_args: {recommender: DotProduct}}
trainer: {enable_progress_bar: false, accelerator: cpu}
"""
CHAIN = """
stages:
  lightgcn: {config: lightgcn.yaml}
  dot: {config: dot.yaml, vectors: lightgcn, run: [test]}
  ease: {config: ease.yaml, run: [test]}
  film_ease: {config: ease.yaml, run: [test], domain: movie}
base: lightgcn
"""
NO_VECTORS = """
stages:
  lightgcn: {config: lightgcn.yaml, run: [fit, test]}
  ease: {config: ease.yaml, run: [test]}
"""


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    for name, text in {"data": DATA, "lightgcn": LIGHTGCN, "ease": EASE, "dot": DOT, "chain": CHAIN}.items():
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    return tmp_path / "chain.yaml"


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch, recsys: Recsys) -> list[list[str]]:
    """What the chain runs, in this process."""
    return stages_in_this_process(monkeypatch)


def test_stages_feed_one_another_and_are_done_once(
    recsys: Recsys, experiment: Path, commands: list[list[str]], tmp_path: Path
) -> None:
    found = recsys("chain", experiment, "--to", tmp_path / "out")
    assert found.status == 0, found.err
    verbs = [words[0] for words in commands]
    assert verbs == ["fit", "test", "predict", "test", "test", "test"]
    text = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    rows = {line.split("|")[1].strip(): line for line in text.splitlines() if line.startswith("| ")}
    assert rows["dot"].count("+0.0000") == 6, "the vectors alone give the figures of the model"
    assert "film_ease" in rows
    assert "of a domain that all of these stages tested" in " ".join(found.out.split())
    commands.clear()
    again = recsys("chain", experiment, "--to", tmp_path / "out")
    assert again.status == 0 and not commands
    assert again.last_line == str(tmp_path / "out" / "report.html")
    other = recsys("chain", experiment, "--to", tmp_path / "out", "--only", "ease", "--trainer.limit_test_batches=1")
    assert other.status == 0 and [words[0] for words in commands] == ["test"]


def test_a_training_that_broke_off_goes_on(
    recsys: Recsys, experiment: Path, commands: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = chain.carried_out
    experiment.write_text(NO_VECTORS, encoding="utf-8")

    def breaks_off(words: Sequence[str]) -> int:
        run(words)
        return 1

    with monkeypatch.context() as patch:
        patch.setattr(chain, "carried_out", breaks_off)
        stopped = recsys("chain", experiment, "--to", tmp_path / "out", "--only", "lightgcn")
    assert stopped.status == 2
    assert "Stage lightgcn stopped at fit (exit status 1)" in stopped.err
    with monkeypatch.context() as patch:
        patch.setattr(chain, "carried_out", lambda words: ENDED)
        ended = recsys("chain", experiment, "--to", tmp_path / "out", "--only", "lightgcn")
        assert ended.status == ENDED and "Stage lightgcn was ended at fit. Give the same command again" in ended.err
        patch.setattr(chain, "carried_out", lambda words: INTERRUPTED)
        stopped = recsys("chain", experiment, "--to", tmp_path / "out", "--only", "lightgcn")
    assert stopped.status == INTERRUPTED
    assert "recsys: Stage lightgcn was interrupted at fit. Give the same command again" in stopped.err
    assert recsys("chain", experiment, "--to", tmp_path / "out", "--only", "lightgcn").status == 0
    resumed = commands[1]
    assert resumed[0] == "fit" and any(word.endswith("last.ckpt") for word in resumed)


def test_an_interrupted_stage_ends_by_itself(tmp_path: Path) -> None:
    """The terminal interrupts the stage too, which then writes its checkpoint: it must not be killed meanwhile."""
    late = f"""
import os, pathlib, signal, time
os.kill(os.getppid(), signal.SIGINT)
time.sleep(0.5)
pathlib.Path({str(tmp_path / "checkpoint")!r}).touch()
"""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    try:
        status = chain.carried_out([sys.executable, "-c", late])
    finally:
        signal.signal(signal.SIGINT, before)
    assert status == INTERRUPTED
    assert (tmp_path / "checkpoint").exists()


def test_a_stage_that_sigterm_ends_ends_by_itself(tmp_path: Path) -> None:
    """A scheduler may tell the chain alone: its stage must hear of it, write its checkpoint, and be waited for."""
    noted = tmp_path / "checkpoint"
    stage = f"""
import os, pathlib, signal, sys, time
def end(*_):
    time.sleep(0.5)
    pathlib.Path({str(noted)!r}).touch()
    sys.exit(143)
signal.signal(signal.SIGTERM, end)
os.kill(os.getppid(), signal.SIGTERM)
time.sleep(60)
"""
    before = signal.getsignal(signal.SIGTERM)
    assert chain.carried_out([sys.executable, "-c", stage]) == ENDED and noted.exists()
    assert signal.getsignal(signal.SIGTERM) == before


def test_who_asks_twice_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    class Endless:
        killed, waits = False, 0

        def __init__(self, command: Sequence[str]) -> None:
            pass

        def wait(self) -> int:
            self.waits += 1
            if not self.killed:
                raise KeyboardInterrupt
            return -signal.SIGKILL

        def kill(self) -> None:
            self.killed = True
            assert self.waits == 2

    monkeypatch.setattr(chain.subprocess, "Popen", Endless)
    assert chain.carried_out(["x"]) == INTERRUPTED


def test_stages_of_other_data_are_refused_before_more_is_run(
    recsys: Recsys, experiment: Path, commands: list[list[str]], tmp_path: Path
) -> None:
    stages = "ease: {config: ease.yaml, run: [test]}, few: {config: ease.yaml, run: [test], options: [OPTION]}"
    last = "last: {config: ease.yaml, run: [test]}"
    option = "--data.recipe.split=random"
    experiment.write_text(f"stages: {{{stages.replace('OPTION', option)}, {last}}}", encoding="utf-8")
    found = recsys("chain", experiment, "--to", tmp_path / "out")
    assert found.status == 2
    assert "Runs of different data" in found.err and "; random, val" in found.err
    assert len(commands) == 2


def test_seeds_are_trained_apart_and_closed_forms_once(
    recsys: Recsys, experiment: Path, commands: list[list[str]], tmp_path: Path
) -> None:
    experiment.write_text(NO_VECTORS, encoding="utf-8")
    found = recsys("chain", experiment, "--to", tmp_path / "out", "--seeds", 2)
    assert found.status == 0, found.err
    seeds = [word for words in commands for word in words if word.startswith("--seed") and words[0] == "test"]
    assert seeds == ["--seed_everything=0", "--seed_everything=1", "--seed_everything=0"]
    assert "Means over 2 trainings" in (tmp_path / "out" / "report.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seeds", "0"], "--seeds is 0"),
        (["--only", "x"], "--only names x; there are lightgcn, dot, ease, film_ease"),
        (["--model.k=[5]"], "knows no option --model.k=[5]"),
        (["--trainer.max_epochs", "5"], "is given to every stage as one word: --trainer.max_epochs=VALUE"),
        (["other.yaml"], "takes the file of one chain, and was given 2"),
    ],
)
def test_bad_options_are_refused_in_words(recsys: Recsys, experiment: Path, words: list[str], message: str) -> None:
    found = recsys("chain", experiment, *words)
    assert found.status == 2 and message in found.err


def test_two_commands_at_once_do_not_work_on_one_stage(
    experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    waits = Event()

    def work(command: Sequence[str]) -> int:
        [root] = [word.partition("=")[2] for word in command if word.startswith("--trainer.default_root_dir")]
        (Path(root) / "metrics.json").write_text("{}")
        started.append(root)
        waits.wait(60)
        return 0

    started: list[str] = []
    monkeypatch.setattr(chain, "carried_out", work)
    both = chain.read_chain(experiment)
    with ThreadPoolExecutor(2) as pool:
        one, other = (pool.submit(chain.Runs(both, tmp_path / "out", []), both.stages["ease"], 0) for _ in range(2))
        said = ""
        while "Stage ease is under way in another command" not in said:
            said += capsys.readouterr().out
            assert not one.done() and not other.done()
        waits.set()
        assert one.result() == other.result()
    assert len(started) == 1


def test_values_of_one_domain_bear_its_name(tmp_path: Path) -> None:
    pd.DataFrame({"user_id": ["a"], "ndcg_10": [0.5]}).to_parquet(tmp_path / "per_user.parquet")
    stage = chain.Stage("x", tmp_path, None, "movie", ("test",), (), True)
    assert chain._values(tmp_path, stage).domain.tolist() == ["movie"]
