"""Small files that were once read wrongly: how many cues there are, the first and the last, whether words have times,
and what is told where something may be wrong. tests/field_cases has the files."""

from __future__ import annotations

from pathlib import Path

import pytest

from scriptsight import captions
from tests import small

FILES = Path(__file__).resolve().parents[1] / "field_cases/captions"
CUT, TOAST = "first we cut the bread", "then we toast both sides"
SAID, ALSO = "First we cut the bread.", "Then we toast both sides."
GUESSED = "it does not say its encoding and was read as"
UNIT = "its times were read as"

# File -> cues, the first and the last (start, end, text), words with times, beginnings of doubts.
Row = tuple[int, tuple[float, float, str], tuple[float, float, str], bool, tuple[str, ...]]


def same(text: str, *doubts: str) -> Row:
    """Two cues that say the same."""
    return 2, (1.0, 3.0, text), (4.0, 6.0, text), False, doubts


READ: dict[str, Row] = {
    "enc_cp1250.srt": same("nejdříve nakrájíme čerstvý chléb na půlky", f"{GUESSED} cp1250"),
    "enc_cp1251.srt": same("сначала мы режем хлеб на две части", f"{GUESSED} cp1251"),
    "enc_cp1252.srt": same("zuerst schneiden wir das Brot für Gäste"),
    "enc_cp1253.srt": same("πρώτα κόβουμε το ψωμί στα δύο", f"{GUESSED} cp1253"),
    "enc_cp1256.srt": same("أولا نقطع الخبز إلى نصفين", f"{GUESSED} cp1256"),
    "enc_euc_kr.srt": same("먼저 빵을 반으로 자릅니다", f"{GUESSED} cp949"),
    "enc_gbk.srt": same("首先我们把面包切成两半", f"{GUESSED} gb18030"),
    "enc_shift_jis.srt": same("まずパンを二つに切ります", f"{GUESSED} cp932"),
    "enc_utf8_cut.srt": (
        2,
        (1.0, 3.0, "zuerst schneiden wir das Brot für Gäste"),
        (4.0, 6.0, "sü"),
        False,
        ("it ends in the middle of a character",),
    ),
    "enc_utf8_stray.srt": (
        2,
        (1.0, 3.0, "zuerst schneiden wir das Brot für Gäste"),
        (4.0, 6.0, "it’s here now"),  # noqa: RUF001
        False,
        ("1 of its bytes (0x92) are no UTF-8",),
    ),
    "enc_utf8_stray81.srt": (
        2,
        (1.0, 3.0, "Álvaro corta el pan en dos partes"),
        (4.0, 6.0, "it’s here now"),  # noqa: RUF001
        False,
        ("1 of its bytes (0x92) are no UTF-8",),
    ),
    "yta.json": (2, (0.5, 3.5, CUT), (3.0, 6.0, TOAST), False, ()),
    "deepgram.json": (1, (0.5, 2.0, "First we cut."), (0.5, 2.0, "First we cut."), True, ()),
    "assemblyai.json": (1, (0.5, 2.0, SAID), (0.5, 2.0, SAID), True, ()),
    "assemblyai_utterances.json": (2, (0.5, 2.0, SAID), (2.5, 4.0, ALSO), False, (f"{UNIT} milliseconds",)),
    "google.json": (1, (0.5, 2.0, "first we cut"), (0.5, 2.0, "first we cut"), True, ()),
    "azure.json": (1, (0.5, 2.0, SAID), (0.5, 2.0, SAID), False, ()),
    "hf_chunks.json": (2, (0.0, 2.0, "first we cut"), (2.0, 6.2, "the bread now"), False, ()),
    "stop_key.json": (2, (0.0, 1.9, CUT), (1.9, 4.0, TOAST), False, (f"{UNIT} hundredths of a second",)),
    "ms_segments.json": (2, (0.5, 2.0, SAID), (2.5, 4.0, ALSO), False, (f"{UNIT} milliseconds",)),
    "srt_strings.json": (1, (1.0, 3.0, CUT), (1.0, 3.0, CUT), False, ()),
    "premiere.json": (1, (0.5, 2.0, "First we"), (0.5, 2.0, "First we"), True, ()),
    "openai_verbose.json": (1, (0.5, 2.0, "First we cut."), (0.5, 2.0, "First we cut."), True, ()),
    "whisper_timestamped.json": (1, (0.5, 2.0, "first we cut"), (0.5, 2.0, "first we cut"), True, ()),
    "whisper_nan.json": (1, (0.0, 2.0, SAID), (0.0, 2.0, SAID), True, ()),
    "whisper_words_text_mismatch.json": (
        1,
        (0.0, 4.0, "well well well done"),
        (0.0, 4.0, "well well well done"),
        True,
        (),
    ),
    "faster_whisper_tuples.json": (1, (0.5, 2.0, SAID), (0.5, 2.0, SAID), False, ()),
    "whisperx_words.json": (
        1,
        (0.5, 3.0, "in 2016 we cut 3 loaves"),
        (0.5, 3.0, "in 2016 we cut 3 loaves"),
        True,
        (),
    ),
    "whispercpp_backward.json": (3, (0.0, 2.0, SAID), (2.0, 1.0, "then a backward one"), False, ()),
    "lang_english.json": (1, (0.5, 2.0, SAID), (0.5, 2.0, SAID), False, ()),
    "other.sbv": (2, (1.0, 3.0, CUT), (4.0, 6.0, TOAST), False, ()),
    "other.lrc": (2, (1.0, 4.0, CUT), (4.0, 10.0, TOAST), False, ()),
    "other.txt": (2, (1.0, 4.0, CUT), (4.0, 10.0, TOAST), False, ("its lines say when they begin only",)),
    "srt_named.txt": (1, (1.0, 3.0, CUT), (1.0, 3.0, CUT), False, ()),
    "srt_in.vtt": (1, (1.0, 3.0, CUT), (1.0, 3.0, CUT), False, ()),
    "vtt_in.srt": (3, (1.0, 3.0, CUT), (7.0, 9.0, "now we add the butter"), False, ()),
    "bom2.srt": (2, (1.0, 3.0, CUT), (4.0, 6.0, "then we toast"), False, ()),
    "crcrlf.srt": (2, (1.0, 3.0, CUT), (5.0, 8.0, TOAST), False, ()),
    "crcrlf.vtt": (2, (1.0, 3.0, CUT), (5.0, 8.0, TOAST), False, ()),
    "plain_seconds.ttml": (2, (1.0, 3.0, CUT), (4.0, 6.0, TOAST), False, ()),
    "frames_25.ttml": (1, (1.48, 3.0, CUT), (1.48, 3.0, CUT), False, ()),
    "smpte_2997.ttml": (1, (3603.6, 3605.602, CUT), (3603.6, 3605.602, CUT), False, ()),
}


