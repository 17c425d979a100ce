"""Transcription by the real code path: a tiny Whisper with random weights, real sound, real files.

What a random model says is noise, so the tests hold what must be true of any: times, what is silent, what is
kept and found again.
"""

from __future__ import annotations

import json
import pickle
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from flows import parameters
from scriptsight.catalogue import Cue
from scriptsight.errors import InputError
from scriptsight.ingest import transcription
from scriptsight.ingest.transcription import Transcriber
from scriptsight.media import MediaError, audio
from scriptsight.media.audio import SAMPLE_RATE as RATE
from scriptsight.params import reading
from scriptsight.params.ingest import Transcription
from tests.conftest import MakeVideo

MakeSound = Callable[..., Path]


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as ct2-transformers-converter leaves it: a multilingual Whisper of width 16 with random weights."""
    pytest.importorskip("faster_whisper", reason="the extra scriptsight[asr] is not installed")
    import torch
    from ctranslate2.converters import TransformersConverter
    from faster_whisper.tokenizer import _LANGUAGE_CODES
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import (
        GenerationConfig,
        PreTrainedTokenizerFast,
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
    )

    folder = tmp_path_factory.mktemp("whisper")
    languages = [f"<|{code}|>" for code in _LANGUAGE_CODES]
    tasks = ["translate", "transcribe", "startoflm", "startofprev", "nospeech", "notimestamps"]
    special = ["<|endoftext|>", "<|startoftranscript|>", *languages, *(f"<|{task}|>" for task in tasks)]
    stamps = [f"<|{i * 0.02:.2f}|>" for i in range(1501)]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    # Words begin with a space, as real ones do; by the empty token CTranslate2 knows a multilingual model.
    words = [*(f"Ġw{i}" for i in range(2000)), ""]
    tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(letters + words)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(special)
    tokenizer.add_tokens(stamps)
    end, begin = (tokenizer.token_to_id(token) for token in special[:2])
    torch.manual_seed(0)
    whisper = WhisperForConditionalGeneration(
        WhisperConfig(
            vocab_size=tokenizer.get_vocab_size(),
            d_model=16,
            encoder_layers=1,
            decoder_layers=1,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=16,
            decoder_ffn_dim=16,
            pad_token_id=end,
            bos_token_id=end,
            eos_token_id=end,
            decoder_start_token_id=begin,
            init_std=1.0,  # far from uniform, so that what is said depends on what is heard
        )
    )
    whisper.generation_config = GenerationConfig(
        suppress_tokens=[],
        begin_suppress_tokens=[],
        alignment_heads=[[0, 0], [0, 1]],
        lang_to_id={token: tokenizer.token_to_id(token) for token in languages},
    )
    whisper.save_pretrained(folder / "source")
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=special[0]).save_pretrained(folder / "source")
    WhisperFeatureExtractor().save_pretrained(folder / "source")
    converter = TransformersConverter(
        str(folder / "source"), copy_files=["tokenizer.json", "preprocessor_config.json"]
    )
    return Path(converter.convert(str(folder / "converted")))


@pytest.fixture
def make_sound() -> MakeSound:
    """Write a sound file of float samples [n] at 16 kHz; it may start `late` seconds after the container."""

    def make(path: Path, samples: np.ndarray, late: float = 0.0) -> Path:
        with av.open(str(path), "w") as container:
            stream = container.add_stream("flac", rate=RATE, layout="mono")
            if late:  # a picture from 0 s
                picture = container.add_stream("libx264", rate=8)
                picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
                for i in range(8):
                    image = av.VideoFrame(64, 48, "yuv420p")
                    image.pts, image.time_base = i, Fraction(1, 8)
                    container.mux(picture.encode(image))
                container.mux(picture.encode())
            values = (np.clip(samples, -1, 1) * 32767).astype(np.int16)
            for start in range(0, len(values), 1024):
                frame = av.AudioFrame.from_ndarray(values[None, start : start + 1024], format="s16", layout="mono")
                frame.sample_rate, frame.time_base = RATE, Fraction(1, RATE)
                frame.pts = start + round(late * RATE)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return path

    return make


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, round(seconds * RATE)).astype(np.float32)


def transcriber(model: Path | str, cache: Path, **keys: Any) -> Transcriber:
    return Transcriber(Transcription.model_validate({"model": str(model), "vad": False, **keys}), cache)


def kept(cache: Path) -> dict[str, int]:
    """Entry -> when it was written, in ns."""
    return {path.name: path.stat().st_mtime_ns for path in cache.rglob("*") if path.is_file()}


def in_order(cues: tuple[Cue, ...]) -> bool:
    starts = [cue.start for cue in cues]
    spans = [(word.start, word.end) for cue in cues for word in cue.words or ()]
    return (
        starts == sorted(starts)
        and all(cue.start <= cue.end for cue in cues)
        and all(start <= end for start, end in spans)
        and all(start >= 0 for start, _ in spans)
    )


def test_cues_have_words_and_times_in_order(model: Path, make_sound: MakeSound, tmp_path: Path) -> None:
    path = make_sound(tmp_path / "a.mka", noise(70))
    transcript = transcriber(model, tmp_path / "cache", batch=2).transcript(path)
    assert f"<|{transcript.language}|>" in (model / "tokenizer.json").read_text()
    assert len(transcript.cues) >= 3
    assert in_order(transcript.cues)
    words = [word for cue in transcript.cues for word in cue.words or ()]
    assert words
    assert all(word.text == word.text.strip() != "" for word in words)
    # Three windows of at most 30 s were heard, and each is timed in the whole, not in itself.
    assert {int(cue.start // 30) for cue in transcript.cues} == {0, 1, 2}
    texts = [cue.text for cue in transcript.cues]
    assert 1 < len(set(texts)) < len(texts)  # what repeats is kept: it is for the cleaning rules


def test_the_batch_changes_no_word(model: Path, make_sound: MakeSound, tmp_path: Path) -> None:
    path = make_sound(tmp_path / "a.mka", noise(100))
    one, many = (transcriber(model, tmp_path / "cache", batch=batch).cues(path) for batch in (1, 3))
    assert [cue.text for cue in one] == [cue.text for cue in many]
    assert len(kept(tmp_path / "cache")) == 2  # but word times move a little, so each is kept by itself


def test_the_second_time_no_model_is_run(model: Path, make_sound: MakeSound, tmp_path: Path) -> None:
    path = make_sound(tmp_path / "a.mka", noise(5))
    copy = tmp_path / "model"
    shutil.copytree(model, copy)
    said = transcriber(copy, tmp_path / "cache").cues(path)
    assert said
    before = kept(tmp_path / "cache")
    # A program of its own, in which faster-whisper can't be imported, for a renamed video in another container.
    moved = make_sound(tmp_path / "b.flac", noise(5))
    code = (
        "import sys\nsys.modules['faster_whisper'] = sys.modules['ctranslate2'] = None\n"
        "from pathlib import Path\nfrom scriptsight.ingest.transcription import Transcriber\n"
        "from scriptsight.params.ingest import Transcription\n"
        "choice = Transcription(model=sys.argv[1], vad=False, device='cuda')\n"
        "print(repr(Transcriber(choice, Path(sys.argv[2])).cues(sys.argv[3])))"
    )
    run = [sys.executable, "-c", code, str(copy), str(tmp_path / "cache"), str(moved)]
    assert subprocess.run(run, capture_output=True, text=True, check=True).stdout.strip() == repr(said)  # noqa: S603
    assert kept(tmp_path / "cache") == before


def test_what_changes_the_words_is_heard_anew(model: Path, make_sound: MakeSound, tmp_path: Path) -> None:
    path, cache = make_sound(tmp_path / "a.mka", noise(5)), tmp_path / "cache"
    other = tmp_path / "other"
    shutil.copytree(model, other)
    transcriber(model, cache).cues(path)
    transcriber(other, cache).cues(path)  # the same model elsewhere
    assert len(kept(cache)) == 1
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"alignment_heads": [[0, 0]]}))
    transcription.identity.cache_clear()  # as a new process does
    for number, heard in enumerate(
        (
            transcriber(other, cache),
            transcriber(model, cache, language="de"),
            transcriber(model, cache, compute_type="int8"),
        ),
        start=2,
    ):
        heard.cues(path)
        assert len(kept(cache)) == number
    transcriber(model, cache).cues(make_sound(tmp_path / "a.mka", noise(5, seed=1)))
    assert len(kept(cache)) == 5


def test_a_killed_run_goes_on_where_it_was(model: Path, make_sound: MakeSound, tmp_path: Path) -> None:
    paths = [make_sound(tmp_path / f"{i}.mka", noise(10 if i < 2 else 900, seed=i)) for i in range(3)]
    code = (
        "import sys\nfrom pathlib import Path\nfrom scriptsight.ingest.transcription import Transcriber\n"
        "from scriptsight.params.ingest import Transcription\n"
        "heard = Transcriber(Transcription(model=sys.argv[1], vad=False), Path(sys.argv[2]))\n"
        "for path in sys.argv[3:]:\n    print(path, flush=True)\n    heard.cues(path)\n"
        "print('done', flush=True)"
    )
    cache = tmp_path / "cache"
    run = [sys.executable, "-c", code, str(model), str(cache), *map(str, paths)]
    with subprocess.Popen(run, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip() == str(paths[2]):
                process.send_signal(signal.SIGKILL)  # while it hears the third
                break
        assert "done" not in process.stdout.read()
    before = kept(cache)
    assert len(before) == 2
    resumed = [transcriber(model, cache).cues(path) for path in paths]
    after = kept(cache)
    assert len(after) == 3
    assert before.items() <= after.items()  # the first two were not written again
    for path, cues in zip(paths[:2], resumed, strict=False):
        assert cues == transcriber(model, tmp_path / "fresh").cues(path)


def test_silence_is_no_cue_and_speech_is(
    model: Path, make_sound: MakeSound, shared_data: Path, tmp_path: Path
) -> None:
    silent = make_sound(tmp_path / "silent.mka", np.zeros(RATE * 40, np.float32))
    assert transcriber(model, tmp_path / "cache", vad=True).transcript(silent) == transcription.Transcript(None, ())
    assert transcriber(model, tmp_path / "cache", vad=False).cues(silent)  # only voice activity knew it was none
    spoken = shared_data / "scripted_videos/grid_long/grid_s1_00.mp4"
    voice = audio(spoken)[: RATE * 6]
    between = np.concatenate([np.zeros(RATE * 20, np.float32), voice, np.zeros(RATE * 40, np.float32)])
    cues = transcriber(model, tmp_path / "cache", vad=True).cues(make_sound(tmp_path / "between.mka", between))
    assert cues
    assert in_order(cues)
    assert cues[0].start > 18  # of what is said at 20 s, in the video's time and not in that of what was kept


def test_a_real_video_is_heard_where_it_speaks(model: Path, shared_data: Path, tmp_path: Path) -> None:
    cues = transcriber(model, tmp_path / "cache", vad=True).cues(
        shared_data / "scripted_videos/videogrep_manifesto/manifesto.mp4"
    )
    assert in_order(cues)
    assert cues[-1].end - cues[0].start > 60  # of the 88 s, spoken from end to end


def test_no_sound_is_no_cue_and_needs_no_model(make_video: MakeVideo, tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", seconds=1)
    assert transcriber("/no/such/model", tmp_path / "cache").cues(path) == ()
    assert kept(tmp_path) == {"a.mp4": path.stat().st_mtime_ns}


def test_sound_that_starts_late_is_timed_from_the_start(make_sound: MakeSound, tmp_path: Path) -> None:
    samples = noise(2)
    heard = audio(make_sound(tmp_path / "late.mkv", samples, late=0.5))
    assert len(heard) == pytest.approx(2.5 * RATE, abs=RATE // 100)
    assert not heard[: round(0.49 * RATE)].any()
    np.testing.assert_allclose(heard[-len(samples) :], samples, atol=1e-4)


def test_very_short_sound(model: Path, make_sound: MakeSound, tmp_path: Path) -> None:
    for n in (1, 100, 5000):
        path = make_sound(tmp_path / f"{n}.mka", noise(n / RATE))
        assert in_order(transcriber(model, tmp_path / "cache").cues(path))
        assert transcriber(model, tmp_path / "cache", vad=True).cues(path) == ()


def test_a_file_that_is_none_is_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video" * 100)
    with pytest.raises(MediaError, match=r"a\.mp4: unreadable audio"):
        transcriber("tiny", tmp_path / "cache").cues(tmp_path / "a.mp4")


def test_a_damaged_entry_is_named(model: Path, make_sound: MakeSound, tmp_path: Path) -> None:
    path = make_sound(tmp_path / "a.mka", noise(2))
    transcriber(model, tmp_path / "cache").cues(path)
    (entry,) = (tmp_path / "cache").rglob("*.parquet")
    entry.write_bytes(entry.read_bytes()[:100])
    with pytest.raises(InputError, match=f"{entry.name} is damaged"):
        transcriber(model, tmp_path / "cache").cues(path)


def test_it_travels_to_workers(tmp_path: Path) -> None:
    sent = transcriber("small", tmp_path)
    assert pickle.loads(pickle.dumps(sent)) == sent  # noqa: S301


def test_without_the_extra_it_is_named(
    make_sound: MakeSound, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    with pytest.raises(InputError, match=r"pip install 'scriptsight\[asr\]'"):
        transcriber("small", tmp_path / "cache").cues(make_sound(tmp_path / "a.mka", noise(1)))


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"model": "/no/such/folder"}, "There is no folder /no/such/folder"),
        ({"model": "enormous"}, "'enormous' of ingest.transcription.model can't be loaded"),
        ({"language": "xx"}, "language 'xx' is none that the model"),
        ({"compute_type": "int3"}, "'int3' can't be computed on this cpu: set it to one of default, auto, "),
        ({"device": "cuda"}, "device is cuda, but there is no such device here: set it to auto"),
    ],
)
def test_what_can_not_be_had_is_said_with_its_remedy(
    model: Path, make_sound: MakeSound, tmp_path: Path, keys: dict[str, str], expected: str
) -> None:
    import ctranslate2

    if ctranslate2.get_cuda_device_count():
        pytest.skip("these are the messages of a machine without a graphics card")
    choice: dict[str, Any] = {"model": model, "cache": tmp_path / "cache"} | keys
    with pytest.raises(InputError, match=expected):
        transcriber(**choice).cues(make_sound(tmp_path / "a.mka", noise(1)))


def test_a_folder_that_is_not_whole_is_said_to_be(model: Path, make_sound: MakeSound, tmp_path: Path) -> None:
    path = make_sound(tmp_path / "a.mka", noise(1))
    with pytest.raises(InputError, match=r"lacks model\.bin: convert the model with ct2-transformers-converter"):
        transcriber(model.parent / "source", tmp_path / "cache").cues(path)
    wrong = tmp_path / "wrong"
    shutil.copytree(model, wrong)
    config = json.loads((wrong / "preprocessor_config.json").read_text()) | {"feature_size": 128}
    (wrong / "preprocessor_config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"takes 80 mel bands, its preprocessor_config\.json gives 128"):
        transcriber(wrong, tmp_path / "cache").cues(path)


def test_its_parameters_are_typed() -> None:
    values = reading.read_yaml("params.yaml")
    assert parameters.build(values).ingest.transcription is None
    values["ingest"]["transcription"] = {"model": "small"}
    chosen = parameters.build(values).ingest.transcription
    assert chosen is not None
    assert chosen.vad
    values["ingest"]["transcription"] = {"model": "small", "langage": "en"}
    with pytest.raises(InputError, match=r"'langage' in section ingest\.transcription\. Did you mean 'language'"):
        parameters.build(values)
    values["ingest"]["transcription"] = {}
    with pytest.raises(InputError, match=r"missing key 'model' in section ingest\.transcription"):
        parameters.build(values)
