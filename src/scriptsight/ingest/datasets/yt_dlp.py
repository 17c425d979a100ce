"""A folder that yt-dlp filled: videos with `.info.json` and subtitles beside them.

Layout (yt-dlp's documentation and files it wrote): `NAME.mp4` (or another suffix), `NAME.info.json`
(--write-info-json) with id, title, description, language and `subtitles` (the languages of those made by hand), and
`NAME.LANG.vtt` (--write-subs, --write-auto-subs; .srt, .ttml, .srv3, .json3 by --sub-format; .ass, .lrc by
--convert-subs). The id is the video's, its title the title; the subtitles are those in the first of `languages` that
there are, by hand before automatic (yt-dlp calls the spoken language's automatic ones `en-orig`). Without `languages`
it is the video's own language. A video without subtitle files in these languages is looked into for an embedded track
(--embed-subs). In params.yaml:

    lectures:
      kind: yt_dlp
      path: downloads
      languages: [en, de]
      encoding: cp1251     # of subtitle files that are not in Unicode, where finding it out goes wrong
      description: false   # true: the description is the video's caption

A playlist's info.json, which has no video, is passed over. Chapters are no speech and are not read.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Any

import fsspec

from scriptsight import captions
from scriptsight.catalogue import Reject
from scriptsight.errors import InputError
from scriptsight.ingest.datasets import tracks
from scriptsight.ingest.datasets.claims import MISSING, Claim, assemble
from scriptsight.ingest.datasets.listing import VIDEOS, Listing
from scriptsight.ingest.datasets.splits import by_share
from scriptsight.ingest.sources import Entry, Listed
from scriptsight.params.collections import YtDlpCollection

INFO = ".info.json"
SUBTITLES = (
    ".vtt",
    ".json3",
    ".srv3",
    ".ttml",
    ".srt",
    ".srv2",
    ".srv1",
    ".ass",
    ".lrc",
)  # the first there is, where it can be read
LANGUAGE = "[A-Za-z0-9]+(?:[-_][A-Za-z0-9]+)*"
LARGEST_INFO = 64 << 20  # bytes


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
        if not videos:
            if info.get("_type") not in ("playlist", "multi_video"):
                yield Reject(name, listing.address(relative), MISSING, f"no video {stem}.* is beside it")
        elif len(videos) > 1:
            yield Reject(name, listing.address(relative), "ambiguous video", f"it may be: {', '.join(videos[:5])}")
        else:
            yield from _claim(name, collection, listing, info, stem, videos[0], beside)
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
) -> Iterator[Claim | Reject]:
    uri = listing.address(video)
    key = _text(info, "id") or stem
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
        key,
        by_share(key, collection.val_share, collection.test_share),
        uri,
        script=None if script is None else listing.address(script),
        embedded=looked_into,
        language=language or (collection.languages[0] if collection.languages and looked_into else None),
        title=_text(info, "title"),
        captions=(description,) if description else (),
        encoding=collection.encoding,
    )
    yield Claim(uri, entry)


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
