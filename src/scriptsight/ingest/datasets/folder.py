"""A folder of videos, captions beside or inside them, labels and titles in CSV files.

Layout: any. `talk.mp4` takes `talk.vtt` or `talk.en.vtt` (any format that `scriptsight.captions` reads), else a track
inside it. Tables have a column `video` (a path in the folder, or a file name with or without suffix), and `caption`,
`title`, `split`, or the label. In params.yaml:

    talks:
      kind: folder
      path: talks
      language: en         # where a video has captions in several
      encoding: cp1251     # of caption files that are not in Unicode, where finding it out goes wrong
      labels: labels.csv
      captions: titles.csv
      splits: hash         # or column, folder, or a table: {"old/*": test, "*": train}
"""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from fsspec.utils import glob_translate

from scriptsight import captions
from scriptsight.captions.languages import known
from scriptsight.catalogue import Reject
from scriptsight.errors import InputError
from scriptsight.ingest.datasets import listing, tracks
from scriptsight.ingest.datasets.splits import by_name, by_pattern, by_share
from scriptsight.ingest.sources import Entry, Listed
from scriptsight.media import MediaError, local
from scriptsight.params.collections import FolderCollection

_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]+)*")  # as file names have it: clip.en-GB.vtt
_MARKS = {"cc", "default", "forced", "sdh"}  # of subtitles, as Plex, Jellyfin and Kodi know them


