"""`recsys chain`: experiments that feed one another, run one after the other, and set side by side."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from filelock import FileLock, Timeout

from recsys_lightning.atomic import write_text
from recsys_lightning.cli import INTERRUPTED
from recsys_lightning.cli.own_options import OwnOptions, whole_number
from recsys_lightning.cli.stages import Chain, Stage, digest, read_chain
from recsys_lightning.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

HELP = """\
recsys chain FILE [options]: run the stages of a chain, and set what they found side by side

  FILE               e.g. experiments/cross_domain/synthetic.yaml
  --seeds N          trainings of each stage [1]; closed forms are solved once
  --only NAME,...    these stages, and those they take vectors from
  --to FOLDER        of all runs and of the report [runs/chain/<name of FILE>]
  --trainer.OPTION   goes to every stage, e.g. --trainer.max_epochs=5
  --data.OPTION      likewise, to the data that it reads itself or that its vectors were made of

A chain is a YAML file of stages, each a configuration:

  stages:
    gat: {config: ../synthetic-domains/gat.yaml}
    conditioner: {config: ../synthetic-domains/conditioner.yaml, vectors: gat}
    ease: {config: ../synthetic-domains/ease.yaml, run: [test]}
    movies: {config: ../synthetic-domains/lightgcn.yaml, domain: movie}
  base: gat

`vectors` names the stage whose vectors of users and items are the data of this one; `domain` the only one of the
domains that it is given; `run` its verbs [fit, test], `options` more words of its command line.
A stage lies in a folder of its own, named by a digest of its configuration, options, seed and code, and of the stages
before it; not of the raw data. What is finished is not done again, a training that was broken off goes on, and a stage
that changed is another one.
Each stage can also be run by itself: its commands are printed.
"""


class Done(NamedTuple):
    """What a stage left: folder, checkpoint, and the folders of test and predict, as far as it has them."""

    folder: Path
    files: Mapping[str, str]

    def path(self, verb: str) -> Path:
        """What the verb left."""
        return self.folder / self.files[verb]


_LEAVES = {"fit": "**/checkpoints/best.ckpt", "test": "**/metrics.json", "predict": "**/vectors.safetensors"}
"""By verb, the file whose newest one is what it left."""


class Runs:
    """Does the stages of a chain below a folder, each once.

    Args:
        chain: of stages.
        folder: of all runs.
        options: of every stage.
    """

    def __init__(self, chain: Chain, folder: Path, options: Sequence[str]) -> None:
        self.chain = chain
        self.folder = folder
        self.options = tuple(options)

    def __call__(self, stage: Stage, seed: int) -> Done:
        """A stage under a seed, after the stage that it takes vectors from."""
        seed = 0 if stage.once else seed
        before = None if stage.vectors is None else self(self.chain.stages[stage.vectors], seed)
        words = [*stage.words(before and before.path("predict"), seed), *self._options_of(stage)]
        folder = self._folder_of(stage, seed)
        with _alone(stage, folder):
            files = _read(folder)
            for verb in stage.run:
                if not _left(folder, files, verb):
                    files[verb] = self._run(stage, verb, words, folder, files)
                    _write(folder, files)
        return Done(folder, files)

    def done(self, stage: Stage, seed: int) -> Done | None:
        """What was left of a stage under a seed, if all of it is there already."""
        folder = self._folder_of(stage, seed)
        files = _read(folder)
        return Done(folder, files) if all(_left(folder, files, verb) for verb in stage.run) else None

    def _folder_of(self, stage: Stage, seed: int) -> Path:
        seed = 0 if stage.once else seed
        before = None if stage.vectors is None else self._folder_of(self.chain.stages[stage.vectors], seed)
        # a stage is told by the one it stands on, not by how the path of its vectors is written
        name = digest(stage, [*stage.words(before and Path(before.name), seed), *self._options_of(stage)])
        return self.folder / f"{stage.name}-{name}"

    def _options_of(self, stage: Stage) -> list[str]:
        of_data = "--data.interactions." if stage.vectors else "--data."
        return [word.replace("--data.", of_data, 1) if word.startswith("--data.") else word for word in self.options]

    def _run(self, stage: Stage, verb: str, words: list[str], folder: Path, files: Mapping[str, str]) -> str:
        command = [verb, *words, f"--trainer.default_root_dir={folder}"]
        if verb == "predict":
            command.append("--trainer.callbacks+=WriteVectors")
        checkpoint = folder / files["fit"] if "fit" in files else None
        if verb == "fit":
            checkpoint = _newest(folder, "**/checkpoints/last.ckpt")
        if checkpoint is not None:
            command.append(f"--ckpt_path={checkpoint}")
        print(f"\n== {stage.name}: recsys {' '.join(command)}", flush=True)
        from recsys_lightning.callbacks.signals import ENDED  # late: it brings Lightning along

        status = carried_out([sys.executable, "-m", "recsys_lightning", *command])
        left = _newest(folder, _LEAVES[verb])
        done = "what is finished is not done twice."
        if status == INTERRUPTED:
            raise KeyboardInterrupt(
                f"Stage {stage.name} was interrupted at {verb}. Give the same command again to go on: {done}"
            )
        if status in (ENDED, -signal.SIGTERM):
            said = f"Stage {stage.name} was ended at {verb}. Give the same command again to go on: {done}"
            print(f"recsys: {said}", file=sys.stderr)
            raise SystemExit(ENDED)
        if status or left is None:
            why = f"stopped at {verb} (exit status {status}); what it said stands above"
            if not status:
                why = f"left no {_LEAVES[verb].rpartition('/')[2]} at {verb}"
            if not status and verb == "fit":
                why += ", as it was never validated: train as many epochs as trainer.check_val_every_n_epoch at least"
            raise InputError(f"Stage {stage.name} {why}. Mend it and give the same command again: {done}")
        return str((left.parent if verb == "test" else left).relative_to(folder))


def run(words: list[str]) -> None:
    """Carry out `recsys chain`; `words` starts with it."""
    own, rest = OwnOptions("--seeds", "--only", "--to").read(words[1:])
    files, options = _sorted(rest)
    if len(files) != 1:
        raise InputError(f"`recsys chain` takes the file of one chain, and was given {len(files)}.")
    chain = read_chain(Path(files[0]))
    seeds = whole_number("seeds", own.seeds or "1", 1)
    folder = Path(own.to or Path("runs") / "chain" / chain.name)
    from recsys_lightning.reports.tested import refuse_other_data

    runs, tests = Runs(chain, folder, options), dict[str, list[Path]]()
    for stage in chain.chosen(own.only.split(",") if own.only else []):
        done = [runs(stage, seed) for seed in range(1 if stage.once else seeds)]
        if "test" in stage.run:
            tests[stage.name] = [one.path("test") for one in done]
            # now, before more is trained that could not be set beside it
            refuse_other_data([test for found in tests.values() for test in found])
    if tests:
        _report(chain, folder, tests, seeds)


def carried_out(command: Sequence[str]) -> int:
    """Carry out a command in a process of its own; its exit status, `INTERRUPTED` where it was that.

    SIGTERM is handed on: a training then writes its checkpoint before it ends.
    """
    process = subprocess.Popen(command)
    try:
        with _sigterm_to(process):
            return process.wait()
    except KeyboardInterrupt:
        # the terminal told it too, and a training first writes down where it is; who asks twice does not want that
        with suppress(KeyboardInterrupt):
            process.wait()
        process.kill()
        process.wait()
        return INTERRUPTED


@contextmanager
def _sigterm_to(process: subprocess.Popen[bytes]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _report(chain: Chain, folder: Path, tests: Mapping[str, Sequence[Path]], seeds: int) -> None:
    """Set side by side what was tested, in print and as pages."""
    from recsys_lightning.reports.chain import write_chain_pages

    tested = {name: [_values(test, chain.stages[name]) for test in found] for name, found in tests.items()}
    base = chain.base if chain.base in tested else next(iter(tested))
    first = {name: found[0] for name, found in tests.items()}
    for line in write_chain_pages(folder, chain.name, base, tested, first, seeds):
        print(line)


def _values(folder: Path, stage: Stage) -> pd.DataFrame:
    """A row for each tested user and domain."""
    import pandas as pd

    table = pd.read_parquet(folder / "per_user.parquet")
    return table if stage.domain is None else table.assign(domain=stage.domain)


def _sorted(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Names of files, and options that go to every stage."""
    files, options = [], list[str]()
    words = list(words)
    while words:
        word = words.pop(0)
        if not word.startswith("-"):
            files.append(word)
        elif word.startswith(("--trainer.", "--data.")):
            if "=" not in word:
                raise InputError(f"{word} is given to every stage as one word: {word}=VALUE.")
            options.append(word)
        else:
            raise InputError(f"`recsys chain` knows no option {word}. `recsys chain --help` says what there is.")
    return files, options


