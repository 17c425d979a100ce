"""How much of a corpus can be put in order by its words alone: what a model that looks must be read against.

TVTS learns from the order of transcripts, and "first ..." and "finally ..." give that away without any video. Here a
sorter that sees nothing else is trained on the same samples and measured on the same held-out scripts as the pretrain
stage, for several numbers of transcripts K. No video is decoded.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from scriptsight import arithmetic, overlap
from scriptsight.errors import InputError
from scriptsight.files import write_json
from scriptsight.language import picture
from scriptsight.language.sorter import TextSorter, WordsAlone, build_text
from scriptsight.language.words import telling
from scriptsight.params.optimization import AdamW, Cosine
from scriptsight.params.pretrain import PretrainParams, Source
from scriptsight.pretrain import samplers
from scriptsight.pretrain.batches import TrainingBatches, ValidationBatches, training_batches
from scriptsight.reporting import ConsoleReporter, Reporter, Under
from scriptsight.segments import Segments
from scriptsight.statistics import LEAST_GROUPS, interval
from scriptsight.training import checkpoint
from scriptsight.training.loop import TrainingPlan, train

KS = (2, 3, 4, 5, 6)
STEPS = 300
LEAST_SCRIPTS = 20  # of training and of validation, for a K other than pretrain's
SHOWN = 10  # words of each kind, and scripts
COUNTED = 20_000  # scripts in which words are counted, at most

Samples = tuple[WordsAlone, WordsAlone]  # of training and of validation


def run(
    choice: PretrainParams,
    *,
    ks: Sequence[int] = KS,
    steps: int = STEPS,
    segments: Path = Path("data/segments"),
    metrics: Path = Path("metrics/language.json"),
    plot: Path = Path("plots/language.png"),
    trained: Path = Path("metrics/pretrain.json"),
    checkpoints: Path = Path(".checkpoints"),
    reporter: Reporter | None = None,
) -> dict[str, Any]:
    """Train and measure a sorter of words for `choice.k` and each of `ks` that the corpus has enough scripts for.

    The collection is the first one of `choice` with scripts; samples, validation scripts and their shuffled orders
    are those of the pretrain stage with the same parameters. `trained` is read, where it is there, for what a model
    that sees the video gets.

    Returns:
        what is written to `metrics`: the figures for `choice.k` with 95% intervals over videos, a `verdict` in words,
        the figures `by_k`, the `words` that tell first from last transcripts, and the `scripts` sorted most surely.

    Raises:
        InputError: no collection with scripts, no training or validation split, or none with `choice.k` transcripts.
    """
    reporter = reporter or ConsoleReporter()
    machine = arithmetic.plain(choice.engine.precision)
    name = next((name for name, source in choice.collections.items() if source.text == "script"), None)
    if name is None:
        raise InputError("pretrain.collections has no collection with `text: script`: there is nothing to sort.")
    source = choice.collections[name]
    splits = Segments(segments, name, "train"), Segments(segments, name, "val")
    shared = overlap.overlap(*(overlap.videos([(name, split)]) for split in reversed(splits)))
    if warning := shared.warning(f"{name}/val"):
        reporter.message(warning)
    tried = {k: _samples(splits, source, choice, k, reporter) for k in sorted({*ks, choice.k})}
    drawn = {k: samples for k, samples in tried.items() if samples is not None}
    texts = list(splits[0].texts("script"))
    by_k: dict[int, dict[str, Any]] = {}
    with arithmetic.deterministic(choice.engine.threads):
        for k, samples in drawn.items():
            part = Under(reporter, f"language/k{k}")
            val = _sorted(choice.model_copy(update={"k": k}), steps, samples, texts, machine, checkpoints, part)
            held_out = _validation(samples[1], choice)
            by_k[k] = _figures(val, samples, held_out)
            if k == choice.k:
                best = _surest(val, held_out)
    words = [asdict(word) for word in telling(_scripts(drawn[choice.k][0], choice.seed))]
    found: dict[str, Any] = {
        "collection": name,
        "k": choice.k,
        "overlap": shared.figures,
        **by_k[choice.k],
        "video_model": _video_model(trained),
        "by_k": {str(k): figures for k, figures in by_k.items()},
        "words": {
            "first": [word for word in words if word["z"] > 0][:SHOWN],
            "last": [word for word in reversed(words) if word["z"] < 0][:SHOWN],
        },
        "scripts": best,
    }
    found = {"verdict": verdict(found), **found}
    write_json(metrics, found)
    picture.draw(found, plot)
    reporter.artifact(plot)
    return found


def verdict(found: dict[str, Any]) -> str:
    """What the figures come to, in words."""
    figures = (
        f"{found['accuracy']:.1%} of transcripts in place (95% interval {found['low']:.1%} to {found['high']:.1%}, "
        f"chance {found['chance']:.1%}, K = {found['k']}, {found['scripts_measured']} held-out scripts)"
    )
    if found["low"] > found["chance"]:
        text = (
            f"Language alone puts {figures}: what a video model adds must be read against this, and not against "
            "chance."
        )
    else:
        text = (
            f"Language alone puts {figures}: no more than chance, as far as {found['scripts_learned']:,} training "
            f"scripts can teach. What a video model puts in place beyond {found['high']:.1%}, it has seen."
        )
    video = found["video_model"]
    if video is None or video["k"] != found["k"]:
        return text
    return (
        f"{text} The trained video model puts {video['accuracy']:.1%} in place, {video['blank']:.1%} with the video "
        f"blanked: {100 * (video['accuracy'] - found['accuracy']):+.1f} points over language alone."
    )


def _samples(
    splits: Sequence[Segments], source: Source, choice: PretrainParams, k: int, reporter: Reporter
) -> Samples | None:
    """The samplers of both splits; None where the corpus has too few scripts of another K than the wanted one."""
    wanted = choice.model_copy(update={"k": k})
    try:
        learned, held_out = (WordsAlone(samplers.build(split, source, wanted)) for split in splits)
    except InputError:
        if k == choice.k:
            raise
        reporter.message(f"K = {k}: no script has so many transcripts")
        return None
    fewest = min(len(learned.eligible), len(held_out.eligible))
    if k != choice.k and fewest < LEAST_SCRIPTS:
        reporter.message(f"K = {k}: {fewest} scripts have so many transcripts, too few")
        return None
    return learned, held_out


def _sorted(
    choice: PretrainParams,
    steps: int,
    samples: Samples,
    texts: Sequence[str],
    machine: arithmetic.Arithmetic,
    checkpoints: Path,
    reporter: Reporter,
) -> dict[str, Any]:
    """Train a sorter -> `TextSorter.figures` of its last weights: none are chosen by the scripts that measure it."""
    torch.manual_seed(choice.seed)
    objective = TextSorter(build_text(choice.text, texts, choice.max_text_tokens), choice.k)
    machine.prepare(objective)
    plan = TrainingPlan(
        seed=choice.seed,
        steps=steps,
        batch=64,
        accumulate=1,
        optimizer=AdamW(kind="adamw", lr=3e-3, text_lr=None, weight_decay=0.05, betas=(0.9, 0.98), clip_norm=1.0),
        schedule=Cosine(kind="cosine", warmup_steps=20),
        ema=0.0,
        validate_every=steps,
        checkpoint_every=100,
        strategy="ddp",
    )
    learned, held_out = samples
    digests = [part.segments.digest() for part in samples]
    own = checkpoint.key("language", steps, choice.model_dump(), digests, str(machine), code=("language",))
    state = checkpoint.Checkpoints(checkpoints, own, 1)
    outcome = train(
        objective,
        lambda first: training_batches(
            TrainingBatches([learned], [1.0], batch=plan.batch, accumulate=1, steps=plan.steps, seed=choice.seed),
            first,
            0,
        ),
        {"": _validation(held_out, choice)},
        plan=plan,
        arithmetic=machine,
        checkpoints=state,
        reporter=reporter,
        label=f"language, K = {choice.k}",
        remedy="Lower pretrain.max_text_tokens, or take a smaller pretrain.text.",
    )
    state.remove()
    return outcome.val


def _validation(sampler: WordsAlone, choice: PretrainParams) -> ValidationBatches:
    """The pretrain stage's own held-out scripts, in its own shuffled orders."""
    return ValidationBatches(sampler, batch=choice.batch, samples=choice.validation_samples, seed=choice.seed)


