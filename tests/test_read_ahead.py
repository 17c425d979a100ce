"""Read-ahead keeps the order, bounds what waits, and stops when it is left."""

from __future__ import annotations

import threading
import time

import pytest

from scriptsight.read_ahead import read_ahead


def test_items_come_in_their_order_whoever_is_faster() -> None:
    def read(number: int) -> int:
        time.sleep(0.02 if number % 2 else 0.0)
        return 10 * number

    assert list(read_ahead(read, range(20), ahead=5, threads=4)) == [10 * number for number in range(20)]


def test_no_more_is_read_than_was_asked_for() -> None:
    begun: list[int] = []

    def read(number: int) -> int:
        begun.append(number)
        return number

    found = read_ahead(read, range(100), ahead=3)
    assert next(found) == 0
    deadline = time.monotonic() + 5
    while len(begun) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    assert begun == [0, 1, 2, 3]  # the one that was asked for, and three ahead
    found.close()
    assert len(begun) == 4


def test_an_error_comes_in_the_turn_of_its_item() -> None:
    def read(number: int) -> int:
        if number == 2:
            raise ValueError("two")
        return number

    found = read_ahead(read, range(5), ahead=4)
    assert [next(found), next(found)] == [0, 1]
    with pytest.raises(ValueError, match="two"):
        next(found)


def test_threads_read_at_the_same_time() -> None:
    both = threading.Barrier(2, timeout=5)

    def read(number: int) -> int:
        both.wait()
        return number

    assert list(read_ahead(read, range(4), ahead=2, threads=2)) == [0, 1, 2, 3]
