"""What `import scriptsight` offers: README's example, names without waiting, videos in, plain arguments."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import scriptsight
from scriptsight import films
from scriptsight.errors import ArgumentError, InputError, MissingExtra, needs
from scriptsight.training.objective import Objective
from tests import small
from tests.conftest import MakeVideo
from tests.training.together import settings


@pytest.fixture
def encoder(tmp_path: Path) -> scriptsight.Encoder:
    return scriptsight.load(small.tiny_bundle(tmp_path / "model"))


def clip(seed: int = 0) -> torch.Tensor:
    """A clip of the tiny encoder, uint8 [4, 16, 16, 3]."""
    return torch.randint(0, 256, (4, 16, 16, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def test_the_example_of_the_readme(
    tmp_path: Path, make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(small.searchable(tmp_path))
    make_video(tmp_path / "clip.mp4", seconds=4)
    capsys.readouterr()
    names: dict[str, Any] = {}
    exec(small.readme_example(), names)  # noqa: S102 - our own README
    printed = capsys.readouterr().out.splitlines()
    assert names["clip"].shape == (8,) and names["words"].shape == (2, 8)
    assert [line.split()[0] for line in printed[1:]] == [moment.uri for moment in answers(tmp_path)]
    assert {line.split()[0] for line in printed[1:]} == {"videos/red.mp4", "videos/blue.mp4"}


def answers(folder: Path) -> list[scriptsight.Moment]:
    query = "the red circle moves to the left"
    return scriptsight.search(query, index=folder / "models/index", model=folder / "models/pretrained")


def test_importing_it_imports_nothing_heavy() -> None:
    code = """
import sys, scriptsight
assert not {"torch", "numpy", "pyarrow", "av"} & set(sys.modules), sorted(sys.modules)
assert set(scriptsight.__all__) <= set(dir(scriptsight))
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)  # noqa: S603 - our own words


def test_all_that_it_offers_is_there_and_nothing_else() -> None:
    for name in scriptsight.__all__:
        value = getattr(scriptsight, name)
        assert value.__doc__, f"{name} says nothing of itself"
    assert scriptsight.nce.nce_loss.__module__ == "scriptsight.pretrain.objectives.nce"
    with pytest.raises(AttributeError, match="has no attribute 'no_such_thing'"):
        scriptsight.no_such_thing  # type: ignore[attr-defined]  # noqa: B018


def test_a_video_file_is_the_mean_of_its_windows(
    encoder: scriptsight.Encoder, tmp_path: Path, make_video: MakeVideo
) -> None:
    path = make_video(tmp_path / "a.mp4", seconds=4)
    windows = films.embed(path, encoder, 1.5)
    found = encoder.embed(path, window=1.5)
    assert len(windows.vectors) == 3
    expected = windows.vectors.astype(np.float64).mean(axis=0)
    np.testing.assert_allclose(found.numpy(), expected / np.linalg.norm(expected), atol=1e-6)
    assert torch.equal(encoder.embed(str(path)), encoder.embed(path)) and not torch.equal(encoder.embed(path), found)


