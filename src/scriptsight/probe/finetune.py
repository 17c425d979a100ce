"""Full fine-tuning: the video encoder and a linear classifier, trained together on labels by the one loop."""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scriptsight import arithmetic, clips
from scriptsight.clips import View
from scriptsight.errors import InputError, needs
from scriptsight.models.bundle import Encoder
from scriptsight.models.video import VideoEncoder, VideoViT, set_drop_path
from scriptsight.params.optimization import AdamW, Cosine
from scriptsight.params.probe import FinetuneParams
from scriptsight.read_ahead import read_ahead
from scriptsight.reporting import Reporter, Under
from scriptsight.segments import Segment, Segments
from scriptsight.training import checkpoint
from scriptsight.training.loop import TrainingPlan, train
from scriptsight.training.objective import Draw, Objective

AHEAD = 2  # batches that threads read while the last one is computed
READERS = 2
LAYER = re.compile(r"video\.(?:blocks\.|layer)(\d+)\.")
# Segments, the rows of those with labels, and the classes of these rows, int64 [N].
Labelled = tuple[Segments, Sequence[int], np.ndarray]


@dataclass(frozen=True)
class FinetunePredictions:
    """Of N test segments: `probabilities` float32 [N, C], averaged over views, and `predicted` classes int64 [N]."""

    probabilities: np.ndarray
    predicted: np.ndarray
    top1: float


@dataclass(frozen=True)
class ClipBatch:
    """B labelled clips; in the test, B views of fewer segments."""

    frames: Tensor  # uint8 [B, M, size, size, 3]
    classes: Tensor  # int64 [B]
    items: Tensor  # int64 [B]: the place of each clip's segment in its split
    segment_ids: list[str]

    def to(self, device: torch.device) -> ClipBatch:
        moved = {name: getattr(self, name).to(device) for name in ("frames", "classes", "items")}
        return replace(self, **moved)


def run(
    encoder: Encoder,
    choice: FinetuneParams,
    learned: Labelled,
    test: Labelled,
    *,
    classes: int,
    label: str,
    checkpoints: Path,
    reporter: Reporter,
) -> FinetunePredictions:
    """Fine-tune a copy of the encoder's video part on `learned`, and predict the classes of `test` with the last
    weights: none are chosen by the split that measures them.

    The control is the same call with an encoder at random initialisation: the same recipe from scratch. A killed run
    goes on from its last checkpoint, with the same result; checkpoints are keyed by weights, data and parameters.

    Args:
        classes: C.
        label: of the progress bar, and of the curves: finetune/LABEL/train/loss and so on.

    Raises:
        InputError: fewer training segments than a batch, damaged frames, `drop_path` with a ResNet, or no memory.
        NonFiniteLoss: training diverged.
    """
    if choice.batch % choice.accumulate:
        raise InputError(f"probe.finetune.batch {choice.batch} is no multiple of accumulate {choice.accumulate}.")
    if len(learned[1]) < choice.batch:
        raise InputError(f"probe.finetune.batch {choice.batch} is over the {len(learned[1])} training segments.")
    clips = choice.batch // choice.accumulate
    work = arithmetic.Work(encoder.video, clips, training=True)
    machine = arithmetic.choose(choice.precision, "auto", work)
    own = run_key(encoder.video, choice, learned, test, machine)
    state = checkpoint.Checkpoints(checkpoints, own, 1)
    with arithmetic.deterministic(choice.threads):
        torch.manual_seed(choice.seed)
        objective = Classifier(copy.deepcopy(encoder.video), classes, choice)
        machine.prepare(objective)
        plan = _plan(choice, len(learned[1]))
        clip = replace(Clip(encoder.video.frames, encoder.video.size), stretches=choice.stretches, flip=choice.flip)
        held_out = TestBatches(test, View(choice.stretches, choice.crops), clip, choice.batch)
        outcome = train(
            objective,
            lambda first: _training_batches(learned, clip, plan, first),
            {"": held_out},
            plan=plan,
            arithmetic=machine,
            checkpoints=state,
            reporter=Under(reporter, f"finetune/{label}"),
            label=f"finetune, {label}",
            remedy="Set probe.finetune.checkpoint_activations, lower batch, or raise accumulate.",
        )
    state.remove()
    probabilities = np.array(outcome.val["probabilities"], np.float32)
    return FinetunePredictions(probabilities, probabilities.argmax(1), outcome.val["top1"])


