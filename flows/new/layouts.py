"""The layouts of published datasets and of downloaders, told by the names of their files.

`scriptsight.ingest.datasets` describes each; here is only what shows that a folder has it, and which of its files the
reader is to be told of.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scriptsight.ingest.datasets.listing import VIDEOS
from scriptsight.ingest.datasets.pairing import suffix
from scriptsight.params.base import Split

Section = dict[str, Any]  # of ingest.collections, without the shares of its splits
MOST_DESCRIBED = 0.5  # share of a folder's videos that have an info.json where yt-dlp filled it
HEAD = 4096  # bytes of a file of which only the form is asked

# File name (a regular expression) -> split; datasets whose annotations are a file a split.
_SPLITS: dict[str, dict[str, Split]] = {
    "didemo": {r"train_data\.json": "train", r"val_data\.json": "val", r"test_data\.json": "test"},
    "webvid": {r"results_\w+_train\.csv": "train", r"results_\w+_val\.csv": "test"},
    "lsmdc": {
        r"LSMDC16_annos_training\.csv": "train",
        r"LSMDC16_annos_val\.csv": "val",
        r"LSMDC16_\w*1000\w*\.csv": "test",
    },
    "msvd": {r"train_list\.txt": "train", r"val_list\.txt": "val", r"test_list\.txt": "test"},
    "ssv2": {r"train\.json": "train", r"validation\.json": "test"},
    "kinetics": {r"train\.csv": "train", r"(val|validate|validation)\.csv": "test"},
}
# What the training file of a dataset says within its first bytes, where its name is that of many.
_SAYS = {"ssv2": b'"template"', "kinetics": b"youtube_id", "msvd": b"_", "didemo": b'"annotation_id"'}


def recognised(root: Path, files: Sequence[str]) -> tuple[str, Section] | None:
    """The layout that a folder has, in words, and the section of its collection; None: no layout that is known.

    Args:
        root: the folder.
        files: all files below it, relative to it.
    """
    for ask in (_by_split_files, _msrvtt, _action_lists, _one_file, _yt_dlp, _archives):
        if (found := ask(root, files)) is not None:
            return found
    return None


def _named(files: Sequence[str], pattern: str) -> str | None:
    """The file nearest to the top whose name fits a regular expression."""
    fitting = [file for file in files if re.fullmatch(pattern, file.rpartition("/")[2])]
    return min(fitting, key=lambda file: (file.count("/"), file), default=None)


def _beside(root: Path, file: str) -> str:
    """The folder that a file lies in."""
    return str((root / file).parent)


def _by_split_files(root: Path, files: Sequence[str]) -> tuple[str, Section] | None:
    for kind, names in _SPLITS.items():
        found = {split: str(root / file) for name, split in names.items() if (file := _named(files, name))}
        if "train" not in found or not _says(Path(found["train"]), _SAYS.get(kind, b"")):
            continue
        section: Section = {"kind": kind, "path": str(root), "annotations": found}
        if "val" not in found and len(found) > 1:
            section["val_share"] = 0.05
        if kind == "msvd":
            described = _named(files, r"AllVideoDescriptions\.txt|video_corpus\.csv")
            if described is None:
                continue
            section["captions"] = str(root / described)
        return f"the dataset {kind}", section
    return None


def _says(file: Path, words: bytes) -> bool:
    try:
        with file.open("rb") as opened:
            return words in opened.read(HEAD)
    except OSError:
        return False


def _msrvtt(root: Path, files: Sequence[str]) -> tuple[str, Section] | None:
    whole = _named(files, r"MSRVTT_data\.json")
    parts = [_named(files, rf"{name}_videodatainfo\.json") for name in ("train_val", "test")]
    named = [whole] if whole else [part for part in parts if part]
    if not named:
        return None
    section: Section = {"kind": "msrvtt", "path": str(root), "annotations": [str(root / one) for one in named]}
    lists = {"train": r"MSRVTT_train\.[79]k\.csv", "test": r"MSRVTT_JSFUSION_test\.csv"}
    found = {split: str(root / file) for split, name in lists.items() if (file := _named(files, name))}
    return "the dataset msrvtt", section | ({"lists": found, "val_share": 0.05} if len(found) == 2 else {})


def _action_lists(root: Path, files: Sequence[str]) -> tuple[str, Section] | None:
    for kind, name in (("ucf101", r"trainlist01\.txt"), ("hmdb51", r"\w+_test_split1\.txt")):
        if file := _named(files, name):
            section = {"kind": kind, "path": str(root), "annotations": _beside(root, file), "val_share": 0.1}
            return f"the dataset {kind}", section
    return None


def _one_file(root: Path, files: Sequence[str]) -> tuple[str, Section] | None:
    if file := _named(files, r"raw_caption\.json"):
        return "the dataset howto100m", {"kind": "howto100m", "path": str(root), "captions": str(root / file)}
    if file := _named(files, r"ins_300k\.json"):
        return "the dataset instagram", {"kind": "instagram", "path": str(root), "annotations": str(root / file)}
    if file := _named(files, r".+\.grover\.json"):
        return "YT-Temporal's form", {"kind": "yt_temporal", "path": str(root), "annotations": _beside(root, file)}
    return None


def _yt_dlp(root: Path, files: Sequence[str]) -> tuple[str, Section] | None:
    videos = [file for file in files if suffix(file) in VIDEOS]
    described = {file.removesuffix(".info.json") for file in files if file.endswith(".info.json")}
    own = sum(file.rpartition(".")[0] in described for file in videos)
    if not own or own < MOST_DESCRIBED * len(videos):
        return None
    return "what yt-dlp wrote", {"kind": "yt_dlp", "path": str(root)}


def _archives(root: Path, files: Sequence[str]) -> tuple[str, Section] | None:
    if not any(suffix(file) == ".tar" for file in files) or any(suffix(file) in VIDEOS for file in files):
        return None
    return "archives of WebDataset", {"kind": "webdataset", "path": str(root)}


# ----------------------------------------------------------------------------------------------- one's own tables

_KNOWN = ("video", "caption", "title", "split", "recording")


def table(root: Path, files: Sequence[str]) -> Section:
    """The keys of a folder's collection that its CSV files give: labels, captions, splits.

    Args:
        files: those that lie directly in the folder.
    """
    found: Section = {}
    for file in sorted(file for file in files if suffix(file) == ".csv"):
        columns = _columns(root / file)
        if "video" not in columns:
            continue
        others = [column for column in columns if column not in _KNOWN]
        if ("label" in columns or others) and "labels" not in found:
            found |= {"labels": file, "label_column": "label" if "label" in columns else others[0]}
        if {"caption", "title"} & set(columns):
            found.setdefault("captions", file)
        if "split" in columns and file in (found.get("labels"), found.get("captions")):
            found["splits"] = "column"
    return found


def _columns(path: Path) -> list[str]:
    """The header of a CSV file; none of what is no such file."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            head = file.read(HEAD).splitlines()[:1]
        return next(csv.reader(head, delimiter=_delimiter(head[0])), []) if head else []
    except (OSError, UnicodeError, csv.Error):
        return []


def _delimiter(line: str) -> str:
    return max(",;\t|", key=line.count)
