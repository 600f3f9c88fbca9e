"""Every experiment on data of several domains runs as it lies there, and so do those that stand on another one."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from recsys_lightning.cli.stages import read_chain
from tests.conftest import Outcome, Recsys
from tests.experiments import (
    CROSS_DOMAIN,
    EXPERIMENTS,
    FIGURES,
    FILES,
    OF_DOMAINS,
    closed_form,
    content,
    fitted_and_tested,
    recommender,
    rows,
    some_slow,
    stages_in_this_process,
    write,
)

CHAINS = sorted((EXPERIMENTS / "cross_domain").glob("*.yaml"))
ON_VECTORS = {"dot_product", "conditioner", "diffusion"}
CHAINED = {name for name, files in OF_DOMAINS.items() if files >= CROSS_DOMAIN}
"""Folders whose GAT is run together with what stands on its vectors."""
ALONE = [
    config
    for config in FILES
    if config.parent.name in OF_DOMAINS
    and config.stem not in ON_VECTORS
    and (config.stem != "gat" or config.parent.name not in CHAINED)
]
DOMAINS = {"movietweetings-domains": ["action", "drama"]}
SPLITS = {
    "amazon-movie-book": "leave_last_out, val 1, test 1 in each domain",
    "amazon-movie-book-dense": "random, val 0.1, test 0.1 in each domain",
    "movietweetings-domains": "global_time, val 0.1, test 0.1",
    "synthetic-domains": "leave_last_out, val 1, test 1 in each domain",
}
SMALL_WORLD = ["--users=60", "--items={movie: 40, book: 36}", "--rows=9"]
SMALL_MODELS = {
    "conditioner": [],
    "diffusion": [f"--model.recommender.{option}" for option in ("width=16", "depth=1", "steps=2", "samples=1")],
}

HARDLY_TRAINED = pytest.mark.filterwarnings("ignore:The conditions of a user in:UserWarning")


def amazon(root: Path) -> None:
    """Joined files, with an order within each user; titles of films only."""
    folder = root / "amazon-movie-book"
    folder.mkdir()
    ids = {"movie": "B{:09d}", "book": "{:010d}"}
    pairs = [
        (user, ids[domain].format(item), domain)
        for code, (domain, size) in enumerate({"movie": 40, "book": 36}.items())
        for user, item in rows(60, size, seed=code)
    ]
    given = dict.fromkeys(range(1, 61), 0)
    lines = []
    for place in np.random.default_rng(0).permutation(len(pairs)):
        user, item, domain = pairs[place]
        lines.append(f"u{user:05d},{item},{domain},{given[user]}")
        given[user] += 1
    with gzip.open(folder / "interactions.csv.gz", "wt") as file:
        file.writelines(f"{line}\n" for line in ["user_id,item_id,domain,order", *lines])
    with gzip.open(folder / "movies.csv.gz", "wt") as file:
        file.write("item_id,title\n")
        file.writelines(f'B{item:09d},"Amélie, part {item}"\n' for item in range(1, 41))


def amazon_dense(root: Path) -> None:
    """A file of each domain, tabs, and rows that repeat."""
    for code, (name, size) in enumerate({"Movies": 40, "Books": 36}.items()):
        lines = [f"A{user}\t00{name[0]}{item}\t{1 + (user + item) % 5}.0" for user, item in rows(60, size, seed=code)]
        file = root / "amazon-movie-book-dense" / f"Amazon-{name}-Dense.inter"
        write(file, ["user_id\titem_id\trating", *lines, lines[0]])


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with a small set in each publisher's layout."""
    root = tmp_path_factory.mktemp("domains")
    amazon(root)
    amazon_dense(root)
    return root


@pytest.fixture
def shorten(small: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], list[str]]:
    """Options that make the data of an experiment small, or the small data in place of the real ones."""

    def options(config: Path) -> list[str]:
        data = "--data.interactions" if config.stem in ON_VECTORS else "--data"
        if config.parent.name == "movietweetings-domains":
            return [f"{data}.recipe.limit_users=120"]
        if config.parent.name == "synthetic-domains":
            return [word.replace("--", f"{data}.", 1) for word in SMALL_WORLD]
        monkeypatch.setenv("RECSYS_DATA", str(small))
        return []

    return options


