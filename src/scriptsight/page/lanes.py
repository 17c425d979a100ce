"""Many people at once: what they ask gathers while the last answer is made, and is then answered together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from queue import Empty as NothingWaits
from queue import Full, Queue
from typing import Generic, TypeVar

WAITING = 1000  # questions; more are turned away
TOGETHER = 64  # questions of one batch: bounds how long the first waits for the last

Q = TypeVar("Q")
A = TypeVar("A")


class Busy(Exception):
    """Too many questions wait already."""


class Lane(Generic[Q, A]):
    """One thread that takes what waits and answers it in one go.

    Nothing is waited for on purpose: a single question is answered at once, and under load the questions of a batch
    are those that came during the batch before.
    """

    def __init__(self, answer: Callable[[Sequence[Q]], Sequence[A | Exception]]) -> None:
        """The thread starts with the first question, and ends with the process.

        Args:
            answer: questions -> an answer, or what was raised, for each.
        """
        self._answer = answer
        self._waiting: Queue[tuple[Q, Future[A]]] = Queue(WAITING)
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def ask(self, question: Q) -> Future[A]:
        """Put a question; one whose future is cancelled before its turn is dropped.

        Raises:
            Busy: too many wait.
        """
        future: Future[A] = Future()
        try:
            self._waiting.put_nowait((question, future))
        except Full as error:
            raise Busy from error
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="answers", daemon=True)
                self._thread.start()
        return future

    def _work(self) -> None:
        while True:
            batch = [self._waiting.get()]
            while len(batch) < TOGETHER:
                try:
                    batch.append(self._waiting.get_nowait())
                except NothingWaits:
                    break
            wanted = [(question, future) for question, future in batch if future.set_running_or_notify_cancel()]
            if wanted:
                self._settle(wanted)
            del batch, wanted  # else the last answers are kept until the next question

    def _settle(self, wanted: Sequence[tuple[Q, Future[A]]]) -> None:
        try:
            answers = self._answer([question for question, _ in wanted])
        except Exception as error:
            answers = [error] * len(wanted)
        for (_, future), answer in zip(wanted, answers, strict=True):
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)
