"""What is found on the way from a collection's videos to its part of the catalogue."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from scriptsight.catalogue import Reject


@dataclass(frozen=True)
class Notes:
    """Rows of the rejects table, and how many cues each rule of cleaning and each cut changed or took out."""

    collection: str
    rejects: list[Reject] = field(default_factory=list)
    cleaned: Counter[str] = field(default_factory=Counter)

    def add(self, uri: str, reason: str, detail: str) -> None:
        """A row: what was refused or found, a countable reason, and the detail for a person."""
        self.rejects.append(Reject(self.collection, uri, reason, detail))