class Classifier(Objective):
    """loss = cross-entropy with smoothed and mixed labels of a linear classifier on the whole video encoder.

    Clips are augmented here rather than where they are read: the loop seeds torch before each step, so a resumed run
    draws what an uninterrupted one draws, and a GPU does the work.
    """

    headline = "top1"

    def __init__(self, video: VideoEncoder, classes: int, choice: FinetuneParams) -> None:
        super().__init__()
        self.video, self.choice = video, choice
        self.depth = len(video.blocks) if isinstance(video, VideoViT) else 4  # of a ResNet: its stages
        self.head = nn.Linear(video.width, classes)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)
        video.checkpoint_blocks = choice.checkpoint_activations
        if isinstance(video, VideoViT):
            set_drop_path(video, choice.drop_path)
        elif choice.drop_path or choice.checkpoint_activations:
            raise InputError("probe.finetune: drop_path and checkpoint_activations need a ViT: set 0.0 and false.")
        self._augment = augmentation(choice)
        self._mix = mixture(choice, classes)

    def rate_factor(self, name: str) -> float:
        """`layer_decay` to the number of layers between a parameter and the classifier (BEiT, arXiv 2106.08254)."""
        if not name.startswith("video.") or name.startswith("video.norm."):
            return 1.0
        found = LAYER.match(name)
        # A ViT counts its blocks from 0 and a ResNet its stages from 1; before them are patches and tables.
        layer = 0 if found is None else int(found[1]) + isinstance(self.video, VideoViT)
        factor: float = self.choice.layer_decay ** (self.depth + 1 - layer)
        return factor

    def losses(self, batch: ClipBatch, draw: Draw) -> dict[str, Tensor]:
        """ "loss", and the training "top1" against the label that has the most of each mixed clip."""
        frames, wanted = self._mix(self._augment(batch.frames), batch.classes)  # [B, M, H, W, 3] and [B, C]
        logits = self.classify(frames)
        loss = F.cross_entropy(logits, wanted, label_smoothing=self.choice.label_smoothing)
        return {"loss": loss, "top1": (logits.argmax(-1) == wanted.argmax(-1)).float().mean()}

    def classify(self, frames: Tensor) -> Tensor:
        """Clips [B, M, size, size, 3] -> logits [B, C]."""
        tokens = self.video(frames)
        logits: Tensor = self.head(tokens[:, 0] if self.choice.feature == "cls" else tokens[:, 1:].mean(1))
        return logits.float()

    def measure(self, batch: ClipBatch) -> dict[str, Tensor]:
        """The "probabilities" [B, C] of clips, their "items" and "classes" [B]."""
        return {
            "probabilities": self.classify(batch.frames).softmax(-1),
            "items": batch.items,
            "classes": batch.classes,
        }

    def figures(self, parts: Sequence[dict[str, Tensor]]) -> dict[str, Any]:
        """ "top1" of the probabilities averaged over the clips of each segment, and these "probabilities"."""
        found = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        items, views = found["items"].unique(return_counts=True)  # ascending: all places of the split
        zeros = torch.zeros(len(items), found["probabilities"].shape[1], dtype=torch.float64)
        mean = zeros.index_add(0, found["items"], found["probabilities"].double()) / views[:, None]
        classes = torch.empty_like(items).index_copy(0, found["items"], found["classes"])
        return {"top1": (mean.argmax(1) == classes).double().mean().item(), "probabilities": mean.tolist()}


def augmentation(choice: FinetuneParams) -> Callable[[Tensor], Tensor]:
    """RandAugment of clips uint8 [B, M, H, W, 3]: the frames of a clip get the same operations, none of which mirrors
    it."""
    if not choice.augment_ops:
        return lambda frames: frames
    with needs("learn", "Fine-tuning"):
        from torchvision import tv_tensors  # seconds to import
        from torchvision.transforms import v2

    transform = v2.RandAugment(choice.augment_ops, choice.augment_magnitude)

    def augment(frames: Tensor) -> Tensor:
        pictures = frames.movedim(-1, 2)  # [B, M, 3, H, W]
        return torch.stack([transform(tv_tensors.Video(clip)).as_subclass(Tensor) for clip in pictures]).movedim(
            2, -1
        )

    return augment


def mixture(choice: FinetuneParams, classes: int) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Mixup or cutmix of clips [B, M, H, W, 3] and classes [B] -> float clips and the shares of classes [B, C]."""
    if not choice.mixup and not choice.cutmix:
        return lambda frames, labels: (frames, F.one_hot(labels, classes).float())
    from torchvision import tv_tensors
    from torchvision.transforms import v2

    kinds = ((v2.MixUp, choice.mixup), (v2.CutMix, choice.cutmix))
    transform = v2.RandomChoice([kind(alpha=alpha, num_classes=classes) for kind, alpha in kinds if alpha])

    def mix(frames: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        pictures, wanted = transform(tv_tensors.Video(frames.float().movedim(-1, 2)), labels)  # [B, M, 3, H, W]
        return pictures.as_subclass(Tensor).movedim(2, -1), wanted

    return mix


# ------------------------------------------------------------------------------------------------- clips


@dataclass(frozen=True)
class Clip:
    """M frames of size x size pixels, of one of `stretches` equal parts of a segment's time."""

    frames: int
    size: int
    stretches: int = 1
    flip: bool = False

    def draw(self, segment: Segment, rng: np.random.Generator) -> np.ndarray:
        """A clip for training: a random part, random frames of it, a random square -> uint8 [M, size, size, 3]."""
        length = (segment.end - segment.start) / self.stretches
        start = segment.start + rng.random() * (segment.end - segment.start - length)
        indices = clips.frame_indices(segment.frame_times, start, start + length, self.frames, rng)
        images = segment.decode(indices.tolist())  # [M, H, W, 3]
        side = min(images.shape[1:3])
        top, left = (int(rng.integers(edge - side + 1)) for edge in images.shape[1:3])
        square = clips.fit(images[:, top : top + side, left : left + side], self.size)
        return square[:, :, ::-1] if self.flip and rng.random() < 0.5 else square


