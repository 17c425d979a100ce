"""Folders of what can be made again: what was not used for longest goes first."""

from __future__ import annotations

import time
from pathlib import Path

LEFT = 86_400.0  # seconds after which what is half made was left by a process that is gone


def tidy(folder: Path, limit: int, *suffixes: str) -> None:
    """Remove files with these suffixes, those first that were not used for longest, while they have more than `limit`
    bytes in all. The last one that was used stays."""
    kept = []
    for file in folder.iterdir():
        if file.suffix not in suffixes:
            continue
        status = file.stat()
        if not file.name.startswith("."):
            kept.append((status.st_mtime_ns, status.st_size, file))
        elif time.time() - status.st_mtime > LEFT:  # what is being made is younger: its process was killed
            file.unlink(missing_ok=True)
    total = sum(size for _, size, _ in kept)
    for _, size, file in sorted(kept)[:-1]:
        if total <= limit:
            return
        file.unlink(missing_ok=True)
        total -= size
