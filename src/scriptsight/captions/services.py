"""JSON of speech recognition, of players and of the tools that fetch captions -> entries.

Those whose nesting says more than their names have a function here (Deepgram, AWS, Speechmatics, Google, Watson,
Azure, AssemblyAI, Rev, faster-whisper's tuples). In all others the list is looked for whose entries have times and
texts: youtube-transcript-api, Whisper in its varieties, OpenAI, Hugging Face, Vosk, the podcast namespace, Premiere,
ElevenLabs, NeMo, Gladia, TED, Bilibili, YouTube's pages and what else calls things by usual names.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scriptsight.captions import fields, languages
from scriptsight.captions.fields import MILLISECOND
from scriptsight.captions.spoken import Entries, heard_words
from scriptsight.captions.word_times import joined

# Under these names nothing is said.
UNSPOKEN = {"chapters", "comments", "heatmap", "automaticcaptions", "subtitles", "formats", "thumbnails", "speakers"}
UNSPOKEN |= {"requestedsubtitles", "requestedformats", "entities", "topics", "highlights", "autohighlightsresult"}
UNSPOKEN |= {"iabcategoriesresult", "contentsafetylabels", "sentimentanalysisresults", "sponsorblockchapters"}
UNSPOKEN |= {"oridict"}  # stable-ts: what was heard before it was mended
UNSPOKEN |= {"intents", "speakerlabels", "summaries", "frames", "shots", "scenes", "detections", "objects", "ocr"}
SEEN = {"bbox", "box", "boundingbox", "boundingbyrect", "polygon", "vertices", "keypoints"}  # of text in the picture
# Under these names something is said: what is not understood there is told.
SPOKEN = {"segments", "captions", "cues", "subtitles", "transcript", "transcription", "utterances", "chunks", "words"}
SPOKEN |= {"sentences", "transcripts", "snippets", "phrases", "recognizedphrases", "monologues", "paragraphs"}
OF_A_VIDEO = {"webpageurl", "extractor", "extractorkey", "ytmetadict", "uploaddate", "formats"}  # an info.json
NO_SPEECH = re.compile("label|class|categ|name|title|action|id$|ur[il]|path|file|tag|date|author|user|query")
OF_RECOGNITION = {"segments", "words", "utterances", "languagecode", "task", "acousticmodel", "speechmodel"}
DEEP = 12
WINDOW = 30.0  # seconds that Whisper hears at once
LARGEST_TIME = 1e14  # of a plain number, in whatever unit
ALIKE = 0.5  # of the words of a list are in another that says the same
TEXT_ALONE = {
    "text",
    "transcript",
    "language",
    "languagecode",
    "task",
    "duration",
    "model",
    "usage",
    "logprobs",
    "id",
}


@dataclass(frozen=True)
class _List:
    """A list of entries, where it is, and what it says."""

    path: str
    items: list[Any]
    words: Counter[str]
    timed_words: int  # words with times in its entries
    mean: float  # words an entry

    @property
    def size(self) -> int:
        return self.words.total()


def entries(value: Any, wanted: str | None = None) -> Entries | None:
    """The entries of a JSON, None if there is nothing like captions in it; of lists in several languages those in the
    one that is wanted.

    Raises:
        ValueError: something in it looks like captions and is not understood; the message has the names found.
    """
    for service in _SERVICES:
        if (found := service(value)) is not None:
            return found
    return _found(_rows_of_columns(value) or value, wanted)


# ------------------------------------------------------------------------------------------- by their nesting


def _tuples(value: Any) -> Entries | None:
    """faster-whisper's segments as tuples ([id, seek, start, end, text, tokens, ..., words, ...]), alone or with its
    info behind; and [start, end, text]."""
    listed = value[0] if isinstance(value, list) and len(value) == 2 and _rows(value[0]) else value
    if not _rows(listed):
        return None
    items = []
    for row in listed:
        place = next(i for i, part in enumerate(row) if i >= 2 and isinstance(part, str))
        inner = [part for part in row[place + 1 :] if isinstance(part, list) and heard_words(part, 1.0)]
        times = {"start": row[place - 2], "end": row[place - 1]}
        items.append(times | {"text": row[place], "words": inner[0] if inner else []})
    return Entries(items)


def _rows(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(row, list) and len(row) >= 3 for row in value)
        and all(any(isinstance(part, str) for part in row[2:]) for row in value)
    )


def _deepgram(value: Any) -> Entries | None:
    """`results` with `channels`, and with `utterances` or paragraphs where they were asked for."""
    results = _dict(_dict(value).get("results"))
    channels = _dicts(results.get("channels"))
    if not channels:
        return None
    best = [alternatives[0] for channel in channels if (alternatives := _dicts(channel.get("alternatives")))]
    words = [word for one in best for word in _dicts(one.get("words"))]
    utterances = _dicts(results.get("utterances"))
    sentences = [
        sentence
        for one in best
        for paragraph in _dicts(_dict(one.get("paragraphs")).get("paragraphs"))
        for sentence in _dicts(paragraph.get("sentences"))
    ]
    language = next((code for channel in channels if (code := channel.get("detected_language"))), None)
    for items in (utterances, sentences):
        if items and _letters(items) >= 0.9 * _letters(words):
            return Entries(items, words, 1.0, language)
    whole = [one for one in best if isinstance(one.get("transcript"), str) and one["transcript"].strip()]
    if words and _letters(words) >= 0.9 * _letters(whole):
        return Entries((), words, 1.0, language)
    return Entries(whole, (), 1.0, language)  # with the times of their words


def _with_items(value: Any) -> Entries | None:
    """AWS Transcribe (`results.items`) and Speechmatics (`results`): words and punctuation one by one."""
    results = _dict(value).get("results")
    items = _dicts(_dict(results).get("items") if isinstance(results, dict) else results)
    if not items or not all("type" in item and _dicts(item.get("alternatives")) for item in items):
        return None
    words = [{**item, "text": _dicts(item["alternatives"])[0].get("content"), "alternatives": None} for item in items]
    languages = [_dict(results).get("language_code"), _dicts(items[0]["alternatives"])[0].get("language")]
    return Entries((), words, 1.0, next((language for language in languages if language), None))


def _alternatives(value: Any) -> Entries | None:
    """Google (`results` with `alternatives`, also below `response` and `annotationResults`) and IBM Watson. A result
    without words begins where the one before ends."""
    value = _dict(value)
    value = _dict(value.get("response")) or value
    results = _dicts(value.get("results"))
    annotated = _dicts(value.get("annotationResults")) or _dicts(value.get("annotation_results"))
    for one in annotated:
        results += _dicts(one.get("speechTranscriptions")) + _dicts(one.get("speech_transcriptions"))
    results = [result for result in results if _dicts(result.get("alternatives"))]
    if not results or not any("transcript" in one for result in results for one in _dicts(result["alternatives"])):
        return None
    items: list[dict[str, Any]] = []
    repeated: list[Any] = []
    now = 0.0
    for result in results:
        best = _dicts(result["alternatives"])[0]
        names = fields.plainly(result) | fields.plainly(best)
        words = best.get("words") or best.get("timestamps") or []
        if not items and isinstance(words, list) and words and isinstance(words[0], dict):
            # A number that is 0 may be left out.
            first_word = fields.plainly(words[0])
            stated = [name for name in fields.STARTS if first_word.get(name) not in (None, {}, "")]
            words = words if stated else [{**words[0], "startTime": 0}, *words[1:]]
        end = fields.moment(names.get("resultendtime") or names.get("resultendoffset"))
        text = best.get("transcript")
        if not isinstance(text, str) or not text.strip():
            repeated += words if isinstance(words, list) else []  # all words once more, with their speakers
            continue
        item: dict[str, Any] = {"text": text, "words": words}
        known = heard_words(words, 1.0)
        if not any(word.start is not None for word in known) and end is not None:
            item |= {"start": now, "end": end[0]}
        elif end is not None:
            first = min(word.start for word in known if word.start is not None)
            item |= {"start": min(first, end[0]), "end": end[0]}
        now = end[0] if end is not None else max((word.end or now for word in known), default=now)
        items.append(item)
    language = fields.plainly(results[0]).get("languagecode")
    return Entries(items, (), 1.0, language) if items else Entries((), repeated, 1.0, language)


def _azure(value: Any) -> Entries | None:
    """Azure: a batch (`recognizedPhrases`), answers one by one (`NBest`, units of 100 ns), the fast transcription
    (`phrases`, milliseconds)."""
    top = _plain_names(value)
    listed = _dicts(value) or _dicts(top.get("recognizedphrases")) or _dicts(top.get("phrases"))
    listed = listed or ([value] if isinstance(value, dict) and ("nbest" in top or "displaytext" in top) else [])
    phrases = [_plain_names(one) for one in listed]
    if not phrases or not all(one.keys() & {"nbest", "recognitionstatus", "offsetmilliseconds"} for one in phrases):
        return None
    items = []
    for one in phrases:
        best = _plain_names((_dicts(one.get("nbest")) or [{}])[0])
        text = best.get("display") or one.get("displaytext") or one.get("text") or best.get("lexical")
        words = _dicts(best.get("displaywords")) or _dicts(best.get("words")) or _dicts(one.get("words"))
        times = {name: one[name] for name in one if name.startswith(("offset", "duration"))}
        items.append(
            {name: _ticks(name, time) for name, time in times.items()}
            | {"text": text, "words": [_word_of_azure(word) for word in words]}
        )
    language = next((code for one in phrases if (code := one.get("locale") or one.get("language"))), None)
    return Entries(items, (), 1.0, language if isinstance(language, str) else None)


def _word_of_azure(word: Any) -> dict[str, Any]:
    return {name: _ticks(name, value) for name, value in _plain_names(word).items()}


def _ticks(name: str, value: Any) -> Any:
    """Offset and duration are units of 100 ns where they are plain numbers."""
    number = fields.moment(value)
    if name in ("offset", "duration") and number is not None and not number[1]:
        return round(number[0] * fields.TICK, 6)
    return value


def _rev(value: Any) -> Entries | None:
    """Rev AI: `monologues` of elements, whose signs and spaces stand between the words."""
    monologues = _dicts(_dict(value).get("monologues"))
    if not monologues:
        return None
    words: list[dict[str, Any]] = []
    for monologue in monologues:
        for element in _dicts(monologue.get("elements")):
            if element.get("type") == "text" or str(element.get("value", "")).strip():
                words.append(element)
    return Entries((), words, 1.0)


def _assemblyai(value: Any) -> Entries | None:
    """AssemblyAI: whole milliseconds; `utterances` only where speakers were told apart."""
    top = _dict(value)
    words = _dicts(top.get("words"))
    if not {"id", "text", "words"} <= top.keys() or not all(isinstance(word.get("start"), int) for word in words):
        return None
    utterances = _dicts(top.get("utterances"))
    language = top.get("language_code")
    text = [{"text": top["text"]}] if isinstance(top["text"], str) else []
    if _letters(utterances) >= 0.9 * max(_letters(words), _letters(text)):
        return Entries(utterances, words, MILLISECOND, language) if utterances else None
    return Entries((), words, MILLISECOND, language) if _letters(words) >= 0.9 * _letters(text) else None


def _assemblyai_parts(value: Any) -> Entries | None:
    """AssemblyAI's `/sentences` and `/paragraphs`: whole milliseconds."""
    top = _dict(value)
    parts = _dicts(top.get("sentences")) or _dicts(top.get("paragraphs"))
    stated = "id" in top and all(isinstance(part.get("start"), int) and _dicts(part.get("words")) for part in parts)
    if not parts or not stated:
        return None
    return Entries(parts, (), MILLISECOND, top.get("language_code"))


