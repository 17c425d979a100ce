"""A folder of videos, captions beside or inside them, labels and titles in CSV files.

Layout: any. `talk.mp4` takes `talk.vtt` or `talk.en.vtt` (any format that `scriptsight.captions` reads; `pairing` has
all the ways in which a name may say it), else a track inside it. Where there are several files they are tried in
order, until one holds captions; a caption file that no video takes is a row of the rejects. Tables have a column
`video` (a path in the folder, or a file name with or without suffix), and `caption`, `title`, `split`, `recording`
(what the clip was cut from), or the label. Several rows of a video are several captions. In params.yaml:

    talks:
      kind: folder
      path: talks
      language: en         # where a video has captions in several
      encoding: cp1251     # of caption files that are not in Unicode, where finding it out goes wrong
      labels: labels.csv   # or folder: a clip's label is what the folder is called that it lies in
      captions: titles.csv
      splits: hash         # or column, folder, or a table: {"old/*": test, "*": train}
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from fsspec.utils import glob_translate

from scriptsight import captions
from scriptsight.catalogue import Reject
from scriptsight.errors import InputError
from scriptsight.ingest.datasets import listing, pairing, tables, tracks
from scriptsight.ingest.datasets.splits import by_name, by_pattern, by_share
from scriptsight.ingest.sources import NOT_USED, Entry, Listed
from scriptsight.params.collections import FolderCollection

SHAPE = "a CSV with a header, such as `video,label` or `video,caption`"
OF_FOLDER = "folder"  # `labels` that no table has


def entries(name: str, collection: FolderCollection) -> Listed:
    """List the videos of a folder with their captions and rows; nothing is opened but the CSV files.

    Raises:
        InputError: the folder or a CSV is missing, can't be read, lacks a column or contradicts itself, or the folder
            holds no video.
    """
    root = collection.path
    listing.check_address(root)
    files = listing.find(root)
    listed = Listed()
    found = _encodable(name, root, _matching(root, files, collection.pattern), listed)
    rows, has_split = _tables(name, root, collection, found, listed)
    if collection.splits == "column" and not has_split:
        raise InputError(
            f"Collection {name!r} has splits: column, but no column 'split' is in "
            f"{collection.labels or collection.captions or 'labels or captions: neither is named'}."
        )
    # Captions are looked for among all videos: those of one that the pattern leaves out are not another's.
    readable = [file for file in files if listing.is_text(file)]
    pairs = pairing.pair(readable, [file for file in readable if pairing.suffix(file) in listing.VIDEOS])
    pairs.unused |= {
        file: "its name is not UTF-8: rename it" for file in set(files).difference(readable) if _is_script(file)
    }
    for relative in found:
        row = rows.get(relative, _Row())
        split = _split(relative, row, collection)
        uri = listing.address(root, relative)
        if split is None:
            listed.refuse(Reject(name, uri, "no split", f"splits: {collection.splits} gives none for {relative}"))
            continue
        wanted = [collection.language] if collection.language else []
        choice = tracks.of_files(pairs.of_videos.get(relative, ()), wanted)
        if choice.problem is not None and not choice.files:
            listed.refuse(Reject(name, uri, *choice.problem))
        scripts = [(listing.address(root, file), language) for file, language in choice.files]
        entry = Entry(
            video_id=relative.rsplit(".", 1)[0],
            split=split,
            uri=uri,
            script=scripts[0][0] if scripts else None,
            fallbacks=tuple(scripts[1:]),
            problem=choice.problem if scripts else None,
            embedded=choice.looked_into,
            language=scripts[0][1] if scripts else collection.language,
            title=row.values.get("title"),
            captions=tuple(row.captions),
            label=_of_folder(relative) if collection.labels == OF_FOLDER else row.values.get("label"),
            recording=row.values.get("recording"),
            encoding=collection.encoding,
        )
        listed.add(entry, key=relative)
    for file in sorted(_near(pairs.unused, found, collection)):
        listed.refuse(Reject(name, listing.address(root, file), NOT_USED, pairs.unused[file]))
    return listed


def _of_folder(relative: str) -> str | None:
    return PurePosixPath(relative).parent.name or None


def _is_script(file: str) -> bool:
    return pairing.is_caption_file(file) and pairing.suffix(file) not in captions.OF_ANYTHING


def _near(files: Iterable[str], videos: Sequence[str], collection: FolderCollection) -> list[str]:
    """The files that lie beside one of the videos or in a folder below it: where a pattern chooses videos, others may
    be another collection's."""
    if collection.pattern == FolderCollection.model_fields["pattern"].default:
        return list(files)
    folders = {PurePosixPath(video).parent for video in videos}
    return [file for file in files if not folders.isdisjoint(PurePosixPath(file).parents)]


