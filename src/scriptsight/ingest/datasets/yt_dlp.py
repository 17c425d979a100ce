"""A folder that yt-dlp filled: videos with `.info.json` and subtitles beside them.

Layout (yt-dlp's documentation and files it wrote): `NAME.mp4` (or another suffix), `NAME.info.json`
(--write-info-json) with id, title, description, language and `subtitles` (the languages of those made by hand), and
`NAME.LANG.vtt` (--write-subs, --write-auto-subs; .srt, .ttml, .srv3, .json3 by --sub-format). The id is the video's,
its title the title; the subtitles are those in the first of `languages` that there are, by hand before automatic
(yt-dlp calls the spoken language's automatic ones `en-orig`). Without `languages` it is the video's own language.
A video without subtitle files in these languages is looked into for an embedded track (--embed-subs). In params.yaml:

    lectures:
      kind: yt_dlp
      path: downloads
      languages: [en, de]
      description: false   # true: the description is the video's caption

A playlist's info.json, which has no video, is passed over. Chapters are no speech and are not read.

Subtitles are those of the whole film where the video is not: of a section (--download-sections, `section_start` and
`section_end` in the info.json) and of the files of --split-chapters (`TITLE - 001 CHAPTER [ID].mp4`, read where the
film itself is not there) the cues are cut and moved. Where --sponsorblock-remove or --remove-chapters took parts out,
yt-dlp cuts .vtt, .srt and .ass with them where that succeeds, and no other format. If the subtitles are not cut
(they outlast the video), what the video lacks by its length is looked for in `sponsorblock_chapters`, else in
`chapters`: cues in it are left out, and later ones moved. What can't be told is a finding, "captions in doubt".
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import fsspec

from scriptsight import captions
from scriptsight.captions.script import seconds as seconds_of
from scriptsight.catalogue import Reject
from scriptsight.errors import InputError
from scriptsight.ingest.datasets import tracks
from scriptsight.ingest.datasets.claims import MISSING, Claim, assemble
from scriptsight.ingest.datasets.listing import VIDEOS, Listing
from scriptsight.ingest.datasets.splits import by_share
from scriptsight.ingest.sources import Entry, Excerpt, Listed
from scriptsight.params.collections import YtDlpCollection

INFO = ".info.json"
SUBTITLES = (".vtt", ".json3", ".srv3", ".ttml", ".srt", ".srv2", ".srv1")  # the first there is, where it can be read
LANGUAGE = "[A-Za-z0-9]+(?:[-_][A-Za-z0-9]+)*"
CUT = (".vtt", ".srt", ".ass")  # what yt-dlp cuts where it removes parts of a film
CHAPTER = "chapter of a film that is here"  # the reason of a finding
LARGEST_INFO = 64 << 20  # bytes


@dataclass(frozen=True)
class _Part:
    """What a video file is of the film in its info.json: all of it, or a stretch in seconds; `name` stands behind the
    film's id, and `title` behind its title."""

    name: str = ""
    title: str | None = None
    stretch: tuple[float, float | None] | None = None
    chapter: bool = False


def entries(name: str, collection: YtDlpCollection) -> Listed:
    """List the downloaded videos; see the module for the layout.

    Raises:
        InputError: the folder is missing, or no .info.json is in it.
    """
    listing = Listing(collection.path, None)
    return assemble(name, _claims(name, collection, listing), listing)


def _claims(name: str, collection: YtDlpCollection, listing: Listing) -> Iterator[Claim | Reject]:
    files = list(listing)
    infos = [relative for relative in files if relative.endswith(INFO)]
    if not infos:
        raise InputError(f"No file in {collection.path} ends in {INFO}: yt-dlp writes them with --write-info-json.")
    described = set()
    sections: set[str] = set()
    for relative in infos:
        stem = relative.removesuffix(INFO)
        beside = _beginning_with(files, stem + ".")
        videos = [file for file in beside if file[len(stem) :].lower() in VIDEOS]
        described.update(videos)
        try:
            info = _read_info(listing.address(relative))
        except (ValueError, RecursionError, OSError) as error:
            yield Reject(name, listing.address(relative), "unreadable info.json", str(error))
            continue
        chapters = dict(_chapter_files(files, stem, info))
        described.update(chapters)
        for file, part in chapters.items():
            if videos:
                detail = f"its film is read: {videos[0]}"
                yield Reject(name, listing.address(file), CHAPTER, detail)
            else:
                yield from _claim(name, collection, listing, info, stem, file, beside, part)
        if not videos:
            if not chapters and info.get("_type") not in ("playlist", "multi_video"):
                yield Reject(name, listing.address(relative), MISSING, f"no video {stem}.* is beside it")
        elif len(videos) > 1:
            yield Reject(name, listing.address(relative), "ambiguous video", f"it may be: {', '.join(videos[:5])}")
        else:
            yield from _claim(name, collection, listing, info, stem, videos[0], beside, _part(info, sections))
    for relative in files:
        if "." + relative.rsplit(".", 1)[-1].lower() in VIDEOS and relative not in described:
            detail = "download again with --write-info-json, or read the folder as a collection of kind folder"
            yield Reject(name, listing.address(relative), "no info.json", detail)