def _ted(value: Any) -> Entries | None:
    """TED's transcripts (`paragraphs` of `cues` with a `time`) and captions (`startOfParagraph`): milliseconds."""
    top = _dict(value)
    paragraphs = [_dicts(paragraph.get("cues")) for paragraph in _dicts(top.get("paragraphs"))]
    cues = [cue for cues in paragraphs for cue in cues] or _dicts(top.get("captions"))
    stated = all(
        cue.keys() >= {"time", "text"} or cue.keys() >= {"startTime", "startOfParagraph", "content"} for cue in cues
    )
    whole = all(isinstance(cue.get("time", cue.get("startTime")), int) for cue in cues)
    return Entries(cues, (), MILLISECOND) if cues and stated and whole else None


def _video_indexer(value: Any) -> Entries | None:
    """Azure's Video Indexer: `insights` with a `transcript`, whose lines are said in each of their `instances`."""
    top = _dict(value)
    insights = [_dict(video.get("insights")) for video in [top, *_dicts(top.get("videos"))]]
    saying = [one for one in insights if any("instances" in line for line in _dicts(one.get("transcript")))]
    if not saying:
        return None
    lines = _dicts(saying[0]["transcript"])
    # `adjustedStart` counts in the player's playlist, `start` in the video.
    items = [
        {"text": line.get("text"), "start": instance.get("start"), "end": instance.get("end")}
        for line in lines
        for instance in _dicts(line.get("instances")) or [{}]
    ]
    more = (f"it has the transcripts of {len(saying)} videos: the first was read",) if len(saying) > 1 else ()
    return Entries(items, (), 1.0, saying[0].get("language") or lines[0].get("language"), more)


