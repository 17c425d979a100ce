"""One bad item costs only itself, whatever it does to its process."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

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
            raise OSError(28, "No space left on device")
    return list(items)


def test_results_come_in_order_and_only_the_bad_item_is_lost() -> None:
    chunks = [["slow", "a"], ["b", "crash", "c"], ["d"], ["e", "hang"]]
    results = list(isolated(misbehave, chunks, workers=2, timeout=3))
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


def test_one_crash_is_forgiven(tmp_path: Path) -> None:
    item = f"crash once:{tmp_path / 'mark'}"
    assert list(isolated(misbehave, [[item]], workers=1, timeout=30)) == [([item], [item])]


def test_an_error_of_the_work_itself_is_raised() -> None:
    with pytest.raises(OSError, match="No space left") as caught:
        list(isolated(misbehave, [["raise"], ["slow"]], workers=1, timeout=30))
    assert caught.value.errno == 28
