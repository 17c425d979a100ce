"""Marking words of a query in what is said: the same words that the full-text index takes for one."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

# As FTS5's unicode61 has it: runs of letters and digits, with the marks on them; an underscore is between words.
_WORD = re.compile(r"(?:[^\W_]|[\u0300-\u036f])+")

Parts = list[tuple[str, bool]]  # stretches of a text, and whether each is a word that was asked for


def words_of(*texts: str) -> frozenset[str]:
    """The words of queries, without case and accents."""
    return frozenset(_folded(word) for text in texts for word in _WORD.findall(text))


def parts(text: str, asked: Iterable[str]) -> Parts:
    """A text as stretches that are marked or not; joined they are the text.

    Args:
        asked: from `words_of`.
    """
    wanted = frozenset(asked)
    found: Parts = []
    end = 0
    for word in _WORD.finditer(text) if wanted else ():
        if _folded(word[0]) in wanted:
            found += [(text[end : word.start()], False), (word[0], True)]
            end = word.end()
    found.append((text[end:], False))
    return [part for part in found if part[0]]


def _folded(word: str) -> str:
    if word.isascii():
        return word.lower()
    parted = unicodedata.normalize("NFD", word.casefold())
    return "".join(sign for sign in parted if not unicodedata.combining(sign))
