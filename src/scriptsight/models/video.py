"""What a video encoder is, and the first: a ViT over tubelets with joint space-time attention (TVTS, section 3.1)."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from scriptsight.errors import ArgumentError

# ImageNet statistics: what image checkpoints were trained with.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
LayerNorm = partial(nn.LayerNorm, eps=1e-6)


class Attention(nn.Module):
    """Multi-head self-attention. `explicit` writes the softmax out, which CPUs do faster in bf16 than the
    fused kernel; elsewhere the fused kernel is used."""

    explicit = False

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor, queries: int) -> Tensor:
        """[B, N, D] -> the last `queries` rows, [B, queries, D]."""
        qkv = self.qkv(tokens).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # [3, B, heads, N, d]
        q, k, v = qkv.unbind(0)  # in one go: picked one by one, each would fill a whole gradient with zeros
        q = _last(q, queries, dim=2)
        if self.explicit:
            mixed = (q * q.shape[-1] ** -0.5 @ k.transpose(-2, -1)).softmax(-1) @ v
        else:
            mixed = F.scaled_dot_product_attention(q, k, v)
        return self.proj(mixed.transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    """Two layers with a GELU between them, four times as wide inside."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(tokens)))


class Block(nn.Module):
    """A pre-norm transformer block, weights named as in timm's ViT so that its checkpoints fit.

    Ours rather than timm's for `queries`, and because importing timm takes longer than a search.
    """

    # How often training leaves a branch of the block out, for each clip by itself (stochastic depth, arXiv
    # 1603.09382). Set it from outside; it is no part of the model.
    drop_path = 0.0

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.attn = LayerNorm(width), Attention(width, heads)
        self.norm2, self.mlp = LayerNorm(width), Mlp(width)

    def forward(self, tokens: Tensor, queries: int | None = None) -> Tensor:
        """[B, N, D] -> [B, N, D]; with `queries`, only the last `queries` rows are computed, which is all that
        a head reading those rows needs of its last block."""
        queries = queries or tokens.shape[1]
        tokens = _last(tokens, queries, dim=1) + self._kept(self.attn(self.norm1(tokens), queries))
        return tokens + self._kept(self.mlp(self.norm2(tokens)))

    def _kept(self, branch: Tensor) -> Tensor:
        """[B, N, D] with the branches that are left out at 0, and the others so much larger that the mean stays."""
        if not self.drop_path or not self.training:
            return branch
        kept = torch.rand(len(branch), 1, 1, device=branch.device) >= self.drop_path
        return branch * kept / (1 - self.drop_path)


class VideoEncoder(nn.Module, ABC):
    """Clips -> tokens: all that objectives, bundle and probe know of a video encoder.

    Shapes: B batch, M frames, T = M / tubelet steps in time, P places a step, N tokens, D width. Clips of fewer
    frames than `frames`, whole steps of them, take the first time positions (a second phase on images and short
    clips).
    """

    width: int  # D
    tubelet: int  # frames a step
    size: int  # pixels, the side of a square frame
    frames: int  # M, at most
    patches: int  # P
    # Activation checkpointing: a block's inside is computed again in the backward pass instead of kept, which
    # costs a forward pass and saves most of the memory. Set it from outside; it is no part of the model.
    checkpoint_blocks = False

    @property
    @abstractmethod
    def config(self) -> dict[str, Any]:
        """`kind`, and the arguments that build the same shape again."""

    @property
    def steps(self) -> int:
        """T of a whole clip."""
        return self.frames // self.tubelet

    @abstractmethod
    def forward(self, frames: Tensor, keep: Tensor | None = None, *, timed: bool = True) -> Tensor:
        """Encode clips.

        Args:
            frames: uint8 [B, M, size, size, 3], RGB.
            keep: int64 [B, T, kept]: the patches that are seen at each step, of a ViT; None sees all.
            timed: False withholds every step's position in time, where the encoder has such.

        Returns:
            [B, 1 + N, D]: one vector of the whole clip, then N = T * kept (or T * P) tokens step by step.
        """

    def check_shape(self, frames: Tensor) -> None:
        """Raises: ValueError: the clips are no clips of this encoder."""
        count = frames.shape[1]
        whole = 0 < count <= self.frames and count % self.tubelet == 0
        if not whole or frames.shape[2:] != (self.size, self.size, 3):
            raise ValueError(
                f"clips must be [B, {self.frames}, {self.size}, {self.size}, 3], or shorter by whole tubelets of "
                f"{self.tubelet} frames, got {list(frames.shape)}"
            )


