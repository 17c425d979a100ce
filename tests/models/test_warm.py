"""Warm start: an image ViT's weights in the video encoder, and the report of what became of each."""

import json
import os
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.layers import resample_abs_pos_embed, resample_patch_embed
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from scriptsight.errors import InputError
from scriptsight.models import warm
from scriptsight.models.video import MEAN, STD, VideoViT

SHAPE = {"width": 32, "depth": 2, "heads": 2, "patch": 8}


def image_model(size: int = 32, **options: object) -> VisionTransformer:
    """A small timm ViT with every weight drawn, so that none is at a value that hides a mistake."""
    shape = {"img_size": size, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2, "num_classes": 0}
    torch.manual_seed(0)
    model = VisionTransformer(**(shape | options)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def encoder(size: int = 32, tubelet: int = 2, frames: int = 2, **options: int) -> VideoViT:
    torch.manual_seed(1)
    return VideoViT(**(SHAPE | options), tubelet=tubelet, size=size, frames=frames).eval()


def stored(model: VisionTransformer, path: Path) -> str:
    save_file(model.state_dict(), path)
    return str(path)


def local_timm(folder: Path) -> str:
    """A pretrained timm model that needs no network, by its name."""
    options = {"embed_dim": 32, "depth": 2, "num_heads": 2, "patch_size": 8, "img_size": 32}
    config = {"architecture": "vit_tiny_patch16_224", "num_classes": 0, "model_args": options, "pretrained_cfg": {}}
    (folder / "config.json").write_text(json.dumps(config))
    stored(image_model(), folder / "model.safetensors")
    return f"local-dir:{folder}"


def picture(size: int = 32) -> Tensor:
    return torch.randint(0, 256, (3, size, size, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))


def expected(model: VisionTransformer, pictures: Tensor) -> Tensor:
    pixels = (pictures / 255 - torch.tensor(MEAN)) / torch.tensor(STD)  # [B, H, W, 3]
    with torch.no_grad():
        return model.forward_features(pixels.permute(0, 3, 1, 2))


def still(video: VideoViT, pictures: Tensor) -> Tensor:
    """Features of clips of one tubelet step that repeat a picture: more steps would be more tokens to attend to."""
    with torch.no_grad():
        video.time.zero_()
        return video(pictures[:, None].expand(-1, video.frames, -1, -1, -1).contiguous())


@pytest.mark.parametrize("tubelet", [1, 2, 4])
def test_a_still_clip_gives_the_image_models_features(tmp_path: Path, tubelet: int) -> None:
    model, video = image_model(), encoder(tubelet=tubelet, frames=tubelet)
    report = warm.load_into(video, stored(model, tmp_path / "vit.safetensors"))
    torch.testing.assert_close(still(video, picture()), expected(model, picture()), atol=1e-5, rtol=0)
    assert report.inflated == ["patch_embed.proj.weight"]
    assert report.skipped == report.interpolated == []
    assert report.missing == ["time"]
    assert len(report.loaded) + 1 == len(model.state_dict())


@pytest.mark.parametrize(
    "options", [{"init_values": 0.5}, {"no_embed_class": True}, {"class_token": False, "global_pool": "avg"}]
)
def test_other_kinds_of_image_vit(tmp_path: Path, options: dict[str, Any]) -> None:
    """Layer scale; a position table without the class token; no class token at all."""
    model, video = image_model(**options), encoder()
    report = warm.load_into(video, stored(model, tmp_path / "vit.safetensors"))
    if "class_token" in options:
        assert "cls_token" in report.missing
        assert "blocks.1.mlp.fc2.weight" in report.loaded
    else:
        torch.testing.assert_close(still(video, picture()), expected(model, picture()), atol=1e-5, rtol=0)


def test_register_tokens_are_skipped_and_their_positions_left_out(tmp_path: Path) -> None:
    model, video = image_model(reg_tokens=3), encoder()
    report = warm.load_into(video, stored(model, tmp_path / "vit.safetensors"))
    assert report.skipped == ["reg_token"]
    assert torch.equal(video.space[0], model.pos_embed[:, 4:])
    assert torch.equal(video.cls_token, model.cls_token + model.pos_embed[:, :1])


def test_timms_own_vit_at_its_own_size(tmp_path: Path) -> None:
    model = timm.create_model("vit_tiny_patch16_224", pretrained=False).eval()
    video = encoder(size=224, width=192, depth=12, heads=3, patch=16)
    report = warm.load_into(video, stored(model, tmp_path / "vit.safetensors"))
    assert sorted(report.skipped) == ["head.bias", "head.weight"]
    torch.testing.assert_close(still(video, picture(224)), expected(model, picture(224)), atol=1e-5, rtol=0)


def test_the_temporal_table_stays_and_no_random_number_is_drawn(tmp_path: Path) -> None:
    video, source = encoder(frames=8), local_timm(tmp_path)
    before, time = torch.get_rng_state(), video.time.clone()
    warm.load_into(video, source)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(video.time, time)


def test_a_timm_model_by_name(tmp_path: Path) -> None:
    video, name = encoder(), local_timm(tmp_path)
    assert warm.load_into(video, name).missing == ["time"]
    torch.testing.assert_close(still(video, picture()), expected(image_model(), picture()), atol=1e-5, rtol=0)
    with pytest.raises(InputError, match=r"^heads 4 does not fit: local-dir:.* has 2"):
        warm.load_into(encoder(heads=4), name)


@pytest.mark.parametrize("nest", ["model", "state_dict"])
@pytest.mark.parametrize("prefix", ["", "module.", "encoder.", "module.encoder."])
def test_nested_and_prefixed_checkpoints(tmp_path: Path, nest: str, prefix: str) -> None:
    model, plain, nested = image_model(), encoder(), encoder()
    state = {prefix + name: value for name, value in model.state_dict().items()}
    checkpoint = {nest: state | {"temperature": torch.ones(1)}, "epoch": 3, "args": Namespace(lr=1e-4)}
    torch.save(checkpoint, tmp_path / "checkpoint.pth")
    report = warm.load_into(nested, str(tmp_path / "checkpoint.pth"))
    warm.load_into(plain, stored(model, tmp_path / "vit.safetensors"))
    assert report.skipped == ["temperature"]
    assert all(torch.equal(one, other) for one, other in zip(plain.parameters(), nested.parameters(), strict=True))


def test_an_mae_checkpoint_without_its_decoder(tmp_path: Path) -> None:
    """The names of facebookresearch/mae's models_mae.py, as its pre-training checkpoints hold them."""
    model, video = image_model(), encoder()
    decoder = [f"decoder_blocks.0.{name}" for name in ("norm1.weight", "attn.qkv.weight", "mlp.fc1.bias")]
    decoder += ["mask_token", "decoder_pos_embed", "decoder_embed.weight", "decoder_norm.bias", "decoder_pred.weight"]
    torch.save({"model": model.state_dict() | {name: torch.ones(4) for name in decoder}}, tmp_path / "mae.pth")
    report = warm.load_into(video, str(tmp_path / "mae.pth"))
    assert report.skipped == decoder
    torch.testing.assert_close(still(video, picture()), expected(model, picture()), atol=1e-5, rtol=0)
    shown = str(report)
    assert "mae.pth" in shown and "skipped         8  decoder_blocks.0.norm1.weight" in shown


def test_another_grid_is_interpolated(tmp_path: Path) -> None:
    model, video = image_model(size=32), encoder(size=64)
    report = warm.load_into(video, stored(model, tmp_path / "vit.safetensors"))
    assert report.interpolated == ["pos_embed"]
    positions = resample_abs_pos_embed(model.pos_embed, [8, 8], [4, 4], num_prefix_tokens=1)
    assert torch.equal(video.space[0], positions[:, 1:])
    assert torch.equal(video.cls_token, model.cls_token + positions[:, :1])


def test_another_patch_size_is_resampled(tmp_path: Path) -> None:
    """As timm does it: a picture at half the size with half the patch gives tokens like the original's."""
    model, video = image_model(size=32), encoder(size=16, patch=4)
    report = warm.load_into(video, stored(model, tmp_path / "vit.safetensors"))
    assert report.interpolated == ["patch_embed.proj.weight"]
    kernel = resample_patch_embed(model.patch_embed.proj.weight.detach(), [4, 4])  # [D, 3, 4, 4]
    cubes = video.patch_embed.weight.unflatten(1, (2, 4, 4, 3))
    assert torch.equal(cubes.sum(1), kernel.permute(0, 2, 3, 1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 64}, r"^source .*vit\.safetensors has width 32, the video encoder has 64"),
        ({"depth": 3}, None),  # a deeper encoder takes what there is, and the report says what it lacks
    ],
)
def test_another_shape(tmp_path: Path, options: dict[str, int], message: str | None) -> None:
    video, source = encoder(**options), stored(image_model(), tmp_path / "vit.safetensors")
    if message:
        with pytest.raises(InputError, match=message):
            warm.load_into(video, source)
    else:
        assert {name.split(".")[1] for name in warm.load_into(video, source).missing if "." in name} == {"2"}