def _windows(value: Any) -> Entries | None:
    """Hugging Face's `chunks` whose times start again in each window of 30 s: they are put one after the other."""
    top = _dict(value)
    chunks = _dicts(top.get("chunks"))
    pairs = [chunk.get("timestamp") for chunk in chunks]
    times = [[fields.moment(time) for time in pair] for pair in pairs if isinstance(pair, list) and len(pair) == 2]
    if not chunks or len(times) != len(chunks) or any(start is None for start, _ in times):
        return None
    spans = [(start[0], end[0] if end else None) for start, end in times if start]
    latest = max(time for span in spans for time in span if time is not None)
    again = [i for i in range(1, len(spans)) if spans[i][0] < spans[i - 1][0] - WINDOW / 6]
    if not again or latest > WINDOW + 0.1:
        return None
    items, base = [], 0.0
    for i, (chunk, (start, end)) in enumerate(zip(chunks, spans, strict=True)):
        base += WINDOW * (i in again)
        items.append({"text": chunk.get("text"), "start": base + start, "end": None if end is None else base + end})
    doubt = f"its times start again {len(again)} times: each time a window of {WINDOW:.0f} s was taken to begin"
    return Entries(items, (), 1.0, _language(value), (f"{doubt}, which is too early after one without speech",))


def _kaltura(value: Any) -> Entries | None:
    """Kaltura's captions as JSON: `objects` with lines of `content`, in milliseconds."""
    items = _dicts(_dict(value).get("objects"))
    if not items or not all({"startTime", "endTime", "content"} <= item.keys() for item in items):
        return None
    return Entries(items, (), MILLISECOND)


