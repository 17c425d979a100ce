"""When a video's words are spoken by its sound: where in time its script lies, and how fast it runs.

Silero's voice activity detection hears the sound. Its times of speech and those of the cues are two curves of zeros
and ones, and their correlation, at all offsets (by FFT) and at the ratios of the usual frame rates, is highest where
the script belongs. This is what ffsubsync does. It is not taken from there: ffsubsync needs the command ffmpeg and a
voice detection that takes music for speech, always gives an answer and never says how far it is to be trusted. This
detector comes with faster-whisper, which the extra `asr` has.

An answer counts only if it can't well be chance (`EVIDENCE`), is clearly better than the next one (`MARGIN`), and
holds in every third of the script: a film that was cut differently has no one offset.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import atanh, sqrt
from pathlib import Path

import numpy as np

from scriptsight.catalogue import Cue
from scriptsight.errors import needs
from scriptsight.media import MediaError, audio_blocks
from scriptsight.media.audio import SAMPLE_RATE

STEP = 512 / SAMPLE_RATE  # seconds of a value of the curves: what Silero hears at once
BLOCK = 60.0  # seconds heard at once; a whole number of steps
LAG = 0.02  # seconds by which Silero hears a voice late
RATIOS = (1.0, 25 / 24, 24 / 25, 1001 / 1000, 1000 / 1001, 25025 / 24000, 24000 / 25025)
UNCHANGED = 0.02  # correlation that another ratio must bring: short scripts say little about their speed

NEAR = 0.3  # seconds: captions are nowhere set more exactly
EVIDENCE = 8.0  # Fisher's z of the correlation, in standard deviations, from which on confidence grows no more
MARGIN = 0.05  # of correlation, before the best place that is elsewhere
ELSEWHERE = 1.5  # seconds away
BAR = 0.6  # confidence from which on an answer is believed: no script of another film in benchmarks/retiming.py
STEADY = 0.3  # correlation in each third of the script
FEWEST = 8  # stretches of speech in a script
INSIDE = 0.8  # share of the script's speech that must lie in the video, against the place where most does

PAUSE = 0.1  # seconds between words that are none
WORD = (0.15, 0.06)  # seconds that a word takes: for itself, and for each letter; captions often stand to the next
CUE = (0.3, 0.08)  # the same for a cue without times of its words
UNSPACED_LETTER = 0.25  # seconds for a letter that is a syllable or more


@dataclass(frozen=True)
class Fit:
    """How times of a script become those of its video: `ratio` times a time, plus `offset` seconds.

    Attributes:
        moves: seconds by which the cue moves that moves most.
        confidence: from 0 to 1; over `BAR` it is believed.
        doubt: why not, "" if it is.
    """

    ratio: float
    offset: float
    moves: float
    confidence: float
    doubt: str = ""


Spans = list[tuple[float, float]]  # seconds, from and to, in order, with pauses between them


def fit(path: str | Path, cues: Sequence[Cue]) -> Fit | str:
    """Where the speech of `cues` (cleaned, with their times as they came) lies in the sound of a video, or why that
    can't be said.

    Raises:
        MissingExtra: faster-whisper is not installed.
        MediaError: no sound can be decoded.
    """
    spans = spoken(cues)
    if len(spans) < FEWEST:
        return f"the script has {len(spans)} stretches of speech, fewer than {FEWEST}"
    return aligned(activity(path), spans)


def activity(path: str | Path) -> np.ndarray:
    """Whether somebody speaks in a video -> float64 [steps of `STEP` seconds], 0 or 1; memory does not grow with its
    sound. Sound that breaks off ends there.

    Raises:
        MissingExtra, MediaError: as `fit` does.
    """
    found = [np.zeros(0)]
    try:
        for block in audio_blocks(path, BLOCK):
            found.append(heard(block))
    except MediaError:
        if len(found) == 1:
            raise
    return np.concatenate(found)


def heard(samples: np.ndarray) -> np.ndarray:
    """Whether somebody speaks in float32 [samples] at `SAMPLE_RATE` -> float64 [steps], 0 or 1.

    Raises:
        MissingExtra: faster-whisper is not installed.
    """
    with needs("asr", "Hearing where words are spoken (ingest.retime)"):
        from faster_whisper.vad import get_speech_timestamps
    step = round(STEP * SAMPLE_RATE)
    curve = np.zeros(-(-len(samples) // step))
    for stretch in get_speech_timestamps(samples, min_silence_duration_ms=100, speech_pad_ms=0):
        curve[round(stretch["start"] / step) : round(stretch["end"] / step)] = 1.0
    return curve


def spoken(cues: Iterable[Cue]) -> Spans:
    """When a script says that somebody speaks. Captions stand longer than their words are spoken, so a cue counts for
    as long as its letters take to be said, at most."""
    single: Spans = []
    for cue in cues:
        if cue.words:
            single += [(word.start, min(word.end, word.start + _longest(word.text, WORD))) for word in cue.words]
        else:
            single.append((cue.start, min(cue.end, cue.start + _longest(cue.text, CUE))))
    spans: Spans = []
    for start, end in sorted(single):
        if spans and start - spans[-1][1] < PAUSE:
            spans[-1] = (spans[-1][0], max(spans[-1][1], end))
        elif start < end:
            spans.append((start, end))
    return spans


def _longest(text: str, limit: tuple[float, float]) -> float:
    unspaced = sum(letter >= "\u0e00" for letter in text)
    return limit[0] + limit[1] * (len(text) - unspaced) + UNSPACED_LETTER * unspaced


# ------------------------------------------------------------------------------------------- two curves


def aligned(speech: np.ndarray, spans: Spans) -> Fit | str:
    """Where in `speech` [steps], 0 or 1, the spans lie, or why that can't be said."""
    if not 0.02 <= (share := float(speech.mean()) if len(speech) else 0.0) <= 0.98:
        return f"somebody speaks in {share:.0%} of the sound"
    spans = _within_reach(spans, len(speech) * STEP)
    first = spans[0][0]
    middle = (spans[-1][1] - first) / 2
    # By ratio: the correlation at every place of the script's beginning in the video, in steps from `-length` on.
    curves = {ratio: _curve([(a * ratio, b * ratio) for a, b in _from(spans, first)]) for ratio in RATIOS}
    found = {ratio: _correlations(speech, curve) for ratio, curve in curves.items()}
    ratio = max(RATIOS, key=lambda one: found[one].max() - UNCHANGED * (one != 1.0))
    best = float(found[ratio].max())
    place = int(found[ratio].argmax()) - len(curves[ratio]) + 1
    centre = place + middle * ratio / STEP
    second = -1.0
    for other, values in found.items():
        centres = np.arange(len(values)) - len(curves[other]) + 1 + middle * other / STEP
        away = np.abs(centres - centre) * STEP > ELSEWHERE
        second = max(second, float(values[away].max(initial=-1.0)))
    offset = place * STEP - first * ratio - LAG
    confidence = _confidence(best, second, len(spans))
    moves = max((abs(time * (ratio - 1) + offset), time * (ratio - 1) + offset) for time in (first, spans[-1][1]))[1]
    answer = Fit(ratio, round(offset, 3), round(moves, 3), round(confidence, 2))
    if confidence < BAR:
        return replace(answer, doubt="the sound fits elsewhere nearly as well, or hardly at all")
    if (part := _unsteady(speech, spans, ratio, offset)) is not None:
        return replace(answer, doubt=f"it does not hold in the {part} third of the script: one of both was cut")
    return answer


