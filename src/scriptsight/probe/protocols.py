"""All protocols on one encoder and one fold: features in, and what each says of each test segment out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from scriptsight.clips import Order
from scriptsight.errors import InputError
from scriptsight.models.bundle import Encoder
from scriptsight.params.probe import ProbeParams
from scriptsight.probe import attentive, few_shot, knn, linear, sgd, video_to_video, zero_shot
from scriptsight.probe.labelled import Fold
from scriptsight.probe.predictions import Predictions, agreement
from scriptsight.reporting import Reporter

RECALLS = (1, 5, 10)
FITTED = {"linear", "sgd", "knn"}  # protocols that need one feature of each training clip
# (split, kinds of features, order of the frames) -> kind -> float [N, V, ...]
Extract = Callable[[str, tuple[str, ...], Order], dict[str, np.ndarray]]
Tune = Callable[[Fold], np.ndarray]  # what the encoder, fine-tuned on the training clips, takes each test segment for


@dataclass
class Answers:
    """What came of one fold with N test segments.

    Attributes:
        hits: figure (`linear_top1`, `v2v_r5`, ...) -> whether each test segment is a hit, bool [N].
        predicted: what the linear probe takes each segment for, int64 [N], under "forward"; with controls also
            of clips with their frames in another order: under "shuffled" and "first_frame" by a probe fitted on
            such clips, under "on_shuffled", "on_reversed" and "on_first_frame" by the probe fitted on clips as
            they are.
        episodes: shots -> accuracy of each few-shot episode, float64 [episodes].
        agree: the share of test segments that both linear probes take for the same, if both were asked.
    """

    hits: dict[str, np.ndarray] = field(default_factory=dict)
    predicted: dict[str, np.ndarray] = field(default_factory=dict)
    episodes: dict[int, np.ndarray] = field(default_factory=dict)
    agree: float | None = None


def answers(
    encoder: Encoder,
    params: ProbeParams,
    fold: Fold,
    texts: dict[str, str],
    extract: Extract,
    tune: Tune,
    reporter: Reporter,
    *,
    controls: bool,
) -> Answers:
    """Ask `params.protocols`; with `controls` the linear probe also of frames in another order."""
    found = Answers()
    chosen = set(params.protocols)
    main, truth, classes = params.feature, fold.test.classes, fold.train.classes
    embedding = ("embedding",) if "zero_shot" in chosen else ()
    unseen = extract("test", (main, *embedding), "forward") if chosen - {"attentive", "finetune"} else {}
    seen = extract("train", (main,), "forward") if chosen & FITTED else {}
    if "linear" in chosen:
        disturbed: tuple[Order, ...] = ("shuffled", "reversed", "first_frame") if controls else ()
        found.predicted = _linear(params, fold, seen[main], unseen[main], extract, disturbed)
        found.hits["linear_top1"] = found.predicted["forward"] == truth
    if "sgd" in chosen:
        fitted = sgd.fit_predict(seen[main], classes, unseen[main], **params.sgd.model_dump(), seed=params.seed)
        found.hits["sgd_top1"] = fitted.hits(truth)
        if "linear" in chosen:
            found.agree = agreement(fitted.classes, found.predicted["forward"])
    if "knn" in chosen:
        votes = knn.predict(seen[main], classes, unseen[main], params.knn.k, params.knn.temperature)
        found.hits["knn_top1"] = votes.hits(truth)
    if "attentive" in chosen:
        # A pass of their own: class tokens alone are computed another way, which rounds differently, and no figure
        # should depend on which others are asked for.
        train, test = (extract(split, ("tokens",), "forward")["tokens"] for split in ("train", "test"))
        found.hits["attentive_top1"] = _attentive(params, classes, train, test).hits(truth)
    if "zero_shot" in chosen:
        said = {name: text for name, text in texts.items() if name in fold.names}
        given = params.zero_shot.templates
        templates = zero_shot.read_templates(given) if isinstance(given, str) else given
        guessed = zero_shot.predict(unseen["embedding"], fold.names, encoder.encode_text, templates, said)
        found.hits["zero_shot_top1"] = guessed.hits(truth)
    if "finetune" in chosen:
        found.hits["finetune_top1"] = tune(fold) == truth
    if "video_to_video" in chosen:
        ranks = video_to_video.first_hits(unseen[main], truth)
        found.hits |= {f"v2v_r{k}": ranks <= k for k in RECALLS}
    if "few_shot" in chosen:
        found.episodes = _few_shot(params, fold, unseen[main], reporter)
    return found


def _linear(
    params: ProbeParams,
    fold: Fold,
    train: np.ndarray,
    test: np.ndarray,
    extract: Extract,
    disturbed: tuple[Order, ...],
) -> dict[str, np.ndarray]:
    """What linear probes take test clips for, int64 [N] each; the names are those of `Answers.predicted`."""
    classes = fold.train.classes
    clips = {order: extract("test", (params.feature,), order)[params.feature] for order in disturbed}
    # One fit for clips in all orders: [orders * N, V, D].
    asked = np.concatenate([test, *clips.values()])
    taken = linear.fit_predict(train, classes, asked, params.linear.c).classes
    names = ["forward", *(f"on_{order}" for order in disturbed)]
    predicted = dict(zip(names, np.split(taken, len(names)), strict=True))
    for order in disturbed:
        if order != "reversed":  # of clips all backwards a class is as easily recognised as of clips all forwards
            seen = extract("train", (params.feature,), order)[params.feature]
            predicted[order] = linear.fit_predict(seen, classes, clips[order], params.linear.c).classes
    return predicted


def _attentive(params: ProbeParams, classes: np.ndarray, train: np.ndarray, test: np.ndarray) -> Predictions:
    try:
        return attentive.fit_predict(train, classes, test, **params.attentive.model_dump(), seed=params.seed)
    except ValueError as error:
        raise InputError(f"probe.attentive.heads can't be used with this encoder: {error}.") from error


def _few_shot(params: ProbeParams, fold: Fold, test: np.ndarray, reporter: Reporter) -> dict[int, np.ndarray]:
    chosen = params.few_shot
    found = {}
    for shots in chosen.shots:
        try:
            found[shots] = few_shot.episodes(
                test,
                fold.test.classes,
                ways=chosen.ways,
                shots=shots,
                queries=chosen.queries,
                episodes=chosen.episodes,
                seed=params.seed,
            )
        except InputError as error:  # a set too small for episodes has its other figures all the same
            if len(params.protocols) == 1:
                raise
            reporter.message(f"{fold.collection}: no {shots}-shot figure. {error}")
    return found
