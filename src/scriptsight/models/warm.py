"""Warm start: an image model's weights into a video encoder, a ViT's into a ViT and a ResNet's into a 3D ResNet.

Sources are timm's image models, by name or as a file, and files with timm's names such as the MAE checkpoints' and
torchvision's ResNets.
"""

from __future__ import annotations

import math
import pickle
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import ZipFile, is_zipfile

import torch
from safetensors.torch import load_file
from torch import Tensor

from scriptsight import finite
from scriptsight.errors import ArgumentError, InputError, needs
from scriptsight.models.resnet import ResNet3d
from scriptsight.models.video import VideoEncoder, VideoViT

PATCH_KERNEL = "patch_embed.proj.weight"
STEM_KERNEL = "conv1.weight"
SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
NESTS = ("model", "state_dict", "module")  # where training scripts keep the weights in a checkpoint


@dataclass
class LoadReport:
    """What became of each weight: names of the source, but `missing`, which are names of the video encoder."""

    source: str
    loaded: list[str] = field(default_factory=list)
    inflated: list[str] = field(default_factory=list)  # 2D kernels, spread over time
    interpolated: list[str] = field(default_factory=list)  # tables and kernels brought to another grid or patch
    skipped: list[str] = field(default_factory=list)  # nothing of the video encoder takes them
    missing: list[str] = field(default_factory=list)  # left at their start

    def __str__(self) -> str:
        rows = []
        for kind in ("loaded", "inflated", "interpolated", "skipped", "missing"):
            names = getattr(self, kind)
            shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
            rows.append(f"  {kind:12} {len(names):4}  {shown}".rstrip())
        return "\n".join([f"Warm start of the video encoder from {self.source}:", *rows])


def load_into(video: VideoEncoder, source: str) -> LoadReport:
    """Start a video encoder from an image model of its kind.

    A ViT's 2D patch kernel is repeated along the tubelet's frames (TVTS, section 3.1) and divided by their number
    (I3D, arXiv 1705.07750, section 2.1), so that a tubelet of equal frames gives the image model's token; without
    the division its content would grow with the tubelet against the position tables. The spatial table is
    interpolated to the grid, the class token takes its own position in, layer scale is folded into the weights
    that it scales, and the temporal table stays at its start: images know nothing of it.
    A ResNet's temporal kernels are its 2D kernels, repeated and divided alike; the running statistics come along.

    Args:
        video: changed in place; its blocks count, width and heads stay as they are.
        source: a timm model name, or a .safetensors, .pth, .pt or .bin file; pickled code is never run.

    Raises:
        ArgumentError: there is no such source, it can't be read, nothing in it fits, it has another width, or a
            weight is not finite.
        MissingExtra: timm is not installed, and `source` is none of these files or has another grid.
    """
    weights = _weights(source, video)
    try:
        finite.check_weights(weights, source, "Get the file again, or start from another model.")
    except InputError as error:
        raise ArgumentError("source", str(error)) from error
    if isinstance(video, ResNet3d):
        return _into_resnet(video, weights, source)
    assert isinstance(video, VideoViT)
    return _into_vit(video, weights, source)


def _into_vit(video: VideoViT, weights: Mapping[str, Tensor], source: str) -> LoadReport:
    report = LoadReport(source)
    prefix = _prefix(weights, PATCH_KERNEL, source)
    ours = dict(video.named_parameters())
    _check_width(weights[prefix + PATCH_KERNEL], video, source)
    state = _layer_scale_folded(
        {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}, report
    )
    report.skipped += [name for name in weights if not name.startswith(prefix)]

    new = _patch_kernel(state.pop(PATCH_KERNEL), video, report, source)
    new |= _positions(state, video, report)
    for name, value in state.items():
        target = {"patch_embed.proj.bias": "patch_embed.bias"}.get(name, name)
        if target not in ours or target in new:
            report.skipped.append(name)
        elif ours[target].shape != value.shape:
            raise ArgumentError(
                "source",
                f"{source} does not fit: {name} in it is {list(value.shape)}, the video encoder needs "
                f"{list(ours[target].shape)}. Choose its width, depth and heads to fit the checkpoint.",
            )
        else:
            new[target] = value
            report.loaded.append(name)
    return _taken(ours, new, report)


