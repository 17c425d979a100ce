"""Tar archives of WebDataset: samples are members of one name with different suffixes.

Layout (WebDataset's and video2dataset's documentation; no sample at hand): `00000.tar` and on, with members
`KEY.mp4` (or another video's or image's suffix), and of these what there is: `KEY.txt` (the caption), `KEY.cls` (the
label), `KEY.vtt` or `KEY.LANG.vtt` (captions with times), `KEY.json`. Of the JSON are read `caption`, `title`,
`status` and what video2dataset keeps of YouTube: `yt_meta_dict` with `info` (title, language) and `subtitles`
(`{LANG: [{"start": "00:00:01.000", "end": ..., "lines": [...]}]}`, or that list alone), which become the cues where
no caption file is there. A video without any in these languages is looked into for an embedded track. In
params.yaml:

    webvid_tars:
      kind: webdataset
      path: s3://bucket/webvid
      splits: {"val/*": val, "*": train}   # by archive; or hash: by sample, with val_share and test_share
      languages: [en]
      encoding: gbk        # of caption files that are not in Unicode, where finding it out goes wrong

An id is the archive's name and the key. Only headers and the small members are read; the video's address is
`tar://MEMBER::ARCHIVE`. Archives must be plain .tar: nothing can be found inside a compressed one without reading it
all, so each is a reject.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator, Mapping
from typing import Any

import fsspec

from scriptsight import captions
from scriptsight.catalogue import Cue, Reject
from scriptsight.errors import InputError
from scriptsight.ingest.datasets import tracks
from scriptsight.ingest.datasets.claims import MISSING, Claim, assemble
from scriptsight.ingest.datasets.listing import IMAGES, VIDEOS, Listing, unsafe
from scriptsight.ingest.datasets.splits import by_pattern, by_share
from scriptsight.ingest.sources import Entry, Listed
from scriptsight.params.collections import WebDatasetCollection

BLOCK = 256 << 10  # bytes a request asks for: enough for a header and small members, little of the videos between
LARGEST_TEXT = 16 << 20  # bytes of a .txt or .json

PACKED = (".tgz", ".gz", ".bz2", ".xz", ".zst", ".lz4")  # suffixes of archives that were compressed

_Sample = dict[str, tarfile.TarInfo]  # what stands after the key's first dot, in lower case -> member


def entries(name: str, collection: WebDatasetCollection) -> Listed:
    """List the videos in the archives; see the module for the layout.

    Raises:
        InputError: the folder is missing or holds no .tar.
    """
    archives = Listing(collection.path, frozenset({".tar", *PACKED}))
    if not any(relative.lower().endswith(".tar") or _packed(relative) for relative in archives):
        raise InputError(f"No file that ends in .tar is in {collection.path}: correct the collection's path.")
    return assemble(name, _claims(name, collection, archives), archives)


def _claims(name: str, collection: WebDatasetCollection, archives: Listing) -> Iterator[Claim | Reject]:
    for relative in archives:
        archive = archives.address(relative)
        if not relative.lower().endswith(".tar"):
            if _packed(relative):
                detail = "nothing is found in it without reading it all: unpack it to a plain .tar (gunzip, zstd -d)"
                yield Reject(name, archive, "compressed archive", detail)
            continue
        split = None
        if isinstance(collection.splits, dict):
            split = by_pattern(relative, collection.splits)
            if split is None:
                yield Reject(name, archive, "no split", f"none of the patterns in splits fits {relative}")
                continue
        try:
            # fsspec's tar:// needs a whole archive, too: of a damaged one nothing is taken.
            system, path = fsspec.core.url_to_fs(archive)
            with system.open(path, "rb", block_size=BLOCK) as file, tarfile.open(fileobj=file, mode="r:") as tar:
                samples = _samples(tar)
                for key in sorted(samples):
                    yield from _claim(name, collection, tar, archive, relative, key, samples[key], split)
        except (tarfile.TarError, OSError, EOFError) as error:
            yield Reject(name, archive, "unreadable archive", str(error))


def _packed(relative: str) -> bool:
    """Whether this is a compressed archive; .info.json.gz and the like are none."""
    stem, _, suffix = relative.lower().rpartition(".")
    return suffix == "tgz" or (f".{suffix}" in PACKED and stem.endswith(".tar"))


def _samples(tar: tarfile.TarFile) -> dict[str, _Sample]:
    samples: dict[str, _Sample] = {}
    for member in tar:
        folder, slash, base = member.name.rpartition("/")
        stem, _, suffix = base.partition(".")
        if member.isfile() and stem and suffix:
            samples.setdefault(f"{folder}{slash}{stem}", {}).setdefault(suffix.lower(), member)
    return samples


def _claim(
    name: str,
    collection: WebDatasetCollection,
    tar: tarfile.TarFile,
    archive: str,
    relative: str,
    key: str,
    sample: _Sample,
    split: str | None,
) -> Iterator[Claim | Reject]:
    where = f"{archive}#{key}"
    media = [suffix for suffix in sample if f".{suffix}" in VIDEOS | IMAGES]
    if unsafe(key):
        yield Reject(name, where, "unsafe name", f"{key!r} is no name of a member")
        return
    if len(media) != 1:
        reason = "ambiguous video" if media else MISSING
        yield Reject(name, where, reason, f"the sample has: {', '.join(sorted(sample))}")
        return
    try:
        caption, label = _text(tar, sample.get("txt")), _text(tar, sample.get("cls"))
        meta = _meta(tar, sample.get("json"))
    except (ValueError, RecursionError) as error:
        yield Reject(name, where, "unreadable sample", str(error))
        return
    youtube = _mapping(meta.get("yt_meta_dict"))
    info = _mapping(youtube.get("info"))
    own = _string(info.get("language"))
    scripts = _scripts(sample)
    spoken = {} if scripts else _subtitles(youtube.get("subtitles"))
    # One choice for both: what is chosen is a member's name, or the language of the JSON's cues.
    track, language, problem = tracks.choose(
        scripts or {code: code for code in spoken}, collection.languages, own, manual=()
    )
    uri = f"tar://{sample[media[0]].name}::{archive}"
    if problem:
        yield Reject(name, uri, *problem)
    looked_into = track is None and (problem is None or problem[0] == tracks.OTHER_LANGUAGES)
    caption = caption or _string(meta.get("caption"))
    identity = f"{relative.removesuffix('.tar')}/{key}"
    entry = Entry(
        identity,
        split or by_share(identity, collection.val_share, collection.test_share),
        uri,
        script=f"tar://{track}::{archive}" if scripts and track else None,
        cues=spoken[track] if spoken and track is not None else None,
        embedded=looked_into,
        language=language or (collection.languages[0] if collection.languages and looked_into else own),
        title=_string(meta.get("title")) or _string(info.get("title")),
        captions=(caption,) if caption else (),
        label=label,
        encoding=collection.encoding,
    )
    yield Claim(where, entry)


def _scripts(sample: _Sample) -> dict[str, str]:
    """Language code -> member; .json and .txt are the sample's own."""
    found: dict[str, str] = {}
    for parser in captions.PARSERS:
        for suffix, member in sample.items():
            language, dot, last = suffix.rpartition(".")
            of_sample = last in ("json", "txt", "csv") or "." in language or unsafe(member.name)
            if f".{last}" == parser and not of_sample:
                found.setdefault(language if dot else "", member.name)
    return found