def figures_of(config: Path, tested: Outcome) -> Path:
    """Checks what a test says of each domain; its folder."""
    assert tested.status == 0, tested.err
    return checked(config, Path(tested.last_line))


def checked(config: Path, file: Path) -> Path:
    """Checks the figures of each domain; the folder that they lie in."""
    metrics: dict[str, Any] = json.loads(file.read_text())
    domains = DOMAINS.get(config.parent.name, ["book", "movie"])
    assert metrics["model"] == recommender(config)
    assert sorted(metrics["domains"]) == domains
    assert metrics["split"] == SPLITS[config.parent.name]
    assert metrics["users"] == sum(metrics[f"test/users_{domain}"] for domain in domains) > 0
    for k in content(config)["model"]["init_args"]["k"]:
        assert {f"test/{figure}_{k}" for figure in FIGURES} <= set(metrics)
        for name in ("recall", "ndcg", "hit_rate", "coverage"):
            each = [metrics[f"test/{name}_{k}_{domain}"] for domain in domains]
            assert all(0 <= value <= 1 for value in each)
            assert metrics[f"test/{name}_{k}"] == pytest.approx(np.mean(each))
        for name in ("recall", "ndcg", "hit_rate"):
            worst = min(metrics[f"test/{name}_{k}_{domain}"] for domain in domains)
            assert metrics[f"test/{name}_{k}_worst"] == pytest.approx(worst)
        assert 0 < metrics[f"test/recall_{k}"] <= metrics[f"test/hit_rate_{k}"]
    per_user = pd.read_parquet(file.parent / "per_user.parquet")
    assert sorted(per_user["domain"].unique()) == domains and len(per_user) == metrics["users"]
    return file.parent


def lists_of(config: Path, predicted: Outcome, domains: Sequence[str]) -> Path:
    """Checks that everyone has a list in each domain; the folder."""
    assert predicted.status == 0, predicted.err
    return checked_lists(config, Path(predicted.last_line), domains)


def checked_lists(config: Path, file: Path, domains: Sequence[str]) -> Path:
    """Checks that everyone has a list in each domain; the folder."""
    lists = pd.read_parquet(file)
    assert sorted(lists["domain"].unique()) == sorted(domains)
    assert lists.groupby(["user_id", "domain"]).size().eq(10).all()
    assert lists.groupby("user_id")["domain"].nunique().eq(len(domains)).all()
    assert lists.groupby("item_id")["domain"].nunique().eq(1).all()
    if config.parent.name == "amazon-movie-book":
        films = lists["domain"] == "movie"
        assert lists.loc[films, "title"].str.startswith("Amélie, part ").all()
    return file.parent


def domains_of(config: Path) -> list[str]:
    return DOMAINS.get(config.parent.name, ["book", "movie"])


def every_layout_is_read(config: Path) -> bool:
    """Whether an experiment is of data that are always there, or the shortest of its folder."""
    return config.parent.name in ("movietweetings-domains", "synthetic-domains") or config.stem == "ease"


