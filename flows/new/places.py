"""Which collections a folder of videos holds, by the names of its files alone.

A folder is one collection, unless some folder within it is of another kind (labelled clips, a published dataset, what
yt-dlp wrote): then each folder within is asked for itself.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from flows import parameters
from flows.new import layouts
from flows.new.layouts import Section
from scriptsight.errors import InputError
from scriptsight.ingest.datasets import listing, pairing
from scriptsight.ingest.datasets.splits import NAMES

LONGEST = 48  # characters of a collection's name, which may get a number


@dataclass(frozen=True)
class Place:
    """A collection to be: its name, its section in ingest.collections without splits, and what it is in words."""

    name: str
    section: Section
    what: str

    @property
    def special(self) -> bool:
        """Whether it can't be a part of a larger collection."""
        return self.section["kind"] != "folder" or "labels" in self.section


def find(root: Path) -> list[Place]:
    """The collections of a folder, by name.

    Raises:
        InputError: it is missing, or holds no video.
    """
    files = [file for file in listing.find(str(root)) if listing.is_text(file)]
    found = list(_places(root, files))
    if not found:
        kinds = " ".join(sorted(listing.VIDEOS))
        raise InputError(f"No video is in {root}: files that end in {kinds} are taken.")
    return sorted(_named(found), key=lambda place: place.name)


def _places(folder: Path, files: Sequence[str]) -> Iterator[Place]:
    """The collections of a folder of which all `files` are known, still named after folders."""
    videos = [file for file in files if pairing.suffix(file) in listing.VIDEOS]
    if (known := layouts.recognised(folder, files)) is not None:
        yield Place(folder.name, known[1], known[0])
        return
    if not videos:
        return
    section: Section = {"kind": "folder", "path": str(folder)}
    own = layouts.table(folder, [file for file in files if "/" not in file])
    if "labels" in own:
        yield Place(folder.name, section | own, f"clips with labels in {own['labels']}")
        return
    if _are_classes(files, videos):
        splits = {"splits": "folder"} if _are_splits(videos) else {}
        yield Place(folder.name, section | {"labels": "folder"} | splits, "clips in folders named after their class")
        return
    inner = [place for child, below in _children(files).items() for place in _places(folder / child, below)]
    if not any(place.special for place in inner):
        splits = {"splits": "folder"} if _are_splits(videos) else {}
        yield Place(folder.name, section | own | splits, "a folder of videos")
        return
    if any("/" not in video for video in videos):
        yield Place(folder.name, section | own | {"pattern": "*"}, "the videos of a folder")
    yield from inner


def _children(files: Sequence[str]) -> dict[str, list[str]]:
    below: dict[str, list[str]] = defaultdict(list)
    for file in files:
        child, _, rest = file.partition("/")
        if rest:
            below[child].append(rest)
    return below


def _are_classes(files: Sequence[str], videos: Sequence[str]) -> bool:
    """Whether clips lie in folders named after their class: several in each, all equally deep, none with captions."""
    folders = Counter(PurePosixPath(video).parent for video in videos)
    depth = {len(folder.parts) for folder in folders}
    wanted = {2} if _are_splits(videos) else {1}
    return (
        depth == wanted
        and len({folder.name for folder in folders}) > 1
        and min(folders.values()) > 1
        and not pairing.pair(files, videos).of_videos
    )


def _are_splits(videos: Sequence[str]) -> bool:
    """Whether the first folders are called train, val and test; there must be one to learn from."""
    first = {video.partition("/")[0].lower() if "/" in video else "" for video in videos}
    return "train" in first and len(first) > 1 and first <= NAMES.keys()


# ------------------------------------------------------------------------------------------------------- names


def _named(found: Sequence[Place]) -> Iterator[Place]:
    """The same with names of letters, digits, `_` and `-`, each once, whatever the folders are called."""
    taken: set[str] = set()
    for place in found:
        base = safe(place.name)
        name, number = base, 1
        while name.casefold() in taken or name in parameters.UNSEEN:
            number += 1
            name = f"{base}_{number}"
        taken.add(name.casefold())
        yield Place(name, place.section, place.what)


def safe(text: str) -> str:
    """A name of a collection out of any text."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", text).strip("_-")[:LONGEST] or "videos"
