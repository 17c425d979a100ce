"""Times and even spreading, against what a person writes and against a naive loop."""

from __future__ import annotations

import pytest

from scriptsight.spreading import evenly
from scriptsight.times import clock, span


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (0, "0:00.0"),
        (9.96, "0:10.0"),
        (59.96, "1:00.0"),
        (61.25, "1:01.2"),
        (3599.96, "1:00:00.0"),
        (7325, "2:02:05.0"),
    ],
)
def test_a_clock(seconds: float, written: str) -> None:
    assert clock(seconds) == written


def test_a_span() -> None:
    assert span(1, 62.5) == "0:01.0 - 1:02.5"


@pytest.mark.parametrize("total", [0, 1, 2, 5, 12, 1000])
@pytest.mark.parametrize("count", [0, 1, 2, 5, 7])
def test_a_few_of_many_are_the_middles_of_equal_parts(total: int, count: int) -> None:
    found = evenly(total, count)
    kept = min(total, count)
    assert len(found) == kept and found == sorted(set(found))
    for part, place in enumerate(found):
        assert part * total / kept <= place <= (part + 1) * total / kept
