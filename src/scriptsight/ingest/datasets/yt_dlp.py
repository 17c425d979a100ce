"""A folder that yt-dlp filled: videos with `.info.json` and subtitles beside them.

Layout (yt-dlp's documentation and files it wrote): `NAME.mp4` (or another suffix), `NAME.info.json`
(--write-info-json) with id, title, description, language and `subtitles` (the languages of those made by hand), and
`NAME.LANG.vtt` (--write-subs, --write-auto-subs; .srt, .ttml, .srv3, .json3 by --sub-format; .ass, .lrc by
--convert-subs). The id is the video's, its title the title; the subtitles are those in the first of `languages` that
there are, by hand before automatic (yt-dlp calls the spoken language's automatic ones `en-orig`). Without `languages`
it is the video's own language. Where one can't be read the next is tried. A video without subtitle files in these
languages is looked into for an embedded track (--embed-subs). In params.yaml:

    lectures:
      kind: yt_dlp
      path: downloads
      languages: [en, de]
      encoding: cp1251     # of subtitle files that are not in Unicode, where finding it out goes wrong
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

from scriptsight.captions.script import seconds as seconds_of
from scriptsight.catalogue import Reject
from scriptsight.errors import InputError
from scriptsight.ingest.datasets import pairing, recordings, tracks
from scriptsight.ingest.datasets.claims import MISSING, Claim, assemble
from scriptsight.ingest.datasets.listing import VIDEOS, Listing
from scriptsight.ingest.datasets.pairing import Paired
from scriptsight.ingest.datasets.splits import by_share
from scriptsight.ingest.sources import NOT_USED, Entry, Excerpt, Listed
from scriptsight.params.collections import YtDlpCollection

INFO = ".info.json"
# The first that can be read is taken.
SUBTITLES = (".vtt", ".json3", ".srv3", ".ttml", ".srt", ".srv2", ".srv1", ".ass", ".lrc")
CUT = (".vtt", ".srt", ".ass")  # what yt-dlp cuts where it removes parts of a film
CHAPTER = "chapter of a film that is here"  # the reason of a finding
FILM = ".mp4"  # as which a film is thought of that is not here itself
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
    named = [relative.removesuffix(INFO) + FILM for relative in infos]  # where only a film's chapters are here
    videos_here = {file for file in files if pairing.suffix(file) in VIDEOS}
    pairs = pairing.pair(files, sorted({*named, *videos_here}), SUBTITLES)
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
                subtitles = pairs.of_videos.get(stem + FILM, ())
                yield from _claim(name, collection, listing, info, stem, file, subtitles, part)
        if not videos:
            if not chapters and info.get("_type") not in ("playlist", "multi_video"):
                yield Reject(name, listing.address(relative), MISSING, f"no video {stem}.* is beside it")
        elif len(videos) > 1:
            yield Reject(name, listing.address(relative), "ambiguous video", f"it may be: {', '.join(videos[:5])}")
        else:
            subtitles = pairs.of_videos.get(videos[0], ())
            yield from _claim(name, collection, listing, info, stem, videos[0], subtitles, _part(info, sections))
    for relative, why in pairs.unused.items():
        yield Reject(name, listing.address(relative), NOT_USED, why)
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
    beside: Sequence[Paired],
    part: _Part,
) -> Iterator[Claim | Reject]:
    uri = listing.address(video)
    film = _text(info, "id") or stem
    by_hand = info.get("subtitles")
    # The video's own JSON and description lie beside it, too, and yt-dlp writes no captions as such.
    scripts = [one for one in beside if not one.weak]
    choice = tracks.of_files(
        scripts,
        collection.languages,
        _text(info, "language"),
        by_hand if isinstance(by_hand, dict) else (),
        unnamed=False,
    )
    if choice.problem:
        yield Reject(name, uri, *choice.problem)
    chosen = [(listing.address(file), language) for file, language in choice.files]
    language = chosen[0][1] if chosen else next(iter(collection.languages), None) if choice.looked_into else None
    description = _text(info, "description") if collection.description else None
    entry = Entry(
        film + part.name,
        by_share(film, collection.val_share, collection.test_share),
        uri,
        script=chosen[0][0] if chosen else None,
        fallbacks=tuple(chosen[1:]),
        embedded=choice.looked_into,
        language=language,
        title=" - ".join(filter(None, (_text(info, "title"), part.title))) or None,
        recording=_recording(info),
        captions=(description,) if description else (),
        encoding=collection.encoding,
        excerpt=_excerpt(info, part, chosen[0][0] if chosen else None),
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


def _recording(info: dict[str, Any]) -> str | None:
    """The video at its site, of which this may be a section."""
    site, key = _text(info, "extractor_key") or _text(info, "extractor"), _text(info, "id")
    return recordings.of(site, key) if site and key else recordings.of_url(info.get("webpage_url"))


def _beginning_with(files: Sequence[str], prefix: str) -> list[str]:
    """Those of the sorted `files` that begin with `prefix`."""
    found = []
    for index in range(bisect_left(files, prefix), len(files)):
        if not files[index].startswith(prefix):
            break
        found.append(files[index])
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
