"""What is said in videos that carry no words: Whisper, run by faster-whisper, an optional extra.

It runs on a graphics card where there is one and on the processor where there is none (`device: auto`); there
`compute_type: int8` is the fast choice. What it says is passed on as it is: repeats, words over music and times
beyond the end are for the cleaning rules, which count them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from scriptsight.catalogue import CUES, Cue, Word
from scriptsight.errors import InputError
from scriptsight.files import digest, whole_file
from scriptsight.media import audio
from scriptsight.media.audio import SAMPLE_RATE
from scriptsight.params.ingest import Transcription

if TYPE_CHECKING:
    from faster_whisper import WhisperModel

_VERSION = 1  # of what is below; another one makes all kept transcripts anew
_SCHEMA = pa.schema([CUES.field(name) for name in ("start", "end", "text", "words")])
_MODEL_FILES = ("model.bin", "tokenizer.json", "preprocessor_config.json")
_loading = Lock()


@dataclass(frozen=True)
class Transcript:
    """What was heard in one video: cues in order of time, and their language (None where nothing is said)."""

    language: str | None
    cues: tuple[Cue, ...]


@dataclass(frozen=True)
class Transcriber:
    """Hears videos, each once: what was heard is kept in `cache` and read from there the next time.

    A kept transcript is found by the sound itself, the model (a folder counts by its files, a name as it is) and
    the settings but for `device`: work goes on where it stopped, also under another file name or on another
    machine. `batch` counts, as CTranslate2 aligns the words of a batch together and their times move a little.
    The model is loaded when first needed, once a process; a Transcriber itself is small and can be sent to
    worker processes.
    """

    choice: Transcription
    cache: Path

    def cues(self, path: str | Path) -> tuple[Cue, ...]:
        """The cues of `transcript`."""
        return self.transcript(path).cues

    def transcript(self, path: str | Path) -> Transcript:
        """Hear the video `path`, or recall it. Without sound, or with nothing said in it, there is no cue.

        A cue is about a sentence, with the times of its words; times are seconds as those of frames.

        Raises:
            MediaError: its sound can't be read.
            InputError: faster-whisper, the model or the device is not there, or the disk is full.
        """
        samples = audio(path)
        if not len(samples):
            return Transcript(None, ())
        key = self._key(samples)
        kept = self.cache / key[:2] / f"{key}.parquet"
        if not kept.is_file():
            _keep(_transcribed(samples, self.choice), kept)
        return _recalled(kept)

    def _key(self, samples: np.ndarray) -> str:
        settings = self.choice.model_dump(exclude={"model", "device"})
        named = json.dumps([_VERSION, identity(self.choice.model), settings], sort_keys=True)
        total = hashlib.sha256(named.encode())
        total.update(np.ascontiguousarray(samples).data)
        return total.hexdigest()


def _transcribed(samples: np.ndarray, choice: Transcription) -> Transcript:
    """Run Whisper over float32 [samples] at `SAMPLE_RATE`."""
    model = _loaded(choice)
    if choice.language is not None and choice.language not in model.supported_languages:
        raise InputError(
            f"ingest.transcription.language {choice.language!r} is none that the model {choice.model} hears: set it "
            f"to null or one of {', '.join(model.supported_languages)}."
        )
    from faster_whisper import BatchedInferencePipeline

    seconds = len(samples) / SAMPLE_RATE
    windows = None if choice.vad else list(_windows(seconds, float(model.feature_extractor.chunk_length)))
    try:
        segments, info = BatchedInferencePipeline(model).transcribe(
            samples,
            language=choice.language,
            batch_size=choice.batch,
            vad_filter=choice.vad,
            clip_timestamps=windows,
            word_timestamps=True,
            # Without Whisper's own time stamps a whole window of up to 30 seconds would be one cue.
            without_timestamps=False,
        )
        cues = [cue for segment in segments if (cue := _cue(segment)).text]
    except RuntimeError as error:
        raise InputError(
            f"Whisper stopped: {error}. If memory ran out, lower ingest.transcription.batch or take a smaller "
            "model; if a library of CUDA is missing, set ingest.transcription.device to cpu."
        ) from error
    cues.sort(key=lambda cue: (cue.start, cue.end))
    return Transcript(info.language if cues else None, tuple(cues))


def _windows(seconds: float, length: float) -> Iterator[dict[str, float]]:
    """All of the sound in pieces that Whisper hears at once. A word on the edge of two is cut: voice activity
    cuts at silences instead."""
    start = 0.0
    while start < seconds:
        yield {"start": start, "end": min(start + length, seconds)}
        start += length


def _cue(segment: Any) -> Cue:
    words = tuple(
        Word(round(float(word.start), 3), round(float(word.end), 3), word.word.strip())
        for word in segment.words or ()
        if word.word.strip()
    )
    return Cue(float(segment.start), float(segment.end), segment.text.strip(), words or None)


# ------------------------------------------------------------------------------------------- the model


def _loaded(choice: Transcription) -> WhisperModel:
    with _loading:  # threads that start together load it once
        return _load(choice.model, choice.device, choice.compute_type)


@cache
def _load(name: str, device: str, compute_type: str) -> WhisperModel:
    try:
        import ctranslate2
        from faster_whisper import WhisperModel
    except ImportError as error:
        raise InputError(
            "Transcription needs faster-whisper, which is not installed: pip install 'scriptsight[asr]', or set "
            "ingest.transcription to null to go without."
        ) from error
    if device == "auto":
        device = "cuda" if ctranslate2.get_cuda_device_count() else "cpu"
    elif device == "cuda" and not ctranslate2.get_cuda_device_count():
        raise InputError("ingest.transcription.device is cuda, but there is no such device here: set it to auto.")
    supported = ctranslate2.get_supported_compute_types(device)
    if compute_type not in {"default", "auto", *supported}:
        known = ", ".join(["default", "auto", *sorted(supported)])
        raise InputError(
            f"ingest.transcription.compute_type {compute_type!r} can't be computed on this {device}: set it to one "
            f"of {known}."
        )
    _check_files(name)
    try:
        model = WhisperModel(name, device=device, compute_type=compute_type)
    except (ValueError, RuntimeError, OSError) as error:
        raise InputError(
            f"The Whisper model {name!r} of ingest.transcription.model can't be loaded: {error}. Give a name that "
            "faster-whisper knows (tiny, base, small, medium, large-v3, turbo) with access to the Hugging Face "
            "hub, or the folder of a model made by ct2-transformers-converter."
        ) from error
    bands, heard = model.model.n_mels, model.feature_extractor.mel_filters.shape[0]
    if bands != heard:
        raise InputError(
            f"{name}: the model takes {bands} mel bands, its preprocessor_config.json gives {heard}: copy that "
            "file from the model it was made of."
        )
    return model


def _check_files(name: str) -> None:
    """A folder must be whole: for a tokenizer that is missing, faster-whisper takes another model's from the
    hub, whose numbers may mean other words."""
    folder = Path(name)
    if not folder.is_dir():
        if folder.is_absolute():
            raise InputError(f"There is no folder {name}, which ingest.transcription.model names.")
        return
    missing = [file for file in _MODEL_FILES if not (folder / file).is_file()]
    if missing:
        raise InputError(
            f"The folder {name} of ingest.transcription.model lacks {', '.join(missing)}: convert the model with "
            "ct2-transformers-converter --model NAME --output_dir FOLDER --copy_files tokenizer.json "
            "preprocessor_config.json."
        )


@cache
def identity(name: str) -> dict[str, str]:
    """What a model is: the digests of a folder's files, or else its name."""
    folder = Path(name)
    if not folder.is_dir():
        return {"name": name}
    return {path.name: digest(path) for path in sorted(folder.iterdir()) if path.is_file()}


# ------------------------------------------------------------------------------------ what was heard


def _keep(transcript: Transcript, path: Path) -> None:
    schema = _SCHEMA.with_metadata({"language": transcript.language or ""})
    unkept = ("raw", "speaker")
    rows = [{name: value for name, value in asdict(cue).items() if name not in unkept} for cue in transcript.cues]
    with whole_file(path) as partial:
        pq.write_table(pa.Table.from_pylist(rows, schema), partial)


def _recalled(path: Path) -> Transcript:
    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"The kept transcript {path} is damaged ({error}): delete it and run again.") from error
    cues = [
        Cue(row["start"], row["end"], row["text"], row["words"] and tuple(Word(**word) for word in row["words"]))
        for row in table.to_pylist()
    ]
    return Transcript(table.schema.metadata[b"language"].decode() or None, tuple(cues))