def _training_batches(learned: Labelled, clip: Clip, plan: TrainingPlan, first: int) -> Iterator[ClipBatch]:
    """The parts of the batches from step `first` on, read ahead by threads. An epoch is a permutation whose rest,
    too small for a batch, is left out."""
    segments, rows, classes = learned
    share, per_epoch = plan.batch // plan.accumulate, len(rows) // plan.batch

    def read(which: tuple[int, int]) -> ClipBatch:
        step, part = which
        epoch, place = divmod(step, per_epoch)
        order = np.random.default_rng([plan.seed, 1, epoch]).permutation(len(rows))
        begin = place * plan.batch + part * share
        items = order[begin : begin + share]
        found = [segments[rows[item]] for item in items]
        rngs = [np.random.default_rng([plan.seed, 2, step, part * share + i]) for i in range(share)]
        frames = [clip.draw(segment, rng) for segment, rng in zip(found, rngs, strict=True)]
        return _batch(np.stack(frames), classes[items], items, [segment.segment_id for segment in found])

    parts = ((step, part) for step in range(first, plan.steps) for part in range(plan.accumulate))
    return read_ahead(read, parts, ahead=AHEAD, threads=READERS)


class TestBatches(Sequence[ClipBatch]):
    """All views of the test segments, about `size` clips at a time, all those of a segment in one batch."""

    __test__ = False  # no test, whatever pytest makes of the name

    def __init__(self, test: Labelled, view: View, clip: Clip, size: int) -> None:
        self.test, self.view, self.clip = test, view, clip
        self.step = max(1, size // view.clips)  # segments

    def __len__(self) -> int:
        return -(-len(self.test[1]) // self.step)

    def __getitem__(self, number: Any) -> Any:
        if not 0 <= number < len(self):
            raise IndexError(number)
        segments, rows, classes = self.test
        items = np.arange(len(rows))[number * self.step : (number + 1) * self.step]
        found = [segments[rows[item]] for item in items]
        seen = [clips.views(segment, self.view, self.clip.frames, self.clip.size) for segment in found]
        repeated = np.repeat(items, [len(views) for views in seen])  # of square frames all crops are one
        return _batch(np.concatenate(seen), classes[repeated], repeated, [segment.segment_id for segment in found])


def _batch(frames: np.ndarray, classes: np.ndarray, items: np.ndarray, ids: list[str]) -> ClipBatch:
    return ClipBatch(torch.from_numpy(frames), torch.from_numpy(classes), torch.from_numpy(items), ids)


# ------------------------------------------------------------------------------------------------- the run


def _plan(choice: FinetuneParams, segments: int) -> TrainingPlan:
    """The recipe in optimizer steps; the test split is looked at once, at the end."""
    per_epoch = segments // choice.batch
    steps = choice.epochs * per_epoch
    return TrainingPlan(
        seed=choice.seed,
        steps=steps,
        batch=choice.batch,
        accumulate=choice.accumulate,
        optimizer=AdamW(
            kind="adamw",
            lr=choice.lr,
            text_lr=None,
            weight_decay=choice.weight_decay,
            betas=(0.9, 0.999),
            clip_norm=choice.clip_norm,
        ),
        schedule=Cosine(kind="cosine", warmup_steps=round(choice.warmup_epochs * per_epoch)),
        ema=choice.ema,
        validate_every=steps,
        checkpoint_every=choice.checkpoint_every,
        strategy="ddp",
    )


def run_key(
    video: VideoEncoder, choice: FinetuneParams, learned: Labelled, test: Labelled, machine: arithmetic.Arithmetic
) -> str:
    """Names the run whose checkpoints these are, by weights, data and parameters."""
    # The shape as well: attention heads, for one, show in no weight.
    total = hashlib.sha256(json.dumps(video.config, sort_keys=True).encode())
    for name, value in sorted(video.state_dict().items()):
        total.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    for segments, rows, classes in (learned, test):
        total.update(segments.digest().encode() + np.asarray(rows, np.int64).tobytes() + classes.tobytes())
    own = choice.model_dump(exclude={"checkpoint_every"})
    return checkpoint.key("finetune", total.hexdigest(), own, str(machine), code=("probe",))