def _subtitles(value: Any) -> dict[str, tuple[Cue, ...]]:
    """Cues by language ("": not said), what has another form left out."""
    by_language = value if isinstance(value, dict) else {"": value} if isinstance(value, list) else {}
    found = {}
    for language, listed in by_language.items():
        cues = [_cue(item) for item in listed] if isinstance(listed, list) else []
        if sound := tuple(cue for cue in cues if cue):
            found[str(language)] = sound
    return found


def _cue(item: Any) -> Cue | None:
    item = _mapping(item)
    start, end, lines = _seconds(item.get("start")), _seconds(item.get("end")), item.get("lines")
    if start is None or end is None or not isinstance(lines, list) or not all(isinstance(x, str) for x in lines):
        return None
    return Cue(start, end, " ".join(lines))


def _seconds(value: Any) -> float | None:
    """Seconds of a number or of `hours:minutes:seconds`."""
    try:
        parts = [float(part) for part in value.split(":")] if isinstance(value, str) else [float(value)]
    except (TypeError, ValueError):
        return None
    return sum(part * 60.0**power for power, part in enumerate(reversed(parts)))


def _text(tar: tarfile.TarFile, member: tarfile.TarInfo | None) -> str | None:
    if member is None:
        return None
    if member.size > LARGEST_TEXT:
        raise ValueError(f"{member.name} is over {LARGEST_TEXT >> 20} MB")
    file = tar.extractfile(member)
    text = file.read().decode("utf-8-sig") if file else ""
    return " ".join(text.split()) or None


def _meta(tar: tarfile.TarFile, member: tarfile.TarInfo | None) -> Mapping[str, Any]:
    text = _text(tar, member)
    return _mapping(json.loads(text)) if text else {}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _string(value: Any) -> str | None:
    return " ".join(value.split()) or None if isinstance(value, str) else None
