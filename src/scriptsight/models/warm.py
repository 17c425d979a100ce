"""Warm start: an image ViT's weights into a video encoder.

Sources are timm's image ViTs, by name or as a file, and files with timm's names such as the MAE checkpoints'.
"""

from __future__ import annotations

import math
import pickle
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from scriptsight.errors import InputError
from scriptsight.models.video import VideoViT

PATCH_KERNEL = "patch_embed.proj.weight"
SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
NESTS = ("model", "state_dict", "module")  # where training scripts keep the weights in a checkpoint


@dataclass
class LoadReport:
    """What became of each weight: names of the source, but `missing`, which are names of the video encoder."""

    source: str
    loaded: list[str] = field(default_factory=list)
    inflated: list[str] = field(default_factory=list)  # 2D patch kernels, spread over the tubelet
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


def load_into(video: VideoViT, source: str) -> LoadReport:
    """Start a video encoder from an image ViT.

    The 2D patch kernel is repeated along the tubelet's frames (TVTS, section 3.1) and divided by their number
    (I3D, arXiv 1705.07750, section 2.1), so that a tubelet of equal frames gives the image model's token; without
    the division its content would grow with the tubelet against the position tables. The spatial table is
    interpolated to the grid, the class token takes its own position in, layer scale is folded into the weights
    that it scales, and the temporal table stays at its start: images know nothing of it.

    Args:
        video: changed in place; its blocks count, width and heads stay as they are.
        source: a timm model name, or a .safetensors, .pth, .pt or .bin file; pickled code is never run.

    Raises:
        InputError: there is no such source, it can't be read, nothing in it fits, or it has another width.
    """
    weights = _weights(source, video)
    report = LoadReport(source)
    prefix = _prefix(weights, source)
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
            raise InputError(
                f"pretrain.video.init: {name} in {source} is {list(value.shape)}, the video encoder needs "
                f"{list(ours[target].shape)}. Choose width, depth and heads of pretrain.video to fit the checkpoint."
            )
        else:
            new[target] = value
            report.loaded.append(name)
    report.missing = [name for name in ours if name not in new]
    with torch.no_grad():
        for name, value in new.items():
            ours[name].copy_(value)
    return report


def _weights(source: str, video: VideoViT) -> dict[str, Tensor]:
    path = Path(source)
    if path.suffix in SUFFIXES:
        return _read(path)
    return _from_timm(source, video)


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise InputError(f"pretrain.video.init: there is no file {path}.")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        # Training scripts keep their options beside the weights: a Namespace holds values and runs nothing.
        with torch.serialization.safe_globals([Namespace]):
            state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"pretrain.video.init: {path} holds more than tensors, and pickled code is never run. Save the model's "
            "state_dict alone, best as .safetensors."
        ) from error
    except Exception as error:  # whatever a damaged file provokes in two readers
        raise InputError(f"pretrain.video.init: {path} is damaged or holds no weights: {error}.") from error
    while inner := [key for key in NESTS if isinstance(state, Mapping) and isinstance(state.get(key), Mapping)]:
        state = state[inner[0]]
    if not isinstance(state, Mapping):
        raise InputError(f"pretrain.video.init: {path} holds no weights by name, but a {type(state).__name__}.")
    return {str(name): value for name, value in state.items() if isinstance(value, Tensor)}


def _from_timm(name: str, video: VideoViT) -> dict[str, Tensor]:
    import timm  # seconds to import, and the default does not need it

    try:
        with torch.random.fork_rng(devices=[]):  # timm draws initial weights before it loads the trained ones
            model = timm.create_model(name, pretrained=True, num_classes=0)
    except Exception as error:  # an unknown name, no weights, and whatever a network provokes
        raise InputError(
            f"pretrain.video.init: timm can't give the pretrained model {name!r}: {error}. Its weights come from the "
            "network; without it, name a file (.safetensors or .pth)."
        ) from error
    heads = next((part.num_heads for part in model.modules() if hasattr(part, "num_heads")), video.heads)
    if heads != video.heads:
        raise InputError(f"pretrain.video.heads is {video.heads}, and {name} has {heads}: its weights need as many.")
    return dict(model.state_dict())


def _prefix(weights: Mapping[str, Tensor], source: str) -> str:
    """What stands before timm's names, such as `module.` or `encoder.`."""
    found = [name.removesuffix(PATCH_KERNEL) for name in weights if name.endswith(PATCH_KERNEL)]
    if not found:
        first = ", ".join(list(weights)[:5]) or "none"
        raise InputError(
            f"pretrain.video.init: nothing in {source} matches a ViT with timm's names: it has no {PATCH_KERNEL}. "
            f"Its first names: {first}."
        )
    return min(found, key=len)


def _check_width(kernel: Tensor, video: VideoViT, source: str) -> None:
    if kernel.ndim != 4 or kernel.shape[1] != 3:
        raise InputError(
            f"pretrain.video.init: the patch kernel in {source} is {list(kernel.shape)}, not of an image model "
            "(width, 3, patch, patch)."
        )
    if len(kernel) != video.width:
        raise InputError(f"pretrain.video.init: {source} has width {len(kernel)}, pretrain.video has {video.width}.")


def _patch_kernel(kernel: Tensor, video: VideoViT, report: LoadReport, source: str) -> dict[str, Tensor]:
    """[D, 3, p, p] -> our linear layer's [D, tubelet * patch * patch * 3]."""
    kernel = kernel.float()
    if kernel.shape[2:] != (video.patch, video.patch):
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
