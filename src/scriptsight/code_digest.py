"""Which code something was made by: what older code left is not taken up."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent
# The code that a training's numbers come from, below the package: what `pretrain` imports, but for what only words,
# draws or stores them. A test holds it to the imports.
TRAINING = (
    "arithmetic.py",
    "clips.py",
    "distributed.py",
    "finite.py",
    "models",
    "pretrain",
    "read_ahead.py",
    "segments.py",
    "shards.py",
    "training",
    "tuning.py",
)
# The code that frozen features come from.
FEATURES = (
    "arithmetic.py",
    "clips.py",
    "distributed.py",
    "features.py",
    "finite.py",
    "models",
    "read_ahead.py",
    "segments.py",
    "shards.py",
    "tuning.py",
)


@cache
def code_digest(names: tuple[str, ...] = (".",)) -> str:
    """SHA-256 of the source files that `names` (modules and packages below scriptsight) consist of, with their
    places; without names, of the whole package."""
    total = hashlib.sha256()
    for path in sources(names):
        place = path.relative_to(PACKAGE).as_posix().encode()
        total.update(place + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def sources(names: Sequence[str]) -> list[Path]:
    """The source files of modules and packages below scriptsight, in order."""
    places = [PACKAGE / name for name in names]
    return sorted({file for place in places for file in (place.rglob("*.py") if place.is_dir() else [place])})
