"""Collections of kind `folder`: videos in a folder, captions beside or inside them, labels in CSV files."""

from __future__ import annotations

import csv
import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path

from scriptsight.catalogue import Reject
from scriptsight.errors import InputError
from scriptsight.ingest import captions
from scriptsight.ingest.sources import Entry
from scriptsight.params import FolderCollection

SUFFIXES = frozenset(
    {".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".ts"}
    | {".vob", ".webm", ".wmv"}
)
SPLIT_NAMES = {"train": "train", "val": "val", "validation": "val", "test": "test"}

_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]+)*")  # as file names have it: clip.en-GB.vtt


def read(name: str, collection: FolderCollection) -> Iterator[Entry | Reject]:
    """Find and pair the videos of a folder, captions and rows; nothing is opened but the CSV files.

    Raises:
        InputError: the folder or a CSV is missing or lacks a column, or the folder holds no video.
    """
    root = Path(collection.path)
    rejects: list[Reject] = []
    found = _encodable(name, root, _find(root, collection.pattern), rejects)
    rows, has_split = _tables(name, root, collection, found, rejects)
    if collection.splits == "column" and not has_split:
        raise InputError(
            f"Collection {name!r} has splits: column, but no column 'split' is in "
            f"{collection.labels or collection.captions or 'labels or captions: neither is named'}."
        )
    yield from rejects
    ids = _video_ids(found)
    scripts: dict[Path, dict[str, dict[str, Path]]] = {}  # by folder, each listed once
    for relative in found:
        row = rows.get(relative, {})
        split = _split(relative, row, collection)
        uri = (root / relative).as_posix()
        if split is None:
            yield Reject(name, uri, "no split", f"splits: {collection.splits} gives none for {relative}")
            continue
        parent = (root / relative).parent
        if parent not in scripts:
            scripts[parent] = _caption_files(parent)
        script, language, reject = _caption_file(name, root / relative, collection.language, scripts[parent])
        if reject is not None:
            yield reject
        yield Entry(
            video_id=ids[relative],
            split=split,
            uri=uri,
            script=None if script is None else script.as_posix(),
            embedded=script is None and reject is None,
            language=language,
            title=row.get("title"),
            captions=(row["caption"],) if "caption" in row else (),
            label=row.get("label"),
        )


def _find(root: Path, pattern: str) -> list[str]:
    """Videos below `root` as relative posix paths, sorted."""
    if not root.is_dir():
        raise InputError(f"There is no folder {root}: correct the collection's `path` (it starts at the workspace).")
    if ".." in Path(pattern).parts or Path(pattern).is_absolute():
        raise InputError(f"The pattern {pattern!r} leaves the folder {root}: name files below it.")
    paths = (path for path in root.glob(pattern) if path.suffix.lower() in SUFFIXES and path.is_file())
    found = sorted({path.relative_to(root).as_posix() for path in paths})
    if not found:
        kinds = " ".join(sorted(SUFFIXES))
        raise InputError(f"No video in {root} matches {pattern!r}: files that end in {kinds} are taken.")
    return found


def _encodable(name: str, root: Path, found: Sequence[str], rejects: list[Reject]) -> list[str]:
    """Without the names that no table could hold: those whose bytes are not UTF-8."""
    good = []
    for relative in found:
        try:
            relative.encode()
        except UnicodeEncodeError:
            readable = (root / relative).as_posix().encode(errors="backslashreplace").decode()
            rejects.append(Reject(name, readable, "name is not UTF-8", "rename the file"))
        else:
            good.append(relative)
    return good


# ------------------------------------------------------------------------------------- labels, captions


