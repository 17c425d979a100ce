"""Folders of what can be made again: what was not used for longest goes first."""

from __future__ import annotations

from pathlib import Path


def tidy(folder: Path, limit: int, *suffixes: str) -> None:
    """Remove files with these suffixes, those first that were not used for longest, while they have more than `limit`
    bytes in all. The last one that was used stays."""
    kept = []
    for file in folder.iterdir():
        if file.suffix in suffixes and not file.name.startswith("."):  # those with a dot are being made
            status = file.stat()
            kept.append((status.st_mtime_ns, status.st_size, file))
    total = sum(size for _, size, _ in kept)
    for _, size, file in sorted(kept)[:-1]:
        if total <= limit:
            return
        file.unlink(missing_ok=True)
        total -= size
