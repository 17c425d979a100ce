"""scriptsight learns video representations from the words that come with videos.

>>> import scriptsight
>>> encoder = scriptsight.load("models/pretrained")
>>> encoder.encode_text(["a red circle moves to the left"])
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scriptsight.models.bundle import Encoder

__all__ = ["load"]


def load(folder: str | Path) -> Encoder:
    """Load a saved model; see `scriptsight.models.bundle.Encoder` for what it does."""
    from scriptsight.models.bundle import load  # torch takes seconds to import

    return load(folder)
