"""How far `ingest.retime` is to be trusted: offsets and speeds of scripts found in real speech, and what they cost.

    python benchmarks/retiming.py /data/grid_s1

The folder holds clips of single sentences with `.align` files beside them (the GRID corpus: a word a line, from and
to in 1/25000 s). They are joined to films of 8 to 40 sentences with random pauses, half of them with music or noise
as loud as the voice. Each film's script is moved and stretched, and looked for in its sound; so are the scripts of
the other films. Seconds are the processor's, of reading, decoding and hearing. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.machine import processor
from scriptsight.ingest import alignment
from scriptsight.ingest.alignment import Fit, Spans
from scriptsight.media import audio
from scriptsight.media.audio import SAMPLE_RATE

LENGTHS, FILMS = (8, 10, 15, 20, 40), 16  # sentences a film, and films of each length
WRONG = ((1.0, 0.0), (1.0, 2.3), (1.0, -4.0), (25 / 24, 0.0), (24 / 25, 60.0), (25025 / 24000, -2.0))  # ratio, offset
UNIT = 25_000  # of the .align files, a second


def sentences(folder: Path) -> list[tuple[np.ndarray, float, float]]:
    """Sound, and when the first word begins and the last one ends."""
    found = []
    for path in sorted(folder.glob("*.align")):
        words = [line.split() for line in path.read_text().splitlines()]
        times = [(int(start) / UNIT, int(end) / UNIT) for start, end, word in words if word != "sil"]
        found.append((audio(path.with_suffix(".mpg")), times[0][0], times[-1][1]))
    return found


def film(clips: list[tuple[np.ndarray, float, float]], count: int, seed: int) -> tuple[np.ndarray, Spans]:
    """Sentences with pauses of up to three seconds between them, and when each is spoken."""
    random = np.random.default_rng(seed)
    parts: list[np.ndarray] = []
    spans: Spans = []
    at = 0.0
    for number in random.integers(len(clips), size=count):
        sound, start, end = clips[number]
        silence = np.zeros(round(random.uniform(0, 3) * SAMPLE_RATE), np.float32)
        at += len(silence) / SAMPLE_RATE
        spans.append((at + start, at + end))
        parts += [silence, sound]
        at += len(sound) / SAMPLE_RATE
    joined = np.concatenate(parts)
    times = np.arange(len(joined)) / SAMPLE_RATE
    other = random.normal(size=len(joined))  # noise, or else a chord on a beat with a drum
    if seed % 4 == 1:
        chord = sum(np.sin(2 * np.pi * pitch * times) for pitch in (220, 277, 330, 440))
        other = chord * np.exp(-8 * (times % 0.5)) + 0.3 * other * np.exp(-30 * (times % 0.25))
    loud = joined.std() / other.std() * (seed % 2)
    return (joined + loud * other).astype(np.float32), spans


def moved(spans: Spans, ratio: float, offset: float) -> Spans:
    """The spans of a wrong script; no caption file has negative times."""
    return [(a * ratio + offset, b * ratio + offset) for a, b in spans if a * ratio + offset >= 0]


def fits(films: list[tuple[np.ndarray, Spans]]) -> Iterator[tuple[Fit, float]]:
    """What is found of each script that was moved, and the most seconds by which that is off."""
    for speech, spans in films:
        for ratio, offset in WRONG:
            fit = alignment.aligned(speech, moved(spans, ratio, offset))
            if isinstance(fit, Fit):
                ends = (spans[0][0], spans[-1][1])
                yield fit, max(abs((end * ratio + offset) * fit.ratio + fit.offset - end) for end in ends)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="clips of GRID with their .align files")
    clips = sentences(parser.parse_args().folder)
    right: list[tuple[Fit, float]] = []
    others: list[Fit] = []
    for count in LENGTHS:
        sounds = [film(clips, count, seed) for seed in range(FILMS)]
        films = [(alignment.heard(sound), spans) for sound, spans in sounds]
        right += fits(films)
        pairs = (
            (speech, spans) for i, (speech, _) in enumerate(films) for j, (_, spans) in enumerate(films) if i != j
        )
        others += [fit for speech, spans in pairs if isinstance(fit := alignment.aligned(speech, spans), Fit)]
        print(f"{count} sentences: {len(right)} and {len(others)} so far", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.wav"
        with wave.open(str(path), "wb") as file:
            file.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
            file.writeframes((np.clip(sounds[0][0], -1, 1) * 32767).astype(np.int16).tobytes())
        begun = time.process_time()
        speech = alignment.activity(path)
        alignment.aligned(speech, sounds[0][1])
        seconds = time.process_time() - begun
    believed = [(fit, error) for fit, error in right if not fit.doubt]
    figures = {
        "scripts": len(right),
        "believed": round(len(believed) / len(right), 3),
        "error_median_s": round(float(np.median([error for _, error in believed])), 3),
        "error_max_s": round(max(error for _, error in believed), 3),
        "confidence_median": float(np.median([fit.confidence for fit, _ in right])),
        "others": len(others),
        "others_believed": sum(not fit.doubt for fit in others),
        "others_confidence_p99": round(float(np.quantile([fit.confidence for fit in others], 0.99)), 2),
        "others_confidence_max": max(fit.confidence for fit in others),
        "seconds_a_minute": round(seconds / (len(speech) * alignment.STEP / 60), 2),
    }
    print(json.dumps(figures | {"processor": processor()}))


if __name__ == "__main__":
    main()
