"""Checkpoints to resume from: whole or not at all, outside the stage's outputs, one folder a configuration."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch

from scriptsight.files import whole_file

# The code that a training run's numbers come from, below the package.
CODE = ("arithmetic.py", "clips.py", "models", "pretrain", "segments.py", "training")


def key(*inputs: Any) -> str:
    """A digest of everything that a run depends on: `inputs` (plain values), the code and torch's version.

    Another key never resumes from this one's checkpoint.
    """
    total = hashlib.sha256(json.dumps([torch.__version__, *inputs], sort_keys=True).encode())
    package = Path(__file__).parents[1]
    for name in CODE:
        for path in sorted((package / name).rglob("*.py")) or [package / name]:
            total.update(path.read_bytes())
    return total.hexdigest()[:16]


class Checkpoint:
    """The newest state of one run, at `folder/KEY.pt`."""

    def __init__(self, folder: Path, run_key: str) -> None:
        self.path = folder / f"{run_key}.pt"

    def save(self, state: dict[str, Any]) -> None:
        with whole_file(self.path) as partial, partial.open("wb") as file:
            torch.save(state, file)  # to an open file: a full disk is then an OSError

    def load(self) -> dict[str, Any] | None:
        """The saved state, or None. Only tensors and plain values are read (`weights_only`)."""
        if not self.path.exists():
            return None
        state: dict[str, Any] = torch.load(self.path, map_location="cpu", weights_only=True)
        return state

    def remove(self) -> None:
        """The run has ended well: its outputs are all that is needed."""
        self.path.unlink(missing_ok=True)