class VideoViT(VideoEncoder):
    """ViT with tubelets, one spatial and one temporal position table (summed), and patch sampling.

    The paper's is a ViT-B/16 of 224 pixels: width 768, depth 12, heads 12, patch 16, tubelet 2, frames 16.

    Args:
        patch, size: pixels, the sides of a square patch and of a frame.
        tubelet, frames: frames of a step in time and of a clip.

    Raises:
        ArgumentError: `size` is no multiple of `patch`, `frames` of `tubelet`, or `width` of `heads`.
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self, *, width: int, depth: int, heads: int, patch: int, tubelet: int, size: int, frames: int
    ) -> None:
        super().__init__()
        for name, whole, part, parts in (
            ("size", size, "patch", patch),
            ("frames", frames, "tubelet", tubelet),
            ("width", width, "heads", heads),
        ):
            if whole % parts:
                raise ArgumentError(name, f"{whole} is no multiple of {part} {parts}")
        self.width, self.heads, self.patch = width, heads, patch
        self.tubelet, self.size, self.frames = tubelet, size, frames
        side = size // patch
        self.patches = side * side  # P
        self.patch_embed = nn.Linear(3 * tubelet * patch * patch, width)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        # Sine-cosine start, learned afterwards: with small random tables a small ViT stays at chance for
        # hundreds of steps.
        self.space = nn.Parameter(0.5 * sincos(_grid(side), width)[None, None])  # [1, 1, P, D]
        self.time = nn.Parameter(0.5 * sincos(np.arange(self.steps)[:, None], width)[None, :, None])  # [1, T, 1, D]
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = LayerNorm(width)
        pixels = tubelet * patch * patch  # of a cube, each with its red, green and blue
        self.register_buffer("mean", (255 * torch.tensor(MEAN)).repeat(pixels), persistent=False)
        self.register_buffer("scale", 1 / (255 * torch.tensor(STD)).repeat(pixels), persistent=False)
        nn.init.xavier_uniform_(self.patch_embed.weight)
        nn.init.zeros_(self.patch_embed.bias)
        nn.init.normal_(self.cls_token, std=0.02)

    @property
    def config(self) -> dict[str, Any]:
        names = ("width", "heads", "patch", "tubelet", "size", "frames")
        return {"kind": "vit", "depth": len(self.blocks)} | {name: getattr(self, name) for name in names}

    def forward(self, frames: Tensor, keep: Tensor | None = None, *, timed: bool = True) -> Tensor:
        """As `VideoEncoder` says; the vector of the clip is the class token. Without `timed` the steps' tokens are
        equivariant to the order of the steps: nothing else distinguishes them."""
        cubes = self.cubes(frames)  # uint8 [B, T, P, tubelet * patch * patch * 3]
        space = self.space.expand(len(frames), cubes.shape[1], -1, -1)  # [B, T, P, D]
        if keep is not None:
            # Dropped patches are never embedded: at a quarter kept that alone is 2.8x of this part.
            cubes = cubes.gather(2, keep[..., None].expand(-1, -1, -1, cubes.shape[-1]))
            space = space.gather(2, keep[..., None].expand(-1, -1, -1, self.width))
        pixels = (cubes.float() - self.mean) * self.scale
        tokens = self.patch_embed(pixels) + space  # [B, T, kept, D]
        if timed:
            tokens = tokens + self.time[:, : cubes.shape[1]]
        tokens = torch.cat([self.cls_token.expand(len(frames), -1, -1), tokens.flatten(1, 2)], dim=1)
        for block in self.blocks:
            if self.checkpoint_blocks and torch.is_grad_enabled():
                tokens = checkpoint(block, tokens, use_reentrant=False)
            else:
                tokens = block(tokens)
        return self.norm(tokens)

    def cubes(self, frames: Tensor) -> Tensor:
        """uint8 [B, M, H, W, 3] -> uint8 [B, T, P, tubelet * patch * patch * 3]."""
        self.check_shape(frames)
        batch, patch, side = len(frames), self.patch, self.size // self.patch
        cubes = frames.reshape(batch, -1, self.tubelet, side, patch, side, patch, 3)
        return cubes.permute(0, 1, 3, 5, 2, 4, 6, 7).reshape(batch, -1, self.patches, 3 * self.tubelet * patch**2)


def sample_patches(noise: Tensor, share: float) -> Tensor:
    """Which patches training sees: round(share * P) of P, drawn without replacement, independently for each
    clip and tubelet step (TVTS keeps 49 of 196).

    Args:
        noise: uniform numbers [B, T, P].

    Returns:
        int64 [B, T, kept], ascending.
    """
    kept = max(1, round(share * noise.shape[-1]))
    return noise.argsort(dim=-1)[..., :kept].sort(dim=-1).values


def use_explicit_attention(model: nn.Module, explicit: bool) -> None:
    """Set how every `Attention` of a model computes."""
    for module in model.modules():
        if isinstance(module, Attention):
            module.explicit = explicit


def set_drop_path(video: VideoViT, rate: float) -> None:
    """Leave branches of the blocks out: none of the first, `rate` of the last, in between by depth."""
    for block, own in zip(video.blocks, np.linspace(0, rate, len(video.blocks)).tolist(), strict=True):
        block.drop_path = own


def _last(rows: Tensor, count: int, dim: int) -> Tensor:
    """The last `count` rows; all of them without a slice, whose gradient is a copy."""
    total = rows.shape[dim]
    return rows if count == total else rows.narrow(dim, total - count, count)


def _grid(side: int) -> np.ndarray:
    """Row and column of each patch -> [P, 2]."""
    return np.stack(np.meshgrid(np.arange(side), np.arange(side), indexing="ij"), axis=-1).reshape(-1, 2)


def sincos(positions: np.ndarray, width: int) -> Tensor:
    """Sine-cosine codes of positions [N, axes] -> float32 [N, D]; each axis gets an equal part of the width."""
    axes = positions.shape[1]
    pairs = math.ceil(width / (2 * axes))
    rates = 1 / 10000 ** (np.arange(pairs) / pairs)
    angles = positions[:, :, None] * rates  # [N, axes, pairs]
    codes = np.concatenate([np.sin(angles), np.cos(angles)], axis=-1).reshape(len(positions), -1)
    return torch.from_numpy(codes[:, :width]).float()
