"""The pretrain stage: learn a video and a text encoder from scripts, without labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from scriptsight import arithmetic
from scriptsight import params as parameters
from scriptsight.files import write_json
from scriptsight.models import bundle, text
from scriptsight.models.video import VideoViT
from scriptsight.pretrain import pictures
from scriptsight.pretrain.batches import (
    Batch,
    ScriptSampler,
    TrainingBatches,
    training_batches,
    validation_batches,
)
from scriptsight.pretrain.objectives import OBJECTIVES, Objective, module
from scriptsight.reporting import ConsoleReporter, Reporter
from scriptsight.segments import Segments
from scriptsight.training import checkpoint
from scriptsight.training.loop import Schedule, train


@dataclass(frozen=True)
class Result:
    """What training came to: `val` are the last held-out figures of the objective."""

    samples_per_second: float
    val: dict[str, Any]


def run(
    params: parameters.Pretrain,
    *,
    segments: Path = Path("data/segments"),
    bundle_folder: Path = Path("models/pretrained"),
    metrics: Path = Path("metrics/pretrain.json"),
    plots: Path = Path("plots/pretrain"),
    checkpoints: Path = Path(".checkpoints"),
    reporter: Reporter | None = None,
) -> Result:
    """Train `params.objective` on the training split of a collection, and save the encoder.

    A killed run goes on from its last checkpoint, with the same result as an uninterrupted one.

    Raises:
        InputError: no segments, or none with `k` transcripts.
        NonFiniteLoss: training diverged; the last checkpoint is kept.
    """
    reporter = reporter or ConsoleReporter()
    machine = arithmetic.choose(params.precision)
    train_split = Segments(segments, params.collection, "train")
    held_out = Segments(segments, params.collection, "val")
    training = ScriptSampler(train_split, k=params.k, frames=params.frames, size=params.size)
    validation = ScriptSampler(held_out, k=params.k, frames=params.frames, size=params.size)
    reporter.message(
        f"pretrain {params.objective} on {machine}: {len(training.eligible)} of {len(train_split)} training segments "
        f"and {len(validation.eligible)} of {len(held_out)} validation segments have {params.k} transcripts"
    )
    run_key = checkpoint.key(params.model_dump(), train_split.digest(), held_out.digest(), str(machine))
    state = checkpoint.Checkpoint(checkpoints, run_key)
    with arithmetic.deterministic(params.threads):
        torch.manual_seed(params.seed)
        objective = OBJECTIVES[params.objective](build_encoder(params, train_split), params)
        machine.prepare(module(objective))
        held_out_batches = [
            batch.to(machine.device)
            for batch in validation_batches(
                validation, batch=params.batch, samples=params.validation_samples, seed=params.seed
            )
        ]
        history, steps_per_second = train(
            module(objective),
            objective.losses,
            lambda first: training_batches(
                TrainingBatches(training, batch=params.batch, steps=params.steps, seed=params.seed),
                first,
                params.loader_workers,
            ),
            lambda: _scalars(objective, held_out_batches),
            schedule=Schedule(**{name: getattr(params, name) for name in Schedule.__dataclass_fields__}),
            seed=params.seed,
            arithmetic=machine,
            checkpoint=state,
            reporter=reporter,
        )
        with machine.autocast():
            val = objective.validate(held_out_batches)
    result = Result(samples_per_second=round(steps_per_second * params.batch, 1), val=val)
    bundle.save(objective.encoder, bundle_folder)
    pictures.write(history, val, plots, reporter)
    write_json(metrics, {"samples_per_second": result.samples_per_second, "val": val})
    state.remove()
    return result


def build_encoder(params: parameters.Pretrain, train_split: Segments) -> bundle.Encoder:
    """A new encoder of the shape that `params` asks for; its vocabulary comes from the training split."""
    texts = (cue["text"] for cues in train_split.column("cues") for cue in cues)
    video = VideoViT(**params.video.model_dump(), size=params.size, frames=params.frames)
    return bundle.Encoder(video, text.build(params.text, texts, params.max_text_tokens), params.embed_dim)


def _scalars(objective: Objective, batches: list[Batch]) -> dict[str, float]:
    """The figures of a validation that are points of a curve."""
    return {name: value for name, value in objective.validate(batches).items() if isinstance(value, float)}