def _matching(root: str, files: Sequence[str], pattern: str) -> list[str]:
    """Videos among `files` that match the pattern, sorted."""
    if ".." in Path(pattern).parts or Path(pattern).is_absolute():
        raise InputError(f"The pattern {pattern!r} leaves the folder {root}: name files below it.")
    wanted = re.compile(glob_translate(pattern))
    found = sorted(file for file in files if wanted.match(file) and Path(file).suffix.lower() in listing.VIDEOS)
    if not found:
        kinds = " ".join(sorted(listing.VIDEOS))
        raise InputError(f"No video in {root} matches {pattern!r}: files that end in {kinds} are taken.")
    return found


def _encodable(name: str, root: str, found: Sequence[str], listed: Listed) -> list[str]:
    """Without the names that no table could hold: those whose bytes are not UTF-8."""
    good = []
    for relative in found:
        try:
            relative.encode()
        except UnicodeEncodeError:
            listed.refuse(Reject(name, listing.address(root, relative), "name is not UTF-8", "rename the file"))
        else:
            good.append(relative)
    return good


# ------------------------------------------------------------------------------------- labels, captions


@dataclass
class _Row:
    """What the tables say of one video; `where` has the line that said each of `values`."""

    values: dict[str, str] = field(default_factory=dict)
    where: dict[str, str] = field(default_factory=dict)
    captions: dict[str, None] = field(default_factory=dict)  # in their order

    def take(self, video: str, column: str, value: str, where: str) -> None:
        """Take what one cell says.

        Raises:
            InputError: another line says something else.
        """
        if column == "caption":
            self.captions.setdefault(value)
        elif self.values.setdefault(column, value) != value:
            raise InputError(
                f"{where} says {value!r} of {video}, and {self.where[column]} says {self.values[column]!r}: a video "
                f"has one {column}. Correct one of the two lines."
            )
        else:
            self.where.setdefault(column, where)


def _tables(
    name: str, root: str, collection: FolderCollection, found: Sequence[str], listed: Listed
) -> tuple[dict[str, _Row], bool]:
    """What the CSV files say, by relative path of the video, and whether one of them has a column `split`.

    Several rows of one video are several captions of it; rows that are equal are one.

    Raises:
        InputError: a table can't be read, lacks a column, or has two labels, titles, splits or recordings of a video.
    """
    rows: dict[str, _Row] = {}
    has_split = False
    names = _Names(root, found)
    label = collection.label_column
    for file, required in ((collection.labels, [{label}]), (collection.captions, [{"caption", "title"}])):
        if file is None or (file == OF_FOLDER and file == collection.labels):
            continue
        path = listing.address(root, file)
        wanted = {"title", "caption", "split", "recording"} | ({label} if file == collection.labels else set())
        columns = tables.columns(path, ("video", *sorted(wanted)), SHAPE)
        for choice in ({"video"}, *required):
            if not choice & columns:
                choices = " or ".join(repr(column) for column in sorted(choice))
                raise InputError(f"{path} has no column {choices}; it has: {', '.join(sorted(columns)) or 'none'}.")
        has_split = has_split or "split" in columns
        for read in tables.rows(name, path, ("video",), SHAPE, optional=tuple(sorted(wanted))):
            if isinstance(read, Reject):
                listed.refuse(read)
                continue
            where, row = read
            matches = names.find(row["video"])
            if len(matches) != 1:
                reason = "ambiguous video" if matches else "no such video"
                detail = f"{where} names {row['video']!r}: " + (", ".join(matches) or f"it is not in {root}")
                listed.refuse(Reject(name, where, reason, detail))
                continue
            for column in sorted(wanted & columns):
                if value := " ".join(row[column].split()):
                    kind = "label" if column == label and file == collection.labels else column
                    rows.setdefault(matches[0], _Row()).take(matches[0], kind, value, where)
    return rows, has_split