def _confidence(best: float, second: float, stretches: int) -> float:
    """From 0 to 1: how far the best correlation is from chance, and from the next best place. Beginning and end of
    each stretch of speech are taken for a sample."""
    if best <= 0:
        return 0.0
    evidence = atanh(min(best, 0.999)) * sqrt(2 * stretches - 3)
    return min(1.0, evidence / EVIDENCE) * min(1.0, max(0.0, best - second) / MARGIN)


def _unsteady(speech: np.ndarray, spans: Spans, ratio: float, offset: float) -> str | None:
    """The first third of the script that the sound does not bear out at this place."""
    moved = [(start * ratio + offset + LAG, end * ratio + offset + LAG) for start, end in spans]
    edges = [0, len(moved) // 3, 2 * len(moved) // 3, len(moved)]
    for name, (low, high) in zip(("first", "middle", "last"), pairwise(edges), strict=True):
        part = moved[low:high]
        begin, end = max(0, round((part[0][0] - 1) / STEP)), min(len(speech), round((part[-1][1] + 1) / STEP))
        if end <= begin:
            return name
        curve = np.zeros(end - begin)
        for start, until in part:
            curve[max(0, round(start / STEP) - begin) : max(0, round(until / STEP) - begin)] = 1.0
        here = speech[begin:end]
        spread = here.std() * curve.std()
        if spread == 0 or np.mean((here - here.mean()) * (curve - curve.mean())) / spread < STEADY:
            return name
    return None


def _within_reach(spans: Spans, seconds: float) -> Spans:
    """The spans of which a video of `seconds` could hold some: times in a script may be anything."""
    return [span for span in spans if span[1] - spans[0][0] <= 2 * seconds]


def _from(spans: Spans, first: float) -> Spans:
    return [(start - first, end - first) for start, end in spans]


def _curve(spans: Spans) -> np.ndarray:
    """[steps] 1 in the spans, 0 between them."""
    curve = np.zeros(max(1, round(spans[-1][1] / STEP)))
    for start, end in spans:
        curve[round(start / STEP) : round(end / STEP)] = 1.0
    return curve


def _correlations(speech: np.ndarray, curve: np.ndarray) -> np.ndarray:
    """Pearson's correlation of `speech` [N] with `curve` [M] that begins at each step from 1 - M to N - 1 ->
    [N + M - 1]; -1 where too much of the curve lies outside."""
    steps, length = len(speech), len(curve)
    size = 1 << (steps + length - 1).bit_length()
    centred = speech - speech.mean()
    products = np.fft.irfft(np.fft.rfft(centred, size) * np.conj(np.fft.rfft(curve, size)), size)
    places = np.arange(1 - length, steps)
    sums = np.concatenate([[0.0], np.cumsum(curve)])
    inside = sums[np.clip(steps - places, 0, length)] - sums[np.clip(-places, 0, length)]
    spread = inside * (1 - inside / steps) * float(centred @ centred)
    fits = (inside >= INSIDE * inside.max()) & (spread > 0)
    return np.where(fits, products[places % size] / np.sqrt(np.where(fits, spread, 1.0)), -1.0)
