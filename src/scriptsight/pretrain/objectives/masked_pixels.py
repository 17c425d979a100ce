"""VideoMAE: what was under the tubes (arXiv 2203.12602), the papers' baseline that learns without words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scriptsight.errors import ArgumentError, keyed
from scriptsight.models.bundle import Encoder
from scriptsight.models.video import Block, LayerNorm, VideoViT, sincos
from scriptsight.params.pretrain import PretrainParams
from scriptsight.pretrain.batches import Batch
from scriptsight.training.objective import Draw, Objective


class PixelDecoder(nn.Module):
    """A narrow transformer: visible tokens and mask tokens at fixed sine-cosine positions -> pixels of the masked.

    The class token goes along without a position, as in MAE; VideoMAE has none.
    """

    positions: Tensor

    def __init__(self, *, video_width: int, cubes: int, pixels: int, width: int, depth: int, heads: int) -> None:
        super().__init__()
        self.narrow = nn.Linear(video_width, width, bias=False)
        self.mask_token = nn.Parameter(torch.zeros(width))
        self.register_buffer("positions", sincos(np.arange(cubes)[:, None], width), persistent=False)  # [T * P, D']
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = LayerNorm(width)
        self.predict = nn.Linear(width, pixels)
        nn.init.normal_(self.mask_token, std=0.02)

    def forward(self, tokens: Tensor, seen: Tensor, masked: Tensor) -> Tensor:
        """Tokens [B, 1 + n, D] of the class and of cubes `seen` [B, n] -> pixels of cubes `masked` [B, m, pixels]."""
        narrow = self.narrow(tokens)
        visible = narrow[:, 1:] + self.positions[seen]
        hidden = self.mask_token + self.positions[masked]
        joined = torch.cat([narrow[:, :1], visible, hidden], dim=1)  # [B, 1 + n + m, D']
        for block in self.blocks[:-1]:
            joined = block(joined)
        pixels: Tensor = self.predict(self.norm(self.blocks[-1](joined, queries=masked.shape[1])))
        return pixels


class MaskedPixels(Objective):
    """loss = mean squared error of the masked cubes' normalised pixels. Words play no part.

    Args:
        encoder: one with a ViT.
        mask: the share of the patches that are hidden, the same ones at every step (the paper's 0.9).
        decoder_width, decoder_depth, decoder_heads: of the decoder (the paper's, of a ViT-B: 384, 4 and 6).

    Raises:
        ArgumentError: an encoder without a ViT, or heads that do not divide the decoder's width.
    """

    headline = "masked_fit"

    def __init__(
        self,
        encoder: Encoder,
        *,
        mask: float = 0.9,
        decoder_width: int = 384,
        decoder_depth: int = 4,
        decoder_heads: int = 6,
    ) -> None:
        super().__init__()
        video = encoder.video
        if not isinstance(video, VideoViT):
            raise ArgumentError("encoder", "has no ViT, and masked pixels leave patches out: take a VideoViT")
        if decoder_width % decoder_heads:
            raise ArgumentError("decoder_width", f"{decoder_width} is no multiple of decoder_heads {decoder_heads}")
        self.encoder, self.mask = encoder, mask
        self.decoder = PixelDecoder(
            video_width=video.width,
            cubes=video.steps * video.patches,
            pixels=3 * video.tubelet * video.patch**2,
            width=decoder_width,
            depth=decoder_depth,
            heads=decoder_heads,
        )

    @classmethod
    def from_params(cls, encoder: Encoder, params: PretrainParams) -> MaskedPixels:
        """As `pretrain.masked_pixels` of params.yaml says.

        Raises:
            InputError: as above; the message names the key.
        """
        with keyed("pretrain.masked_pixels", {"encoder": "pretrain.video.kind"}):
            return cls(encoder, **params.masked_pixels.model_dump())

    def losses(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        """ "loss" alone."""
        predicted, target = self.predict(batch, draw.rand(self._video.patches))
        return {"loss": F.mse_loss(predicted, target)}

    @property
    def _video(self) -> VideoViT:
        assert isinstance(self.encoder.video, VideoViT)
        return self.encoder.video

    def predict(self, batch: Batch, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Predicted and true pixels of the masked cubes, float32 [B, T * masked, pixels], with tubes drawn by `noise`
        [B, P]."""
        video, device = self._video, batch.frames.device
        seen, masked = (places.to(device) for places in draw_tubes(noise, self.mask))  # [B, kept], [B, masked]
        cubes = video.cubes(batch.frames)  # uint8 [B, T, P, pixels]
        steps = cubes.shape[1]
        tokens = video(batch.frames, seen[:, None].expand(-1, steps, -1))  # [B, 1 + T * kept, D]
        starts = video.patches * torch.arange(steps, device=device)[:, None]  # of each step's cubes
        seen, masked = ((starts + places[:, None]).flatten(1) for places in (seen, masked))  # [B, T * ...]
        predicted = self.decoder(tokens, seen, masked).float()
        hidden = cubes.flatten(1, 2).gather(1, masked[..., None].expand(-1, -1, cubes.shape[-1]))
        return predicted, normalised(hidden)

    def measure(self, batch: Batch) -> dict[str, Tensor]:
        """Sums over all masked pixels of the batch: the squared "error", and that of each cube's "mean"."""
        generator = torch.Generator().manual_seed(0)  # the same tubes at every validation
        predicted, target = self.predict(
            batch, torch.rand(len(batch.frames), self._video.patches, generator=generator)
        )
        return {"error": (predicted - target).square().sum(), "mean": target.square().sum()}

    def figures(self, parts: Sequence[dict[str, Tensor]]) -> dict[str, Any]:
        """ "masked_error": the squared error as a share of what predicting each cube's mean costs, 1 by chance, and
        "masked_fit" = 1 - masked_error, 0 by chance: the higher the better."""
        error, mean = (sum(part[name].double().item() for part in parts) for name in ("error", "mean"))
        share = error / max(mean, 1e-12)
        return {"masked_error": share, "masked_error_chance": 1.0, "masked_fit": 1 - share, "masked_fit_chance": 0.0}


def draw_tubes(noise: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Uniform numbers [B, P] -> the patches that are seen and those that are masked at every step, ascending, int64
    [B, P - masked] and [B, masked] with masked = round(share * P), but one at least of each."""
    patches = noise.shape[1]
    masked = min(max(round(share * patches), 1), patches - 1)
    order = noise.argsort(-1)
    return order[:, masked:].sort(-1).values, order[:, :masked].sort(-1).values


def normalised(cubes: Tensor) -> Tensor:
    """Cubes uint8 [..., pixels * 3] -> float32 with mean 0 and variance 1 of each colour in each cube, as VideoMAE's
    code does it; of one grey, zeros."""
    colours = cubes.float().unflatten(-1, (-1, 3)) / 255  # [..., pixels, 3]
    centred = colours - colours.mean(-2, keepdim=True)
    return (centred / (colours.var(-2, keepdim=True).sqrt() + 1e-6)).flatten(-2)
