"""Bytes become the letters that were meant, or it is told that they may not have."""

from __future__ import annotations

import json

import pytest

from scriptsight import captions
from scriptsight.captions import decoding

# Sentences of a cooking video as speakers of these languages say them, in what their subtitles were written in.
SPOKEN = {
    "Czech": ("cp1250 iso8859-2", "nejdříve nakrájíme čerstvý chléb na půlky a pak ho opečeme"),
    "Polish": ("cp1250 iso8859-2", "najpierw kroimy świeży chleb na pół, później go opiekamy"),
    "Hungarian": ("cp1250 iso8859-2", "először felvágjuk a friss kenyeret, utána megpirítjuk"),
    "Croatian": ("cp1250", "prvo ćemo narezati svježi kruh na pola, možete dodati maslaca"),
    "Russian": ("cp1251 koi8-r iso8859-5 cp866", "сначала мы режем хлеб на две части"),
    "Ukrainian": ("cp1251 koi8-u", "спочатку ми ріжемо хліб навпіл, потім підсмажуємо його"),
    "Bulgarian": ("cp1251", "първо режем хляба на две половини"),
    "Greek": ("cp1253 iso8859-7", "πρώτα κόβουμε το ψωμί στα δύο"),
    "Turkish": ("cp1254 iso8859-9", "önce ekmeği ikiye kesiyoruz, sonra iki tarafını da kızartıyoruz"),  # noqa: RUF001
    "Hebrew": ("cp1255 iso8859-8", "קודם כל חותכים את הלחם"),
    "Arabic": ("cp1256 iso8859-6", "أولا نقطع الخبز إلى نصفين"),
    "Latvian": ("cp1257", "vispirms mēs sagriežam maizi uz pusēm, pēc tam apgrauzdējam"),
    "Estonian": ("cp1257", "kõigepealt lõikame värske leiva pooleks"),
    "Thai": ("cp874 tis-620", "ก่อนอื่นเราตัดขนมปังออกเป็นสองส่วน"),
    "German": ("cp1252 iso8859-1", "zuerst schneiden wir das Brot für Gäste"),
    "French": ("cp1252 iso8859-1", "après ça on grille les deux côtés du pain"),
    "Spanish": ("cp1252", "¿qué más? añadimos mantequilla y un poquito de sal"),
    "Portuguese": ("cp1252", "primeiro cortamos o pão ao meio, não é?"),
    "Swedish": ("cp1252", "först skär vi brödet på mitten"),
    "Icelandic": ("cp1252", "fyrst skerum við brauðið í tvennt"),
    "English": ("cp1252", "first we’ll cut the bread — it’s easy…"),  # noqa: RUF001
    "Chinese": ("gbk gb18030", "首先我们把面包切成两半"),
    "Taiwanese": ("big5", "首先我們把麵包切成兩半"),
    "Japanese": ("shift_jis cp932 euc_jp iso2022_jp", "まずパンを二つに切ります"),
    "Korean": ("euc_kr cp949", "먼저 빵을 반으로 자릅니다"),
}
CASES = [(language, encoding) for language, (encodings, _) in SPOKEN.items() for encoding in encodings.split()]


def srt(*said: str) -> str:
    entries = (f"{i}\r\n00:00:0{i},000 --> 00:00:0{i},900\r\n{text}\r\n" for i, text in enumerate(said, 1))
    return "\r\n".join(entries)


@pytest.mark.parametrize(("language", "encoding"), CASES)
def test_an_encoding_is_found_out_from_one_sentence(language: str, encoding: str) -> None:
    said = SPOKEN[language][1]
    script = captions.parse(srt(said).encode(encoding), "a.srt")
    assert [cue.text for cue in script.cues] == [said]
    assert script.legacy
    if language in ("German", "French", "Spanish", "Portuguese", "Swedish", "Icelandic", "English"):
        assert script.doubts == ()
        return
    assert script.doubts[0].startswith("it does not say its encoding and was read as ")
    assert script.doubts[0].endswith("name the right one as `encoding` of the collection")


