"""A folder that yt-dlp filled: videos with `.info.json` and subtitles beside them.

Layout (yt-dlp's documentation and files it wrote): `NAME.mp4` (or another suffix), `NAME.info.json`
(--write-info-json) with id, title, description, language and `subtitles` (the languages of those made by hand), and
`NAME.LANG.vtt` (--write-subs, --write-auto-subs; .srt, .ttml, .srv3, .json3 by --sub-format). The id is the video's,
its title the title; the subtitles are those in the first of `languages` that there are, by hand before automatic
(yt-dlp calls the spoken language's automatic ones `en-orig`). Without `languages` it is the video's own language.
Where one can't be read the next is tried. A video without subtitle files in these languages is looked into for an
embedded track (--embed-subs). In params.yaml:

    lectures:
      kind: yt_dlp
      path: downloads
      languages: [en, de]
      description: false   # true: the description is the video's caption

A playlist's info.json, which has no video, is passed over. Chapters are no speech and are not read.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Any

import fsspec

from scriptsight.catalogue import Reject
from scriptsight.errors import InputError
from scriptsight.ingest.datasets import pairing, recordings, tracks
from scriptsight.ingest.datasets.claims import MISSING, Claim, assemble
from scriptsight.ingest.datasets.listing import VIDEOS, Listing
from scriptsight.ingest.datasets.pairing import Paired
from scriptsight.ingest.datasets.splits import by_share
from scriptsight.ingest.sources import NOT_USED, Entry, Listed
from scriptsight.params.collections import YtDlpCollection

INFO = ".info.json"
SUBTITLES = (".vtt", ".json3", ".srv3", ".ttml", ".srt", ".srv2", ".srv1")  # the first there is, where it can be read
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
    pairs = pairing.pair(files, [file for file in files if pairing.suffix(file) in VIDEOS], SUBTITLES)
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
            yield from _claim(name, collection, listing, info, stem, videos[0], pairs.of_videos.get(videos[0], ()))
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
) -> Iterator[Claim | Reject]:
    uri = listing.address(video)
    key = _text(info, "id") or stem
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
        key,
        by_share(key, collection.val_share, collection.test_share),
        uri,
        script=chosen[0][0] if chosen else None,
        fallbacks=tuple(chosen[1:]),
        embedded=choice.looked_into,
        language=language,
        title=_text(info, "title"),
        recording=_recording(info),
        captions=(description,) if description else (),
    )
    yield Claim(uri, entry)


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
