"""Tar archives of WebDataset: samples are members of one name with different suffixes.

Layout (WebDataset's and video2dataset's documentation; no sample at hand): `00000.tar` and on, with members
`KEY.mp4` (or another video's or image's suffix), and of these what there is: `KEY.txt` (the caption), `KEY.cls` (the
label), `KEY.vtt` or `KEY.LANG.vtt` (captions with times), `KEY.json`. Of the JSON are read `caption`, `captions` or
`text` (one or a list), `title`, `status` and what video2dataset keeps of YouTube: `yt_meta_dict` with `info` (title,
language) and `subtitles` (`{LANG: [{"start": "00:00:01.000", "end": ..., "lines": [...]}]}`, or that list alone),
which become the cues where no caption file is there. A video without any in these languages is looked into for an
embedded track. In params.yaml:

    webvid_tars:
      kind: webdataset
      path: s3://bucket/webvid
      splits: {"val/*": val, "*": train}   # by archive; or hash: by sample, with val_share and test_share
      languages: [en]
      encoding: gbk        # of caption files that are not in Unicode, where finding it out goes wrong

An id is the archive's name and the key. Only headers and the small members are read; the video's address is
`tar://MEMBER::ARCHIVE`. Archives must be plain .tar: nothing can be found inside a compressed one without reading it
all. One of another kind (`.tar.gz`, `.zip`, ...) is a row of the rejects that says how to unpack it.
"""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Any

import fsspec

from scriptsight import captions
from scriptsight.catalogue import Cue, Reject
from scriptsight.ingest.datasets import pairing, recordings, tracks
from scriptsight.ingest.datasets.claims import MISSING, Claim, assemble
from scriptsight.ingest.datasets.listing import IMAGES, VIDEOS, Listing, unsafe
from scriptsight.ingest.datasets.pairing import Paired, Pairs
from scriptsight.ingest.datasets.splits import by_pattern, by_share
from scriptsight.ingest.sources import NOT_USED, Entry, Excerpt, Listed
from scriptsight.params.collections import WebDatasetCollection

BLOCK = 256 << 10  # bytes a request asks for: enough for a header and small members, little of the videos between
OTHER_ARCHIVE = "archive that is no plain .tar"  # the reason of a reject: nothing in it is read
_UNPACK = {  # what makes a plain .tar of an archive that ends so
    ".bz2": "bunzip2",
    ".gz": "gunzip",
    ".lz4": "unlz4",
    ".lzma": "unlzma",
    ".tbz": "bunzip2",
    ".tbz2": "bunzip2",
    ".tgz": "gunzip",
    ".txz": "unxz",
    ".tzst": "unzstd",
    ".xz": "unxz",
    ".zst": "unzstd",
}
_OF_SEVERAL_FILES = frozenset({".7z", ".rar", ".tbz", ".tbz2", ".tgz", ".txz", ".tzst", ".zip"})
LARGEST_TEXT = 16 << 20  # bytes of a .txt or .json

_Sample = dict[str, tarfile.TarInfo]  # what stands after the key's first dot, in lower case -> member


def entries(name: str, collection: WebDatasetCollection) -> Listed:
    """List the videos in the archives; see the module for the layout.

    Raises:
        InputError: the folder is missing or holds no archive.
    """
    archives = Listing(collection.path, frozenset({".tar"}) | _OF_SEVERAL_FILES | frozenset(_UNPACK))
    return assemble(name, _claims(name, collection, archives), archives)


def _claims(name: str, collection: WebDatasetCollection, archives: Listing) -> Iterator[Claim | Reject]:
    for relative in archives:
        archive = archives.address(relative)
        if not relative.lower().endswith(".tar"):
            if (remedy := _remedy(relative)) is not None:
                yield Reject(name, archive, OTHER_ARCHIVE, remedy)
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
                pairs = _paired(samples)
                films: dict[str, Mapping[str, Any]] = {}
                for key in sorted(samples):
                    if not all(_is_script(ending) for ending in samples[key]):
                        sample = samples[key]
                        yield from _claim(name, collection, tar, archive, relative, key, sample, split, pairs, films)
                for member, why in pairs.unused.items():
                    yield Reject(name, f"tar://{member}::{archive}", NOT_USED, why)
        except (tarfile.TarError, OSError, EOFError) as error:
            yield Reject(name, archive, "unreadable archive", str(error))