def _deepgram_live(value: Any) -> Entries | None:
    """Deepgram's answers one by one: those that are final, with what was heard best."""
    answers = [one for one in _dicts(value) if _dicts(_dict(one.get("channel")).get("alternatives"))]
    items = []
    for answer in (answer for answer in answers if answer.get("is_final") is not False):
        best = _dicts(answer["channel"]["alternatives"])[0]
        times = {name: answer.get(name) for name in ("start", "duration")}
        items.append({**times, "text": best.get("transcript"), "words": best.get("words")})
    return Entries(items, (), 1.0) if items else None


_SERVICES = (
    *(_tuples, _deepgram, _deepgram_live, _with_items, _alternatives, _azure, _rev, _assemblyai, _assemblyai_parts),
    *(_ted, _kaltura, _video_indexer, _windows),
)


# ------------------------------------------------------------------------------------------- by their names


def _rows_of_columns(value: Any) -> list[dict[str, Any]] | None:
    """The entries of lists side by side, as {"starts": [...], "texts": [...]}, or of pandas' columns."""
    columns = {
        fields.plain(key).removesuffix("s"): list(column.values()) if isinstance(column, dict) else column
        for key, column in _dict(value).items()
        if isinstance(column, list | dict) and column
    }
    texts = next((columns[name] for name in fields.TEXTS if name in columns), None)
    times = {name for name in columns if name in fields.STARTS or name in fields.PAIRS}
    if texts is None or not times or not all(isinstance(text, str) for text in texts):
        return None
    if any(len(column) != len(texts) for name, column in columns.items() if name in {*times, *fields.ENDS}):
        return None
    alike = {name: column for name, column in columns.items() if len(column) == len(texts)}
    return [dict(zip(alike, row, strict=True)) for row in zip(*alike.values(), strict=True)]