def test_a_refused_checkpoint_leaves_the_encoder_as_it_was(tmp_path: Path) -> None:
    video, state = encoder(), image_model().state_dict()
    before = [parameter.clone() for parameter in video.parameters()]
    save_file(state | {"blocks.1.mlp.fc1.weight": torch.zeros(64, 32)}, tmp_path / "vit.safetensors")
    with pytest.raises(InputError, match=r"fc1\.weight in it is \[64, 32\], the video encoder needs \[128, 32\]"):
        warm.load_into(video, str(tmp_path / "vit.safetensors"))
    assert all(torch.equal(one, other) for one, other in zip(before, video.parameters(), strict=True))


def test_what_is_no_checkpoint_of_an_image_vit(tmp_path: Path) -> None:
    save_file({"conv1.weight": torch.ones(2), "layer1.bias": torch.ones(2)}, tmp_path / "resnet.safetensors")
    with pytest.raises(InputError, match=r"^source .* has nothing that matches .*: conv1\.weight, layer1\.bias"):
        warm.load_into(encoder(), str(tmp_path / "resnet.safetensors"))
    save_file({"patch_embed.proj.weight": torch.ones(32, 3, 2, 8, 8)}, tmp_path / "video.safetensors")
    with pytest.raises(InputError, match=r"patch kernel of \[32, 3, 2, 8, 8\], not of an image model"):
        warm.load_into(encoder(), str(tmp_path / "video.safetensors"))
    (tmp_path / "torn.safetensors").write_bytes(b"1234")
    with pytest.raises(InputError, match=r"torn\.safetensors is damaged"):
        warm.load_into(encoder(), str(tmp_path / "torn.safetensors"))
    with pytest.raises(InputError, match="there is no file"):
        warm.load_into(encoder(), str(tmp_path / "none.pth"))
    with pytest.raises(InputError, match=r"^source 'vit_of_nobody' is no pretrained model that timm can give"):
        warm.load_into(encoder(), "vit_of_nobody")


class Trap:
    """Unpickling it leaves a folder behind."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.folder),)


def test_pickled_code_is_never_run(tmp_path: Path) -> None:
    torch.save({"model": image_model().state_dict(), "args": Trap(tmp_path / "sprung")}, tmp_path / "trap.pth")
    with pytest.raises(InputError, match=r"trap\.pth holds more than tensors"):
        warm.load_into(encoder(), str(tmp_path / "trap.pth"))
    assert not (tmp_path / "sprung").exists()