def _into_resnet(video: ResNet3d, weights: Mapping[str, Tensor], source: str) -> LoadReport:
    report = LoadReport(source)
    prefix = _prefix(weights, STEM_KERNEL, source)
    ours, new = video.state_dict(), dict[str, Tensor]()  # the running statistics as well
    for name, value in weights.items():
        target = name.removeprefix(prefix)
        if not name.startswith(prefix) or target not in ours:
            report.skipped.append(name)
            continue
        wanted = ours[target].shape
        if len(wanted) == 5 and value.ndim == 4:
            value = value[:, :, None].expand(-1, -1, wanted[2], -1, -1) / wanted[2]
            report.inflated.append(target)
        else:
            report.loaded.append(target)
        if value.shape != wanted:
            raise ArgumentError(
                "source",
                f"{source} does not fit: {name} in it is {list(value.shape)}, a 3D ResNet-{video.depth} needs "
                f"{list(wanted)}. Choose its depth to fit the checkpoint.",
            )
        new[target] = value
    return _taken(ours, new, report)


def _taken(ours: Mapping[str, Tensor], new: Mapping[str, Tensor], report: LoadReport) -> LoadReport:
    """Copy `new` into `ours`, and complete the report."""
    report.missing = [name for name in ours if name not in new]
    with torch.no_grad():
        for name, value in new.items():
            ours[name].copy_(value)
    return report


def _weights(source: str, video: VideoEncoder) -> dict[str, Tensor]:
    path = Path(source)
    if path.suffix in SUFFIXES:
        return _read(path)
    return _from_timm(source, video)


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise ArgumentError("source", f"{path} is missing: there is no file of this name.")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        if is_zipfile(path):  # torch itself looks at no checksum
            with ZipFile(path) as archive:
                if (damaged := archive.testzip()) is not None:
                    raise ValueError(f"the checksum of {damaged} in it is another")
        # Training scripts keep their options beside the weights: a Namespace holds values and runs nothing.
        with torch.serialization.safe_globals([Namespace]):
            state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ArgumentError(
            "source",
            f"{path} holds more than tensors, and pickled code is never run. Save the model's state_dict alone, best "
            "as .safetensors.",
        ) from error
    except Exception as error:  # whatever a damaged file provokes in two readers
        raise ArgumentError("source", f"{path} is damaged or holds no weights: {error}.") from error
    while inner := [key for key in NESTS if isinstance(state, Mapping) and isinstance(state.get(key), Mapping)]:
        state = state[inner[0]]
    if not isinstance(state, Mapping):
        raise ArgumentError("source", f"{path} holds no weights by name, but a {type(state).__name__}.")
    return {str(name): value for name, value in state.items() if isinstance(value, Tensor)}


def _from_timm(name: str, video: VideoEncoder) -> dict[str, Tensor]:
    with needs("learn", f"The image model {name}"):
        import timm  # seconds to import, and the default does not need it

    try:
        with torch.random.fork_rng(devices=[]):  # timm draws initial weights before it loads the trained ones
            model = timm.create_model(name, pretrained=True, num_classes=0)
    except Exception as error:  # an unknown name, no weights, and whatever a network provokes
        raise ArgumentError(
            "source",
            f"{name!r} is no pretrained model that timm can give: {error}. Its weights come from the network; "
            "without it, name a file (.safetensors or .pth).",
        ) from error
    heads = next((part.num_heads for part in model.modules() if hasattr(part, "num_heads")), None)
    if heads and isinstance(video, VideoViT) and heads != video.heads:
        raise ArgumentError("heads", f"{video.heads} does not fit: {name} has {heads}, and its weights need as many.")
    return dict(model.state_dict())


