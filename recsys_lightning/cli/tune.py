"""`recsys tune`: search for options on val, every trial a run of its own."""

from __future__ import annotations

import hashlib
import json
import logging
import signal
import warnings
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from recsys_lightning.cli.own_options import OwnOptions, whole_number
from recsys_lightning.cli.sweep import Sweep, read_sweep
from recsys_lightning.errors import InputError

if TYPE_CHECKING:
    from recsys_lightning.cli.search import Search

HELP = """\
recsys tune: search for options by what they give on val; every trial is a run of its own, test is not looked at

  --config FILE    an experiment; what the sweep leaves alone is taken from it
  --sweep FILE     what to search, as W&B's sweeps say it, e.g. experiments/sweeps/mf.yaml
  --trials N       so many trials, those of an earlier search in --storage included; or run_cap in the sweep
  --timeout S      begin no trial after so many seconds
  --seed N         of the search (0); that of the runs is --seed_everything
  --storage FILE   keep the search in a file, and go on with what lies there: SQLite where it ends in .db, else Optuna's
                   journal; one search at a time

Other options change the configuration, as in `recsys fit`. The options of the sweep come after them.

A trial whose best is worse than the median of the others at the same epoch is stopped, from the fourth epoch of the
sixth trial on; with `early_terminate` in the sweep, hyperband decides. Ctrl+C ends the search and shows what was found.
The same sweep goes to W&B: wandb sweep FILE, then wandb agent. `make setup EXTRAS=dev,tune` installs Optuna.
"""


def run(words: list[str]) -> None:
    """Carry out `recsys tune`; `words` starts with it."""
    own, options = _read_options(words[1:])
    sweep = read_sweep(Path(own.sweep))
    trials = whole_number("trials", own.trials, 1) if own.trials else sweep.run_cap
    if trials is None:
        raise InputError("Say how many trials: --trials N.")
    timeout = None if own.timeout is None else whole_number("timeout", own.timeout, 1)
    seed = whole_number("seed", own.seed, 0)
    from recsys_lightning.cli.search import Search, folder_of, open_study

    with _quietly():
        verb, root, facts = _check(sweep, options)
        study = open_study(sweep, None if own.storage is None else Path(own.storage), {**facts, "seed": seed})
        folder = folder_of(study, root, Path(own.sweep).stem)
        search = Search(sweep, options, verb, seed, study, folder)
        whole = search.go_on(trials, timeout)
    show(search)
    if not whole:
        raise KeyboardInterrupt


def show(search: Search) -> None:
    """Print the trials, and the commands that go on with the best."""
    from recsys_lightning.cli.trials import FILE, commands, outcomes, table

    metric = search.sweep.metric
    found = outcomes(search.study, search.sweep.maximize)
    if not found:
        print("No trial has been carried out.")
        return
    print(f"\n{table(found, metric, search.folder)}\n\ntrials: {search.folder / FILE}")
    if found[0].value is None:
        raise InputError(f"No trial has ended with a value; the first one: {found[0].reason or 'was stopped'}")
    print(commands(found[0], metric, search.sweep.options(found[0].options)))


def _read_options(words: list[str]) -> tuple[Namespace, list[str]]:
    parser = OwnOptions("--sweep", "--trials", "--timeout", "--storage")
    parser.add_argument("--seed", default="0")
    own, rest = parser.read(words)
    if own.sweep is None:
        raise InputError("Say what to search: recsys tune --config FILE --sweep FILE --trials N.")
    if not rest:
        raise InputError("Say with what model and data: recsys tune --config FILE --sweep FILE --trials N.")
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise InputError(f"`recsys tune` needs {error.name}: pip install recsys-lightning[tune].") from error
    return own, rest


def _check(sweep: Sweep, options: list[str]) -> tuple[str, Path, dict[str, object]]:
    """Refuse, before any trial, what every trial would be refused for.

    Returns:
        The verb that a trial carries out, the folder of all runs, and what a resumed search must have in common.
    """
    from recsys_lightning.cli.search import ours
    from recsys_lightning.cli.trainer import make_cli
    from recsys_lightning.tasks.ranking import Ranking

    cli = make_cli(options, run=False)
    try:
        make_cli([*options, *sweep.options(sweep.first())], run=False)
    except Exception as error:
        if not ours(error):  # a combination may be refused in a trial of its own
            raise
    task, data = cli.model, cli.datamodule
    if not isinstance(task, Ranking):
        raise InputError(f"`recsys tune` selects by ranking, and the task is {type(task).__name__}.")
    if cli.trainer.world_size > 1:
        raise InputError("A trial of `recsys tune` is one process: give --trainer.devices 1.")
    data.trainer = cli.trainer
    data.setup("fit")
    setattr(cli.trainer, "datamodule", data)  # noqa: B010
    task.trainer = cli.trainer
    task.refuse_unsound_monitor(sweep.metric)
    task.build(data.schema)
    config = json.loads(cli.parser.dump(cli.config, format="json", skip_none=False, skip_check=True))
    config["trainer"].pop("default_root_dir")
    spoken = {name: str(distribution) for name, distribution in sweep.space.items()}
    facts = {
        "sweep": _digest([sweep.method, sweep.metric, sweep.maximize, sweep.fixed, spoken, sweep.stop]),
        "configuration": _digest(config),
        "data": data.schema.fingerprint,
    }
    return "fit" if task.needs_training else "validate", Path(cli.trainer.default_root_dir), facts


def _digest(value: object) -> str:
    return hashlib.blake2b(json.dumps(value, default=str).encode(), digest_size=8).hexdigest()


@contextmanager
def _quietly() -> Iterator[None]:
    """Without what Lightning says of each run; Ctrl+C works again where Lightning switched it off."""
    handler = signal.getsignal(signal.SIGINT)
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        signal.signal(signal.SIGINT, handler)