@pytest.mark.parametrize(
    ("said", "encoding"),
    [
        ("Then Dvořák came home and it was late.", "cp1250"),
        ("We met Lech Wałęsa in Gdańsk today.", "cp1250"),
        ("So Škoda makes good cars, I think.", "iso8859-2"),
        ("Then Erdoğan spoke, and it was late.", "cp1254"),
        ("First we go to a small café today.", "mac-roman"),
        ("First we go to a small café today.", "cp850"),
        ("Zuerst schneiden wir das Brot für Gäste", "mac-roman"),
        ("nejdříve nakrájíme čerstvý chléb na půlky a pak ho opečeme", "iso8859-2"),
    ],
)
def test_what_is_read_wrongly_or_may_be_has_its_doubt(said: str, encoding: str) -> None:
    assert len(captions.parse(srt(said).encode(encoding), "a.srt").doubts) == 1


def test_the_french_ligature_of_a_newer_code_page_is_a_letter() -> None:
    script = captions.parse(srt("un œuf et sa sœur").encode("iso8859-15"), "a.srt")
    assert (script.cues[0].text, len(script.doubts)) == ("un œuf et sa sœur", 1)


@pytest.mark.parametrize(
    ("language", "encoding"),
    [("Chinese", "hz"), ("Korean", "iso2022_kr"), ("German", "utf-7"), ("French", "utf-7"), ("Russian", "utf-7")],
)
def test_text_of_seven_bits_is_read(language: str, encoding: str) -> None:
    said = SPOKEN[language][1]
    script = captions.parse(srt(said).encode(encoding), "a.srt")
    assert [cue.text for cue in script.cues] == [said]
    assert len(script.doubts) <= 1


@pytest.mark.parametrize("said", ["2+2+abc-d", "A+B- and C++ ~{", "~{code~}", "+1234-5678", "x+five-six", "a+b+cat"])
def test_plain_ascii_stays_as_it_is(said: str) -> None:
    script = captions.parse(srt(said).encode(), "a.srt")
    assert ([cue.text for cue in script.cues], script.doubts) == ([said], ())


@pytest.mark.parametrize("encoding", ["utf-32-le", "utf-32-be"])
def test_utf_32_needs_no_mark(encoding: str) -> None:
    assert captions.parse(srt("für Gäste").encode(encoding), "a.srt").cues[0].text == "für Gäste"


def test_surrogates_of_java_are_one_character() -> None:
    data = srt("good ? morning").encode().replace(b"?", b"\xed\xa0\xbd\xed\xb8\x80")
    script = captions.parse(data, "a.srt")
    assert ([cue.text for cue in script.cues], script.doubts) == (["good \U0001f600 morning"], ())


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_mark_within_joined_files_is_no_text(encoding: str) -> None:
    first, second = srt("für", "Gäste").split("\r\n\r\n", 1)
    script = captions.parse((first + "\r\n\r\n\ufeff" + second).encode(encoding), "a.srt")
    assert [cue.text for cue in script.cues] == ["für", "Gäste"]


@pytest.mark.parametrize(
    ("language", "encoding"),
    [
        *[("Russian", "cp1251"), ("Russian", "koi8-r"), ("Ukrainian", "cp1251"), ("Greek", "iso8859-7")],
        *[("Hebrew", "cp1255"), ("Arabic", "cp1256"), ("Chinese", "gbk"), ("Korean", "euc_kr"), ("Thai", "tis-620")],
    ],
)
def test_what_was_taken_for_western_before_it_was_saved_is_read_as_it_was_and_told(
    language: str, encoding: str
) -> None:
    said = SPOKEN[language][1]
    script = captions.parse(srt(said, said).encode(encoding).decode("latin-1").encode(), "a.srt")
    assert [cue.text for cue in script.cues] == [said, said]
    assert script.doubts[0].startswith("its letters were taken for Western ones before it was written")


@pytest.mark.parametrize(("language", "encoding"), CASES)
def test_an_encoding_that_is_named_is_no_guess(language: str, encoding: str) -> None:
    said = SPOKEN[language][1]
    script = captions.parse(srt(said).encode(encoding), "a.srt", encoding=encoding)
    assert ([cue.text for cue in script.cues], script.doubts, script.legacy) == ([said], (), True)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("language", SPOKEN)
