"""The 3D ResNet: what timm's 2D network computes of a still clip, and a bundle, probe and objectives that take it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

import scriptsight
from flows import parameters
from scriptsight.errors import InputError
from scriptsight.models import bundle, warm
from scriptsight.models.resnet import ResNet3d, TemporalConv
from scriptsight.models.text import TextEncoder
from scriptsight.models.video import MEAN, STD
from scriptsight.params import reading
from tests import small


def picture_model(depth: int) -> nn.Module:
    """timm's 2D ResNet with running statistics that are not those of a fresh one."""
    torch.manual_seed(0)
    model = timm.create_model(f"resnet{depth}", pretrained=False).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(module.weight, 0.2, 0.6)
    return model


def resnet(depth: int = 18, size: int = 64, frames: int = 3) -> ResNet3d:
    torch.manual_seed(1)
    return ResNet3d(depth=depth, size=size, frames=frames).eval()  # type: ignore[arg-type]


def clip(count: int = 2, frames: int = 3, size: int = 64) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, frames, size, size, 3), dtype=torch.uint8, generator=generator)


def stored(model: nn.Module, path: Path) -> str:
    save_file(model.state_dict(), path)
    return str(path)


@pytest.mark.parametrize("depth", [18, 50])
def test_a_still_clip_gives_the_image_models_features_at_every_step(tmp_path: Path, depth: int) -> None:
    model, video = picture_model(depth), resnet(depth)
    report = warm.load_into(video, stored(model, tmp_path / "resnet.safetensors"))
    still = clip()[:, :1].expand(-1, 3, -1, -1, -1)
    pixels = (still[:, 0] / 255 - torch.tensor(MEAN)) / torch.tensor(STD)
    with torch.no_grad():
        maps = model.forward_features(pixels.permute(0, 3, 1, 2))  # type: ignore[operator]  # [B, D, 2, 2]
        tokens = video(still)
    expected = maps.flatten(2).transpose(1, 2).repeat(1, 3, 1)  # [B, T * P, D]
    scale = expected.abs().max()
    torch.testing.assert_close(tokens[:, 1:] / scale, expected / scale, atol=1e-4, rtol=0)
    torch.testing.assert_close(tokens[:, 0] / scale, maps.mean((2, 3)) / scale, atol=1e-4, rtol=0)
    temporal = [name for name, module in video.named_modules() if isinstance(module, TemporalConv)]
    assert sorted(report.inflated) == sorted(f"{name}.weight" for name in temporal)
    assert sorted(report.skipped) == ["fc.bias", "fc.weight"]
    assert report.missing == report.interpolated == []
    assert len(report.loaded) + len(report.inflated) + 2 == len(model.state_dict())


def test_time_is_mixed_in_late_stages_only_and_never_thinned_out() -> None:
    for depth, first in ((18, ("conv1", "conv2")), (50, ("conv1",))):
        video: Any = resnet(depth)
        temporal = {name for name, module in video.named_modules() if isinstance(module, TemporalConv)}
        blocks = [f"{stage}.{i}" for stage in ("layer3", "layer4") for i in range(len(getattr(video, stage)))]
        assert temporal == {f"{block}.{conv}" for block in blocks for conv in first}
        assert all(video.get_submodule(name).stride[0] == 1 for name in temporal)
        assert video.get_submodule("layer4.0.conv1").weight.shape[2:] == ((3, 3, 3) if depth == 18 else (3, 1, 1))
        assert video(clip()).shape == (2, 1 + 3 * 4, video.width)


def test_a_temporal_convolution_equals_a_naive_sum_over_shifted_pictures() -> None:
    torch.manual_seed(0)
    layer = TemporalConv(4, 5, 3, 2).double()
    maps = torch.randn(2 * 3, 4, 8, 8, dtype=torch.float64)  # two clips of three steps
    clips = maps.unflatten(0, (2, 3))
    expected = torch.zeros(2, 3, 5, 4, 4, dtype=torch.float64)
    for step in range(3):
        for offset in (-1, 0, 1):
            neighbour = clips[:, min(max(step + offset, 0), 2)]
            expected[:, step] += F.conv2d(neighbour, layer.weight[:, :, offset + 1], stride=2, padding=1)
    torch.testing.assert_close(layer.over(maps, 3), expected.flatten(0, 1))


