"""What is not finite gets no rank, is in no file, and is said where it comes in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from scriptsight import finite
from scriptsight.errors import ArgumentError, InputError
from scriptsight.files import seal
from scriptsight.models import bundle, warm
from scriptsight.models.text import TextEncoder
from scriptsight.models.video import VideoViT
from scriptsight.probe import knn, linear, video_to_video, zero_shot
from scriptsight.retrieve import index, metrics, scan
from scriptsight.training.checkpoint import Checkpoints
from tests import small

BROKEN = (float("nan"), float("inf"), -float("inf"))


def vectors(number: float | None = None) -> np.ndarray:
    """Eight unit vectors of six dimensions, the third with one broken number."""
    found = np.random.default_rng(0).normal(size=(8, 6))
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    if number is not None:
        found[2, 1] = number
    return found.astype(np.float32)


CLASSES = np.arange(8) % 2
RANKINGS: dict[str, Callable[[np.ndarray, np.ndarray], Any]] = {
    "ranks": metrics.ranks,
    "ranks by dual softmax": lambda one, other: metrics.ranks(one, other, dual_softmax=0.1),
    "a search": lambda one, other: scan.nearest(one, other, scan.Coarse(torch.from_numpy(other)), 3),
    "k-NN": lambda one, other: knn.predict(other, CLASSES, one, 3, 0.1),
    "a linear probe": lambda one, other: linear.fit_predict(other, CLASSES, one, 1.0),
    "video to video": lambda one, other: video_to_video.first_hits(np.concatenate([one, other]), np.arange(16) % 2),
    "zero-shot": lambda one, other: zero_shot.predict(one, ["a", "b"], lambda said: other[: len(said)], ["{}"]),
}


@pytest.mark.parametrize("name", RANKINGS)
def test_nothing_is_ranked_by_numbers_that_are_not_finite(name: str) -> None:
    rank = RANKINGS[name]
    rank(vectors(), vectors())
    for number in BROKEN:
        with pytest.raises(InputError, match="not finite"):
            rank(vectors(number), vectors())
        with pytest.raises(InputError, match="not finite"):
            rank(vectors(), vectors(number)[[2, 0, 1, *range(3, 8)]])


def test_vectors_that_are_all_the_same_hit_nothing() -> None:
    same = np.ones((8, 6)) / np.sqrt(6)
    assert (metrics.ranks(same, same) == 8).all()


@pytest.mark.parametrize("number", BROKEN)
def test_a_model_with_a_broken_weight_is_neither_saved_nor_loaded(tmp_path: Path, number: float) -> None:
    folder = small.tiny_bundle(tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    weights["text_projection.weight"][1, 2] = number
    with pytest.raises(InputError, match=r"text_projection\.weight holds 1 numbers that are NaN or infinite"):
        bundle.save(small.tiny_encoder(), tmp_path / "other", weights)
    assert not (tmp_path / "other").exists()
    save_file(weights, folder / "model.safetensors")
    seal(folder / "config.json")
    with pytest.raises(
        InputError, match=r"model\.safetensors: text_projection\.weight holds 1.*pretrain stage again"
    ):
        bundle.load(folder)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_no_training_starts_from_broken_weights(tmp_path: Path, suffix: str) -> None:
    weights = {"patch_embed.proj.weight": torch.full((32, 3, 8, 8), float("nan"))}
    path = tmp_path / f"w{suffix}"
    save_file(weights, path) if suffix == ".safetensors" else torch.save(weights, path)
    video = VideoViT(width=32, depth=1, heads=2, patch=8, tubelet=2, size=16, frames=4)
    with pytest.raises(ArgumentError, match=rf"{path}: patch_embed\.proj\.weight holds"):
        warm.load_into(video, str(path))


def test_no_training_goes_on_from_broken_weights(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path, "key", 1)
    kept.save(3, {"step": 3, "model": {"w": torch.tensor([1.0, float("nan")])}})
    with pytest.raises(InputError, match=r"0000000003\.pt: w holds 1 numbers"):
        kept.load()


def test_word_vectors_that_are_not_finite_are_refused_with_the_word(tmp_path: Path) -> None:
    pytest.importorskip("gensim")
    path = tmp_path / "glove.txt"
    path.write_text("red 0.1 0.2\nblue nan 0.2\n")
    with pytest.raises(ArgumentError, match=r"glove\.txt has vectors that are not finite.*'blue'"):
        TextEncoder.vectors(["red and blue"], path=str(path))


def test_no_index_holds_a_vector_that_is_not_finite(tmp_path: Path) -> None:
    rows = [index.row(small.segment(f"v{i}"), "c", "train") for i in range(8)]
    with pytest.raises(InputError, match="vectors of the moments are not finite: 1 of 8"):
        index.write(tmp_path / "index", vectors(float("nan")), rows, "0")
    assert not (tmp_path / "index").exists()


def test_a_single_number_is_checked_too() -> None:
    finite.check(torch.tensor(1.0), "the error")
    with pytest.raises(InputError, match="The error are not finite"):
        finite.check(torch.tensor(float("nan")), "the error")
