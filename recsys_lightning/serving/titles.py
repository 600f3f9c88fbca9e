"""Items by words of their titles, as people type them."""

from __future__ import annotations

import unicodedata
from bisect import bisect_left
from collections.abc import Iterator, Sequence

SCANNED = 2000
"""Titles with all the words that are compared, beside those that begin with them."""

_END = "\n"


class Titles:
    """Finds titles that hold all words of a query, in any order, whatever the case and the accents.

    Titles that begin with the query come first, then those in which a word begins with it, then others; shorter ones
    first.

    Args:
        titles: of all items.
    """

    def __init__(self, titles: Sequence[str]) -> None:
        self._plain = [plain(title) for title in titles]
        self._sorted = sorted(range(len(titles)), key=self._plain.__getitem__)
        self._text = _END.join(self._plain)
        self._start = [0]
        for title in self._plain[:-1]:
            self._start.append(self._start[-1] + len(title) + 1)

    def find(self, query: str, limit: int) -> list[int]:
        """Items whose titles match best; none for a query without words."""
        phrase = plain(query)
        if not phrase:
            return []
        found = dict.fromkeys(self._beginning(phrase, limit))
        if len(found) < limit:
            words = phrase.split()
            held = [item for item in self._holding(max(words, key=len)) if all(w in self._plain[item] for w in words)]
            found |= dict.fromkeys(sorted(held, key=lambda item: self._place(item, phrase)))
        return list(found)[:limit]

    def _beginning(self, phrase: str, limit: int) -> Iterator[int]:
        """Items whose titles begin with a phrase, shorter titles first."""
        first = bisect_left(self._sorted, phrase, key=self._plain.__getitem__)
        run = []
        for item in self._sorted[first : first + SCANNED]:
            if not self._plain[item].startswith(phrase):
                break
            run.append(item)
        yield from sorted(run, key=lambda item: self._place(item, phrase))[:limit]

    def _holding(self, word: str) -> Iterator[int]:
        """Items whose titles hold a word, in their order, up to SCANNED of them."""
        place = self._text.find(word)
        for _ in range(SCANNED):
            if place < 0:
                return
            item = bisect_left(self._start, place + 1) - 1
            yield item
            if item + 1 == len(self._start):
                return
            place = self._text.find(word, self._start[item + 1])

    def _place(self, item: int, phrase: str) -> tuple[bool, int, int]:
        title = self._plain[item]
        return f" {phrase}" not in f" {title}", len(title), item


def plain(text: str) -> str:
    """Without case, accents and repeated spaces."""
    if not text.isascii():
        split = unicodedata.normalize("NFKD", text)
        text = "".join(char for char in split if not unicodedata.combining(char))
    return " ".join(text.casefold().split())
