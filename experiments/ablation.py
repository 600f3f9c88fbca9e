"""What genres, attention and the genre weight do for a model: variants of an experiment, run and set side by side.

    python experiments/ablation.py --config experiments/ml-100k/genre_gat.yaml --seeds 3

Each run is what `recsys fit` and `recsys test` do with the options of its variant. Runs lie in `runs/ablation/`, where
a finished one is not done again unless options, data or code have changed; the table is printed, and written beside
them. Options that are not known here go to every run, e.g. `--data.root FOLDER`.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import hashlib
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import yaml
from torch import Tensor

import recsys_lightning
from recsys_lightning.callbacks.checkpoint import BestAndLast
from recsys_lightning.callbacks.results import write_json
from recsys_lightning.cli.trainer import RecsysCLI, make_cli
from recsys_lightning.errors import InputError
from recsys_lightning.metrics.evaluator import RankingMetrics
from recsys_lightning.reports.ablation import AMONG_COLD, ITEMS, USER, Verdicts, added, beside, compare, report, without
from recsys_lightning.schema import TEST, TRAIN

MODEL = "GenreGAT"
"""The recommender whose options the variants are."""
BASE = ("--model.recommender.attention=gat", "--model.recommender.gate=fixed")
"""What the base of every comparison is, whatever the configuration says: variants change one thing of it."""
COLD = ("--data.recipe.split=cold_items", "--data.recipe.val=0.1", "--data.recipe.test=0.1")
ORDERS = 20
"""Of equal items, that figures of models which tell nothing of cold items are averaged over."""
BASE_ITSELF = Verdicts("", "", "")
OF_MODEL = "--model.recommender."
"""So begin the options of variants that leave the data as they are."""
QUIET = ("--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false")


@dataclass(frozen=True)
class Variant:
    """One way to run the experiment.

    Attributes:
        name: of the variant, and of its folder.
        options: as they are typed behind `recsys fit`, the configuration first.
        verdicts: on how it compares with the base.
        trained: false for closed forms, which have nothing to fit and nothing random.
    """

    name: str
    options: tuple[str, ...]
    verdicts: Verdicts = BASE_ITSELF
    trained: bool = True


@dataclass(frozen=True)
class Comparison:
    """Variants that answer one question, each set against the base."""

    base: Variant
    variants: tuple[Variant, ...]
    cold: bool = False


@dataclass(frozen=True)
class Experiment:
    """What is read of a configuration."""

    config: Path
    data: Path
    k: list[int]
    monitor: str

    @classmethod
    def read(cls, config: Path) -> Experiment:
        """The experiment of a YAML.

        Raises:
            InputError: it cannot be read, or is not of GenreGAT.
        """
        try:
            text: dict[str, Any] = yaml.safe_load(config.read_text(encoding="utf-8"))
            task = text["model"]["init_args"]
            name = str(task["recommender"]["class_path"]).rsplit(".", 1)[-1]
            found = cls(config, config.parent / text["data"], task["k"], text["checkpoint"]["monitor"])
        except OSError as error:
            raise InputError(f"--config {config} cannot be read: {error.strerror}.") from error
        except (KeyError, TypeError, yaml.YAMLError) as error:
            raise InputError(
                f"--config {config} is not laid out like experiments/ml-100k/genre_gat.yaml: data in a file of its "
                "own, the recommender with its options, k, and checkpoint.monitor."
            ) from error
        if name != MODEL:
            raise InputError(
                f"--config {config} is of {name}, and what is compared are options of {MODEL}. Give an experiment of "
                f"{MODEL}, such as experiments/ml-100k/genre_gat.yaml."
            )
        return found

    def comparisons(self) -> dict[str, Comparison]:
        """All comparisons, by name."""
        own = (f"--config={self.config}", *BASE)
        base, none = Variant("base", own), "--model.recommender.attention=none"
        shuffled, off = "--data.graph.shuffle=1", "--data.graph.attributes=[]"
        gates = {gate: f"--model.recommender.gate={gate}" for gate in ("adaptive", "learned")}
        weights = [Variant(f"weight {name}", (*own, gate), added(f"{name} weight")) for name, gate in gates.items()]
        lightgcn = (f"--config={self.config.with_name('lightgcn.yaml')}", *COLD)
        return {
            "genres": Comparison(
                base,
                (
                    Variant("genres shuffled", (*own, shuffled), without("the meaning of attributes")),
                    Variant("genres off", (*own, off), without("the attribute graph")),
                ),
            ),
            "attention": Comparison(base, (Variant("attention none", (*own, none), without("attention")),)),
            "weight": Comparison(base, tuple(weights)),
            "cold": Comparison(
                Variant(MODEL, (*own, *COLD)),
                (
                    self._closed_form("GenrePopularity"),
                    Variant("LightGCN", lightgcn, beside(MODEL, "LightGCN")),
                    self._closed_form("Popularity"),
                ),
                cold=True,
            ),
        }

    def _closed_form(self, name: str) -> Variant:
        options = (f"--data={self.data}", "--model=Ranking", f"--model.recommender={name}", f"--model.k={self.k}")
        return Variant(name, (*options, *COLD), beside(MODEL, name), trained=False)


def measure(
    variant: Variant, seed: int, options: Sequence[str], folder: Path, cold: bool, data: dict[str, str]
) -> pd.DataFrame:
    """Values of each tested user under one seed; those of an earlier run where it was asked for the same.

    Args:
        variant: to run.
        seed: of the training.
        options: of every run.
        folder: of this run.
        cold: whether to rank among the cold items alone as well.
        data: what tells the data from others.
    """
    words = [*variant.options, *options, f"--seed_everything={seed}"]
    order = {"options": words, "files": _digests(variant), "data": data, "code": _code()}
    done = folder / "values.parquet"
    if done.is_file() and json.loads((folder / "order.json").read_text(encoding="utf-8")) == order:
        return pd.read_parquet(done)
    start = time.perf_counter()
    folder.mkdir(parents=True, exist_ok=True)
    done.unlink(missing_ok=True)
    with (folder / "output.txt").open("w", encoding="utf-8") as output, contextlib.redirect_stdout(output):
        words = [*words, *QUIET, f"--trainer.default_root_dir={folder}"]
        trained = _fit(words) if variant.trained else []
        values = _values(make_cli(["test", *words, *trained], run=True), cold)
    write_json(folder / "order.json", order)
    values.to_parquet(done, index=False)
    print(f"{variant.name}, seed {seed}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    return values


def _digests(variant: Variant) -> dict[str, str]:
    """Of the configuration files: a run with another one is another run."""
    named = [
        Path(option.partition("=")[2]) for option in variant.options if option.startswith(("--config=", "--data="))
    ]
    files = {file for name in named for file in (name, name.with_name("data.yaml")) if file.is_file()}
    return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(files)}


def _data(*words: str) -> dict[str, str]:
    """What tells the data of these options from others: raw files may have changed where options have not."""
    data = make_cli([*words, *QUIET], run=False).datamodule
    data.setup("fit")
    return {"fingerprint": data.schema.fingerprint, "graph": data.schema.graph}


@functools.cache
def _code() -> str:
    """Digest of the code that the values come from, as it was when this process began with them."""
    digest, package = hashlib.sha256(), Path(recsys_lightning.__file__).parent
    for path in (Path(__file__), *sorted(package.rglob("*.py"))):
        digest.update(f"{path.name}:{path.stat().st_size};".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _fit(words: Sequence[str]) -> list[str]:
    """Train; the option that names the best checkpoint on val."""
    checkpoint = make_cli(["fit", *words], run=True).trainer.checkpoint_callback
    assert isinstance(checkpoint, BestAndLast)
    return [f"--ckpt_path={checkpoint.best_model_path}"]


def _values(tested: RecsysCLI, cold: bool) -> pd.DataFrame:
    """A row for each tested user: raw id, number of train items, metrics."""
    prepared, per_user = tested.datamodule.prepared, tested.model.per_user
    metrics = dict(per_user.values)
    if cold:
        metrics |= {f"{AMONG_COLD}{name}": value for name, value in among_cold(tested).items()}
    users = per_user.user.cpu()
    facts = {
        USER: prepared.users["user_id"].iloc[users.numpy()].to_numpy(),
        ITEMS: prepared.csr(TRAIN).degree[users].numpy(),
    }
    return pd.DataFrame({**facts, **{name: value.cpu().numpy() for name, value in metrics.items()}})


def among_cold(tested: RecsysCLI) -> dict[str, Tensor]:
    """Metrics of the users of a test, with the items that no visible row is of as the only candidates.

    Where a model knows nothing of them, one random order settles the ties of all users alike, and could be a lucky one:
    values are then means over several orders.
    """
    found = []
    for seed in range(ORDERS):
        metrics = _rank_cold(tested, seed)
        ties = metrics.compute()["constant_rows"] > 0
        found.append(metrics.per_user().values)
        if not ties:
            break
    return {name: torch.stack([values[name] for values in found]).mean(0) for name in found[0]}


@torch.no_grad()
def _rank_cold(tested: RecsysCLI, seed: int) -> RankingMetrics:
    task, views = tested.model, tested.model.views
    model, known = task.recommender.to(views.device).eval(), views.popularity > 0
    metrics = RankingMetrics(task.k, views.num_items, views.popularity, views.num_users, seed=seed).to(views.device)
    state = model.encode(views)
    for batch in tested.datamodule.ranking_loader(TEST):
        scores = model.score_all(model.users(state, batch.user), state)
        metrics.update(batch, scores.masked_fill(known, -torch.inf))
    return metrics


def ablate(given: argparse.Namespace, options: Sequence[str]) -> str:
    """Do the runs that are not there yet; the report, which is written beside them.

    Raises:
        InputError: an option cannot be used.
    """
    if given.seeds < 1:
        raise InputError(f"--seeds is {given.seeds}; at least 1 is needed.")
    experiment = Experiment.read(given.config)
    comparisons = experiment.comparisons()
    wanted = given.only.split(",") if given.only else list(comparisons)
    if unknown := sorted(set(wanted) - set(comparisons)):
        raise InputError(f"--only names {', '.join(unknown)}; there are {', '.join(comparisons)}.")
    metric = given.metric or experiment.monitor.removeprefix("val/")
    folder = given.folder / f"{given.config.parent.name}-{given.config.stem}"
    epochs = [f"--trainer.max_epochs={given.epochs}"] if given.epochs else []
    data_of = functools.cache(_data)

    def runs(variant: Variant, cold: bool) -> list[pd.DataFrame]:
        place = folder / ("cold" if cold else "") / variant.name.replace(" ", "_")
        words, seeds = ([*options, *epochs], given.seeds) if variant.trained else (options, 1)
        data = data_of(*(word for word in variant.options if not word.startswith(OF_MODEL)), *words)
        return [measure(variant, seed, words, place / f"seed_{seed}", cold, data) for seed in range(seeds)]

    lines = []
    for name in wanted:
        one = comparisons[name]
        base = one.base.name, runs(one.base, one.cold)
        variants = {variant.name: runs(variant, one.cold) for variant in one.variants}
        lines += compare(name, base, variants, {variant.name: variant.verdicts for variant in one.variants}, metric)
    about = (
        f"Base: {MODEL} with `{' '.join(BASE)}`. For cold items, a tenth of the items is held out with all "
        "their rows for val, and another for test."
    )
    text = report(f"Ablation of {given.config.parent.name}/{given.config.name}", lines, metric, given.seeds, about)
    (folder / "table.md").write_text(text, encoding="utf-8")
    return text


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command line; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True, help="the experiment, of GenreGAT")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each variant [3]")
    parser.add_argument("--epochs", type=int, help="at most so many; without, as the configuration says")
    parser.add_argument("--only", help="of genres,attention,weight,cold; without, all of them")
    parser.add_argument("--metric", help="that is compared; without, what the configuration selects by")
    parser.add_argument("--folder", type=Path, default=Path("runs/ablation"), help="of the runs [runs/ablation]")
    try:
        print(ablate(*parser.parse_known_args(arguments)))
    except InputError as error:
        print(f"ablation: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
