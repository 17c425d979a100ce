"""Fine-tuning: it learns from labels, is resumed to the bit, averages views, and its recipe is what it says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from scriptsight import arithmetic
from scriptsight.clips import View
from scriptsight.errors import InputError
from scriptsight.models.bundle import Encoder, build_video
from scriptsight.models.resnet import ResNet3d
from scriptsight.models.video import Block
from scriptsight.params.probe import FinetuneParams
from scriptsight.probe import finetune
from scriptsight.reporting import ConsoleReporter
from scriptsight.segments import Segments
from tests import small

COLOURS = ((200, 60, 60), (60, 200, 60), (60, 60, 200))


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, finetune.Labelled]:
    """Clips of three noisy colours, each with its name."""
    folder = tmp_path_factory.mktemp("labelled")
    found: dict[str, finetune.Labelled] = {}
    for split, count in (("train", 48), ("test", 24)):
        rows = [
            small.segment(f"{split}{i}", colour=COLOURS[i % 3], label=str(i % 3), seed=i + 100 * (split == "test"))
            for i in range(count)
        ]
        small.write_segments(folder, "clips", split, rows)
        found[split] = Segments(folder, "clips", split), range(count), np.arange(count) % 3
    return found


def choice(**changes: object) -> FinetuneParams:
    values = {"epochs": 6, "batch": 16, "warmup_epochs": 1.0, "lr": 3e-3, "precision": "fp32", "threads": 1}
    return FinetuneParams.model_validate(values | changes)


def tuned(
    encoder: Encoder,
    labelled: dict[str, finetune.Labelled],
    folder: Path,
    reporter: ConsoleReporter,
    **changes: object,
) -> finetune.FinetunePredictions:
    return finetune.run(
        encoder,
        choice(**changes),
        labelled["train"],
        labelled["test"],
        classes=3,
        label="trained",
        checkpoints=folder,
        reporter=reporter,
    )


class Killed(Exception):
    pass


class Mortal(ConsoleReporter):
    """Keeps figures, and ends the run with those of a step."""

    def __init__(self, dies_at: int | None = None) -> None:
        self.dies_at, self.names = dies_at, set[str]()

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        self.names |= set(values)
        if step == self.dies_at:
            raise Killed


def test_colours_are_learned_and_a_killed_run_ends_with_the_same_bytes(
    labelled: dict[str, finetune.Labelled], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    encoder = small.tiny_encoder()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    whole = tuned(encoder, labelled, tmp_path, Mortal())
    assert whole.top1 > 0.8  # chance is 1/3
    assert whole.top1 == (whole.predicted == labelled["test"][2]).mean()
    assert whole.probabilities.shape == (24, 3)
    np.testing.assert_allclose(whole.probabilities.sum(1), 1, rtol=1e-5)
    assert all(torch.equal(before[name], value) for name, value in encoder.state_dict().items())
    with pytest.raises(Killed):
        tuned(encoder, labelled, tmp_path, Mortal(dies_at=10), checkpoint_every=4)
    reporter = Mortal()
    resumed = tuned(encoder, labelled, tmp_path, reporter, checkpoint_every=4)
    assert "Resuming after step 8" in capsys.readouterr().err
    assert np.array_equal(whole.probabilities, resumed.probabilities)
    assert "finetune/trained/train/loss" in reporter.names and "train/loss" not in reporter.names
    assert not list(tmp_path.rglob("*.pt"))


def test_other_weights_data_and_parameters_have_other_checkpoints(labelled: dict[str, finetune.Labelled]) -> None:
    machine = arithmetic.plain("fp32")
    videos = small.tiny_encoder().video, small.tiny_encoder(seed=1).video
    heads = {**videos[0].config, "heads": 2 * videos[0].config["heads"]}  # the same weights, computed otherwise
    other = build_video(heads)
    other.load_state_dict(videos[0].state_dict())
    train, test = labelled["train"], labelled["test"]
    fewer = (train[0], range(40), train[2][:40])
    keys = [
        finetune.run_key(videos[0], choice(), train, test, machine),
        finetune.run_key(videos[1], choice(), train, test, machine),
        finetune.run_key(videos[0], choice(lr=1e-3), train, test, machine),
        finetune.run_key(videos[0], choice(), fewer, test, machine),
        finetune.run_key(other, choice(), train, test, machine),
    ]
    assert len(set(keys)) == 5
    assert finetune.run_key(videos[0], choice(checkpoint_every=3), train, test, machine) == keys[0]


def test_rates_fall_layer_by_layer_towards_the_pixels() -> None:
    classifier = finetune.Classifier(small.tiny_encoder().video, 3, choice(layer_decay=0.5))  # one block
    rates = {name: classifier.rate_factor(name) for name, _ in classifier.named_parameters()}
    assert rates["head.weight"] == rates["video.norm.weight"] == 1
    assert rates["video.blocks.0.mlp.fc1.weight"] == 0.5
    assert rates["video.patch_embed.weight"] == rates["video.time"] == rates["video.cls_token"] == 0.25
    resnet = finetune.Classifier(ResNet3d(depth=18, size=32, frames=4), 3, choice(layer_decay=0.5, drop_path=0.0))
    assert [resnet.rate_factor(f"video.{name}.") for name in ("layer4.0", "layer1.1", "conv1")] == [
        0.5,
        1 / 16,
        1 / 32,
    ]
    with pytest.raises(InputError, match="need a ViT"):
        finetune.Classifier(ResNet3d(depth=18, size=32, frames=4), 3, choice())


def test_probabilities_are_averaged_over_the_views_of_a_segment() -> None:
    classifier = finetune.Classifier(small.tiny_encoder().video, 2, choice())
    views = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6]])
    parts = [
        {"probabilities": views[:2], "items": torch.tensor([0, 0]), "classes": torch.tensor([0, 0])},
        {"probabilities": views[2:], "items": torch.tensor([1]), "classes": torch.tensor([0])},
    ]
    found = classifier.figures(parts)
    np.testing.assert_allclose(found["probabilities"], [[0.55, 0.45], [0.4, 0.6]], rtol=1e-6)
    assert found["top1"] == 0.5


def test_test_batches_hold_every_view_once(labelled: dict[str, finetune.Labelled]) -> None:
    clip = finetune.Clip(frames=4, size=16, stretches=2)
    batches = finetune.TestBatches(labelled["test"], View(2, 1), clip, 10)
    assert len(batches) == 5  # five segments each, four in the last
    items = torch.cat([batch.items for batch in batches])
    assert torch.equal(items, torch.arange(24).repeat_interleave(2))
    assert batches[0].frames.shape == (10, 4, 16, 16, 3)


def test_augmentation_leaves_frames_of_a_clip_alike_and_mixing_shares_labels() -> None:
    torch.manual_seed(0)
    still = torch.randint(0, 256, (6, 1, 16, 16, 3), dtype=torch.uint8).expand(6, 4, -1, -1, -1)
    augmented = finetune.augmentation(choice())(still)
    assert augmented.dtype == torch.uint8 and augmented.shape == still.shape
    assert torch.equal(augmented[:, :1].expand_as(augmented), augmented)  # the same for all frames
    assert not torch.equal(augmented, still)
    frames, shares = finetune.mixture(choice(), 3)(augmented, torch.tensor([0, 1, 2, 0, 1, 2]))
    assert frames.shape == still.shape
    np.testing.assert_allclose(shares.sum(1), 1, rtol=1e-6)
    plain, whole = finetune.mixture(choice(mixup=0.0, cutmix=0.0), 3)(augmented, torch.tensor([0, 1, 2, 0, 1, 2]))
    assert plain is augmented and set(whole.unique().tolist()) == {0.0, 1.0}


def test_drop_path_leaves_whole_branches_out_in_training_alone() -> None:
    """A clip's branch is 0 or 1 / 0.6 times itself, about four times of ten the former; evaluation is as ever."""
    torch.manual_seed(0)
    block = Block(8, 2)
    tokens = torch.randn(1, 3, 8).expand(2000, -1, -1)
    plain = block.eval()(tokens)
    block.drop_path = 0.4
    assert torch.equal(block(tokens), plain)
    for norm in (block.norm1, block.norm2):  # branches that read nothing: the first gives ones, the second nothing
        torch.nn.init.zeros_(norm.weight)
    for parameters in (block.attn.parameters(), block.mlp.parameters()):
        for value in parameters:
            torch.nn.init.zeros_(value)
    torch.nn.init.ones_(block.attn.proj.bias)
    branch = block.train()(torch.zeros(2000, 3, 8)).detach()
    assert torch.equal(branch, branch[:, :1, :1].expand_as(branch))
    kept = branch[:, 0, 0]
    assert kept.unique().tolist() == pytest.approx([0, 1 / 0.6])
    assert abs((kept == 0).double().mean() - 0.4) < 0.04


def test_more_segments_than_there_are_is_an_error(labelled: dict[str, finetune.Labelled], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="batch 64 is over the 48 training segments"):
        tuned(small.tiny_encoder(), labelled, tmp_path, ConsoleReporter(), batch=64)
