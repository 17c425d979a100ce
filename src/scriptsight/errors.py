"""The exceptions a user is meant to read: they name what is wrong and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager


class InputError(ValueError):
    """Input, parameters or surroundings with which a stage can't go on. The message names file and remedy."""


class ArgumentError(InputError):
    """An argument that can't be taken. The message is its name and the `problem`, which begins with its value; who
    has it from a file names the key instead (`keyed`)."""

    def __init__(self, argument: str, problem: str) -> None:
        super().__init__(f"{argument} {problem}")
        self.argument, self.problem = argument, problem

    def __reduce__(self) -> tuple[type[ArgumentError], tuple[str, str]]:  # else it would not pickle
        return type(self), (self.argument, self.problem)


@contextmanager
def keyed(section: str, keys: Mapping[str, str] | None = None) -> Iterator[None]:
    """Arguments that can't be taken inside the block are called by their key in params.yaml: SECTION.ARGUMENT, or
    what `keys` says.

    Raises:
        InputError: in place of an `ArgumentError`.
    """
    try:
        yield
    except ArgumentError as error:
        key = (keys or {}).get(error.argument, f"{section}.{error.argument}")
        raise InputError(f"{key} {error.problem}") from error


class MissingExtra(InputError):
    """A package that this feature needs is not installed; the message says which extra brings it."""


@contextmanager
def needs(extra: str, feature: str) -> Iterator[None]:
    """The imports inside the block are those of an extra of the package; `feature` begins the message.

    Raises:
        MissingExtra: one of them is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "scriptsight":
            raise
        raise MissingExtra(
            f"{feature} needs {error.name}, which is not installed: pip install 'scriptsight[{extra}]'"
        ) from error
