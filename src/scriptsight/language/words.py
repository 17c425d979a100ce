"""Words that tell the first transcript of a script from its last."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

WORD = re.compile(r"\w+(?:['\u2019]\w+)*")
LEAST = 10  # transcripts that a word must be in to be looked at
LEVEL = 0.05  # how often a corpus without such words would show one


@dataclass(frozen=True)
class Telling:
    """A word, the shares of first and of last transcripts that hold it, and how surely they differ."""

    word: str
    first: float
    last: float
    log_odds: float  # of being in the first against being in the last
    z: float


def telling(scripts: Iterable[Sequence[str]]) -> list[Telling]:
    """Words by how surely they are more frequent in first than in last transcripts, the surest "first" words first.

    The log odds ratio with half a transcript added everywhere (Haldane and Anscombe, 1956), over its standard error.
    Only what passes Bonferroni's bound over all words that were looked at is in the list.

    Args:
        scripts: the transcripts of each in true order, at least two.
    """
    counts = Counter[str](), Counter[str]()
    total = 0
    for texts in scripts:
        total += 1
        for count, text in zip(counts, (texts[0], texts[-1]), strict=True):
            count.update(set(WORD.findall(text.casefold())))
    words = sorted(word for word in counts[0] | counts[1] if counts[0][word] + counts[1][word] >= LEAST)
    if not words:
        return []
    held = np.array([[count[word] for word in words] for count in counts])  # [2, W]
    with_, without = held + 0.5, total - held + 0.5
    first, last = np.log(with_ / without)
    z = (first - last) / np.sqrt((1 / with_ + 1 / without).sum(0))
    bound = norm.isf(LEVEL / 2 / len(words))
    return [
        Telling(
            word=words[i],
            first=float(held[0, i] / total),
            last=float(held[1, i] / total),
            log_odds=float(first[i] - last[i]),
            z=float(z[i]),
        )
        for i in np.argsort(-z, kind="stable")
        if abs(z[i]) > bound
    ]