def _remedy(relative: str) -> str | None:
    """How to make a plain .tar of an archive that is none; None for a compressed file that is no archive."""
    whole, _, last = relative.lower().rpartition(".")
    if f".{last}" not in _OF_SEVERAL_FILES and not whole.endswith(".tar"):
        return None
    if (tool := _UNPACK.get(f".{last}")) is None:
        return "unpack it, and pack its files again as a plain .tar (tar -cf NAME.tar FILES)"
    return f"nothing in it can be found without reading it all: unpack it with {tool}, and let its name end in .tar"


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
    pairs: Pairs,
    films: dict[str, Mapping[str, Any]],
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
    clip, film = _clip(meta, key)
    youtube = _of_film(meta, film, films)
    info = _mapping(youtube.get("info"))
    own = _string(info.get("language"))
    scripts = pairs.of_videos.get(sample[media[0]].name, [])
    whole = _subtitles(youtube.get("subtitles"))
    spoken = {} if scripts else whole or _subtitles(_by_language(meta.get("clip_subtitles")))
    # One choice for both: what is chosen is a member's name, or the language of the JSON's cues.
    beside = scripts or [Paired(code, code) for code in spoken]
    choice = tracks.of_files(beside, collection.languages, own, unnamed=False)
    uri = f"tar://{sample[media[0]].name}::{archive}"
    if choice.problem:
        yield Reject(name, uri, *choice.problem)
    files = [(f"tar://{member}::{archive}", language) for member, language in choice.files] if scripts else []
    track, language = choice.files[0] if choice.files else (None, None)
    if not (scripts or spoken) and (meta.get("clip_subtitles") or youtube.get("subtitles")):
        yield Reject(name, uri, NOT_USED, "no cue of the subtitles in its JSON has times that can be read")
    identity = f"{relative.removesuffix('.tar')}/{key}"
    entry = Entry(
        identity,
        split or by_share(f"{relative.removesuffix('.tar')}/{film}", collection.val_share, collection.test_share),
        uri,
        script=files[0][0] if files else None,
        fallbacks=tuple(files[1:]),
        cues=spoken[track] if spoken and track is not None else None,
        embedded=choice.looked_into,
        language=language or (collection.languages[0] if collection.languages and choice.looked_into else own),
        title=_string(meta.get("title")) or _string(info.get("title")),
        captions=(caption,) if caption else _captions(meta),
        label=label,
        recording=recordings.of_url(meta.get("url")),
        encoding=collection.encoding,
        excerpt=clip and Excerpt((clip,), may_be_cut=bool(scripts) or not whole),
    )
    yield Claim(where, entry)


def _clip(meta: Mapping[str, Any], key: str) -> tuple[tuple[float, float] | None, str]:
    """From where to where in its film a clip was, None for what is none, and the key of the film. The JSON of a film
    that was not cut may name clips as well: its key has no number behind it, and it has no subtitles of a clip."""
    numbered = re.fullmatch(r"(.+)_\d{5,}", key)
    listed = meta.get("clips")
    if not (numbered or "clip_subtitles" in meta) or not isinstance(listed, list) or not listed:
        return None, key
    span = listed[0] if len(listed) == 1 else listed  # of one clip also [start, end] without a list around it
    if not isinstance(span, list) or len(span) != 2:
        return None, key
    start, end = (_seconds(edge) for edge in span)
    if start is None or end is None or not 0 <= start < end:
        return None, key
    return (start, end), numbered[1] if numbered else key


def _of_film(meta: Mapping[str, Any], film: str, films: dict[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    """What is known of a sample's film: video2dataset writes it beside the first clip alone. `films` has the last
    one: the clips of a film follow one another."""
    youtube = _mapping(meta.get("yt_meta_dict"))
    if youtube:
        films.clear()
        films[film] = youtube
    return youtube or films.get(film, {})


def _by_language(lines: Any) -> Any:
    """`clip_subtitles`, whose `lines` are by language, as `subtitles` are: languages -> cues."""
    found: dict[str, list[Any]] = {}
    for item in lines if isinstance(lines, list) else ():
        said = _mapping(item).get("lines")
        for language, texts in said.items() if isinstance(said, dict) else [("", said)]:
            found.setdefault(language, []).append({**_mapping(item), "lines": texts})
    return found


def _captions(meta: Mapping[str, Any]) -> tuple[str, ...]:
    """The caption of a sample's JSON, or all of several, under the first of the usual names."""
    for key in ("caption", "captions", "text"):
        value = meta.get(key)
        texts = [_string(one) for one in (value if isinstance(value, list) else [value])]
        if found := tuple(text for text in texts if text):
            return found
    return ()


def _is_script(ending: str) -> bool:
    """Whether a member that ends so is captions; .json, .txt and tables are a sample's own."""
    file = f".{ending}"
    return pairing.is_caption_file(file) and pairing.suffix(file) not in captions.OF_ANYTHING - {".xml"}


def _paired(samples: Mapping[str, _Sample]) -> Pairs:
    """Which of an archive's members are captions of which."""
    members = [(ending, member.name) for one in samples.values() for ending, member in one.items()]
    members = [(ending, name) for ending, name in members if not unsafe(name)]
    videos = [name for ending, name in members if pairing.suffix(f".{ending}") in VIDEOS | IMAGES]
    return pairing.pair([name for ending, name in members if _is_script(ending)], videos)


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
    except (TypeError, ValueError, OverflowError):
        return None
    total = sum(part * 60.0**power for power, part in enumerate(reversed(parts)))
    return round(total, 6) if isfinite(total) else None


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
