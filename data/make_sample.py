"""Make the sample in data/movietweetings/ from the published files.

    python data/make_sample.py <ratings.dat> <movies.db>

`ratings.dat` is MovieTweetings' 100K snapshot (MIT), `movies.db` the table of films from Wikidata (CC0) in the package
`bokeh_sampledata`. The rule: keep ratings of films that the table knows; where it has two films for one IMDb number,
the first; then leave out users and films with fewer than five ratings until all that stay have five (5-core); order by
time, equal times in the order of the file; number users anew by first appearance. The same files give the same bytes.
"""

from __future__ import annotations

import argparse
import gzip
import sqlite3
from contextlib import closing
from pathlib import Path

import pandas as pd

FILMS = """
    SELECT o.Title, o.Year, o.Runtime, o.Genre, o.Director, o.Writer, o.Cast, o.Country, o.Language, o.Released,
           t.BoxOffice, t.Meter, o.Metacritic, CAST(substr(o.imdbID, 3) AS INTEGER) AS imdb
    FROM omdb AS o LEFT JOIN tomatoes AS t USING (ID) ORDER BY o.rowid
"""
EXPECTED = (66_519, 4_271, 2_301)


def core(ratings: pd.DataFrame, least: int = 5) -> pd.DataFrame:
    """The largest part in which every user and every film has at least so many ratings."""
    while True:
        enough = (ratings.groupby("user")["user"].transform("size") >= least) & (
            ratings.groupby("imdb")["imdb"].transform("size") >= least
        )
        if enough.all():
            return ratings
        ratings = ratings[enough]


def make(ratings_file: Path, films_file: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Ratings and films of the sample."""
    with closing(sqlite3.connect(f"{films_file.resolve().as_uri()}?mode=ro&immutable=1", uri=True)) as database:
        films = pd.read_sql(FILMS, database).drop_duplicates("imdb")
    names = ["user", "imdb", "rating", "timestamp"]
    ratings = pd.read_csv(ratings_file, sep="::", engine="python", header=None, names=names)
    ratings = core(ratings[ratings["imdb"].isin(films["imdb"])]).sort_values("timestamp", kind="stable")
    ratings["user"] = ratings["user"].factorize()[0]
    return ratings, films[films["imdb"].isin(ratings["imdb"])]


def main() -> None:
    """Write both files beside this script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ratings", type=Path)
    parser.add_argument("films", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "movietweetings")
    arguments = parser.parse_args()
    ratings, films = make(arguments.ratings, arguments.films)
    found = len(ratings), ratings["user"].nunique(), len(films)
    print(f"{found[0]:,} ratings, {found[1]:,} users, {found[2]:,} films")
    if found != EXPECTED:
        parser.exit(1, f"expected {EXPECTED}: these are not the files the sample was made of; nothing was written\n")
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, table in (("ratings", ratings), ("movies", films)):
        text = table.to_csv(index=False, lineterminator="\n").encode()
        (arguments.out / f"{name}.csv.gz").write_bytes(gzip.compress(text, mtime=0))


if __name__ == "__main__":
    main()
