"""The other video encoder: a 3D ResNet whose kernels reach over time in its late stages only (CPD, section 3.2)."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from scriptsight.errors import ArgumentError
from scriptsight.models.video import MEAN, STD, VideoEncoder

BLOCKS: dict[int, tuple[int, ...]] = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}  # of each stage, by depth
TEMPORAL_STAGES = (3, 4)
CELL = 32  # pixels, the side of what a cell of the last feature map stands for


class TemporalConv(nn.Conv3d):
    """A convolution over 3 steps in time. The first and the last step repeat beyond the ends, so that a still clip
    gives at every step what its picture gives the 2D network (the fixed point of I3D, arXiv 1705.07750)."""

    def __init__(self, inside: int, outside: int, kernel: int, stride: int) -> None:
        space = kernel // 2
        super().__init__(inside, outside, (3, kernel, kernel), (1, stride, stride), (0, space, space), bias=False)

    def over(self, maps: Tensor, steps: int) -> Tensor:
        """[B * T, C, h, w] -> [B * T, C', h', w']."""
        clips = maps.unflatten(0, (-1, steps)).transpose(1, 2)  # [B, C, T, h, w]
        clips = torch.cat([clips[:, :, :1], clips, clips[:, :, -1:]], dim=2)
        return self(clips).transpose(1, 2).flatten(0, 1)


def _conv(inside: int, outside: int, kernel: int, stride: int = 1, *, temporal: bool = False) -> nn.Module:
    if temporal:
        return TemporalConv(inside, outside, kernel, stride)
    return nn.Conv2d(inside, outside, kernel, stride, padding=kernel // 2, bias=False)


class ResidualBlock(nn.Module):
    """A basic block (two 3 x 3) or a bottleneck (1 x 1, 3 x 3, 1 x 1), weights named as in timm's ResNets.

    A `temporal` bottleneck's first kernel is 3 x 1 x 1, and both kernels of a temporal basic block 3 x 3 x 3.
    """

    def __init__(self, inside: int, planes: int, stride: int, *, bottleneck: bool, temporal: bool) -> None:
        super().__init__()
        outside = 4 * planes if bottleneck else planes
        first = (1, 1) if bottleneck else (3, stride)
        self.conv1 = _conv(inside, planes, *first, temporal=temporal)
        self.bn1 = nn.BatchNorm2d(planes)
        second = stride if bottleneck else 1
        self.conv2 = _conv(planes, planes, 3, second, temporal=temporal and not bottleneck)
        self.bn2 = nn.BatchNorm2d(planes)
        if bottleneck:
            self.conv3 = _conv(planes, outside, 1)
            self.bn3 = nn.BatchNorm2d(outside)
        self.downsample = None
        if stride > 1 or inside != outside:
            self.downsample = nn.Sequential(_conv(inside, outside, 1, stride), nn.BatchNorm2d(outside))
        self.bottleneck = bottleneck

    def forward(self, maps: Tensor, steps: int) -> Tensor:
        """[B * T, C, h, w] -> [B * T, C', h', w']."""

        def apply(conv: nn.Module, values: Tensor) -> Tensor:
            result: Tensor = conv.over(values, steps) if isinstance(conv, TemporalConv) else conv(values)
            return result

        found = self.bn1(apply(self.conv1, maps)).relu()
        found = self.bn2(apply(self.conv2, found))
        if self.bottleneck:
            found = self.bn3(apply(self.conv3, found.relu()))
        short = maps if self.downsample is None else self.downsample(maps)
        return (found + short).relu()


class ResNet3d(VideoEncoder):
    """3D ResNet-18 or 50 without temporal striding: every frame is a step, T = M, P cells of 32 pixels a step.

    All but the temporal kernels are computed as the 2D layers they are, with the steps in the batch.

    Args:
        size: pixels, the side of a square frame.
        frames: of a clip.

    Raises:
        ArgumentError: another `depth`.
    """

    tubelet = 1
    mean: Tensor
    scale: Tensor

    def __init__(self, *, depth: Literal[18, 50], size: int, frames: int) -> None:
        super().__init__()
        if depth not in BLOCKS:
            raise ArgumentError("depth", f"{depth} is none of {', '.join(map(str, BLOCKS))}")
        self.depth, self.size, self.frames = depth, size, frames
        self.patches = (-(-size // CELL)) ** 2
        bottleneck = depth == 50
        self.conv1 = nn.Conv2d(3, 64, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        inside = 64
        for stage, count in enumerate(BLOCKS[depth], start=1):
            planes = 64 * 2 ** (stage - 1)
            blocks = nn.ModuleList()
            for index in range(count):
                stride = 2 if stage > 1 and index == 0 else 1
                blocks.append(
                    ResidualBlock(inside, planes, stride, bottleneck=bottleneck, temporal=stage in TEMPORAL_STAGES)
                )
                inside = 4 * planes if bottleneck else planes
            self.add_module(f"layer{stage}", blocks)
        self.width = inside
        self.register_buffer("mean", 255 * torch.tensor(MEAN)[:, None, None], persistent=False)
        self.register_buffer("scale", 1 / (255 * torch.tensor(STD))[:, None, None], persistent=False)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    @property
    def config(self) -> dict[str, Any]:
        return {"kind": "resnet3d", "depth": self.depth, "size": self.size, "frames": self.frames}

    def forward(self, frames: Tensor, keep: Tensor | None = None, *, timed: bool = True) -> Tensor:
        """As `VideoEncoder` says; the vector of the clip is the mean of its cells (global average pooling). It knows
        no positions that `timed` could withhold.

        Raises:
            ValueError: `keep` is given; a convolution can't leave patches out.
        """
        if keep is not None:
            raise ValueError("a ResNet can't leave patches out")
        self.check_shape(frames)
        steps = frames.shape[1]
        pixels = frames.flatten(0, 1).permute(0, 3, 1, 2)  # [B * T, 3, size, size]
        maps = (pixels.float() - self.mean) * self.scale
        maps = self.maxpool(self.bn1(self.conv1(maps)).relu())
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            for block in stage:  # type: ignore[union-attr]
                maps = block(maps, steps)
        tokens = maps.flatten(2).transpose(1, 2).unflatten(0, (-1, steps)).flatten(1, 2)  # [B, T * P, D]
        return torch.cat([tokens.mean(1, keepdim=True), tokens], dim=1)