def _found(value: Any, wanted: str | None) -> Entries | None:
    """The list whose entries say most; of equal ones that of whole entries, and words that stand apart."""
    if isinstance(value, dict) and OF_A_VIDEO & {fields.plain(key) for key in value}:
        return None
    lists = list(_lists(value))
    if not lists:
        _refuse(value)
        return None
    fitting = [one for one in lists if wanted and languages.fits(_last(one), wanted)]
    most = max(one.size for one in fitting or lists)
    saying_all = [one for one in fitting or lists if one.size >= 0.9 * most]
    best = max(saying_all, key=lambda one: (one.mean >= 1.5, one.timed_words, -one.mean))
    apart = max((one for one in lists if one.mean < 1.5 and one is not best), key=lambda one: one.size, default=None)
    unread = [] if fitting else [one for one in lists if one is not best and _alike(one, best) < ALIKE]
    doubts = tuple(f"{one.path} in it says something else than {best.path}, which was read" for one in unread[:3])
    if best.mean < 1.5:
        text = _whole_text(value, best)
        if text is not None and (count := len(text.split())) > 1.2 * best.size + 5:
            doubts += (f"only {best.size} of the {count} words of its text have times: the others are near them",)
        if fields.plain(_last(best)) in fields.WORDS:
            return Entries((), best.items, None, _language(value), doubts, text)
        return Entries(best.items, (), None, _language(value), doubts, text)
    use = apart is not None and not best.timed_words and _alike(apart, best) >= ALIKE
    return Entries(best.items, apart.items if use and apart else (), None, _language(value), doubts)


def _whole_text(value: Any, words: _List) -> str | None:
    """The text of words that stands beside them with its signs, if they are those of it."""
    texts = [_dict(value).get(name) for name in ("text", "transcript")]
    text = next((text for text in texts if isinstance(text, str) and text.strip()), None)
    if text is None:
        return None
    own = Counter(text.lower().split())
    return text if _alike(words, _List("", [], own, 0, 0.0)) >= ALIKE else None


def _last(one: _List) -> str:
    """What a list is called."""
    return one.path.rpartition(".")[2]


def _lists(value: Any, path: str = "", depth: int = 0) -> Iterator[_List]:
    """Lists of entries with times and texts, wherever they are."""
    if depth > DEEP:
        return
    if isinstance(value, dict):
        if {"start", "text"} <= value.keys() and depth == 0:
            yield from _lists([value], path, depth + 1)
        if len(value) > 1 and all(isinstance(inner, dict) for inner in value.values()):
            found = _list(list(value.values()), path or "the table")
            if found is not None:
                yield found
                return
        for key, inner in value.items():
            if fields.plain(key) not in UNSPOKEN or (fields.plain(key) == "subtitles" and depth == 0):
                yield from _lists(inner, f"{path}.{key}" if path else str(key), depth + 1)
    elif isinstance(value, list):
        found = _list(value, path or "the list")
        if found is not None:
            yield found
        elif value and not isinstance(value[0], str | int | float):
            for inner in value[:1000]:
                yield from _lists(inner, path, depth + 1)