class _Names:
    """The names a CSV may call a video by: its path in the folder, else its file name, else without suffix.

    Also taken are a path from where the folder lies (`talks/a.mp4`, an absolute path, an address), `./`,
    backslashes, %20 and its like, another video's suffix, and, where just one video has such a name, other capitals
    and accents. Rows are looked up here and nowhere else, so that none can name a file outside of the folder.
    """

    def __init__(self, root: str, found: Sequence[str]) -> None:
        self._root = root
        self._by_name: dict[str, list[str]] = {relative: [relative] for relative in found}
        ways: tuple[Callable[[str], str], ...] = (
            lambda relative: relative.rsplit("/", 1)[-1],
            lambda relative: relative.rsplit(".", 1)[0],
            lambda relative: relative.rsplit("/", 1)[-1].rsplit(".", 1)[0],
        )
        for shorten in ways:
            self._by_name = _index(found, shorten) | self._by_name
        self._folded: dict[str, dict[str, None]] = defaultdict(dict)
        for known, videos in self._by_name.items():
            self._folded[pairing.folded(known)].update(dict.fromkeys(videos))

    def find(self, named: str) -> list[str]:
        """The videos that a cell may mean; one, if all is well."""
        spellings = list(dict.fromkeys(self._spellings(named.strip().replace("\\", "/"))))
        stems = [one.rpartition(".")[0] for one in spellings if pairing.suffix(one) in listing.VIDEOS]
        for one in (*spellings, *stems):
            if matches := self._by_name.get(one) or list(self._folded.get(pairing.folded(one), ())):
                return matches
        return []

    def _spellings(self, named: str) -> Iterator[str]:
        """A name as it stands there, and relative to the folder."""
        for one in (named, unquote(named)):
            plain = one.removeprefix("file://").removeprefix("./")
            yield plain
            for root in self._roots():
                if plain.startswith(f"{root}/"):
                    yield plain[len(root) + 1 :]

    def _roots(self) -> list[str]:
        """What may stand before a path in the folder: the folder as it was given, where it lies, and its name."""
        given = self._root.rstrip("/").removeprefix("./")
        whole = [] if "://" in given else [str(Path(given).absolute()), str(Path(given).resolve())]
        return [root for root in (given, *whole, given.rpartition("/")[2]) if root]


def _index(found: Sequence[str], shorten: Callable[[str], str]) -> dict[str, list[str]]:
    shorter: dict[str, list[str]] = {}
    for relative in found:
        shorter.setdefault(shorten(relative), []).append(relative)
    return shorter


def _split(relative: str, row: _Row, collection: FolderCollection) -> str | None:
    if isinstance(collection.splits, dict):
        return by_pattern(relative, collection.splits)
    if collection.splits == "column":
        return by_name(row.values.get("split", ""))
    if collection.splits == "folder":
        return by_name(relative.split("/")[0]) if "/" in relative else None
    # Clips of one recording go to the same side.
    return by_share(row.values.get("recording", relative), collection.val_share, collection.test_share)
