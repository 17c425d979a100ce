"""Times as people write them."""

from __future__ import annotations


def clock(seconds: float) -> str:
    """Seconds as m:ss.s."""
    minutes, rest = divmod(round(seconds * 10), 600)
    return f"{minutes}:{rest // 10:02d}.{rest % 10}"


def span(start: float, end: float) -> str:
    """Two times in seconds as m:ss.s - m:ss.s."""
    return f"{clock(start)} - {clock(end)}"
