"""`recsys data`: which data sets there are, what is in them, where they come from, what becomes of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from recsys_lightning.data.describe import catalogue, describe
from recsys_lightning.data.download import download
from recsys_lightning.data.root import data_root
from recsys_lightning.data.sources import open_source
from recsys_lightning.errors import InputError

if TYPE_CHECKING:
    from recsys_lightning.datamodules.interactions import InteractionsDataModule

HELP = """\
recsys data: the raw data sets

  recsys data list               the data sets that are known by name, and which of them are here
  recsys data describe NAME      what is in one, its licence, where to get it
  recsys data download NAME      fetch it from its publisher, check it, and unpack it
  recsys data prepare --config F read, filter, split, make graph, features and text vectors, and keep them for
                                 training; or --data NAME with its options

They lie in data/, or in the folder that RECSYS_DATA names.
"""


def run(words: list[str]) -> None:
    """Carry out `recsys data`; `words` starts with it."""
    verbs: dict[str, Callable[[list[str]], None]] = {
        "list": _list,
        "describe": _describe,
        "download": _download,
        "prepare": _prepare,
    }
    verb, *rest = words[1:]
    if verb not in verbs:
        raise InputError(f"`recsys data` cannot {verb}. It can {', '.join(verbs)}.")
    verbs[verb](rest)


def _list(rest: list[str]) -> None:
    if rest:
        raise InputError(f"`recsys data list` takes no options, and was given {' '.join(rest)}.")
    print(catalogue(data_root()))


def _describe(rest: list[str]) -> None:
    print(describe(open_source(_name(rest, "describe"), data_root())))


def _download(rest: list[str]) -> None:
    source = open_source(_name(rest, "download"), data_root())
    if not source.files():
        raise InputError(f"{source.name} has no files: it is made by this program.")
    folder = data_root() / source.folder
    download(source.card, folder)
    print(folder)


def _prepare(rest: list[str]) -> None:
    if not rest or rest in (["-h"], ["--help"]):
        raise InputError("Say which data: recsys data prepare --config FILE, or --data NAME with its options.")
    from recsys_lightning.cli.trainer import make_cli
    from recsys_lightning.data.cache import cache_folder
    from recsys_lightning.data.describe_prepared import describe_prepared

    words = ["--model", "Ranking", "--model.recommender", "Popularity", *rest]
    data: InteractionsDataModule = make_cli(words, run=False).datamodule
    data.prepare_data()
    print(describe_prepared(data.prepared, data.typed_graph, data.item_text, data.item_features))
    print(f"\nThis is kept in {cache_folder()}, and training starts from there.")


def _name(rest: list[str], verb: str) -> str:
    if len(rest) != 1:
        raise InputError(f"`recsys data {verb}` takes the name of one data set; `recsys data list` shows them.")
    return rest[0]
