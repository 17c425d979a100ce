"""A few of many, evenly."""

from __future__ import annotations


def evenly(total: int, count: int) -> list[int]:
    """The middles of `count` equal parts of `total` items, ascending; all items where there are fewer."""
    count = max(0, min(count, total))
    return [(2 * part + 1) * total // (2 * count) for part in range(count)]