def entries(name: str, collection: FolderCollection) -> Listed:
    """List the videos of a folder with their captions and rows; nothing is opened but the CSV files.

    Raises:
        InputError: the folder or a CSV is missing or lacks a column, or the folder holds no video.
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
    scripts, spares = _caption_files(files)
    for relative in found:
        row = rows.get(relative, {})
        split = _split(relative, row, collection)
        uri = listing.address(root, relative)
        if split is None:
            listed.refuse(Reject(name, uri, "no split", f"splits: {collection.splits} gives none for {relative}"))
            continue
        script, language, problem = _caption_file(relative, collection.language, scripts)
        if problem is not None:
            listed.refuse(Reject(name, uri, *problem))
        entry = Entry(
            video_id=relative.rsplit(".", 1)[0],
            split=split,
            uri=uri,
            script=None if script is None else listing.address(root, script),
            others=tuple(listing.address(root, spare) for spare in spares.get(script or "", ())),
            embedded=script is None and (problem is None or problem[0] == tracks.OTHER_LANGUAGES),
            language=language,
            title=row.get("title"),
            captions=(row["caption"],) if "caption" in row else (),
            label=row.get("label"),
            encoding=collection.encoding,
        )
        listed.add(entry, key=relative)
    return listed


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


def _tables(
    name: str, root: str, collection: FolderCollection, found: Sequence[str], listed: Listed
) -> tuple[dict[str, dict[str, str]], bool]:
    """Rows of the CSV files by relative path of their video, and whether one of them has a column `split`."""
    rows: dict[str, dict[str, str]] = {}
    has_split = False
    known = _names(found)
    for file, required in (
        (collection.labels, [{"video"}, {collection.label_column}]),
        (collection.captions, [{"video"}, {"caption", "title"}]),
    ):
        if file is None:
            continue
        path = listing.address(root, file)
        columns, table = _read_csv(path, required)
        has_split = has_split or "split" in columns
        for number, row in table:
            video = (row.get("video") or "").strip().replace("\\", "/")
            matches = known.get(video, [])
            if len(matches) != 1:
                reason = "ambiguous video" if matches else "no such video"
                detail = f"row {number} of {path} names {video!r}: " + (", ".join(matches) or "it is not there")
                listed.refuse(Reject(name, f"{path}:{number}", reason, detail))
                continue
            wanted = {"title", "caption", "split"} & columns
            values = {column: row[column].strip() for column in wanted if (row[column] or "").strip()}
            if file == collection.labels and (row[collection.label_column] or "").strip():
                values["label"] = row[collection.label_column].strip()
            rows.setdefault(matches[0], {}).update(values)
    return rows, has_split


def _read_csv(path: str, required: list[set[str]]) -> tuple[set[str], list[tuple[int, dict[str, str]]]]:
    """Columns and (line number, row) of a CSV; of each set in `required` one column must be there."""
    try:
        with local(path) as here, here.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            table = [(reader.line_num, row) for row in reader]
            columns = set(reader.fieldnames or ())
    except MediaError as error:
        if error.reason != "missing video":
            raise InputError(f"{path} can't be read: {error.reason}, {error.detail}") from None
        raise InputError(f"There is no file {path}: correct `labels` or `captions` of the collection.") from None
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise InputError(f"{path} can't be read as a CSV in UTF-8: {error}") from None
    for choice in required:
        if not choice & columns:
            wanted = " or ".join(repr(column) for column in sorted(choice))
            raise InputError(f"{path} has no column {wanted}; it has: {', '.join(sorted(columns)) or 'none'}.")
    return columns, table


def _names(found: Sequence[str]) -> dict[str, list[str]]:
    """The names a CSV may call a video by: its path in the folder, else its file name, else without suffix.

    Rows are looked up here and nowhere else, so that none can name a file outside of the folder.
    """
    names: dict[str, list[str]] = {relative: [relative] for relative in found}
    ways: tuple[Callable[[str], str], ...] = (
        lambda relative: relative.rsplit("/", 1)[-1],
        lambda relative: relative.rsplit(".", 1)[0],
        lambda relative: relative.rsplit("/", 1)[-1].rsplit(".", 1)[0],
    )
    for shorten in ways:
        shorter: dict[str, list[str]] = {}
        for relative in found:
            shorter.setdefault(shorten(relative), []).append(relative)
        names = shorter | names
    return names


def _split(relative: str, row: dict[str, str], collection: FolderCollection) -> str | None:
    if isinstance(collection.splits, dict):
        return by_pattern(relative, collection.splits)
    if collection.splits == "column":
        return by_name(row.get("split", ""))
    if collection.splits == "folder":
        return by_name(relative.split("/")[0]) if "/" in relative else None
    return by_share(relative, collection.val_share, collection.test_share)


# ----------------------------------------------------------------------------------------------- captions


def _caption_files(files: Sequence[str]) -> tuple[dict[str, dict[str, str]], dict[str, list[str]]]:
    """The caption files among `files`: by their video without its suffix, then by language ("" where the name has
    none); and for those that may be of something else, as any JSON or text, the others in the same language.

    Of two in one language, all that is said goes before lines of a foreign language alone (`forced`), and then the
    format that comes first in `PARSERS`. A file that is named like a video is that video's alone. What may be of
    anything does not stand in the way of captions with a language in their name.
    """
    suffixes = {suffix: place for place, suffix in enumerate(captions.PARSERS)}
    stems = {file.rpartition(".")[0] for file in files if Path(file).suffix.lower() in listing.VIDEOS}
    ranked: list[tuple[bool, bool, int, str, str, str]] = []
    for file in files:
        whole, _, suffix = file.rpartition(".")
        place = suffixes.get(f".{suffix.lower()}")
        if place is None:
            continue
        if whole in stems:
            ranked.append((False, False, place, file, whole, ""))
            continue
        stem, marks = _unmarked(whole)
        video, _, code = stem.rpartition(".")
        if stem not in stems and _is_language(code, f".{suffix.lower()}"):
            stem, tag = video, code
        else:
            tag = ""
        ranked.append(("forced" in marks, bool(marks), place, file, stem, tag))
    beside: dict[str, dict[str, str]] = defaultdict(dict)
    spares: dict[str, list[str]] = {}
    for *_, file, stem, tag in sorted(ranked):
        taken = beside[stem].setdefault(tag, file)
        if taken != file and _of_anything(taken):
            spares.setdefault(taken, []).append(file)
    for tracks_of in beside.values():
        if _of_anything(tracks_of.get("", "")) and not all(map(_of_anything, tracks_of.values())):
            del tracks_of[""]
    return beside, spares


def _of_anything(file: str) -> bool:
    return Path(file).suffix.lower() in captions.OF_ANYTHING


def _unmarked(whole: str) -> tuple[str, set[str]]:
    """A file name without the marks at its end that media servers know (`clip.en.sdh`), and these marks."""
    marks = set()
    while (mark := whole.rpartition(".")[2].lower()) in _MARKS:
        marks.add(mark)
        whole = whole.rpartition(".")[0]
    return whole, marks


def _is_language(code: str, suffix: str) -> bool:
    """Whether the end of a name is a language. Beside a video lie tables and JSON of many kinds (`clip.raw.json`):
    of them only the languages of ISO 639-1 are believed."""
    return _LANGUAGE.fullmatch(code) is not None and (suffix not in captions.OF_ANYTHING or known(code))


def _caption_file(
    video: str, wanted: str | None, files: dict[str, dict[str, str]]
) -> tuple[str | None, str | None, tuple[str, str] | None]:
    """The caption file beside a video, its language where that is known, and the reason and detail of a reject where
    there are files and none was taken."""
    beside = files.get(video.rpartition(".")[0], {})
    plain = beside.get("")
    if wanted is None and plain is not None:
        return plain, None, None
    named = {code: file for code, file in beside.items() if code}
    script, code, problem = tracks.choose(named, [wanted] if wanted else [], None, manual=())
    if script is None and plain is not None:
        return plain, wanted, None
    return script, wanted or code, problem