def _prefix(weights: Mapping[str, Tensor], kernel: str, source: str) -> str:
    """What stands before timm's names, such as `module.` or `encoder.`; `kernel` is the first layer's."""
    found = [name.removesuffix(kernel) for name in weights if name.endswith(kernel)]
    if not found:
        first = ", ".join(list(weights)[:5]) or "none"
        kind = "ViT" if kernel == PATCH_KERNEL else "ResNet"
        raise ArgumentError(
            "source",
            f"{source} has nothing that matches a {kind} with timm's names: no {kernel}. Its first names: {first}.",
        )
    return min(found, key=len)


def _check_width(kernel: Tensor, video: VideoViT, source: str) -> None:
    if kernel.ndim != 4 or kernel.shape[1] != 3:
        raise ArgumentError(
            "source",
            f"{source} has a patch kernel of {list(kernel.shape)}, not of an image model (width, 3, patch, patch).",
        )
    if len(kernel) != video.width:
        raise ArgumentError("source", f"{source} has width {len(kernel)}, the video encoder has {video.width}.")


def _patch_kernel(kernel: Tensor, video: VideoViT, report: LoadReport, source: str) -> dict[str, Tensor]:
    """[D, 3, p, p] -> our linear layer's [D, tubelet * patch * patch * 3]."""
    kernel = kernel.float()
    if kernel.shape[2:] != (video.patch, video.patch):
        with needs("learn", "Bringing weights to another patch"):
            from timm.layers import resample_patch_embed

        # FlexiViT (arXiv 2212.08013): the kernel that gives a resized patch the token of the original one.
        kernel = resample_patch_embed(kernel, [video.patch, video.patch])
        report.interpolated.append(PATCH_KERNEL)
    report.inflated.append(PATCH_KERNEL)
    cube = kernel.permute(0, 2, 3, 1)[:, None].expand(-1, video.tubelet, -1, -1, -1)  # [D, tubelet, p, p, 3]
    return {"patch_embed.weight": cube.flatten(1) / video.tubelet}


def _positions(state: dict[str, Tensor], video: VideoViT, report: LoadReport) -> dict[str, Tensor]:
    """Takes class token and position table out of `state`; tables may hold class and register tokens first."""
    new: dict[str, Tensor] = {}
    token, table = state.pop("cls_token", None), state.pop("pos_embed", None)
    first = torch.zeros(())
    if table is not None:
        side = math.isqrt(table.shape[1])
        extra = table.shape[1] - side * side
        space = table[:, extra:].float()  # [1, side * side, D]
        if space.shape[1] == video.patches:
            report.loaded.append("pos_embed")
        else:
            with needs("learn", "Bringing weights to another grid"):
                from timm.layers import resample_abs_pos_embed

            grid = math.isqrt(video.patches)
            space = resample_abs_pos_embed(space, [grid, grid], [side, side], num_prefix_tokens=0)
            report.interpolated.append("pos_embed")
        new["space"] = space[None]
        first = table[:, :1].float() if extra else first
    if token is not None:
        new["cls_token"] = token.float() + first
        report.loaded.append("cls_token")
    return new


def _layer_scale_folded(state: dict[str, Tensor], report: LoadReport) -> dict[str, Tensor]:
    """gamma * (W x + b) = (gamma W) x + gamma b, for the layer that each layer scale follows."""
    state = dict(state)
    for name in [name for name in state if name.endswith((".ls1.gamma", ".ls2.gamma"))]:
        gamma = state.pop(name)
        layer = name.replace("ls1.gamma", "attn.proj").replace("ls2.gamma", "mlp.fc2")
        state[f"{layer}.weight"] = gamma[:, None] * state[f"{layer}.weight"]
        state[f"{layer}.bias"] = gamma * state[f"{layer}.bias"]
        report.loaded.append(name)
    return state