def _claim(
    name: str,
    collection: YtDlpCollection,
    listing: Listing,
    info: dict[str, Any],
    stem: str,
    video: str,
    beside: Sequence[str],
    part: _Part,
) -> Iterator[Claim | Reject]:
    uri = listing.address(video)
    film = _text(info, "id") or stem
    by_hand = info.get("subtitles")
    scripts = _subtitles(stem, beside)
    script, language, problem = tracks.choose(
        scripts, collection.languages, _text(info, "language"), by_hand if isinstance(by_hand, dict) else ()
    )
    if problem:
        yield Reject(name, uri, *problem)
    looked_into = not scripts or (problem is not None and problem[0] == tracks.OTHER_LANGUAGES)
    description = _text(info, "description") if collection.description else None
    entry = Entry(
        film + part.name,
        by_share(film, collection.val_share, collection.test_share),
        uri,
        script=None if script is None else listing.address(script),
        embedded=looked_into,
        language=language or (collection.languages[0] if collection.languages and looked_into else None),
        title=" - ".join(filter(None, (_text(info, "title"), part.title))) or None,
        captions=(description,) if description else (),
        excerpt=_excerpt(info, part, script),
    )
    yield Claim(uri, entry)


def _part(info: dict[str, Any], sections: set[str]) -> _Part:
    """What of its film a video beside its info.json is. `sections` has the films of which one was seen: further ones
    have a name of their own."""
    start, end = _number(info, "section_start"), _number(info, "section_end")
    if start is None and end is None:
        return _Part()
    start = start or 0.0
    if start < 0 or (end is not None and end <= start):
        return _Part()
    film = _text(info, "id") or ""
    name = f"_{start:g}-{'' if end is None else f'{end:g}'}" if film in sections else ""
    sections.add(film)
    return _Part(name, None, (start, end))


def _chapter_files(files: Sequence[str], stem: str, info: dict[str, Any]) -> Iterator[tuple[str, _Part]]:
    """The files that --split-chapters made of a film, under the names that yt-dlp gives them by itself."""
    film, chapters = _text(info, "id"), info.get("chapters")
    head = stem.removesuffix(f" [{film}]")
    if film is None or head == stem or not isinstance(chapters, list):
        return
    for file in _beginning_with(files, f"{head} - "):
        match = re.fullmatch(rf"(\d{{3,}}) .* \[{re.escape(film)}\](\.\w+)", file[len(head) + 3 :])
        number = int(match[1]) if match else 0
        if match is None or match[2].lower() not in VIDEOS or not 0 < number <= len(chapters):
            continue
        chapter = chapters[number - 1] if isinstance(chapters[number - 1], dict) else {}
        start, end = _number(chapter, "start_time"), _number(chapter, "end_time")
        if start is not None and end is not None and 0 <= start < end:
            yield file, _Part(f"_{number:03d}", _text(chapter, "title"), (start, end), chapter=True)


def _excerpt(info: dict[str, Any], part: _Part, script: str | None) -> Excerpt | None:
    """By which clock the subtitles of a video go."""
    if part.stretch is not None:
        # A track inside the file of a chapter was cut with it; that of a section is embedded whole.
        return None if part.chapter and script is None else Excerpt((part.stretch,), leads=True)
    seconds = _number(info, "duration")
    if seconds is None or seconds <= 0:
        return None
    sponsors = tuple(_removable(info.get("sponsorblock_chapters"), "category"))
    chapters = sponsors or tuple(_removable(info.get("chapters"), "title"))
    may_be_cut = script is None or script.lower().endswith(CUT)
    return Excerpt(seconds=seconds, removable=chapters, may_be_cut=may_be_cut)


def _removable(listed: Any, kind: str) -> Iterator[tuple[float, float, str]]:
    """From, to and kind of chapters that yt-dlp can remove; a highlight and the like has no length."""
    for chapter in listed if isinstance(listed, list) else ():
        if isinstance(chapter, dict) and chapter.get("type", "skip") == "skip":
            start, end = _number(chapter, "start_time"), _number(chapter, "end_time")
            if start is not None and end is not None and 0 <= start < end:
                yield start, end, _text(chapter, kind) or ""


def _number(info: dict[str, Any], key: str) -> float | None:
    """A number of an info.json, None where it is none."""
    value = info.get(key)
    return None if isinstance(value, str) else seconds_of(value)


def _beginning_with(files: Sequence[str], prefix: str) -> list[str]:
    """Those of the sorted `files` that begin with `prefix`."""
    found = []
    for index in range(bisect_left(files, prefix), len(files)):
        if not files[index].startswith(prefix):
            break
        found.append(files[index])
    return found


def _subtitles(stem: str, beside: Sequence[str]) -> dict[str, str]:
    """Language code -> subtitle file."""
    found: dict[str, str] = {}
    for suffix in SUBTITLES:
        for file in beside if suffix in captions.PARSERS else ():
            if match := re.fullmatch(rf"(?:\.({LANGUAGE}))?{re.escape(suffix)}", file[len(stem) :]):
                found.setdefault(match[1] or "", file)
    return found


def _read_info(path: str) -> dict[str, Any]:
    with fsspec.open(path, "rb") as file:
        data = file.read(LARGEST_INFO + 1)
    if len(data) > LARGEST_INFO:
        raise ValueError(f"it is over {LARGEST_INFO >> 20} MB")
    info = json.loads(data)
    if not isinstance(info, dict):
        raise ValueError("it is no JSON object")
    return info


def _text(info: dict[str, Any], key: str) -> str | None:
    value = info.get(key)
    return " ".join(value.split()) or None if isinstance(value, str) else None
