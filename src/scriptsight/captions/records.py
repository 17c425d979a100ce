"""Records of datasets that hold a video's transcript: HowTo100M and YT-Temporal."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from scriptsight.captions.script import Script, seconds
from scriptsight.catalogue import Cue, Word
from scriptsight.errors import needs

with needs("data", "Reading captions"):
    from rapidfuzz.distance import Levenshtein
    from rapidfuzz.process import cdist

MAX_CELLS = 10**8  # of the table of an alignment, a byte each: over an hour of fast speech
MAX_LETTERS = 100  # of a word that are compared: a distance fits a byte
MAX_WORD_SECONDS = 2.0  # only beginnings are known: after this long a word is over, and what follows is silence
MAX_CUE_WORDS = 30  # of a sentence without an end
SENTENCE_END = re.compile(r"[.?!…。？！][\"')”’]*$")  # noqa: RUF001


def howto100m(record: Any) -> Script:
    """One video of HowTo100M's `raw_caption.json`: lists `start`, `end` (seconds) and `text` of equal length.

    Raises:
        ValueError: the record lacks a list, or they differ in length.
    """
    record = record if isinstance(record, dict) else {}
    starts, ends, texts = (record.get(key) for key in ("start", "end", "text"))
    if not isinstance(starts, list) or not isinstance(ends, list) or not isinstance(texts, list):
        raise ValueError("a record needs lists start, end and text")
    if not len(starts) == len(ends) == len(texts):
        raise ValueError(f"start, end and text differ in length: {len(starts)}, {len(ends)}, {len(texts)}")
    cues: list[Cue] = []
    dropped = 0
    for start, end, text in zip(starts, ends, texts, strict=True):
        if not isinstance(text, str) or not text.strip():  # nan where YouTube had no text
            continue
        first, last = seconds(start), seconds(end)
        if first is None or last is None:
            dropped += 1
        else:
            cues.append(Cue(first, last, " ".join(text.split())))
    return Script(cues, dropped)


def yt_temporal(record: Mapping[str, Any]) -> Script:
    """One video of YT-Temporal-180M (Zellers et al., MERLOT, arXiv 2106.02636): the recogniser's words with times
    (`subtitles`) and the text that a language model made of them (`denoised`), which has none.

    Each clean word gets the time of the heard word it is paired with; see `align`. Cues are sentences. Without
    `denoised` the heard words are taken, and where there are too many words to be aligned; the clean words, which
    then have no times, count as dropped.

    Raises:
        ValueError: `subtitles` is no list.
    """
    heard: list[tuple[float, str]] = []
    dropped = 0
    items = record.get("subtitles")
    if not isinstance(items, list):
        raise ValueError("subtitles is no list of words with times")
    for item in items:
        word = item.get("word") if isinstance(item, dict) else None
        if isinstance(word, str) and word.strip():
            time = seconds(item.get("time"))
            dropped += time is None
            heard += [(time, word.strip())] if time is not None else []
    heard.sort(key=lambda word: word[0])
    denoised = record.get("denoised")
    passages = denoised if isinstance(denoised, list) else []
    texts = [passage.get("cleanasr") for passage in passages if isinstance(passage, dict)]
    clean = [word for text in texts if isinstance(text, str) for word in text.split()]
    if not heard:
        return Script([], dropped + len(clean))
    times = [time for time, _ in heard]
    if len(heard) * len(clean) > MAX_CELLS:
        dropped, clean = dropped + len(clean), []
    if clean:
        times = [times[i] for i in align([word for _, word in heard], clean)]
    info = record.get("info")
    duration = seconds(info.get("duration")) if isinstance(info, dict) else None
    return Script(_sentences(times, clean or [word for _, word in heard], duration), dropped)


def _sentences(starts: list[float], texts: list[str], duration: float | None) -> list[Cue]:
    """Words with times, cut after each sentence."""
    following = starts[-1] + MAX_WORD_SECONDS if duration is None else max(starts[-1], duration)
    ends: list[float] = []
    for i in range(len(starts) - 1, -1, -1):
        if i + 1 < len(starts) and starts[i + 1] > starts[i]:  # words of one heard word share its end
            following = starts[i + 1]
        ends.append(round(min(following, starts[i] + MAX_WORD_SECONDS), 6))
    ends.reverse()
    words = [Word(*word) for word in zip(starts, ends, texts, strict=True)]
    cuts = [0]
    for i, word in enumerate(words, 1):
        if i == len(words) or i - cuts[-1] == MAX_CUE_WORDS or SENTENCE_END.search(word.text):
            cuts.append(i)
    sentences = [tuple(words[first:last]) for first, last in pairwise(cuts)]
    return [Cue(s[0].start, s[-1].end, " ".join(word.text for word in s), s) for s in sentences]


def align(heard: Sequence[str], clean: Sequence[str]) -> list[int]:
    """For each clean word the heard word that dynamic time warping pairs it with; both texts are not empty. Of
    several, as where the clean text leaves words out, it is the one spelt most alike, and the first of those.

    The path through the table of Levenshtein distances between words (letters and digits in lower case) that
    costs least, from the first pair to the last, by steps of one word in either text or in both. Of equal ways a
    step in both is taken first, then one in the clean text.

    Row i of the costs is D[i, j] = c[i, j] + min(D[i-1, j-1], D[i-1, j], D[i, j-1]). The last term makes it a chain;
    with C the running sum of c[i], it is C[j] + min over k <= j of (m[k] - C[k-1]), m the minimum of the other two:
    numpy's minimum.accumulate. Costs are integers, so this is exact.

    Raises:
        ValueError: there are more than `MAX_CELLS` pairs of words.
    """
    rows, columns = len(heard), len(clean)
    if rows * columns > MAX_CELLS:
        raise ValueError(f"{rows} heard and {columns} clean words are too many to be aligned")
    costs, heard_ids, clean_ids = _distances([_letters(word) for word in heard], [_letters(word) for word in clean])
    far = np.int64(2**60)
    above = np.full(columns, far)
    # Which way each cell was reached: 0 from both words before, 1 the clean one before, 2 the heard one before.
    ways = np.empty((rows, columns), np.uint8)
    for i in range(rows):
        cost = costs[heard_ids[i]][clean_ids].astype(np.int64)
        diagonal = np.concatenate([[0 if i == 0 else far], above[:-1]])
        entered = np.minimum(diagonal, above)
        total = np.cumsum(cost)
        row = total + np.minimum.accumulate(entered - (total - cost))
        beside = np.concatenate([[far], row[:-1]])
        ways[i] = np.where(diagonal + cost == row, 0, np.where(beside + cost == row, 1, 2))
        above = row
    paired, nearest = [0] * columns, [MAX_LETTERS + 1] * columns
    i, j = rows - 1, columns - 1
    while i >= 0 and j >= 0:
        distance = int(costs[heard_ids[i], clean_ids[j]])
        if distance <= nearest[j]:
            paired[j], nearest[j] = i, distance
        way = ways[i, j]
        i, j = i - (way != 1), j - (way != 2)
    return paired


def _distances(heard: list[str], clean: list[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distances between distinct words, and which of them each word is: a text repeats most of its words."""
    heard_words, heard_ids = np.unique(np.array(heard, dtype=object), return_inverse=True)
    clean_words, clean_ids = np.unique(np.array(clean, dtype=object), return_inverse=True)
    return cdist(heard_words, clean_words, scorer=Levenshtein.distance, dtype=np.uint8), heard_ids, clean_ids


def _letters(word: str) -> str:
    return "".join(filter(str.isalnum, word.lower()))[:MAX_LETTERS]
