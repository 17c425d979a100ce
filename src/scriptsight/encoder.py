"""The encoder as people use it: what a bundle holds (`models.bundle`), and video files in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from scriptsight import films
from scriptsight.errors import ArgumentError
from scriptsight.models import bundle
from scriptsight.windows import WINDOW

Clip = Tensor | np.ndarray  # uint8 [M, size, size, 3], RGB
Video = str | Path | Clip  # a file or an address, or its frames


class Encoder(bundle.Encoder):
    """A video and a text encoder with projections into one space, which also reads video files.

    Make one of a `VideoViT` or `ResNet3d`, a `TextEncoder` and the width of the space, or `load` one.
    """

    def embed(self, what: Video | Sequence[Video], window: float = WINDOW) -> Tensor:
        """Videos -> unit vectors float32, on the processor.

        Args:
            what: a file, an address, or the frames of a clip, uint8 [M, size, size, 3] as `preprocessing` says, RGB;
                or several of these, a batch of clips [N, M, size, size, 3] among them.
            window: seconds. A file is seen in equal windows of at most this length, each as a segment is when the
                model learns; its vector is that of their mean.

        Returns:
            [E], of several [N, E].

        Raises:
            InputError: a file that is not there or can't be decoded to its end, frames of another shape or type, or a
                `window` that is not over 0.
        """
        if isinstance(what, str | Path):
            return torch.from_numpy(films.mean(films.embed(what, self, window).vectors))
        if isinstance(what, Tensor | np.ndarray) and what.ndim == 4:
            return self._embed_clip(torch.as_tensor(what))
        if isinstance(what, Tensor | np.ndarray) and what.ndim != 5:
            raise ArgumentError("what", f"has the shape {list(what.shape)}: {self._wanted}")
        vectors = [self.embed(one, window) for one in what]
        return torch.stack(vectors) if vectors else torch.empty(0, self.embed_dim)

    def _embed_clip(self, clip: Tensor) -> Tensor:
        if clip.dtype != torch.uint8:
            raise ArgumentError("what", f"is of {clip.dtype}: {self._wanted}")
        try:
            self.video.check_shape(clip[None])
        except ValueError as error:
            raise ArgumentError("what", f"has the shape {list(clip.shape)}: {self._wanted}") from error
        device = next(self.parameters()).device
        return self.encode_video(clip[None].to(device))[0].cpu()

    @property
    def _wanted(self) -> str:
        shape = self.preprocessing
        return f"a clip is uint8 [{shape.frames}, {shape.size}, {shape.size}, 3], RGB"


def load(folder: str | Path) -> Encoder:
    """Load a saved model (a bundle) in evaluation mode on the processor.

    Raises:
        InputError: the folder is no bundle, is damaged, or was written by a newer version.
    """
    return bundle.load(folder, Encoder)
