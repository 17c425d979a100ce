"""One bad item costs only itself, whatever it does to its process."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from scriptsight.media import Failed, isolated


def misbehave(items: Sequence[str]) -> list[str]:
    """Do what the items say; runs in a worker."""
    for item in items:
        if item == "hang":
            time.sleep(60)
        if item == "crash":
            os._exit(3)
        if item == "slow":
            time.sleep(0.5)
        if item.startswith("crash once"):
            mark = Path(item.split(":", 1)[1])
            if not mark.exists():
                mark.touch()
                os._exit(3)
        if item == "raise":
            raise OSError(errno.ENOSPC, "No space left on device")
        if item == "nfs":
            raise OSError(errno.ETIMEDOUT, "Connection timed out")
    return list(items)


def test_only_the_bad_item_is_lost() -> None:
    chunks = [["slow", "a"], ["b", "crash", "c"], ["d"], ["e", "hang"]]
    by_chunk = dict(isolated(misbehave, chunks, workers=2, timeout=3))
    assert sorted(by_chunk) == [0, 1, 2, 3]
    results = [outcome for number in range(4) for outcome in by_chunk[number]]
    given = [(list(chunk), result if isinstance(result, list) else result.reason) for chunk, result in results]
    assert given == [
        (["slow", "a"], ["slow", "a"]),
        (["b"], ["b"]),
        (["crash"], "crashed"),
        (["c"], ["c"]),
        (["d"], ["d"]),
        (["e"], ["e"]),
        (["hang"], "timed out"),
    ]
    assert "exit code 3" in next(r.detail for _, r in results if isinstance(r, Failed))


def test_a_chunk_has_the_time_of_two_items() -> None:
    chunk = ["slow", "slow", "slow"]  # half a second each
    assert list(isolated(misbehave, [chunk], workers=1, timeout=1)) == [(0, [(chunk, chunk)])]


def test_one_crash_is_forgiven(tmp_path: Path) -> None:
    item = f"crash once:{tmp_path / 'mark'}"
    assert list(isolated(misbehave, [[item]], workers=1, timeout=30)) == [(0, [([item], [item])])]


def test_a_slow_chunk_does_not_hold_up_the_others() -> None:
    chunks = [["slow"] * 6, *([str(i)] for i in range(20))]  # three seconds: a process starts in one
    numbers = [number for number, _ in isolated(misbehave, chunks, workers=2, timeout=30)]
    assert sorted(numbers) == list(range(21))
    assert numbers[0] != 0


def test_chunks_are_taken_as_they_are_needed() -> None:
    taken = []

    def chunks() -> Iterator[list[str]]:
        for i in range(100):
            taken.append(i)
            yield [str(i)]

    results: Any = isolated(misbehave, chunks(), workers=1, timeout=30)
    next(results)
    assert len(taken) < 10
    results.close()


def test_an_error_of_the_work_itself_is_raised() -> None:
    with pytest.raises(OSError, match="No space left") as caught:
        list(isolated(misbehave, [["raise"], ["slow"]], workers=1, timeout=30))
    assert caught.value.errno == errno.ENOSPC


def test_a_file_system_that_timed_out_is_no_slow_item() -> None:
    with pytest.raises(TimeoutError, match="Connection timed out"):
        list(isolated(misbehave, [["nfs"]], workers=1, timeout=30))