def _figures(val: dict[str, Any], samples: Samples, held_out: ValidationBatches) -> dict[str, Any]:
    """Accuracy with its interval, and what it was measured on."""
    learned, sampler = samples
    named = zip(sampler.segments.column("recording"), sampler.segments.column("video_id"), strict=True)
    video_of = [f"recording {recording}" if recording else f"video {video}" for recording, video in named]
    right = np.array(val["right"])  # bool [N, K]
    videos = [video_of[row] for row in held_out.rows]
    enough = len(set(videos)) >= LEAST_GROUPS
    alike = np.unique(videos, return_inverse=True)[1] if enough else np.arange(len(right))
    low, high = interval(right.flatten(), alike.repeat(right.shape[1]))
    return {
        "accuracy": val["sort_accuracy"],
        "low": low,
        "high": high,
        "chance": val["chance"],
        "exact": val["sort_exact"],
        "chance_exact": val["chance_exact"],
        "interval_over": "videos" if enough else "scripts",
        "scripts_learned": len(learned.eligible),
        "scripts_measured": len(right),
        "videos_measured": len(set(videos)),
    }


def _surest(val: dict[str, Any], held_out: ValidationBatches) -> list[dict[str, Any]]:
    """The held-out scripts whose true order is the most probable, among those put wholly in place."""
    surety = np.array(val["surety"]) * np.array(val["right"]).all(1)
    shown = [int(i) for i in np.argsort(-surety, kind="stable")[:SHOWN] if surety[i]]
    batches = {i // held_out.batch: held_out[i // held_out.batch] for i in shown}
    found = []
    for i in shown:
        batch, place = batches[i // held_out.batch], i % held_out.batch
        assert batch.order is not None
        k = batch.order.shape[1]
        texts = [batch.texts[place * k + int(index)] for index in batch.order[place].argsort()]
        found.append({"segment_id": batch.segment_ids[place], "probability": float(surety[i]), "texts": texts})
    return found


def _scripts(sampler: WordsAlone, seed: int) -> Any:
    """The transcripts of one sample of each training segment, in true order."""
    rng = np.random.default_rng([seed, 5])
    for row in rng.permutation(sampler.eligible)[:COUNTED]:
        yield sampler.choose(sampler.segments[int(row)], rng, True)[0]


def _video_model(path: Path) -> dict[str, float] | None:
    """What the trained model gets with the video and with the video blanked, if one was trained to sort."""
    if not path.is_file():
        return None
    try:
        val = json.loads(path.read_text(encoding="utf-8"))["val"]
    except (ValueError, KeyError) as error:
        raise InputError(f"{path} is damaged ({error!r}): run the pretrain stage again, or remove it.") from error
    if "sort_accuracy_blank" not in val:
        return None
    return {
        "k": len(val["confusion"]),
        "accuracy": val["sort_accuracy"],
        "blank": val["sort_accuracy_blank"],
        "chance": val["chance"],
    }