def _newest(folder: Path, pattern: str) -> Path | None:
    return max(folder.glob(pattern), key=lambda file: file.stat().st_mtime_ns, default=None)


def _read(folder: Path) -> dict[str, str]:
    """What the verbs of a stage left, relative to its folder."""
    try:
        found = json.loads((folder / "done.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


@contextmanager
def _alone(stage: Stage, folder: Path) -> Iterator[None]:
    """Be the only command that works on a stage: two would go on from each other's checkpoints.

    Raises:
        InputError: it cannot be written to, or files cannot be locked there.
    """
    lock = FileLock(folder / ".lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with suppress(Timeout):
            lock.acquire(timeout=0)
        if not lock.is_locked:
            print(f"\nStage {stage.name} is under way in another command; waiting until it is done.", flush=True)
            lock.acquire()
    except NotImplementedError as error:
        raise InputError(
            f"Files cannot be locked in {folder}. Choose a folder on another disk: --to FOLDER."
        ) from error
    except OSError as error:
        raise InputError(
            f"{folder} cannot be written to ({error.strerror}). Choose a writable folder: --to FOLDER."
        ) from error
    try:
        yield
    finally:
        lock.release()


def _left(folder: Path, files: Mapping[str, str], verb: str) -> bool:
    """Whether what a verb left is still there."""
    return verb in files and (folder / files[verb]).exists()


def _write(folder: Path, files: Mapping[str, str]) -> None:
    write_text(folder / "done.json", json.dumps(files, indent=2) + "\n")