def test_order_in_time_matters() -> None:
    video = resnet()
    frames = clip()
    with torch.no_grad():
        assert (video(frames)[:, 0] - video(frames.flip(1))[:, 0]).abs().max() > 1e-4


def encoder() -> bundle.Encoder:
    words = TextEncoder.words([small.WORDS], width=16, vocabulary=100, max_tokens=12)
    return bundle.Encoder(resnet(size=32, frames=4), words, embed_dim=8).eval()


def test_a_bundle_keeps_the_kind_of_encoder(tmp_path: Path) -> None:
    model = encoder()
    bundle.save(model, tmp_path / "model")
    loaded = scriptsight.load(tmp_path / "model")
    assert isinstance(loaded.video, ResNet3d) and loaded.config() == model.config()
    frames = clip(2, 4, 32)
    assert torch.equal(loaded.encode_video(frames), model.encode_video(frames))
    assert loaded.features(frames)["cls"].shape == (2, 512)
    assert isinstance(bundle.random_like(tmp_path / "model", 0).video, ResNet3d)


def test_a_bundle_from_before_there_were_kinds_is_read(tmp_path: Path) -> None:
    import json

    folder = small.tiny_bundle(tmp_path / "model")
    frames = clip(2, 4, 16)
    expected = bundle.load(folder).encode_video(frames)
    config = json.loads((folder / "config.json").read_text())
    assert config["format"] == 2 and config["video"].pop("kind") == "vit"
    (folder / "config.json").write_text(json.dumps(config | {"format": 1}))
    assert torch.equal(bundle.load(folder).encode_video(frames), expected)


def test_patches_cannot_be_left_out() -> None:
    with pytest.raises(ValueError, match="a ResNet can't leave patches out"):
        resnet()(clip(), torch.zeros(2, 3, 1, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"clips must be \[B, 3, 64, 64, 3\], .* got"):
        resnet()(clip(2, 4))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "keep 0.75 leaves patches out, which needs a ViT: choose video.kind vit or keep 1.0"),
        ({"keep": 1.0, "objective": "masked_pixels"}, "masked_pixels leaves patches out, which needs a ViT"),
        ({"keep": 1.0, "engine": {"checkpoint_activations": True}}, "checkpoint_activations needs a ViT"),
        ({"keep": 1.0}, "video.width 512 is no multiple of tvts.head_heads 3"),
    ],
)
def test_what_a_resnet_cannot_do_is_named(changes: dict[str, object], message: str) -> None:
    values = reading.read_yaml(Path(__file__).parents[2] / "params.yaml")
    other = {"pretrain": {"video": {"kind": "resnet3d", "depth": 18}} | changes}
    with pytest.raises(InputError, match=message):
        parameters.build(reading.merge(values, other))


def test_frames_of_a_size_that_is_no_multiple_of_a_cell() -> None:
    """CPD's smaller variant has 112 pixels: three cells and a half, so four."""
    values = reading.read_yaml(Path(__file__).parents[2] / "params.yaml")
    small = {"image_size": 112, "keep": 1.0, "objective": "cpd", "video": {"kind": "resnet3d", "depth": 18}}
    chosen = parameters.build(reading.merge(values, {"pretrain": small, "segment": {"short_side": 112}})).pretrain
    video = bundle.build_video({**chosen.video.shape, "size": chosen.image_size, "frames": 2}).eval()
    with torch.no_grad():
        tokens = video(torch.zeros(1, 2, 112, 112, 3, dtype=torch.uint8))
    assert video.patches == 16 and tokens.shape == (1, 1 + 2 * 16, 512)


def test_a_checkpoint_of_another_depth_or_kind(tmp_path: Path) -> None:
    video = resnet(50)
    before = {name: value.clone() for name, value in video.state_dict().items()}
    with pytest.raises(InputError, match=r"layer1\.0\.conv1\.weight in it is \[64, 64, 3, 3\], a 3D ResNet-50 needs"):
        warm.load_into(video, stored(picture_model(18), tmp_path / "resnet18.safetensors"))
    assert all(torch.equal(value, before[name]) for name, value in video.state_dict().items())
    save_file({"patch_embed.proj.weight": torch.ones(2)}, tmp_path / "vit.safetensors")
    with pytest.raises(
        InputError, match=r"^source .*vit\.safetensors has nothing that matches a ResNet with timm's names"
    ):
        warm.load_into(video, str(tmp_path / "vit.safetensors"))