def _list(value: list[Any], path: str) -> _List | None:
    """A list whose entries are said at a time, most of them."""
    texts: list[str] = []
    timed_words = 0
    for one in value:
        if not isinstance(one, dict):
            continue
        item = fields.plainly(one)
        if SEEN & item.keys():
            continue
        words = next((found for name in fields.WORDS if (found := heard_words(item.get(name), 1.0))), ())
        text = fields.text(item) or fields.text(item, fields.WORD_TEXTS) or joined(words)
        span = fields.span(item, 1.0)
        known = bool(item.keys() & fields.STARTS.keys()) if span.start is None else span.start < LARGEST_TIME
        if text.strip() and (known or any(word.start is not None for word in words)):
            texts.append(text)
            timed_words += len(words)
    if not texts or 2 * len(texts) < sum(isinstance(one, dict) for one in value):
        return None
    said = Counter(word for text in texts for word in text.lower().split())
    return _List(path, value, said, timed_words, said.total() / len(texts))


def _alike(one: _List, other: _List) -> float:
    """The share of a list's words that another has as well."""
    bare, rest = _stripped(one.words), _stripped(other.words)
    return (bare & rest).total() / max(1, bare.total())


def _stripped(words: Counter[str]) -> Counter[str]:
    found: Counter[str] = Counter()
    for word, count in words.items():
        found["".join(filter(str.isalnum, word)) or word] += count
    return found


def _language(value: Any) -> str | None:
    top = _plain_names(value)
    top |= _plain_names(top.get("result"))  # whisper.cpp
    codes = (top.get(name) for name in ("language", "languagecode", "lang", "detectedlanguage", "srclang"))
    return next((code for code in codes if isinstance(code, str)), None)


def _refuse(value: Any) -> None:
    """Say what was found where something looks like captions.

    Raises:
        ValueError: it does.
    """
    top = _dict(value)
    alone = {fields.plain(key) for key, inner in top.items() if inner not in ([], {}, None)} <= TEXT_ALONE
    alone = alone or bool({fields.plain(key) for key in top} & OF_RECOGNITION)
    if alone and any(isinstance(top.get(name), str) and top[name].strip() for name in ("text", "transcript")):
        raise ValueError("it has a text without any times: write it with segments (verbose_json, or SRT)")
    for name, inner in [("", value), *_named(value)]:
        items = _dicts(inner)
        keys = sorted({str(key) for item in items[:100] for key in item})[:12]
        if items and (fields.plain(name) in SPOKEN or 2 * sum(map(_like_captions, items[:100])) > len(items[:100])):
            where = f"the entries of {name}" if name else "its entries"
            raise ValueError(f"{where} have no text and times under names that are known here: {', '.join(keys)}")


def _like_captions(item: Mapping[str, Any]) -> bool:
    """Whether an entry has a sentence under some name, and under another what looks like a time."""
    names = fields.plainly(item)
    if SEEN & names.keys():
        return False
    times = (fields.moment(inner) for name, inner in names.items() if fields.TIME_LIKE.search(name))
    said = (inner for name, inner in names.items() if isinstance(inner, str) and not NO_SPEECH.search(name))
    timed = any(time is not None and time[0] < fields.DATE for time in times)
    return timed and any(len(text.split()) > 1 and fields.moment(text) is None for text in said)


def _named(value: Any, depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Lists and their names."""
    if isinstance(value, dict) and depth < DEEP:
        for key, inner in value.items():
            if fields.plain(key) in UNSPOKEN - SPOKEN:
                continue
            if isinstance(inner, list):
                yield str(key), inner
            yield from _named(inner, depth + 1)


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _dicts(value: Any) -> list[dict[str, Any]]:
    """The objects of a list."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _plain_names(value: Any) -> dict[str, Any]:
    return {fields.plain(key): inner for key, inner in value.items()} if isinstance(value, dict) else {}


def _letters(items: Sequence[Mapping[str, Any]]) -> int:
    """How much entries say."""
    total = 0
    for item in items:
        plain = fields.plainly(item)
        total += len("".join((fields.text(plain) or fields.text(plain, fields.WORD_TEXTS) or "").split()))
    return total
