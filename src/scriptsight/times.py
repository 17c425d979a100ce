"""Times as people write them."""

from __future__ import annotations


def clock(seconds: float) -> str:
    """Seconds as m:ss.s, from an hour on as h:mm:ss.s."""
    minutes, tenths = divmod(round(seconds * 10), 600)
    hours, minutes = divmod(minutes, 60)
    rest = f"{tenths // 10:02d}.{tenths % 10}"
    return f"{hours}:{minutes:02d}:{rest}" if hours else f"{minutes}:{rest}"


def span(start: float, end: float) -> str:
    """Two times in seconds, as clocks with a dash between."""
    return f"{clock(start)} - {clock(end)}"