def test_frames_and_lists(encoder: scriptsight.Encoder, tmp_path: Path, make_video: MakeVideo) -> None:
    one, other = clip(0), clip(1)
    alone = encoder.embed(one)
    torch.testing.assert_close(alone, encoder.encode_video(one[None])[0])
    assert alone.shape == (8,) and alone.norm().item() == pytest.approx(1)
    both = torch.stack([encoder.embed(one), encoder.embed(other)])
    assert torch.equal(encoder.embed([one, other]), both)
    assert torch.equal(encoder.embed(torch.stack([one, other])), both)
    assert torch.equal(encoder.embed(np.stack([one.numpy(), other.numpy()])), both)
    path = make_video(tmp_path / "a.mp4", seconds=2)
    mixed = encoder.embed([str(path), one])
    assert torch.equal(mixed[0], encoder.embed(path)) and torch.equal(mixed[1], alone)
    assert encoder.embed([]).shape == (0, 8)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        (torch.zeros(4, 16, 16, 3), r"^what is of torch.float32: a clip is uint8 \[4, 16, 16, 3\]"),
        (torch.zeros(4, 24, 16, 3, dtype=torch.uint8), r"^what has the shape \[4, 24, 16, 3\]: a clip is uint8"),
        (np.zeros((16, 16, 3), np.uint8), r"^what has the shape \[16, 16, 3\]"),
        ("nowhere.mp4", r"nowhere\.mp4: missing video"),
        ("gopher://talk.mp4", "'gopher' is none of"),
    ],
)
def test_what_is_no_video(encoder: scriptsight.Encoder, what: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        encoder.embed(what)


def test_a_model_is_built_saved_and_loaded(tmp_path: Path) -> None:
    built = scriptsight.Encoder(
        scriptsight.VideoViT(width=32, depth=1, heads=2, patch=8, tubelet=2, size=16, frames=4),
        scriptsight.TextEncoder.words([small.WORDS], width=16),
        embed_dim=8,
    ).eval()
    scriptsight.save(built, tmp_path / "model")
    assert torch.equal(scriptsight.load(tmp_path / "model").embed(clip()), built.embed(clip()))
    assert built.preprocessing == scriptsight.Preprocessing(frames=4, size=16)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: vit(size=225, patch=16), "^size 225 is no multiple of patch 16"),
        (lambda: vit(frames=5), "^frames 5 is no multiple of tubelet 2"),
        (lambda: vit(width=33), "^width 33 is no multiple of heads 2"),
        (lambda: scriptsight.ResNet3d(depth=34, size=32, frames=4), "^depth 34 is none of 18, 50"),  # type: ignore[arg-type]
        (lambda: scriptsight.TextEncoder.transformer(["a"], width=9, depth=1, heads=2), "^width 9 is no multiple"),
        (lambda: scriptsight.Tvts(tiny(), head_heads=3), "^head_heads 3 does not divide .* width of 32"),
        (lambda: scriptsight.Tvts(tiny()), "^head_text plain needs sentences as wide as video tokens, not 16 and 32"),
        (lambda: scriptsight.Tvts(tiny(), sort_weight=0, align_weight=0), "^sort_weight and align_weight are both 0"),
        (lambda: scriptsight.Tvts(resnet()), "^keep 0.25 leaves patches out, which only a ViT can"),
        (lambda: scriptsight.Cpd(resnet(), keep=0.5), "^keep 0.5 leaves patches out"),
        (lambda: scriptsight.Cpd(tiny(), noise=0), "^noise 0 is under 1"),
        (lambda: scriptsight.Cpd(tiny(), estimator="nce"), "^estimator 'nce' is none of shared, per_sample, infonce"),  # type: ignore[arg-type]
        (lambda: scriptsight.MaskedPixels(tiny(), decoder_width=10), "^decoder_width 10 is no multiple"),
    ],
)
def test_what_can_not_be_built_is_named_by_its_argument(build: Callable[[], object], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        build()


def resnet() -> scriptsight.Encoder:
    text = scriptsight.TextEncoder.words([small.WORDS], width=16)
    return scriptsight.Encoder(scriptsight.ResNet3d(depth=18, size=32, frames=4), text, embed_dim=8)


def vit(**changes: int) -> scriptsight.VideoViT:
    shape = {"width": 32, "depth": 1, "heads": 2, "patch": 8, "tubelet": 2, "size": 16, "frames": 4}
    return scriptsight.VideoViT(**(shape | changes))


def tiny() -> scriptsight.Encoder:
    torch.manual_seed(0)
    return scriptsight.Encoder(vit(), scriptsight.TextEncoder.words([small.WORDS], width=16), embed_dim=8)


def batch() -> scriptsight.Batch:
    texts = ["the red circle", "moves left", "and then up"] * 2
    order = torch.tensor([[0, 2, 1], [1, 0, 2]])
    return scriptsight.Batch(torch.stack([clip(0), clip(1)]), texts, order, ["a", "b"])


PLAIN: dict[str, tuple[Callable[..., Objective], dict[str, Any], dict[str, Any]]] = {
    "tvts": (
        scriptsight.Tvts,
        {"sort_weight": 3.0, "align_weight": 0.5, "temperature": 0.1, "align_chunk": 1, "head_depth": 1}
        | {"head_heads": 4, "head_text": "projected", "temporal_embedding": True, "detach_text": False},
        {"k": 3, "keep": 0.5},
    ),
    "frame_order": (
        scriptsight.FrameOrder,
        {"order_weight": 1.5, "align_weight": 0.5, "head_depth": 1, "head_heads": 4},
        {"k": 3, "keep": 0.5, "temperature": 0.05, "detach_text": True},
    ),
    "masked_pixels": (
        scriptsight.MaskedPixels,
        {"mask": 0.5, "decoder_width": 12, "decoder_depth": 1, "decoder_heads": 3},
        {},
    ),
    "cpd": (
        scriptsight.Cpd,
        {"estimator": "infonce", "noise": 6, "temperature": 0.2, "momentum": 0.9},
        {"keep": 0.5, "seed": 7, "joint_from": 0},
    ),
}


@pytest.mark.parametrize("name", PLAIN)
def test_an_objective_of_plain_arguments_is_that_of_the_yaml(name: str) -> None:
    kind, section, rest = PLAIN[name]
    yaml = settings(seed=7, k=3, keep=0.5, objective=name, **{name: section})
    start = tiny()
    losses = []
    for build in (
        lambda: kind(copy.deepcopy(start), **section, **rest),
        lambda: kind.from_params(copy.deepcopy(start), yaml),  # type: ignore[attr-defined]
    ):
        torch.manual_seed(1)
        objective = build()
        objective.expect((name, None) for name in ("a", "b", "c"))
        draw = scriptsight.Draw(torch.Generator().manual_seed(2), 0, 2, 2)
        losses.append({key: value.item() for key, value in objective.losses(batch(), draw).items()})
    assert losses[0] == losses[1]


def test_what_is_left_out_is_what_the_paper_has() -> None:
    paper = scriptsight.Encoder(vit(width=128), scriptsight.TextEncoder.words([small.WORDS], width=128), embed_dim=8)
    tvts = scriptsight.Tvts(paper, k=3)
    assert (tvts.keep, tvts.sort_weight, tvts.align_weight, tvts.temperature) == (0.25, 2, 1, 0.05)
    assert tvts.head is not None and tvts.head.time is None and tvts.detach_text
    assert isinstance(tvts.head.text_input, torch.nn.Identity)
    first: Any = tvts.head.blocks[0]
    assert first.attn.heads == 2  # one for each 64 dimensions
    cpd = scriptsight.Cpd(paper)
    assert (cpd.noise, cpd.temperature, cpd.momentum, cpd.keep) == (4096, 0.07, 0.5, 1)


def test_a_missing_package_is_named_with_its_extra_and_a_fault_of_our_own_is_not() -> None:
    with (
        pytest.raises(MissingExtra, match=r"^Flying needs no_such_package, .*: pip install 'scriptsight\[search\]'$"),
        needs("search", "Flying"),
    ):
        import no_such_package  # type: ignore[import-not-found]  # noqa: F401
    with pytest.raises(ModuleNotFoundError, match=r"scriptsight\.no_such_module"), needs("search", "Flying"):
        import scriptsight.no_such_module  # type: ignore[import-not-found]  # noqa: F401
