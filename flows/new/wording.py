"""Times and names as people read them."""

from __future__ import annotations


def minutes(seconds: float) -> str:
    """A time as people say it."""
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def plain(text: str) -> str:
    """Text on one line without signs that a terminal or an editor would obey."""
    return "".join(one if one.isprintable() else "?" for one in text)