@pytest.mark.parametrize("name", READ)
def test_a_case_from_the_field_is_read(name: str) -> None:
    count, first, last, spoken, doubts = READ[name]
    script = small.script(FILES / name)
    found = [(cue.start, cue.end, cue.text) for cue in script.cues]
    assert (len(found), found[0], found[-1], script.dropped) == (count, first, last, 0)
    assert all((cue.words is not None) == spoken for cue in script.cues)
    assert len(script.doubts) == len(doubts)
    assert all(told.startswith(doubt) for told, doubt in zip(script.doubts, doubts, strict=True))
    for cue in script.cues:  # nothing of the text is lost where words have times
        assert cue.words is None or " ".join(word.text for word in cue.words) == cue.text


def test_languages_are_named_by_their_codes() -> None:
    assert small.script(FILES / "lang_english.json").language == "en"
    assert small.script(FILES / "openai_verbose.json").language == "en"
    assert captions.parse(b'{"language": "Haitian Creole", "segments": []}', "a.json").cues == []


def test_frames_are_counted_at_the_rate_of_the_video_and_never_at_a_guess() -> None:
    data = (FILES / "other.sub").read_bytes()
    with pytest.raises(captions.CaptionError, match=r"other\.sub .* counts frames and does not say how many"):
        captions.parse(data, "other.sub")
    script = captions.parse(data, "other.sub", known=captions.Known(fps=25.0))
    assert [(cue.start, cue.end, cue.text) for cue in script.cues] == [(1.0, 3.0, CUT), (4.0, 6.0, TOAST)]
    assert script.doubts == (
        "it counts frames without stating their rate: they were taken for the 25 a second of the video",
    )


def test_a_document_type_is_refused_with_the_name_of_the_file() -> None:
    with pytest.raises(captions.CaptionError, match=r"doctype\.ttml .* document type"):
        small.script(FILES / "doctype.ttml")