def _tables(
    name: str, root: Path, collection: FolderCollection, found: Sequence[str], rejects: list[Reject]
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
        path = root / file
        columns, table = _read_csv(path, required)
        has_split = has_split or "split" in columns
        for number, row in table:
            video = (row.get("video") or "").strip().replace("\\", "/")
            matches = known.get(video, [])
            if len(matches) != 1:
                reason = "ambiguous video" if matches else "no such video"
                detail = f"row {number} of {path} names {video!r}: " + (", ".join(matches) or "it is not there")
                rejects.append(Reject(name, f"{path.as_posix()}:{number}", reason, detail))
                continue
            wanted = {"title", "caption", "split"} & columns
            values = {column: row[column].strip() for column in wanted if (row[column] or "").strip()}
            if file == collection.labels and (row[collection.label_column] or "").strip():
                values["label"] = row[collection.label_column].strip()
            rows.setdefault(matches[0], {}).update(values)
    return rows, has_split


def _read_csv(path: Path, required: list[set[str]]) -> tuple[set[str], list[tuple[int, dict[str, str]]]]:
    """Columns and (line number, row) of a CSV; of each set in `required` one column must be there."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            table = [(reader.line_num, row) for row in reader]
            columns = set(reader.fieldnames or ())
    except FileNotFoundError:
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
    for shorten in (
        lambda relative: relative.rsplit("/", 1)[-1],
        lambda relative: relative.rsplit(".", 1)[0],
        lambda relative: relative.rsplit("/", 1)[-1].rsplit(".", 1)[0],
    ):
        shorter: dict[str, list[str]] = {}
        for relative in found:
            shorter.setdefault(shorten(relative), []).append(relative)
        names = shorter | names
    return names


# ------------------------------------------------------------------------------------------ ids, splits


def _video_ids(found: Sequence[str]) -> dict[str, str]:
    """Relative path -> id of letters, digits, `_` and `-`; what would collide gets a short hash."""
    safe = {relative: re.sub(r"[^A-Za-z0-9_-]", "_", relative.rsplit(".", 1)[0]) for relative in found}
    count = Counter(name.casefold() for name in safe.values())  # some file systems fold case
    return {
        relative: name
        if count[name.casefold()] == 1 and len(name) <= 80
        else f"{name[:80]}-{hashlib.sha256(relative.encode()).hexdigest()[:8]}"
        for relative, name in safe.items()
    }


def _split(relative: str, row: dict[str, str], collection: FolderCollection) -> str | None:
    splits = collection.splits
    if isinstance(splits, dict):
        return next((split for pattern, split in splits.items() if fnmatch(relative, pattern)), None)
    if splits == "column":
        return SPLIT_NAMES.get(row.get("split", "").lower())
    if splits == "folder":
        return SPLIT_NAMES.get(relative.split("/")[0].lower()) if "/" in relative else None
    # A number in [0, 1) that belongs to the name: a video keeps its split when others come or go.
    share = int.from_bytes(hashlib.sha256(relative.encode()).digest()[:8], "big") / 2**64
    if share < collection.test_share:
        return "test"
    return "val" if share < collection.test_share + collection.val_share else "train"


# ----------------------------------------------------------------------------------------------- captions


def _caption_files(folder: Path) -> dict[str, dict[str, Path]]:
    """The caption files in a folder: by the stem of their video, then by language ("" where the name has none).

    Of two in one language, the format that comes first in `PARSERS` is taken.
    """
    suffixes = list(captions.PARSERS)
    files: dict[str, dict[str, Path]] = defaultdict(dict)
    paths = [path for path in folder.iterdir() if path.suffix.lower() in suffixes and path.is_file()]
    for path in sorted(paths, key=lambda path: (suffixes.index(path.suffix.lower()), path.name)):
        files[path.stem].setdefault("", path)
        stem, _, language = path.stem.rpartition(".")
        files[stem].setdefault(language, path)
    return files


def _caption_file(
    name: str, video: Path, language: str | None, files: dict[str, dict[str, Path]]
) -> tuple[Path | None, str | None, Reject | None]:
    """The caption file beside a video, its language where the name says it, and why none was taken."""
    beside = files.get(video.stem, {})
    if language is not None and language in beside:
        return beside[language], language, None
    if "" in beside:
        return beside[""], language, None
    if language is not None:
        return None, language, None
    spoken = {code: path for code, path in beside.items() if _LANGUAGE.fullmatch(code)}
    if len(spoken) > 1:
        detail = f"choose one by the collection's `language`: {', '.join(sorted(spoken))}"
        return None, None, Reject(name, video.as_posix(), "captions in several languages", detail)
    return next(((path, code, None) for code, path in spoken.items()), (None, None, None))
