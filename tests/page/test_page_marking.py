"""Words of a query marked in what is said, and the lane in which questions gather."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import CancelledError

import pytest

from scriptsight.page import lanes
from scriptsight.page.lanes import Busy, Lane
from scriptsight.page.marking import parts, words_of


@pytest.mark.parametrize(
    ("text", "query", "marked"),
    [
        ("The red circle, redder", "RED", ["red"]),
        ("Crème brûlée", "creme BRULEE", ["Crème", "brûlée"]),
        ("cre\u0300me", "crème", ["cre\u0300me"]),
        ("ΣΊΣΥΦΟΣ was here", "σίσυφος", ["ΣΊΣΥΦΟΣ"]),
        ("a_b and <b>b</b>", "b", ["b", "b", "b", "b"]),
        ("it's 3.5", "s 5", ["s", "5"]),
        ("nothing", "", []),
        ("", "red", []),
    ],
)
def test_words_are_marked_as_the_full_text_index_knows_them(text: str, query: str, marked: list[str]) -> None:
    found = parts(text, words_of(query))
    assert "".join(piece for piece, _ in found) == text
    assert [piece for piece, hit in found if hit] == marked


def test_questions_that_came_meanwhile_are_answered_together() -> None:
    begun, go = threading.Event(), threading.Event()
    batches: list[list[int]] = []

    def answer(questions: Sequence[int]) -> list[int | Exception]:
        batches.append(list(questions))
        begun.set()
        assert go.wait(60)
        return [ValueError("three") if question == 3 else 10 * question for question in questions]

    lane: Lane[int, int] = Lane(answer)
    first = lane.ask(1)
    assert begun.wait(60)
    second, third, fourth = lane.ask(2), lane.ask(3), lane.ask(4)
    assert fourth.cancel()  # nobody waits for it any more
    go.set()
    assert (first.result(60), second.result(60)) == (10, 20)
    with pytest.raises(ValueError, match="three"):
        third.result(60)
    with pytest.raises(CancelledError):
        fourth.result(60)
    assert batches == [[1], [2, 3]]


def test_a_batch_that_fails_fails_for_all_and_the_lane_goes_on() -> None:
    def answer(questions: Sequence[int]) -> list[int | Exception]:
        return [1 // question for question in questions]

    lane: Lane[int, int] = Lane(answer)
    with pytest.raises(ZeroDivisionError):
        lane.ask(0).result(60)
    assert lane.ask(1).result(60) == 1


def test_more_questions_than_can_wait_are_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "WAITING", 2)
    go = threading.Event()

    def answer(questions: Sequence[int]) -> list[int | Exception]:
        go.wait(60)
        return list(questions)

    lane: Lane[int, int] = Lane(answer)
    with pytest.raises(Busy):
        for number in range(100):
            lane.ask(number)
    go.set()
