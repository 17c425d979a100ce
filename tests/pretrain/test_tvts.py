"""The sorting head and both losses, against what the paper says they are."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from scriptsight.errors import InputError
from scriptsight.models import bundle
from scriptsight.models.text import TextEncoder
from scriptsight.models.video import VideoViT
from scriptsight.pretrain.batches import Batch
from scriptsight.pretrain.objectives.tvts import SortingHead, Tvts, alignment_loss
from scriptsight.training.objective import Draw

K, STEPS, WIDTH, TEXT_WIDTH = 4, 3, 16, 10
SENTENCES = [f"the {colour} thing {verb}" for colour in ("red", "blue") for verb in ("rises", "sinks")]


def head(**changes: Any) -> SortingHead:
    torch.manual_seed(0)
    shape: dict[str, Any] = {
        "video_width": WIDTH,
        "text_width": TEXT_WIDTH,
        "steps": STEPS,
        "k": K,
        "depth": 2,
        "heads": 2,
    }
    options = {"temporal_embedding": True, "head_text": "projected"}
    return SortingHead(**(shape | options | changes)).double().eval()


def tvts(**changes: Any) -> Tvts:
    torch.manual_seed(0)
    words = TextEncoder.words(SENTENCES, width=8, vocabulary=50, max_tokens=10)
    video = VideoViT(width=16, depth=1, heads=2, patch=8, tubelet=2, size=16, frames=4)
    choice: dict[str, Any] = {
        "sort_weight": 2.0,
        "align_weight": 0.25,
        "temperature": 0.05,
        "align_chunk": None,
        "head_depth": 1,
        "head_heads": 2,
        "head_text": "projected",
        "temporal_embedding": True,
        "detach_text": True,
    }
    encoder = bundle.Encoder(video, words, embed_dim=8)
    return Tvts(encoder, k=K, keep=0.5, **(choice | changes))


def batch(size: int = 3) -> Batch:
    rng = np.random.default_rng(0)
    frames = torch.from_numpy(rng.integers(0, 256, (size, 4, 16, 16, 3), dtype=np.uint8))
    order = torch.stack([torch.from_numpy(rng.permutation(K)) for _ in range(size)])
    return Batch(frames, SENTENCES * size, order, [f"c/v/{i}" for i in range(size)])


def draw(seed: int, size: int = 3) -> Draw:
    return Draw(torch.Generator().manual_seed(seed), 0, size, size)


@pytest.mark.parametrize("temporal_embedding", [True, False])
def test_permuting_the_transcripts_permutes_the_prediction_and_nothing_else(temporal_embedding: bool) -> None:
    model = head(temporal_embedding=temporal_embedding)
    video = torch.randn(2, 1 + STEPS * 5, WIDTH, dtype=torch.float64)
    sentences = torch.randn(2, K, TEXT_WIDTH, dtype=torch.float64)
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(model(video, sentences[:, order]), model(video, sentences)[:, order])


def test_the_head_looks_at_every_video_token() -> None:
    model = head()
    video = torch.randn(1, 1 + STEPS * 5, WIDTH, dtype=torch.float64, requires_grad=True)
    model(video, torch.randn(1, K, TEXT_WIDTH, dtype=torch.float64)).square().sum().backward()
    assert video.grad is not None
    assert (video.grad.abs().sum(-1) > 0).all()


def test_only_the_temporal_embedding_tells_tubelet_steps_apart() -> None:
    video = torch.randn(1, 1 + STEPS * 5, WIDTH, dtype=torch.float64)
    sentences = torch.randn(1, K, TEXT_WIDTH, dtype=torch.float64)
    swapped = video.clone()
    swapped[:, 1:6], swapped[:, 6:11] = video[:, 6:11], video[:, 1:6]
    without, with_ = head(temporal_embedding=False), head(temporal_embedding=True)
    torch.testing.assert_close(without(video, sentences), without(swapped, sentences))
    assert (with_(video, sentences) - with_(swapped, sentences)).abs().max() > 1e-6


def test_the_head_tells_steps_apart_from_the_first_step_of_training_on() -> None:
    # Tokens are normalised: a distance counts against 1 a channel. Random numbers of 0.02 (0.1 apart here) keep
    # sorting at chance for hundreds of steps.
    times = head().time
    assert times is not None and torch.pdist(times).min() > 0.5


def test_alignment_loss_equals_a_naive_loop() -> None:
    torch.manual_seed(1)
    video = F.normalize(torch.randn(5, 7, dtype=torch.float64), dim=-1)
    script = F.normalize(torch.randn(5, 7, dtype=torch.float64), dim=-1)
    expected = 0.0
    for i in range(5):
        to_text = [math.exp(float(video[i] @ script[j]) / 0.05) for j in range(5)]
        to_video = [math.exp(float(script[i] @ video[j]) / 0.05) for j in range(5)]
        expected -= (math.log(to_text[i] / sum(to_text)) + math.log(to_video[i] / sum(to_video))) / 5
    assert alignment_loss(video, script, 0.05).item() == pytest.approx(expected, rel=1e-12)


def test_the_loss_is_the_weighted_sum_of_its_parts_computed_by_hand() -> None:
    model, samples = tvts(), batch()
    assert samples.order is not None
    parts = model.losses(samples, draw(3))
    assert parts["loss"].item() == pytest.approx(2 * parts["sort_loss"].item() + 0.25 * parts["align_loss"].item())

    from scriptsight.models.video import sample_patches

    keep = sample_patches(draw(3).rand(2, 4), 0.5)
    tokens = model.encoder.video(samples.frames, keep)
    ids, mask = model.encoder.text.tokenize(samples.texts)
    assert model.head is not None
    logits = model.head(tokens, model.encoder.text(ids, mask).unflatten(0, (3, K))).detach()
    naive = [
        -math.log(float(logits[b, k].double().softmax(-1)[samples.order[b, k]])) for b in range(3) for k in range(K)
    ]
    assert parts["sort_loss"].item() == pytest.approx(np.mean(naive), rel=1e-5)


def test_the_label_reaches_no_input() -> None:
    model, samples = tvts(), batch()
    assert samples.order is not None
    other = Batch(samples.frames, samples.texts, samples.order.flip(1), samples.segment_ids)
    one = model.losses(samples, draw(0))
    two = model.losses(other, draw(0))
    assert one["align_loss"].item() == two["align_loss"].item()
    assert one["sort_loss"].item() != two["sort_loss"].item()


def test_sorting_trains_the_video_encoder_and_a_detached_text_encoder_not() -> None:
    for detach in (True, False):
        model = tvts(align_weight=0.0, detach_text=detach)
        model.encoder.text.frozen = False
        model.encoder.text.requires_grad_(True)
        model.losses(batch(), draw(0))["loss"].backward()
        gradients = {name: value.grad for name, value in model.encoder.named_parameters()}
        seen = gradients["video.patch_embed.weight"]
        assert seen is not None and seen.abs().sum() > 0
        read = gradients["text.backbone.table.weight"]
        assert (read is None or not bool(read.any())) == detach


def test_validation_counts_what_a_naive_loop_counts() -> None:
    model, samples = tvts().eval(), batch(5)
    assert samples.order is not None
    with torch.no_grad():
        figures = model.figures([model.measure(samples)])
    tokens = model.encoder.video(samples.frames)
    ids, mask = model.encoder.text.tokenize(samples.texts)
    sentences = model.encoder.text(ids, mask).unflatten(0, (5, K))
    assert model.head is not None
    guesses = model.head(tokens, sentences).argmax(-1)
    right = [[int(guesses[b, k]) == int(samples.order[b, k]) for k in range(K)] for b in range(5)]
    assert figures["sort_accuracy"] == pytest.approx(np.mean(right))
    assert figures["sort_exact"] == pytest.approx(np.mean([all(row) for row in right]))
    assert figures["chance"] == 1 / K
    assert figures["t2v_chance"] == 1 / 5
    confusion = np.zeros((K, K), int)
    for b in range(5):
        for k in range(K):
            confusion[samples.order[b, k], guesses[b, k]] += 1
    assert figures["confusion"] == confusion.tolist()


def test_equal_scripts_are_no_hit_in_retrieval() -> None:
    """Ties count against: five clips that look the same to the model are no recall of 1."""
    model, samples = tvts().eval(), batch(5)
    same = Batch(samples.frames[:1].expand(5, -1, -1, -1, -1), samples.texts, samples.order, samples.segment_ids)
    with torch.no_grad():
        assert model.figures([model.measure(same)])["t2v_r1"] == 0


def official_head(weights: dict[str, torch.Tensor], video: torch.Tensor, sentences: torch.Tensor) -> torch.Tensor:
    """The paper's sorting head, written out: type embeddings added, two pre-norm blocks over the joint sequence with
    12 heads, a final norm, a linear classifier on the transcripts' tokens."""

    def linear(x: torch.Tensor, name: str) -> torch.Tensor:
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        centred = x - x.mean(-1, keepdim=True)
        scaled = centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt()
        return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    x = torch.cat([video + weights["video_type"], sentences + weights["text_type"]], dim=1)
    size, count, width = x.shape
    for block in ("blocks.0", "blocks.1"):
        qkv = linear(norm(x, f"{block}.norm1"), f"{block}.attn.qkv").view(size, count, 3, 12, width // 12)
        q, k, v = (qkv[:, :, i].transpose(1, 2) for i in range(3))  # [B, heads, N, d]
        attention = (q @ k.transpose(-1, -2) / math.sqrt(width // 12)).softmax(-1)
        x = x + linear((attention @ v).transpose(1, 2).reshape(size, count, width), f"{block}.attn.proj")
        hidden = linear(norm(x, f"{block}.norm2"), f"{block}.mlp.fc1")
        hidden = 0.5 * hidden * (1 + torch.erf(hidden / math.sqrt(2)))
        x = x + linear(hidden, f"{block}.mlp.fc2")
    return linear(norm(x, "norm")[:, -sentences.shape[1] :], "classifier")


def test_the_plain_head_is_the_official_one() -> None:
    shape: dict[str, Any] = {
        "video_width": 48,
        "text_width": 48,
        "heads": 12,
        "temporal_embedding": False,
        "head_text": "plain",
    }
    model = head(**shape).float()
    video, sentences = torch.randn(2, 1 + STEPS * 5, 48), torch.randn(2, K, 48)
    expected = official_head(dict(model.state_dict()), video, sentences)
    torch.testing.assert_close(model(video, sentences), expected, atol=1e-5, rtol=1e-5)
    with pytest.raises(InputError, match="head_text: projected"):
        head(video_width=48, text_width=10, head_text="plain", heads=12)


def test_alignment_in_chunks_is_alignment() -> None:
    """Loss and gradient, and no more rows of the matrix at once than asked for."""
    torch.manual_seed(1)
    video, script = (torch.randn(7, 5, dtype=torch.float64, requires_grad=True) for _ in range(2))
    gradients = []
    for chunk in (None, 3):
        loss = alignment_loss(F.normalize(video, dim=-1), F.normalize(script, dim=-1), 0.05, chunk)
        gradients.append((loss.detach(), *torch.autograd.grad(loss, (video, script))))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


def test_pairs_are_aligned_and_not_sorted() -> None:
    model = tvts()
    samples = Batch(batch().frames, SENTENCES[:3], None, ["c/v/0", "c/v/1", "c/v/2"])
    parts = model.losses(samples, draw(0))
    assert set(parts) == {"loss", "align_loss"}
    assert parts["loss"].item() == pytest.approx(0.25 * parts["align_loss"].item())
    parts["loss"].backward()
    assert model.head is not None
    assert all(value.grad is None for value in model.head.parameters())
    with torch.no_grad():
        assert set(model.figures([model.measure(samples)])) == {"t2v_r1", "t2v_chance"}


def test_samples_get_their_own_patches_wherever_they_are_computed() -> None:
    whole = Draw(torch.Generator().manual_seed(5), 0, 8, 8).rand(2, 3)
    part = Draw(torch.Generator().manual_seed(5), 4, 2, 8).rand(2, 3)
    assert torch.equal(whole[4:6], part)
