"""The pretrain stage: learn a video and a text encoder from scripts, without labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from scriptsight import arithmetic, distributed, finite, overlap, profile, shards
from scriptsight.errors import InputError
from scriptsight.files import check_sealed, digest, seal, whole_file, write_json
from scriptsight.models import bundle as bundles
from scriptsight.models.video import VideoViT
from scriptsight.overlap import Overlap
from scriptsight.params.models import HuggingFaceText, VectorText
from scriptsight.params.objectives import AtPlateau
from scriptsight.params.pretrain import Engine, PretrainParams, Source
from scriptsight.pictures import drawable
from scriptsight.pretrain import encoders, fetching, pictures, samplers
from scriptsight.pretrain.batches import TrainingBatches, ValidationBatches, training_batches
from scriptsight.pretrain.objectives import OBJECTIVES
from scriptsight.reporting import ConsoleReporter, Reporter
from scriptsight.segments import Segments
from scriptsight.training import checkpoint
from scriptsight.training.loop import History, Trained, TrainingPlan, train
from scriptsight.training.objective import Objective

SPEED = "speed.json"  # beside the metrics file: how fast the last training here went
MEMORY = "memory.safetensors"  # beside the last model: what its objective knows of the samples, for a second phase


@dataclass(frozen=True)
class Result:
    """What training came to: `val` are the last held-out figures of the objective, `speed` how fast it went."""

    val: dict[str, Any]
    speed: dict[str, float]


def run(
    params: PretrainParams,
    *,
    segments: Path = Path("data/segments"),
    bundle: Path = Path("models/pretrained"),
    best: Path = Path("models/best"),
    metrics: Path = Path("metrics/pretrain.json"),
    plots: Path = Path("plots/pretrain"),
    checkpoints: Path = Path(".checkpoints"),
    reporter: Reporter | None = None,
) -> Result:
    """Train `params.objective` on the training splits of some collections, and save the encoder.

    `bundle` gets the last weights, `best` those that did best on the validation split of the first collection, or the
    last as well where there is none. A killed run goes on from its last checkpoint, with the same result as an
    uninterrupted one; where the last training here was of the same segments with the same parameters, what it came to
    is taken over. `metrics` gets the figures of the
    model, and speed.json beside it how fast the training went. Under torchrun the processes share each batch, and
    the first one writes.

    Raises:
        InputError: no segments, or none with `k` transcripts; a model to start from that doesn't fit; no memory.
        NonFiniteLoss: training diverged; the last checkpoint is kept.
    """
    drawable()
    reporter = reporter or ConsoleReporter()
    with (
        distributed.joined(arithmetic.device()),
        arithmetic.deterministic(params.engine.threads),
        shards.cache_of(params.shard_cache_gb),
    ):
        _check_shares(params)
        learned = [(source, Segments(segments, name, "train")) for name, source in params.collections.items()]
        training = [samplers.build(split, source, params) for source, split in learned]
        held_out, digests = _held_out(params, segments, reporter)
        named = [(name, split) for name, (_, split) in zip(params.collections, learned, strict=True)]
        known, data = _learned_from(params, named, reporter), overlap.data_digest(named)
        overlapping = _overlap(params, segments, known, reporter)
        for name, sampler in zip(params.collections, training, strict=True):
            eligible, all_ = len(sampler.eligible), len(sampler.segments)
            reporter.message(f"{name}: {eligible} of {all_} training segments have what {params.objective} needs")
        torch.manual_seed(params.seed)
        encoder = _new(params, learned, reporter) if params.start_from is None else _taken_over(params)
        objective = OBJECTIVES[params.objective](encoder, params)
        machine = _fastest(encoder, params)
        machine.prepare(objective)
        objective.expect(pair for sampler in training for pair in sampler.pairs())
        _remember(objective, params)
        _set_engine(encoder, params.engine)
        digests += [split.digest() for _, split in learned]
        digests += [digest(path) for path in _starts(params)]
        state = checkpoint.Checkpoints(checkpoints, _key(params, digests, machine), params.keep_checkpoints)
        if others := state.others():
            reporter.message(f"{len(others)} unfinished runs of other settings have checkpoints in {checkpoints}")
        reporter.message(f"pretrain {params.objective} on {machine.told()}, {distributed.world()} process(es)")
        before = state.finished()
        if before is None:
            outcome = _train(objective, params, training, learned, held_out, machine, state, reporter)
            memory = objective.memory()
        else:
            reporter.message("pretrain: it learns from what the last training here had: its model is taken over")
            outcome, memory = _taken_from(before, reporter), before["memory"]
        if distributed.rank() == 0:
            best_weights = state.load_best() if before is None else before["best"]
            _write(encoder, outcome, memory, best_weights, bundle, best, plots, reporter)
            unseen = profile.held_out(segments, params.collections)
            for folder in (bundle, best):
                machine.write(folder, params.engine.threads)
                overlap.write(folder, known, data)
                profile.write(folder, bundles.load(folder), named, unseen, reporter)
            _write_metrics(outcome, overlapping, metrics)
            if before is None:
                state.finish(_kept(outcome, memory, best_weights))
    return Result(outcome.val, outcome.speed)


def _train(
    objective: Objective,
    params: PretrainParams,
    training: Sequence[samplers.Sampler],
    learned: Sequence[tuple[Source, Segments]],
    held_out: dict[str, ValidationBatches],
    machine: arithmetic.Arithmetic,
    state: checkpoint.Checkpoints,
    reporter: Reporter,
) -> Trained:
    batches = TrainingBatches(
        training,
        [source.share for source, _ in learned],
        batch=params.batch,
        accumulate=params.engine.accumulate,
        steps=params.steps,
        seed=params.seed,
        shuffle=params.shuffle_shards,
    )
    fetching.check_room(batches, [(one.sampler, one.rows) for one in held_out.values()])
    return train(
        objective,
        lambda first: training_batches(batches, first, params.engine.loader_workers),
        held_out,
        plan=_plan(params),
        arithmetic=machine,
        checkpoints=state,
        reporter=reporter,
    )


def _kept(outcome: Trained, memory: dict[str, Tensor], best: dict[str, Tensor]) -> dict[str, Any]:
    """What a training came to, for a later one of the same."""
    made = {"model": outcome.weights, "best": best, "memory": memory}
    return {**made, **asdict(outcome.history), "val": outcome.val, "speed": outcome.speed}


def _taken_from(before: dict[str, Any], reporter: Reporter) -> Trained:
    """What an earlier training of the same came to; its curves are told again to what records this run."""
    history = History(before["training"], before["validation"])
    history.tell(reporter)
    return Trained(history, before["val"], before["model"], before["speed"])


def _new(params: PretrainParams, learned: Sequence[tuple[Source, Segments]], reporter: Reporter) -> bundles.Encoder:
    """A new encoder, its video part warm-started where `params` says from what."""
    encoder = encoders.build(params, learned)
    if params.video.init is not None:
        report = encoders.warm_start(encoder.video, params.video.init)
        reporter.message(f"pretrain.video.init {params.video.init}:\n{report}")
    return encoder


def _taken_over(params: PretrainParams) -> bundles.Encoder:
    """The encoder of `params.start_from` with its own text encoder and vocabulary; its clips must be of the shape
    that `params` says."""
    assert params.start_from is not None
    encoder = bundles.load(params.start_from)
    kind = encoder.text.config["kind"]
    if kind != params.text.kind:
        raise InputError(
            f"pretrain.start_from: the model in {params.start_from} brings a text encoder of kind {kind!r}, and "
            f"pretrain.text is of kind {params.text.kind!r}: make it the same."
        )
    encoder.text.buckets = getattr(params.text, "buckets", 1)
    wanted = {**params.video.shape, "size": params.image_size, "frames": params.frames}
    found = encoder.video.config
    differing = [
        f"{name} {found[name]} instead of {wanted.get(name)}" for name in found if found[name] != wanted.get(name)
    ]
    if differing:
        raise InputError(
            f"pretrain.start_from: the model in {params.start_from} has {', '.join(differing)}: make pretrain.video, "
            "frames and image_size what it has."
        )
    return encoder


def _held_out(
    params: PretrainParams, segments: Path, reporter: Reporter
) -> tuple[dict[str, ValidationBatches], list[str]]:
    """Validation batches by the prefix of their figures, and the digests of what they come from.

    A collection without a validation split, or with none of its segments fit for a sample, has no figures.

    Raises:
        InputError: the training waits for the figures of the first collection, which has none.
    """
    batches: dict[str, ValidationBatches] = {}
    digests = []
    for number, (name, source) in enumerate(params.collections.items()):
        try:
            if not (segments / name / "val").is_dir():
                raise samplers.NoSample(f"{name} has no validation split.")
            split = Segments(segments, name, "val")
            sampler = samplers.build(split, source, params)
        except samplers.NoSample as error:
            if not number and "cpd" in params.objectives and isinstance(params.cpd.joint_from, AtPlateau):
                raise InputError(
                    f"pretrain.cpd.joint_from waits for validation figures of {name}, and there are none: {error} "
                    "Name a step there: {kind: step, step: 0}."
                ) from error
            best = "" if number else " models/best gets the last weights."
            reporter.message(f"No validation figures of {name}: {error}{best}")
            continue
        batches[name if number else ""] = ValidationBatches(
            sampler, batch=params.batch, samples=params.validation_samples, seed=params.seed
        )
        digests.append(split.digest())
    return batches, digests


def _learned_from(params: PretrainParams, named: Sequence[tuple[str, Segments]], reporter: Reporter) -> pa.Table:
    """The videos that the model will have learned from, those of the model that it starts from among them."""
    own = overlap.videos(named)
    before = None if params.start_from is None else overlap.known(params.start_from, reporter)
    return own if before is None else overlap.together([before, own])


def _overlap(params: PretrainParams, segments: Path, known: pa.Table, reporter: Reporter) -> Overlap:
    """Which validation videos are among those learned from; a line says so."""
    splits = [name for name in params.collections if (segments / name / "val").is_dir()]
    measured = overlap.videos((name, Segments(segments, name, "val")) for name in splits)
    found = overlap.overlap(measured, known)
    if warning := found.warning("the validation split"):
        reporter.message(warning)
    return found


def _starts(params: PretrainParams) -> list[Path]:
    """The local files whose weights training starts from: others in their place are another run."""
    stored = isinstance(params.text, VectorText) and params.text.path
    files = [Path(params.start_from) / name for name in ("model.safetensors", MEMORY)] if params.start_from else []
    files += [Path(path) for path in (params.video.init, stored) if path]
    files += [Path(params.text.name)] if isinstance(params.text, HuggingFaceText) else []
    whole = [sorted(path.rglob("*")) if path.is_dir() else [path] for path in files]
    return [path for paths in whole for path in paths if path.is_file()]


def _remember(objective: Objective, params: PretrainParams) -> None:
    """Tell the objective what the training of the model to start from knew of its samples, if it is there."""
    for path in _starts(params):
        if path.name == MEMORY:
            remedy = "Remove it to start with none."
            check_sealed(path.with_name("config.json"), [MEMORY], remedy)
            try:
                memory = load_file(path)
                finite.check_weights(memory, path, remedy)
                objective.remember(memory)
            except (SafetensorError, KeyError, ValueError, RuntimeError, OSError) as error:
                if isinstance(error, InputError):
                    raise
                raise InputError(f"{path} is damaged ({error}): remove it to start with none.") from error


def _check_shares(params: PretrainParams) -> None:
    parts = distributed.world() * params.engine.accumulate
    if params.batch % parts or params.batch // parts < 2:
        raise InputError(
            f"pretrain.batch {params.batch} can't be shared by {distributed.world()} processes x engine.accumulate "
            f"{params.engine.accumulate}: it must be a multiple, with two samples or more in each part."
        )


def _fastest(encoder: bundles.Encoder, params: PretrainParams) -> arithmetic.Arithmetic:
    """The arithmetic of this training, the same in all processes."""
    engine = params.engine
    clips = params.batch // (engine.accumulate * distributed.world())
    keep = params.keep if isinstance(encoder.video, VideoViT) else 1.0
    work = arithmetic.Work(encoder.video, clips, keep, training=True)
    own = arithmetic.choose(engine.precision, engine.attention, work)
    first: arithmetic.Arithmetic = distributed.collect(own)[0]
    return replace(first, device=own.device)


def _set_engine(encoder: bundles.Encoder, engine: Engine) -> None:
    encoder.video.checkpoint_blocks = engine.checkpoint_activations
    if engine.compile:
        encoder.video.compile()


def _key(params: PretrainParams, digests: Sequence[str], machine: arithmetic.Arithmetic) -> str:
    """Names the run whose checkpoints these are: whatever changes its numbers by more than rounding."""
    engine = {"processes", "strategy", "loader_workers"}
    machine_s = dict.fromkeys(("checkpoint_every", "keep_checkpoints", "shard_cache_gb"), True)
    values = params.model_dump(exclude={"engine": engine, **machine_s})
    return checkpoint.key(values, list(digests), str(machine))


def _plan(params: PretrainParams) -> TrainingPlan:
    same = {
        name: getattr(params, name)
        for name in TrainingPlan.__dataclass_fields__
        if name not in ("accumulate", "strategy")
    }
    return TrainingPlan(**same, accumulate=params.engine.accumulate, strategy=params.engine.strategy)


def _write(
    encoder: bundles.Encoder,
    outcome: Trained,
    memory: dict[str, Tensor],
    best_weights: dict[str, Tensor],
    bundle: Path,
    best: Path,
    plots: Path,
    reporter: Reporter,
) -> None:
    for folder, weights in ((best, best_weights), (bundle, outcome.weights)):
        own = {name.removeprefix("encoder."): value for name, value in weights.items() if name.startswith("encoder.")}
        bundles.save(encoder, folder, own)
    if memory:
        with whole_file(bundle / MEMORY) as partial:
            save_file(memory, partial)
        seal(bundle / "config.json")
    pictures.write(outcome.history, outcome.val, plots, reporter)


def _write_metrics(outcome: Trained, overlapping: Overlap, path: Path) -> None:
    """The figures of the model, which equal runs have to the byte, and beside them the speed, which they don't."""
    speed = {name: float(f"{value:.4g}") for name, value in outcome.speed.items()}
    write_json(path.with_name(SPEED), speed)
    write_json(path, {"val": outcome.val, "val_overlap": overlapping.figures})
