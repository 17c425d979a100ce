"""A voice that is calculated: vowels that glide into one another, which Silero takes for speech."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from scriptsight.media.audio import SAMPLE_RATE as RATE

VOWELS = np.array([(730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480), (640, 1190, 2390)])
SYLLABLE = 0.18  # seconds

Spans = list[tuple[float, float]]


def voice(seconds: float, seed: int) -> np.ndarray:
    """float32 [samples]: harmonics of a wandering pitch, loud near three formants that change with each syllable."""
    random = np.random.default_rng(seed)
    times = np.arange(round(seconds * RATE)) / RATE
    pitch = (
        130 * (1 + 0.15 * np.sin(2 * np.pi * times * 0.7 + random.uniform(0, 6))) * np.linspace(1.1, 0.85, len(times))
    )
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    syllables = int(np.ceil(seconds / SYLLABLE))
    vowels = VOWELS[random.integers(len(VOWELS), size=syllables)]
    middles = (np.arange(syllables) + 0.5) * SYLLABLE
    formants = [np.interp(times, middles, vowels[:, number]) for number in range(3)]
    sound = np.zeros(len(times))
    for number in range(1, 40):
        distances = (
            (number * pitch - formant) / width for formant, width in zip(formants, (90, 110, 160), strict=True)
        )
        loud = sum(gain / (1 + away**2) for gain, away in zip((1.0, 0.5, 0.25), distances, strict=True))
        sound += loud / np.sqrt(number) * np.sin(number * phase)
    sound *= 0.35 + 0.65 * np.abs(np.sin(np.pi * times / SYLLABLE))
    return (sound / np.abs(sound).max() * 0.5).astype(np.float32)


def talk(seconds: float, seed: int) -> tuple[np.ndarray, Spans]:
    """Sentences with pauses: float32 [samples] with a little noise, and when each is spoken."""
    random = np.random.default_rng(seed)
    sound = random.normal(0, 0.002, round(seconds * RATE)).astype(np.float32)
    spans: Spans = []
    start = 1.0
    while start < seconds - 4:
        length = float(random.uniform(0.8, 2.6))
        sentence = voice(length, int(random.integers(1 << 30)))
        sound[round(start * RATE) :][: len(sentence)] += sentence
        spans.append((start, start + length))
        start += length + float(random.uniform(0.5, 2.5))
    return sound, spans


def film(path: Path, sound: np.ndarray) -> Path:
    """A video of grey pictures with this sound; `path` ends in .mkv."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        picture = container.add_stream("libx264", rate=2, options={"threads": "1"})
        picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
        stream = container.add_stream("flac", rate=RATE, layout="mono")
        for number in range(round(len(sound) / RATE * 2)):
            image = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 128, np.uint8), format="rgb24")
            image.pts, image.time_base = number, Fraction(1, 2)
            container.mux(picture.encode(image))
        container.mux(picture.encode())
        values = (np.clip(sound, -1, 1) * 32767).astype(np.int16)
        for start in range(0, len(values), 4096):
            piece = av.AudioFrame.from_ndarray(values[None, start : start + 4096], format="s16", layout="mono")
            piece.sample_rate, piece.time_base, piece.pts = RATE, Fraction(1, RATE), start
            container.mux(stream.encode(piece))
        container.mux(stream.encode())
    return path
