"""What a stage tells the world while it works. The library knows neither MLflow nor Prefect: flows bind them."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

from tqdm import tqdm

T = TypeVar("T")


class Reporter(Protocol):
    """Where a stage sends its progress and its findings."""

    def progress(self, items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
        """Iterate over `items` under a progress bar."""

    def status(self, text: str) -> None:
        """Say beside the progress bar how things stand."""

    def message(self, text: str) -> None:
        """Say one line to whoever watches."""

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Record figures; with `step` (optimizer steps) they are points of a curve."""

    def artifact(self, path: Path) -> None:
        """Record a picture or table that the stage has just written."""


class ConsoleReporter:
    """Progress bars and lines on standard error; figures stay where the stage wrote them."""

    _bar: tqdm[Any] | None = None  # the one that was begun last

    def progress(self, items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
        # A terminal gets a live bar; a log file (DVC, CI) gets a line every 15 seconds, not thousands.
        live = sys.stderr.isatty()
        self._bar = tqdm(items, desc=label, total=total, mininterval=0.2 if live else 15, dynamic_ncols=live)
        return iter(self._bar)

    def status(self, text: str) -> None:
        if self._bar is not None:
            self._bar.set_postfix_str(text, refresh=False)

    def message(self, text: str) -> None:
        tqdm.write(text, file=sys.stderr)

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Figures are in the stage's metrics file; on a console they would only be noise."""

    def artifact(self, path: Path) -> None:
        """The picture is where the stage wrote it."""


class Under:
    """Another reporter for a part of its stage: figures get the name PREFIX/FIGURE, and messages begin with it."""

    def __init__(self, reporter: Reporter, prefix: str) -> None:
        self._reporter, self._prefix = reporter, prefix

    def progress(self, items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
        return self._reporter.progress(items, label, total)

    def status(self, text: str) -> None:
        self._reporter.status(text)

    def message(self, text: str) -> None:
        self._reporter.message(f"{self._prefix}: {text}")

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        self._reporter.metrics({f"{self._prefix}/{name}": value for name, value in values.items()}, step)

    def artifact(self, path: Path) -> None:
        self._reporter.artifact(path)


class SilentReporter(ConsoleReporter):
    """Says nothing: one of several processes speaks for all."""

    def progress(self, items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
        return iter(items)

    def message(self, text: str) -> None:
        """The first process says it."""
