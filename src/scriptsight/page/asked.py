"""What is asked: the parameters of an address as a query, and its vector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast, get_args

import numpy as np
from starlette.datastructures import QueryParams

from scriptsight.errors import InputError
from scriptsight.page.shelf import Opened, Shelf
from scriptsight.retrieve.search import By

LONGEST = 2000  # characters of a query
MOST_VALUES = 100  # of a filter
MOST = 200  # moments at a time


@dataclass(frozen=True)
class Asked:
    """A query by words, by a moment or by a clip, with its filters; one of `q`, `like` and `clip` is not empty."""

    q: str = ""
    like: str = ""  # a segment id
    clip: str = ""  # the id of an upload
    by: By = "picture"
    collections: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    splits: tuple[str, ...] = ()
    said: str = ""
    top: int = 12

    def vector(self, shelf: Shelf, opened: Opened) -> np.ndarray:
        """The query as a unit vector float32 [E] of this model.

        Raises:
            Missing: the index lacks the moment, or the clip is no longer kept.
        """
        if self.like:
            return np.array(opened.searcher.index.embeddings[opened.row_of(self.like)])
        if self.clip:
            return shelf.clips.vector(self.clip, opened.weights)
        (found,) = opened.searcher.vectors([self.q])
        return np.asarray(found)


def asked(parameters: QueryParams) -> Asked:
    """Read the query of an address.

    Words that are said, without another query, are a query by words.

    Raises:
        InputError: there is no query or more than one, or a value that can't be taken.
    """
    said = _text(parameters, "said")
    one = {name: text for name in ("q", "like", "clip") if (text := _text(parameters, name))}
    by = parameters.get("by") or "picture"
    if not one and said:
        one, by = {"q": said}, "words"
    if not one:
        raise InputError("There is nothing to look for: say what the video should show.")
    if len(one) > 1:
        raise InputError(f"Ask by one thing at a time, not by {' and '.join(one)} together.")
    if by not in get_args(By):
        raise InputError("by is how to search: picture, words or both.")
    if "q" not in one and by != "picture":
        raise InputError(f"A search by {by} takes words: a clip or an example is searched for by picture.")
    return Asked(
        **one,
        by=cast(By, by),
        collections=_values(parameters, "collection"),
        labels=_values(parameters, "label"),
        languages=_values(parameters, "language"),
        splits=_values(parameters, "split"),
        said=said,
        top=_top(parameters),
    )


def model_of(parameters: QueryParams) -> str | None:
    """The name of the model that is asked; None is the workspace's own."""
    return parameters.get("model") or None


def _text(parameters: QueryParams, name: str) -> str:
    text = parameters.get(name, "").strip()
    if len(text) > LONGEST:
        raise InputError(f"{name} has {len(text):,} characters: {LONGEST:,} at most.")
    return text


def _values(parameters: QueryParams, name: str) -> tuple[str, ...]:
    values = tuple(dict.fromkeys(filter(None, parameters.getlist(name))))
    if len(values) > MOST_VALUES or any(len(value) > LONGEST for value in values):
        raise InputError(f"The filter {name} has too many values, or too long ones: {MOST_VALUES} at most.")
    return values


def _top(parameters: QueryParams) -> int:
    text = parameters.get("top") or str(Asked.top)
    # int() would take signs, spaces and digits of other scripts as well.
    if not (text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= MOST):
        raise InputError(f"top is how many moments are shown: 1 to {MOST}.")
    return int(text)