def test_unicode_is_never_taken_for_anything_else(language: str, encoding: str) -> None:
    said = SPOKEN[language][1]
    for named in (None, "cp1251", "shift_jis"):
        script = captions.parse(srt(said).encode(encoding), "a.srt", encoding=named)
        assert ([cue.text for cue in script.cues], script.doubts, script.legacy) == ([said], (), False)


@pytest.mark.parametrize(
    "said", ["the café is closed now", "a naïve idea", "Beyoncé sings", "5 € please", "Où ça ?", "für", "¿Qué?"]
)
def test_of_a_single_letter_the_usual_reading_is_taken(said: str) -> None:
    assert [cue.text for cue in captions.parse(srt(said).encode("cp1252"), "a.srt").cues] == [said]


@pytest.mark.parametrize(
    ("data", "expected", "doubt"),
    [
        (
            srt("für Gäste").encode() + srt("it's").replace("'", "\x92").encode("latin1"),
            "it’s",  # noqa: RUF001
            "1 of its bytes (0x92)",
        ),
        (b"\xef\xbb\xbf" + srt("f\xc3\xbcr", "caf\xe9").encode("latin1"), "café", "1 of its bytes (0xe9)"),
        (srt("zwölf", "sü").encode()[:-3], "s", "it ends in the middle of a character"),
        (srt("zwölf", "sü").encode("utf-16")[:-3], "sü", "it ends in the middle of a character"),
        (srt("lost \ufffd before").encode(), "lost \ufffd before", "1 of its characters were lost before"),
    ],
)
def test_what_is_not_quite_unicode_stays_so_and_is_told(data: bytes, expected: str, doubt: str) -> None:
    script = captions.parse(data, "a.srt")
    assert script.cues[-1].text == expected
    assert [told[: len(doubt)] for told in script.doubts] == [doubt]
    assert not script.legacy


@pytest.mark.parametrize(
    ("name", "text", "encoding"),
    [
        (
            "a.smi",
            '<SAMI><meta http-equiv="Content-Type" content="text/html; charset=euc-kr"><SYNC Start=1000>{}',
            "euc_kr",
        ),
        (
            "a.srv1",
            '<?xml version="1.0" encoding="euc-kr"?><transcript><text start="1" dur="2">{}</text></transcript>',
            "euc_kr",
        ),
    ],
)
def test_a_file_may_declare_its_encoding_itself(name: str, text: str, encoding: str) -> None:
    script = captions.parse(text.format(SPOKEN["Korean"][1]).encode(encoding), name)
    assert ([cue.text for cue in script.cues], script.doubts) == ([SPOKEN["Korean"][1]], ())


def test_every_format_is_read_in_an_old_encoding() -> None:
    said = SPOKEN["Russian"][1]
    for name, text in {
        "a.vtt": f"WEBVTT\n\n00:01.000 --> 00:02.000\n{said}\n",
        "a.ass": f"[Events]\nFormat: Start,End,Text\nDialogue: 0:00:01.00,0:00:02.00,{said}\n",
        "a.json": json.dumps([{"start": 1, "end": 2, "text": said}], ensure_ascii=False),
        "a.csv": f"start,end,text\n1,2,{said}\n",
        "a.sub": f"{{1}}{{1}}25\n{{25}}{{50}}{said}\n",
        "a.lrc": f"[00:01.00]{said}\n[00:02.00]\n",
        "a.smi": f"<SAMI><BODY><SYNC Start=1000><P>{said}<SYNC Start=2000><P>&nbsp;",
    }.items():
        script = captions.parse(text.encode("cp1251"), name)
        assert [(cue.start, cue.end, cue.text) for cue in script.cues] == [(1.0, 2.0, said)], name
        assert len(script.doubts) == 1


def test_a_wrong_name_is_an_error_that_names_the_file() -> None:
    with pytest.raises(captions.CaptionError, match=r"a\.srt can't be read as \.srt: .*euc_kr"):
        captions.parse(srt("für").encode("cp1252"), "a.srt", encoding="euc_kr")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\r\r\n"])
def test_lines_end_as_they_do(end: str) -> None:
    assert decoding.lines(end.join(["a", "", "b"]).encode()) == ["a", "", "b"]
