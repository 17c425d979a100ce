"""What a check finds, and where it looks."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from flows import PROJECT, parameters
from scriptsight.params import reading

Status = Literal["ok", "note", "problem"]


@dataclass(frozen=True)
class Finding:
    """One line: what is so, and what is to be done about it, if anything.

    A note is worth knowing and keeps nobody from working; a problem will end or spoil a run.
    """

    status: Status
    text: str
    remedy: str = ""


def ok(text: str) -> Finding:
    """All is well."""
    return Finding("ok", text)


def note(text: str, remedy: str = "") -> Finding:
    """It will work all the same."""
    return Finding("note", text, remedy)


def problem(text: str, remedy: str = "") -> Finding:
    """A run would fail, or its results would be lost."""
    return Finding("problem", text, remedy)


@dataclass(frozen=True)
class Place:
    """The folder that is looked at, which is the current one while the checks work.

    Args:
        typed: as a person named it, for the commands that are suggested; "" for the current folder.
    """

    folder: Path
    typed: str = ""

    @property
    def kind(self) -> Literal["project", "workspace", "none"]:
        """Whose pipeline is here, or is to be made here."""
        if self.folder == PROJECT:
            return "project"
        if (self.folder / "overrides.yaml").is_file() or (self.folder / "dvc.yaml").is_file():
            return "workspace"
        return "none"

    @property
    def run(self) -> str:
        """The command that brings this folder up to date."""
        return f"scriptsight run {shlex.quote(self.typed)}" if self.typed else "scriptsight run"

    @cached_property
    def values(self) -> dict[str, Any]:
        """The parameters that a run would have, as they are written.

        Raises:
            InputError: a file can't be read.
        """
        own = self.folder / "overrides.yaml"
        if self.kind == "workspace" and own.is_file():
            return reading.merge(reading.read_yaml(PROJECT / "params.yaml"), reading.read_yaml(own))
        return reading.read_yaml(self.folder / "params.yaml")

    @cached_property
    def settings(self) -> parameters.Params:
        """The same, typed.

        Raises:
            InputError: they don't fit.
        """
        own = self.folder / "overrides.yaml"
        return parameters.build(self.values, str(own if own.is_file() else self.folder / "params.yaml"))


Check = Callable[[Place], Iterable[Finding]]
