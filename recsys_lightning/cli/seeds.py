"""`recsys seeds`: one experiment under several seeds."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from recsys_lightning.atomic import write_text
from recsys_lightning.cli.chain import Runs
from recsys_lightning.cli.experiment import class_of, closed_form, read_config, recommender_of
from recsys_lightning.cli.own_options import OwnOptions, whole_number
from recsys_lightning.cli.stages import Chain, Stage
from recsys_lightning.errors import InputError

HELP = """\
recsys seeds --config FILE --n N [options]: one experiment under N seeds: mean and deviation

  --config FILE   an experiment, e.g. experiments/movietweetings/lightgcn.yaml
  --n N           trainings, of seed_everything 0 to N - 1 [5]
  --to FOLDER     of all runs and of seeds.md [runs/seeds/<name of FILE>]
  --OPTION=VALUE  goes to every fit and test, e.g. --trainer.max_epochs=5 --model.recommender.dim=32

Each seed is fitted and tested as by `recsys fit` and `recsys test`. What is given of a metric is its mean over the
seeds, with the deviation, the least and the largest, and an interval over users and seeds; never the best of them.
What is finished is not done again, and a training that was broken off goes on. Models that are solved and not trained
are run once: nothing in them depends on the seed.
"""
FILE = "seeds.md"
DECIDED = ("--seed_everything", "--ckpt_path", "--trainer.default_root_dir")


def run(words: list[str]) -> None:
    """Carry out `recsys seeds`; `words` starts with it."""
    own, rest = OwnOptions("--config", "--n", "--to").read(words[1:])
    if own.config is None:
        raise InputError("`recsys seeds` needs --config FILE, an experiment.")
    number, config = whole_number("n", own.n or "5", 1), Path(own.config)
    options = _options(rest)
    stage = _stage(config, options)
    folder = Path(own.to or Path("runs") / "seeds" / config.stem)
    runs = Runs(Chain(stage.name, {stage.name: stage}, stage.name), folder, options)
    seeds = range(1 if stage.once else number)
    folders = [runs(stage, seed).path("test") for seed in seeds]
    _report(folder, folders, seeds)


def _report(folder: Path, folders: Sequence[Path], seeds: Sequence[int]) -> None:
    from recsys_lightning.reports.seeds import seeds_report
    from recsys_lightning.reports.tested import read_all

    word = ",".join(map(str, folders))
    text = seeds_report(read_all([word])[0], seeds)
    print(f"\n{text}\ncompare it: recsys compare RUN {word}\n{write_text(folder / FILE, text)}")


def _stage(config: Path, options: Sequence[str]) -> Stage:
    """The experiment, with options of the command line, as the only stage of a chain."""
    once = closed_form(_recommender(read_config(config), options))
    return Stage(config.stem, config, None, None, ("test",) if once else ("fit", "test"), (), once)


def _recommender(given: Any, options: Sequence[str]) -> str | None:
    """The recommender of a configuration, or the one that an option puts in its place."""
    found = recommender_of(given)
    for option in options:
        name, _, value = option.partition("=")
        if name.replace(".init_args", "").removesuffix(".class_path") == "--model.recommender":
            with suppress(yaml.YAMLError):  # the first command says what is wrong with it
                found = class_of(yaml.safe_load(value))
    return found


def _options(words: Sequence[str]) -> list[str]:
    """Options of every fit and test, each as one word."""
    left, found = list(words), list[str]()
    while left:
        word = left.pop(0)
        if not word.startswith("--"):
            raise InputError(f"{word} is no option: `recsys seeds --help` says what there is.")
        if "=" not in word:
            if not left or left[0].startswith("--"):
                raise InputError(f"{word} is given without a value: {word}=VALUE.")
            word = f"{word}={left.pop(0)}"
        name = word.partition("=")[0].rstrip("+")
        if name in DECIDED:
            raise InputError(f"`recsys seeds` decides {name} itself: leave it out.")
        found.append(word)
    return found
