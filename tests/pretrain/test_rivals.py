"""The rivals' mathematics against naive loops in float64, and what must not leak."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from scriptsight.errors import InputError
from scriptsight.models import bundle
from scriptsight.models.resnet import ResNet3d
from scriptsight.models.text import TextEncoder
from scriptsight.models.video import MEAN, STD, VideoEncoder, VideoViT, sincos
from scriptsight.pretrain.batches import Batch
from scriptsight.pretrain.objectives import OBJECTIVES
from scriptsight.pretrain.objectives.frame_order import FrameHead, FrameOrder, in_order, shuffled
from scriptsight.pretrain.objectives.joint import Joint
from scriptsight.pretrain.objectives.masked_pixels import MaskedPixels, draw_tubes, normalised
from scriptsight.pretrain.objectives.tvts import Tvts
from scriptsight.training.objective import Draw
from tests.training.together import settings

K, M, SIDE = 3, 4, 16
SENTENCES = ["the red thing rises", "the blue thing sinks", "red and blue"]
CHOICE: dict[str, Any] = {
    "k": K,
    "keep": 0.5,
    "tvts": {"head_depth": 1, "head_heads": 2, "align_weight": 0.25},
    "frame_order": {"head_depth": 2, "head_heads": 2},
    "masked_pixels": {"mask": 0.5, "decoder_width": 12, "decoder_depth": 2, "decoder_heads": 2},
}


def objective(name: str, video: VideoEncoder | None = None, **changes: object) -> Any:
    """Around a tiny encoder: T = 4 steps of one frame, P = 4 patches."""
    torch.manual_seed(0)
    words = TextEncoder.words(SENTENCES, width=8, vocabulary=50, max_tokens=10)
    video = video or VideoViT(width=16, depth=2, heads=2, patch=8, tubelet=1, size=SIDE, frames=M)
    choice = settings(video={"width": 16, "tubelet": 1}, **(CHOICE | changes))
    return OBJECTIVES[name](bundle.Encoder(video, words, embed_dim=8), choice)


def batch(size: int = 3) -> Batch:
    rng = np.random.default_rng(0)
    frames = torch.from_numpy(rng.integers(0, 256, (size, M, SIDE, SIDE, 3), dtype=np.uint8))
    order = torch.stack([torch.from_numpy(rng.permutation(K)) for _ in range(size)])
    return Batch(frames, SENTENCES * size, order, [f"c/v/{i}" for i in range(size)])


def draw(seed: int, size: int = 3) -> Draw:
    return Draw(torch.Generator().manual_seed(seed), 0, size, size)


def calls_of(model: Any) -> list[int]:
    """The number of clips in each call of the video encoder from here on."""
    calls: list[int] = []
    model.encoder.video.register_forward_hook(lambda _module, inputs, _output: calls.append(len(inputs[0])))
    return calls


# ------------------------------------------------------------------------------------------ contrastive


def test_contrastive_is_the_alignment_of_tvts_and_nothing_is_computed_for_sorting() -> None:
    model, whole = objective("contrastive"), objective("tvts", tvts=CHOICE["tvts"] | {"sort_weight": 2.0})
    calls = calls_of(model)
    assert isinstance(model, Tvts) and isinstance(whole, Tvts)
    parts = model.losses(batch(), draw(0))
    assert parts["align_loss"].item() == whole.losses(batch(), draw(0))["align_loss"].item()
    assert parts["loss"].item() == pytest.approx(0.25 * parts["align_loss"].item())
    assert set(parts) == {"loss", "align_loss"}
    assert {name.split(".")[0] for name, _ in model.named_parameters()} == {"encoder"}
    with torch.no_grad():
        assert set(model.figures([model.measure(batch())])) == {"t2v_r1", "t2v_chance"}
    assert calls == [3, 3]  # one pass to learn, one to measure, none of a blank clip
    assert model.headline == "t2v_r1"


# ------------------------------------------------------------------------------------------ frame order


def test_steps_are_shuffled_and_sentences_put_in_order() -> None:
    frames = torch.arange(2 * 6).view(2, 6, 1, 1, 1).expand(2, 6, 4, 4, 3)
    order = torch.tensor([[2, 0, 1], [1, 2, 0]])  # three steps of two frames
    found = shuffled(frames, order)[..., 0, 0, 0].tolist()
    assert found == [[4, 5, 0, 1, 2, 3], [8, 9, 10, 11, 6, 7]]
    sentences = torch.tensor([[[10.0], [11.0], [12.0]]])
    assert in_order(sentences, torch.tensor([[1, 2, 0]])).flatten().tolist() == [12, 10, 11]
    assert in_order(sentences, None) is sentences


def test_shuffling_leaves_no_trace_of_the_true_order() -> None:
    """Whatever order the steps come in, each gets the same scores: there is nothing but its content to go by."""
    model = objective("frame_order").double()
    assert isinstance(model, FrameOrder)
    samples = batch()
    sentences = torch.randn(3, K, 8, dtype=torch.float64)
    as_they_are = torch.arange(M).expand(3, M)
    order = torch.stack([torch.randperm(M) for _ in range(3)])
    plain = model.order_logits(samples, sentences, as_they_are)
    mixed = model.order_logits(samples, sentences, order)
    rows = torch.arange(3)[:, None]
    torch.testing.assert_close(mixed, plain[rows, order], atol=1e-6, rtol=0)
    assert (plain.std(1) > 1e-6).all()  # and the content is seen
    video = model.encoder.video
    timed = video(shuffled(samples.frames, order))[:, 1:] - video(samples.frames)[:, 1:].unflatten(1, (M, -1))[
        rows, order
    ].flatten(1, 2)
    assert timed.abs().max() > 1e-2  # a table of times would have distinguished places


def test_the_frame_head_reads_sentences_in_their_order() -> None:
    torch.manual_seed(0)
    head = FrameHead(video_width=16, text_width=8, steps=M, k=K, depth=1, heads=2).double()
    video, sentences = (
        torch.randn(2, M * 3, 16, dtype=torch.float64),
        torch.randn(2, K, 8, dtype=torch.float64),
    )
    assert (head(video, sentences, M) - head(video, sentences.flip(1), M)).abs().max() > 1e-6
    assert head(video[:, :6], sentences[:, :1], 2).shape == (2, 2, 2)  # a shorter clip with one text


def test_frame_order_equals_a_naive_loop() -> None:
    model, samples = objective("frame_order", keep=1.0).double(), batch()
    assert isinstance(model, FrameOrder) and samples.order is not None
    parts = model.losses(samples, draw(4))
    order = draw(4).rand(M).argsort(-1)
    expected, right = 0.0, 0
    for b in range(3):
        clip = torch.stack([samples.frames[b, int(order[b, s])] for s in range(M)])[None]
        tokens = model.encoder.video(clip, timed=False)[0, 1:]
        steps = [tokens[4 * s : 4 * s + 4].mean(0) for s in range(M)]
        read = [SENTENCES[[int(place) for place in samples.order[b]].index(position)] for position in range(K)]
        ids, mask = model.encoder.text.tokenize(read)
        rows = [
            model.head.text_input(row) + model.head.places[k] for k, row in enumerate(model.encoder.text(ids, mask))
        ]
        joined = torch.stack(rows + [step + model.head.video_type for step in steps])[None]
        for block in model.head.blocks:
            joined = block(joined)
        logits = model.head.classifier(model.head.norm(joined))[0, K:].detach()
        for s in range(M):
            scores = [math.exp(float(value)) for value in logits[s]]
            expected -= math.log(scores[int(order[b, s])] / sum(scores)) / (3 * M)
            right += int(logits[s].argmax()) == int(order[b, s])
    assert parts["order_loss"].item() == pytest.approx(expected, rel=1e-6)
    assert parts["order_accuracy"].item() == pytest.approx(right / (3 * M))
    total = 2.0 * parts["order_loss"].item() + 0.25 * parts["align_loss"].item()
    assert parts["loss"].item() == pytest.approx(total)


def test_ordering_trains_the_video_encoder_and_a_detached_text_encoder_not() -> None:
    quiet = CHOICE["frame_order"] | {"align_weight": 0.0}
    for detach in (True, False):
        model = objective("frame_order", frame_order=quiet, tvts=CHOICE["tvts"] | {"detach_text": detach})
        model.encoder.text.frozen = False
        model.encoder.text.requires_grad_(True)
        model.losses(batch(), draw(0))["loss"].backward()
        video, text_ = model.encoder.video.patch_embed.weight.grad, model.encoder.text.backbone.table.weight.grad
        assert video.abs().sum() > 0 and (text_ is None or not text_.any()) == detach


def test_ordering_of_pairs_and_its_figures() -> None:
    model = objective("frame_order")
    pairs = Batch(batch().frames, SENTENCES, None, ["c/v/0", "c/v/1", "c/v/2"])
    for samples in (batch(), pairs):
        parts = model.losses(samples, draw(0))
        assert set(parts) == {"loss", "order_loss", "order_accuracy", "align_loss"}
        with torch.no_grad():
            measured = model.measure(samples)
            again = model.measure(samples)
        assert torch.equal(measured["order"], again["order"])
        figures = model.figures([measured])
        naive = [int(measured["predicted"][b, s] == measured["order"][b, s]) for b in range(3) for s in range(M)]
        assert figures["order_accuracy"] == pytest.approx(np.mean(naive))
        assert figures["chance"] == 1 / M and figures["t2v_chance"] == 1 / 3
        assert 0 <= figures["order_accuracy_blank"] <= 1
    quiet = objective("frame_order", frame_order=CHOICE["frame_order"] | {"align_weight": 0.0})
    calls = calls_of(quiet)
    assert "align_loss" not in quiet.losses(batch(), draw(0))
    assert calls == [3]


@pytest.mark.parametrize("name", ["tvts", "contrastive", "frame_order"])
def test_objectives_that_need_no_patches_take_a_resnet(name: str) -> None:
    video = ResNet3d(depth=18, size=32, frames=M)
    model = objective(name, video, keep=1.0)
    samples = batch(2)
    frames = samples.frames.repeat_interleave(2, 2).repeat_interleave(2, 3)
    samples = Batch(frames, samples.texts[: 2 * K], samples.order, samples.segment_ids)
    model.losses(samples, draw(0, 2))["loss"].backward()
    assert video.conv1.weight.grad is not None and video.conv1.weight.grad.any()
    model.eval()
    with torch.no_grad():
        assert model.headline in model.figures([model.measure(samples)])


# ---------------------------------------------------------------------------------------- masked pixels


def test_tubes_are_drawn_uniformly_and_leave_nothing_out() -> None:
    noise = torch.rand(4000, 8, generator=torch.Generator().manual_seed(0))
    seen, masked = draw_tubes(noise, 0.75)
    assert seen.shape == (4000, 2) and masked.shape == (4000, 6)
    assert torch.equal(torch.cat([seen, masked], 1).sort(-1).values, torch.arange(8).expand(4000, 8))
    assert (masked.flatten().bincount(minlength=8) / 4000 - 0.75).abs().max() < 0.03  # 4 standard deviations
    assert draw_tubes(torch.rand(1, 196), 0.9)[1].shape == (1, 176)  # VideoMAE's
    assert draw_tubes(torch.rand(1, 2), 0.9)[0].shape == draw_tubes(torch.rand(1, 2), 0.1)[1].shape == (1, 1)


def naive_target(cube: Tensor) -> Tensor:
    """uint8 [M', p, p, 3] -> pixels with mean 0 and variance 1 of each colour."""
    values = cube.double().numpy() / 255
    for colour in range(3):
        channel = values[..., colour]
        spread = math.sqrt(((channel - channel.mean()) ** 2).sum() / (channel.size - 1))
        values[..., colour] = (channel - channel.mean()) / (spread + 1e-6)
    return torch.from_numpy(values)


def test_targets_are_normalised_by_colour_and_cube() -> None:
    cubes = torch.randint(0, 256, (5, 2, 8, 8, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    cubes[0] = 77
    found = normalised(cubes.flatten(1)).view(5, 2, 8, 8, 3)
    for cube, values in zip(cubes, found, strict=True):
        torch.testing.assert_close(values.double(), naive_target(cube), atol=1e-4, rtol=0)
    assert not found[0].any()


def test_masked_pixels_equals_a_naive_loop() -> None:
    """Cubes are cut out one by one, and the decoder sees them where they are, not the visible ones first."""
    model, samples = objective("masked_pixels").double(), batch()
    assert isinstance(model, MaskedPixels) and isinstance(model.encoder.video, VideoViT)
    video, decoder = model.encoder.video, model.decoder
    positions = sincos(np.arange(M * 4)[:, None], 12).double()
    _, masked = draw_tubes(draw(6).rand(4), 0.5)
    errors = []
    for b in range(3):
        hidden = set(masked[b].tolist())
        tokens, targets = [video.cls_token[0, 0]], []
        for step in range(M):
            for patch in range(4):
                y, x = 8 * (patch // 2), 8 * (patch % 2)
                cube = samples.frames[b, step : step + 1, y : y + 8, x : x + 8]
                if patch in hidden:
                    targets.append((step * 4 + patch, naive_target(cube).flatten()))
                    continue
                pixels = ((cube / 255 - torch.tensor(MEAN).double()) / torch.tensor(STD).double()).flatten()
                tokens.append(video.patch_embed(pixels) + video.space[0, 0, patch] + video.time[0, step, 0])
        states = torch.stack(tokens)[None]
        for block in video.blocks:
            states = block(states)
        visible = iter(decoder.narrow(video.norm(states))[0])
        joined = [next(visible)]
        for cube_number in range(M * 4):
            token = decoder.mask_token if cube_number % 4 in hidden else next(visible)
            joined.append(token + positions[cube_number])
        grid = torch.stack(joined)[None]
        for block in decoder.blocks:
            grid = block(grid)
        predicted = decoder.predict(decoder.norm(grid))[0].detach()
        errors += [float(((predicted[1 + place] - target) ** 2).mean()) for place, target in targets]
    assert len(errors) == 3 * M * 2
    assert model.losses(samples, draw(6))["loss"].item() == pytest.approx(np.mean(errors), rel=1e-4)


def test_masked_pixels_are_not_seen() -> None:
    model, samples = objective("masked_pixels"), batch()
    assert isinstance(model, MaskedPixels)
    noise = draw(1).rand(4)
    _, masked = draw_tubes(noise, 0.5)
    predicted, target = model.predict(samples, noise)
    frames = samples.frames.clone()
    for b in range(3):
        for patch in masked[b].tolist():
            y, x = 8 * (patch // 2), 8 * (patch % 2)
            frames[b, :, y : y + 8, x : x + 8] = 255 - frames[b, :, y : y + 8, x : x + 8]
    same, other = model.predict(Batch(frames, samples.texts, samples.order, samples.segment_ids), noise)
    assert torch.equal(predicted, same)
    torch.testing.assert_close(other, -target, atol=1e-4, rtol=0)


def test_predicting_the_mean_of_each_cube_is_chance() -> None:
    model, samples = objective("masked_pixels"), batch()
    assert isinstance(model, MaskedPixels)
    with torch.no_grad():
        model.decoder.predict.weight.zero_()
        model.decoder.predict.bias.zero_()
        figures = model.figures([model.measure(samples), model.measure(samples)])
    assert figures["masked_error"] == figures["masked_error_chance"] == 1
    assert figures[model.headline] == figures["masked_fit_chance"] == 0


def test_tubes_need_a_vit() -> None:
    with pytest.raises(InputError, match=r"^pretrain\.video\.kind has no ViT, and masked pixels leave patches out"):
        objective("masked_pixels", ResNet3d(depth=18, size=32, frames=M))


# ------------------------------------------------------------------------------------------------ joint


def test_joint_is_the_weighted_sum_over_one_encoder_whose_weights_are_there_once() -> None:
    model = objective("joint", joint={"objectives": {"tvts": 0.5, "masked_pixels": 3.0}})
    assert isinstance(model, Joint)
    one, other = model.objectives.values()
    assert one.encoder is other.encoder is model.encoder
    random = draw(2)
    parts = model.losses(batch(), random)
    together = draw(2)
    expected = 0.5 * one.losses(batch(), together)["loss"] + 3.0 * other.losses(batch(), together)["loss"]
    assert parts["loss"].item() == pytest.approx(expected.item())
    assert {"tvts/sort_loss", "tvts/align_loss", "masked_pixels/loss"} < set(parts)
    parts["loss"].backward()
    video: Any = model.encoder.video
    assert video.patch_embed.weight.grad is not None

    names = list(model.state_dict())
    assert {name.split(".")[0] for name in names} == {"encoder", "parts"}
    assert not any(".encoder." in name for name in names)
    assert list(objective("tvts").encoder.state_dict()) == list(model.encoder.state_dict())

    model.eval()
    with torch.no_grad():
        figures = model.figures([model.measure(batch())])
        apart = {name: part.figures([part.measure(batch())]) for name, part in model.objectives.items()}
    assert figures == {f"{name}/{key}": value for name, found in apart.items() for key, value in found.items()}
    assert model.headline == "tvts/sort_accuracy" and model.headline in figures


def test_joint_tells_every_part_that_a_step_was_made() -> None:
    model = objective("joint", joint={"objectives": {"contrastive": 1.0, "frame_order": 1.0}})
    called: list[str] = []
    assert isinstance(model, Joint)
    for name, part in model.objectives.items():
        object.__setattr__(part, "after_step", lambda name=name: called.append(name))
    model.after_step()
    assert called == ["contrastive", "frame_order"]
