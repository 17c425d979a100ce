"""Checkpoints to resume from: whole or not at all, outside the stage's outputs, one folder a configuration."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import torch
from torch import Tensor

from scriptsight import finite
from scriptsight.code_digest import TRAINING, code_digest
from scriptsight.errors import InputError
from scriptsight.files import whole_file


def key(*inputs: Any, code: Sequence[str] = ()) -> str:
    """A digest of everything that a run depends on: `inputs` (plain values), the code and torch's version.

    Another key never resumes from this one's checkpoints. `code` names more of it than `code_digest.TRAINING` does.
    """
    made_by = code_digest((*TRAINING, *code))
    return hashlib.sha256(json.dumps([torch.__version__, made_by, *inputs], sort_keys=True).encode()).hexdigest()[:16]


class Checkpoints:
    """The newest `keep` states of one run, and its best weights, in `folder/KEY/`.

    Every process of a training reads the folder, so on several machines it must be one that all of them see.
    """

    def __init__(self, folder: Path, run_key: str, keep: int) -> None:
        self.folder, self.keep = folder / run_key, keep

    @property
    def best(self) -> Path:
        return self.folder / "best.pt"

    def save(self, step: int, state: dict[str, Any]) -> None:
        """Write the state after `step`, then remove the oldest ones over `keep`."""
        _save(self.folder / f"{step:010}.pt", state)
        for old in self._states()[self.keep :]:
            old.unlink()

    def load(self) -> tuple[dict[str, Any], Path] | None:
        """The newest state and its file, or None. Only tensors and plain values are read (`weights_only`).

        Raises:
            InputError: a file is damaged; nothing is resumed from an older one in silence.
        """
        newest = next(iter(self._states()), None)
        return (_load(newest), newest) if newest else None

    def save_best(self, weights: dict[str, Tensor]) -> None:
        """Keep the weights that did best so far."""
        _save(self.best, weights)

    def load_best(self) -> dict[str, Tensor]:
        """The weights that `save_best` kept."""
        return _load(self.best)

    def finish(self, came_to: dict[str, Any]) -> None:
        """The run has ended well: keep what it came to (tensors and plain values) in the place of what the last one
        did, and nothing else of it."""
        _save(self._finished, {"key": self.folder.name, **came_to})
        self.remove()

    def finished(self) -> dict[str, Any] | None:
        """What a run with this key came to, if it was the last one that ended well and its file is not damaged."""
        if not self._finished.is_file():
            return None
        try:
            came_to = _load(self._finished)
        except InputError:
            return None
        return came_to if came_to.pop("key", None) == self.folder.name else None

    @property
    def _finished(self) -> Path:
        return self.folder.with_name("finished.pt")

    def remove(self) -> None:
        """Leave nothing to resume from."""
        gone = self.folder.with_name(f".gone-{self.folder.name}")
        if self.folder.is_dir():
            self.folder.rename(gone)  # at once: half of it would be no run to resume
        shutil.rmtree(gone, ignore_errors=True)

    def others(self) -> list[Path]:
        """The folders of runs with other parameters, data or code that never ended."""
        return [
            path for path in sorted(self.folder.parent.glob("[0-9a-f]*")) if path.is_dir() and path != self.folder
        ]

    def _states(self) -> list[Path]:
        return sorted(self.folder.glob("[0-9]*.pt"), reverse=True)


def _save(path: Path, value: Any) -> None:
    with whole_file(path) as partial, partial.open("wb") as file:
        torch.save(value, file)  # to an open file: a full disk is then an OSError


def _weights(state: dict[str, Any]) -> dict[str, Tensor]:
    """The tensors of the model in a state, or those of `save_best`."""
    return {name: value for name, value in state.get("model", state).items() if isinstance(value, Tensor)}


def _load(path: Path) -> dict[str, Any]:
    try:
        with ZipFile(path) as archive:  # torch writes checksums, and looks at none
            if (damaged := archive.testzip()) is not None:
                raise ValueError(f"the checksum of {damaged} in it is another")
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        finite.check_weights(_weights(state), path, "Remove it.")
        return state
    except Exception as error:  # whatever a damaged or foreign file provokes in zip and unpickler
        raise InputError(
            f"The checkpoint {path} can't be read ({error}): remove it to go on from the one before it, or from "
            "the start."
        ) from error