@pytest.mark.parametrize("config", some_slow(ALONE, fast=every_layout_is_read))
def test_it_runs_as_it_lies_there(
    recsys: Recsys,
    shorten: Callable[[Path], list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    config: Path,
) -> None:
    words: list[object] = ["--config", config, *shorten(config)]
    if closed_form(config):
        tested = figures_of(config, recsys("test", *words))
    else:
        small = [*words, "--model.recommender.dim=8"]
        tested = checked(config, fitted_and_tested(small, tmp_path / "runs", monkeypatch))
    assert (tested / "report.md").is_file()
    if config.stem == "ease":
        predicted = lists_of(config, recsys("predict", *words), domains_of(config))
        assert predicted != tested


@HARDLY_TRAINED
@pytest.mark.parametrize("folder", sorted(CHAINED - {"amazon-movie-book"}))
def test_each_stands_on_the_vectors_of_the_one_before(
    recsys: Recsys,
    shorten: Callable[[Path], list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    folder: str,
) -> None:
    vectors, left = list[str](), dict[str, Path]()
    for stem in ("gat", "conditioner", "diffusion"):
        config = EXPERIMENTS / folder / f"{stem}.yaml"
        options = [*shorten(config), *vectors, *SMALL_MODELS.get(stem, ["--model.recommender.dim=8"])]
        words = ["--config", config, *options, "--trainer.check_val_every_n_epoch=1"]
        words += ["--trainer.callbacks+=WriteVectors"]
        left[stem] = checked(config, fitted_and_tested(words, tmp_path / stem, monkeypatch, predict=True))
        [lists] = (tmp_path / stem).rglob("recommendations.parquet")
        file = checked_lists(config, lists, domains_of(config)) / "vectors.safetensors"
        vectors = [f"--data.vectors={file}"]
        if stem == "gat":
            as_they_are = EXPERIMENTS / folder / "dot_product.yaml"
            dots = recsys("test", "--config", as_they_are, *shorten(as_they_are), *vectors)
            same, gat = figures_of(as_they_are, dots), pd.read_parquet(left["gat"] / "per_user.parquet")
            pd.testing.assert_frame_equal(pd.read_parquet(same / "per_user.parquet"), gat, atol=1e-6)
    swaps_of_conditions_are_there(left["conditioner"], domains_of(config))
    checks_of_diffusion_are_there(left["diffusion"], domains_of(config))


def swaps_of_conditions_are_there(folder: Path, domains: Sequence[str]) -> None:
    swap = json.loads((folder / "swap.json").read_text())
    assert sorted(domain["name"] for domain in swap["domains"]) == domains
    for domain in swap["domains"]:
        assert all(0 <= value <= 1 for sides in domain["ndcg"].values() for value in sides.values())


def checks_of_diffusion_are_there(folder: Path, domains: Sequence[str]) -> None:
    checks = json.loads((folder / "checks.json").read_text())
    assert sorted(checks["domains"]) == domains
    assert {"as tested", "no condition", "Popularity", "EASE"} <= {way["name"] for way in checks["ways"]}
    assert checks["sentences"]


@HARDLY_TRAINED
def test_a_chain_runs_as_it_lies_there(
    recsys: Recsys, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECSYS_DATA", str(small))
    commands = stages_in_this_process(monkeypatch)
    only = ["gat", "conditioner", "diffusion"]
    short = [f"--trainer.{option}=1" for option in ("max_epochs", "check_val_every_n_epoch")]
    short += ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"]
    chain = EXPERIMENTS / "cross_domain" / "amazon.yaml"
    done = recsys("chain", chain, "--only", ",".join(only), "--to", tmp_path / "out", *short)
    assert done.status == 0, done.err
    verbs = [words[0] for words in commands]
    assert verbs == ["fit", "test", "predict"] * 2 + ["fit", "test"]
    text = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert all(re.search(rf"^\| {name} \|", text, re.MULTILINE) for name in only)
    [swap] = tmp_path.rglob("swap.json")
    swaps_of_conditions_are_there(swap.parent, ["book", "movie"])
    [checks] = tmp_path.rglob("checks.json")
    checks_of_diffusion_are_there(checks.parent, ["book", "movie"])


def test_there_is_a_chain_for_each_data_set() -> None:
    used = {read_chain(file).stages["gat"].config.resolve().parent.name for file in CHAINS}
    assert used == CHAINED


@pytest.mark.parametrize("file", CHAINS, ids=lambda path: path.stem)
def test_a_chain_has_all_experiments_of_its_folder(recsys: Recsys, file: Path) -> None:
    chain = read_chain(file)
    stages = chain.stages.values()
    configs = {stage.config.resolve() for stage in stages}
    [folder] = {config.parent for config in configs}
    assert configs == {config for config in FILES if config.parent == folder} - {folder / "dot_product.yaml"}
    assert chain.base == "gat" and chain.stages["conditioner"].vectors == "gat"
    assert chain.stages["diffusion"].vectors == chain.stages["regressor"].vectors == "conditioner"
    assert {stage.domain for stage in stages if stage.domain} == set(domains_of(folder / "gat.yaml"))
    for stage in stages:
        assert closed_form(stage.config) == ("fit" not in stage.run)
        if stage.options:
            read = recsys("test", *stage.words(Path("vectors.safetensors"), 0), "--print_config")
            assert read.status == 0, read.err
