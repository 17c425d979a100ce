"""What speech recognisers write as JSON: Whisper, faster-whisper and whisper-ctranslate2, WhisperX, whisper.cpp, and
the lists of timed texts of videogrep (Vosk) and others."""

from __future__ import annotations

from typing import Any, TypeAlias

from scriptsight.captions.script import UNSPACED, Script, seconds
from scriptsight.catalogue import Cue, Word

MILLISECOND = 1e-3
_Heard: TypeAlias = tuple[float | None, float | None, str]  # start and end in seconds where known, the word


def segments(items: list[Any], language: Any = None) -> Script:
    """Segments of {start, end, text or content} in seconds, with `words` of {start, end, word} where they were
    asked for. WhisperX can't align numerals: such a word lies between its neighbours."""
    cues: list[Cue] = []
    dropped = 0
    for item in items:
        text = (item.get("text") or item.get("content")) if isinstance(item, dict) else None
        if not isinstance(text, str) or not text.strip():
            continue
        start, end = seconds(item.get("start")), seconds(item.get("end"))
        if start is None or end is None:
            dropped += 1
            continue
        cues.append(Cue(start, end, " ".join(text.split()), _words(start, end, _spoken(item.get("words")))))
    return Script(cues, dropped, language if isinstance(language, str) else None)


def cpp(items: list[Any], result: Any) -> Script:
    """The `transcription` of whisper.cpp: offsets in milliseconds, `tokens` (pieces of words) in its full form."""
    language = result.get("language") if isinstance(result, dict) else None
    plain = []
    for item in items:
        if not isinstance(item, dict):
            continue
        tokens = item.get("tokens")
        words = [
            _timed(token) | {"word": token.get("text")}
            for token in (tokens if isinstance(tokens, list) else [])
            if isinstance(token, dict) and not str(token.get("text")).startswith("[_")  # [_BEG_], [_TT_50]
        ]
        plain.append(_timed(item) | {"text": item.get("text"), "words": words})
    return segments(plain, language)


def _timed(item: dict[str, Any]) -> dict[str, Any]:
    """Start and end in seconds of what has `offsets`."""
    offsets = item.get("offsets")
    times = offsets if isinstance(offsets, dict) else {}
    return {"start": seconds(times.get("from"), MILLISECOND), "end": seconds(times.get("to"), MILLISECOND)}


def _spoken(words: Any) -> list[_Heard]:
    """The words of a segment. Where words begin with a space, one that does not goes on with the last: Whisper says
    "L" and "'esquelet". WhisperX has no such spaces, Chinese none at all."""
    listed = [word for word in words if isinstance(word, dict)] if isinstance(words, list) else []
    timed = [(word, word["word"]) for word in listed if isinstance(word.get("word"), str) and word["word"].strip()]
    spaced = any(text.startswith(" ") for _, text in timed)
    heard: list[_Heard] = []
    for word, text in timed:
        start, end = seconds(word.get("start")), seconds(word.get("end"))
        if heard and spaced and not text.startswith(" ") and not UNSPACED.match(text):
            heard[-1] = (heard[-1][0], end, heard[-1][2] + text.strip())
        else:
            heard.append((start, end, text.strip()))
    return heard


def _words(start: float, end: float, heard: list[_Heard]) -> tuple[Word, ...] | None:
    """Words with times; None where no word has any."""
    if all(first is None for first, _, _ in heard):
        return None
    words: list[Word] = []
    for i, (first, last, text) in enumerate(heard):
        if first is None:
            first = words[-1].end if words else start
        if last is None:
            last = next((later for later, _, _ in heard[i + 1 :] if later is not None), end)
        words.append(Word(first, max(first, last), text))
    return tuple(words)
