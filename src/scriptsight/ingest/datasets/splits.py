"""Which split a video belongs to, where no official list says it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from fnmatch import fnmatch

NAMES = {"train": "train", "val": "val", "validation": "val", "test": "test"}  # as folders and columns call them


def by_share(key: str, val_share: float, test_share: float = 0.0) -> str:
    """A split by a number in [0, 1) that belongs to the key: it stays when other videos come or go."""
    digest = hashlib.sha256(key.encode(errors="backslashreplace")).digest()  # a key from anywhere may be no Unicode
    share = int.from_bytes(digest[:8], "big") / 2**64
    if share < test_share:
        return "test"
    return "val" if share < test_share + val_share else "train"


def with_val(split: str, key: str, val_share: float) -> str:
    """An official split, with `val_share` of the training videos taken out for validation.

    `key` names the recording: clips of one recording go to the same side.
    """
    return by_share(key, val_share) if split == "train" else split


def by_pattern(name: str, patterns: Mapping[str, str]) -> str | None:
    """The split of the first pattern that a file's name fits; None if it fits none."""
    return next((split for pattern, split in patterns.items() if fnmatch(name, pattern)), None)


def by_name(name: str) -> str | None:
    """The split that a folder or the cell of a table names; None if it names none."""
    return NAMES.get(name.lower())
