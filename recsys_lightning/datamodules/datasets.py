"""One datamodule a data set: its source, with the recipe that suits it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from recsys_lightning.data import sources
from recsys_lightning.data.reading.tables import Columns
from recsys_lightning.data.recipe import Recipe
from recsys_lightning.data.root import data_root
from recsys_lightning.data.sources.amazon import Layout
from recsys_lightning.data.sources.books import BOOKS, USERS, BookColumns
from recsys_lightning.data.sources.movielens import Fold, Variant
from recsys_lightning.data.sources.table import Attributes
from recsys_lightning.datamodules.interactions import InteractionsDataModule


class MovieTweetings(InteractionsDataModule):
    """Film ratings out of tweets, with real timestamps; embedded in the project.

    Args:
        root: folder of raw data sets; RECSYS_DATA or `data` by default.
        variant: `joined` to film facts, as embedded, or `raw` as published.
        domains: genres of each domain, where the films are to be of several; a film is of the one that names most of
            its genres.
        recipe: filters and split.
        options: of InteractionsDataModule.
    """

    def __init__(
        self,
        root: Path | None = None,
        variant: Literal["joined", "raw"] = "joined",
        domains: dict[str, list[str]] | None = None,
        recipe: Recipe = Recipe(),
        **options: Any,
    ) -> None:
        super().__init__(sources.MovieTweetings(root or data_root(), variant, domains), recipe, **options)


class MovieLens(InteractionsDataModule):
    """Film ratings of MovieLens.

    Args:
        root: folder of raw data sets; RECSYS_DATA or `data` by default.
        variant: which release.
        fold: an official split of 100k, to be used with `recipe.split official`.
        metadata: CSV file below the root with more facts of the films: movie_id and some of overview, directors,
            writers, keywords, budget, revenue, popularity, vote_average, vote_count, runtime, release_date.
        reviews: JSONL file below the root, plain or gzip: movie_id and text on each line.
        recipe: filters and split.
        options: of InteractionsDataModule.
    """

    def __init__(
        self,
        root: Path | None = None,
        variant: Variant = "100k",
        fold: Fold | None = None,
        metadata: str | None = None,
        reviews: str | None = None,
        recipe: Recipe = Recipe(),
        **options: Any,
    ) -> None:
        source = sources.MovieLens(root or data_root(), variant, fold, metadata, reviews)
        super().__init__(source, recipe, **options)


class GraphReady(InteractionsDataModule):
    """Prepared files of films: attributes as node ids, numbers as codes of buckets, an official split.

    Args:
        root: folder of raw data sets; RECSYS_DATA or `data` by default.
        folder: below the root.
        fold: name of the two files of the split, e.g. u1 for u1.base and u1.test.
        recipe: filters; the split is official.
        options: of InteractionsDataModule.
    """

    def __init__(
        self,
        root: Path | None = None,
        folder: str = "graph_ready",
        fold: str = "u1",
        recipe: Recipe = Recipe(split="official"),
        **options: Any,
    ) -> None:
        super().__init__(sources.GraphReady(root or data_root(), folder, fold), recipe, **options)


class Goodbooks(InteractionsDataModule):
    """Book ratings of goodbooks-10k: an order, no clock.

    Args:
        root: folder of raw data sets; RECSYS_DATA or `data` by default.
        ratings: the file; by default whichever is there.
        recipe: filters and split.
        options: of InteractionsDataModule.
    """

    def __init__(
        self,
        root: Path | None = None,
        ratings: Literal["ratings.csv", "ratings_random.csv"] | None = None,
        recipe: Recipe = Recipe(split="leave_last_out", val=1, test=1),
        **options: Any,
    ) -> None:
        super().__init__(sources.Goodbooks(root or data_root(), ratings), recipe, **options)


class Books(InteractionsDataModule):
    """Your own books and their readers: books.csv and users.csv, with a mapping of their columns.

    Args:
        root: folder of raw data sets; RECSYS_DATA or `data` by default.
        books: file of the books, below `folder`.
        users: file of the interactions, likewise.
        folder: below the root.
        name: of the data set, that of the folder by default.
        book_columns: how the columns of the books are called; null for what the file lacks.
        columns: how the columns of the interactions are called.
        file_order: whether the order of the interactions is that of time, in want of a clock.
        author_separator: between authors that stand in one text.
        category_separator: between categories that stand in one text.
        encoding: of the files.
        on_bad: whether interactions that cannot be read are an error or dropped.
        recipe: filters and split.
        options: of InteractionsDataModule.
    """

    def __init__(
        self,
        root: Path | None = None,
        books: str = "books.csv",
        users: str = "users.csv",
        folder: str = "books",
        name: str | None = None,
        book_columns: BookColumns = BOOKS,
        columns: Columns = USERS,
        file_order: bool = False,
        author_separator: str = ",",
        category_separator: str = ",",
        encoding: str = "utf-8",
        on_bad: Literal["error", "drop"] = "error",
        recipe: Recipe = Recipe(orphans="drop", user_core=5, item_core=10, split="leave_last_out", val=1, test=1),
        **options: Any,
    ) -> None:
        source = sources.Books(
            root or data_root(),
            books,
            users,
            folder,
            name,
            book_columns,
            columns,
            file_order,
            author_separator,
            category_separator,
            encoding,
            on_bad,
        )
        super().__init__(source, recipe, **options)


class Amazon(InteractionsDataModule):
    """Amazon reviews, one category or several as domains that share users.

    Args:
        files: file of each domain.
        root: folder of raw data sets; RECSYS_DATA or `data` by default.
        folder: below the root.
        layout: of the files.
        titles: files of item titles.
        recipe: filters and split.
        options: of InteractionsDataModule.
    """

    def __init__(
        self,
        files: dict[str, str],
        root: Path | None = None,
        folder: str = "amazon",
        layout: Layout = "2023",
        titles: list[str] | None = None,
        recipe: Recipe = Recipe(user_core=5, item_core=5),
        **options: Any,
    ) -> None:
        source = sources.Amazon(root or data_root(), files, folder, layout, titles)
        super().__init__(source, recipe, **options)


class LightGCNSplit(InteractionsDataModule):
    """A split as LightGCN's authors publish them: gowalla, yelp2018, amazon-book.

    Args:
        root: folder of raw data sets; RECSYS_DATA or `data` by default.
        folder: below the root.
        recipe: the split is official.
        options: of InteractionsDataModule.
    """

    def __init__(
        self,
        root: Path | None = None,
        folder: str = "gowalla",
        recipe: Recipe = Recipe(split="official", unseen_items="keep"),
        **options: Any,
    ) -> None:
        super().__init__(sources.LightGCNSplit(root or data_root(), folder), recipe, **options)


class HetrecLastFM(InteractionsDataModule):
    """Play counts of artists at Last.fm, with tags; no times of plays.

    Args:
        root: folder of raw data sets; RECSYS_DATA or `data` by default.
        recipe: filters and split.
        options: of InteractionsDataModule.
    """

    def __init__(self, root: Path | None = None, recipe: Recipe = Recipe(split="random"), **options: Any) -> None:
        super().__init__(sources.HetrecLastFM(root or data_root()), recipe, **options)


class Table(InteractionsDataModule):
    """Your own CSV, TSV or parquet file, with a mapping of its columns.

    Args:
        interactions: the file, below the root.
        columns: how its columns are called.
        root: folder of raw data sets; RECSYS_DATA or `data` by default.
        name: of the data set, `table` by default.
        separator: between columns; by default found out.
        header: names of the columns where the file has no header line.
        encoding: of the file.
        on_bad: whether rows that cannot be read are an error or dropped.
        items: a file of item attributes.
        users: a file of user attributes.
        item_type: what the items are: movie, book, song.
        attributes: item columns that become nodes of the graph, with their node types: {genres: genre}.
        recipe: filters and split.
        options: of InteractionsDataModule.
    """

    def __init__(
        self,
        interactions: str,
        columns: Columns = Columns(),
        root: Path | None = None,
        name: str | None = None,
        separator: str | None = None,
        header: list[str] | None = None,
        encoding: str = "utf-8",
        on_bad: Literal["error", "drop"] = "error",
        items: Attributes | None = None,
        users: Attributes | None = None,
        item_type: str = "item",
        attributes: dict[str, str] | None = None,
        recipe: Recipe = Recipe(),
        **options: Any,
    ) -> None:
        source = sources.Table(
            root or data_root(),
            interactions,
            columns,
            name=name,
            separator=separator,
            header=header,
            encoding=encoding,
            on_bad=on_bad,
            items=items,
            users=users,
            item_type=item_type,
            attributes=attributes,
        )
        super().__init__(source, recipe, **options)


class SyntheticDomains(InteractionsDataModule):
    """Users in several domains whose tastes are planted, and so known: made by the program, of any size.

    Args:
        users: how many.
        items: number of items by domain; by default 600 each of movie and book.
        overlap: share of the users who have rows in all domains; each other one has them in one, evenly dealt.
        rows: of a user in a domain, the mean; at least 3 and at most half of the items.
        spread: standard deviation of the logarithm of that number; 0 for equal ones.
        factors: shared tastes, and as many of each domain.
        noise: temperature of choices: with little everyone takes what suits best, with much what is popular.
        popularity: standard deviation of the logarithms of the items' weights; 0 for equal ones.
        seed: of the world, which stays the same for all seeds of runs.
        root: folder below which files of graphs and texts lie, if any are asked for; RECSYS_DATA or `data` by default.
        recipe: filters and split.
        options: of InteractionsDataModule.
    """

    def __init__(
        self,
        users: int = 2000,
        items: dict[str, int] | None = None,
        overlap: float = 1.0,
        rows: float = 25.0,
        spread: float = 0.5,
        factors: int = 4,
        noise: float = 0.5,
        popularity: float = 1.0,
        seed: int = 0,
        root: Path | None = None,
        recipe: Recipe = Recipe(split="leave_last_out", val=1, test=1),
        **options: Any,
    ) -> None:
        world = (users, items, overlap, rows, spread, factors, noise, popularity, seed)
        super().__init__(sources.SyntheticDomains(root or data_root(), *world), recipe, **options)
