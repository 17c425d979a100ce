"""The probe stage: what a frozen encoder is worth on labelled video, beside an untrained one and chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from scriptsight import features, overlap, shards
from scriptsight.clips import Order, View
from scriptsight.files import whole_file, write_json
from scriptsight.models import bundle as bundles
from scriptsight.models.bundle import Encoder
from scriptsight.params.probe import ProbeParams
from scriptsight.probe import controls, few_shot, finetune, labelled, plots, tables, video_to_video
from scriptsight.probe.labelled import Fold, LabelledTest
from scriptsight.probe.protocols import RECALLS, Answers, answers
from scriptsight.reporting import ConsoleReporter, Reporter

__all__ = ["Result", "measure", "run"]

NOTHING = "No labelled clips: nothing to measure (probe.tests is empty)."


@dataclass(frozen=True)
class Result:
    """What came out: the content of the metrics file, pictures and tables, and which weights were measured."""

    metrics: dict[str, Any]
    artifacts: tuple[Path, ...]
    weights: str  # SHA-256 of the model's weights file


def run(
    params: ProbeParams,
    *,
    catalogue: Path = Path("data/catalogue"),
    segments: Path = Path("data/segments"),
    bundle: Path = Path("models/pretrained"),
    metrics: Path = Path("metrics/probe.json"),
    plots: Path = Path("plots/probe"),
    store: Path | None = Path(".features"),
    checkpoints: Path = Path(".checkpoints/finetune"),
    reporter: Reporter | None = None,
) -> Result:
    """Measure the encoder of `bundle` on all of `params.tests`; without tests there is nothing to measure: the
    metrics file is empty then, and `plots` has a line that says so.

    The metrics file holds, of the first test, what `measure` returns; the same of a randomly initialised encoder of
    the same shape (`random_init`, without controls); `chance`, the share of the largest class of the test split,
    which is the floor of every top-1, and the `chances` of the other figures; the numbers of `classes`, `train` and
    `test` segments and of the `recordings` that the latter are of, of all folds together; and the `overlap` of the
    test videos with those that the model learned from. Of each further test it holds the same under the test's name.

    `plots` gets pictures and three tables of the trained encoder: `outcomes.csv` (which segments are hits, so that
    two models can be compared on the same ones), `classes.csv` (what the order of frames adds to each class) and
    `reverses.csv` (how often a class is taken for its reverse).

    Args:
        catalogue: what knows copies of videos by the digests of their files.
        store: a folder where features are kept from run to run; None: nowhere.
        checkpoints: of a fine-tuning that is not finished.

    Raises:
        InputError: the model or the segments are missing or damaged, or a test can't be used; see `labelled.load`.
    """
    reporter = reporter or ConsoleReporter()
    if not params.tests:
        return _nothing(bundle, metrics, plots, reporter)
    with shards.cache_of(params.shard_cache_gb):
        tests = [labelled.load(name, chosen, segments, catalogue, reporter) for name, chosen in params.tests.items()]
    bench = _Bench(params, store, checkpoints, reporter)
    encoder = bundles.load(bundle)
    known = overlap.known(bundle, reporter)
    untrained = bundles.random_like(bundle, params.seed)
    values: dict[str, Any] = {}
    measured: list[tables.Measured] = []
    artifacts: list[Path] = []
    for test in tests:
        seen = _overlap(test, known, reporter)
        found = bench.measure(encoder, test, "trained", with_controls=True)
        control = bench.measure(untrained, test, "random init", with_controls=False)
        of_test = {**found.figures, "random_init": control.figures, **_floors(test, params), **seen}
        if measured:
            values[test.name] = of_test
        else:
            values = of_test
        measured.append(found)
        artifacts += _pictures(of_test, found, plots, "" if len(measured) == 1 else f"{test.name}-")
    write_json(metrics, values)
    artifacts += tables.write(measured, plots)
    for path in artifacts:
        reporter.artifact(path)
    return Result(values, tuple(artifacts), bundles.weights_digest(bundle))


def _nothing(bundle: Path, metrics: Path, plots: Path, reporter: Reporter) -> Result:
    """What the stage leaves where no clips have labels: what DVC expects of it, and words."""
    reporter.message(NOTHING)
    write_json(metrics, {})
    with whole_file(plots / "not_measured.txt") as partial:
        partial.write_text(f"{NOTHING}\n", encoding="utf-8")
    return Result({}, (), bundles.weights_digest(bundle))


def measure(
    encoder: str | Path | Encoder,
    params: ProbeParams,
    test: str | None = None,
    *,
    catalogue: Path = Path("data/catalogue"),
    segments: Path = Path("data/segments"),
    store: Path | None = None,
    checkpoints: Path = Path(".checkpoints/finetune"),
    reporter: Reporter | None = None,
    with_controls: bool = True,
    outcomes: Path | None = None,
) -> dict[str, Any]:
    """The figures of one encoder (or bundle) on one test, the first unless named, by `params.protocols`.

    Shares of hits, each with the limits of its 95% interval (`linear_top1`, `linear_top1_low`, `linear_top1_high`):
    top-1 accuracies (`linear_top1`, `sgd_top1`, `knn_top1`, `attentive_top1`, `zero_shot_top1`, `finetune_top1`) and
    recall of video-to-video retrieval in the test split (`v2v_r1`, `v2v_r5`, `v2v_r10`). `few_shot`: accuracies of
    episodes. With both linear probes `agreement`, the share of test segments that both take for the same. With the
    linear probe, if `with_controls`, `order`, what needs the order of frames (`controls.order`), and `reverses`,
    classes taken for their reverse (`controls.of_pairs`). Of a test with several collections these are means, and
    `folds` lists them one by one. The folder `outcomes` gets `outcomes.csv`, as `run` writes it. Without tests there
    are no figures and no outcomes.

    Raises:
        InputError: see `run`.
    """
    reporter = reporter or ConsoleReporter()
    if test is None and not params.tests:
        reporter.message(NOTHING)
        return {}
    name = test or next(iter(params.tests))
    with shards.cache_of(params.shard_cache_gb):
        opened = labelled.load(name, params.tests[name], segments, catalogue, reporter)
    chosen = encoder if isinstance(encoder, Encoder) else bundles.load(encoder)
    bench = _Bench(params, store, checkpoints, reporter)
    found = bench.measure(chosen, opened, "measured", with_controls=with_controls)
    if outcomes is not None:
        tables.write_outcomes([found], outcomes)
    return found.figures


@dataclass(frozen=True)
class _Bench:
    """What encoders are measured with."""

    params: ProbeParams
    store: Path | None
    checkpoints: Path
    reporter: Reporter

    def measure(self, encoder: Encoder, test: LabelledTest, name: str, *, with_controls: bool) -> tables.Measured:
        """Ask an encoder of each fold, and put the answers together; `name` is what progress bars call it."""
        of_folds = [self._ask(encoder, test, fold, name, with_controls) for fold in test.folds]
        folds = list(zip(test.folds, of_folds, strict=True))
        labels = np.concatenate([np.array(fold.names)[fold.test.classes] for fold, _ in folds])
        predicted = {
            key: np.concatenate([np.array(fold.names)[found.predicted[key]] for fold, found in folds])
            for key in of_folds[0].predicted
        }
        return tables.Measured(
            test=test,
            figures=_figures(test, of_folds, labels, predicted),
            labels=labels,
            predicted=predicted,
            hits={key: np.concatenate([found.hits[key] for found in of_folds]) for key in of_folds[0].hits},
        )

    def _ask(self, encoder: Encoder, test: LabelledTest, fold: Fold, name: str, with_controls: bool) -> Answers:
        params = self.params

        def extract(split: str, kinds: tuple[str, ...], order: Order) -> dict[str, np.ndarray]:
            part, seen = (fold.train, params.train_views) if split == "train" else (fold.test, params.test_views)
            what = [split, *(["tokens"] if "tokens" in kinds else []), *([order] if order != "forward" else [])]
            return features.extract(
                encoder,
                part.segments,
                params.batch,
                self.reporter,
                f"{fold.collection}, {name}, {' '.join(what).replace('_', ' ')}",
                part.rows,
                view=View(seen.stretches, seen.crops, order),
                kinds=kinds,
                store=self.store,
            )

        def tune(fold: Fold) -> np.ndarray:
            assert params.finetune  # the parameters are checked when they are read
            return finetune.run(
                encoder,
                params.finetune,
                (fold.train.segments, fold.train.rows, fold.train.classes),
                (fold.test.segments, fold.test.rows, fold.test.classes),
                classes=len(fold.names),
                label=f"{fold.collection}/{name.replace(' ', '_')}",
                checkpoints=self.checkpoints,
                reporter=self.reporter,
            ).predicted

        return answers(encoder, params, fold, test.chosen.texts, extract, tune, self.reporter, controls=with_controls)


def _figures(
    test: LabelledTest, folds: Sequence[Answers], labels: np.ndarray, predicted: dict[str, np.ndarray]
) -> dict[str, Any]:
    """What `measure` returns."""
    groups = test.groups
    figures: dict[str, Any] = {}
    for name in folds[0].hits:
        figures |= controls.share(name, [found.hits[name] for found in folds], groups)
    if folds[0].agree is not None:
        figures["agreement"] = float(np.mean([found.agree for found in folds]))
    shots = [number for number in folds[0].episodes if all(number in found.episodes for found in folds)]
    if shots:
        figures["few_shot"] = {}
    for number in shots:
        episodes = np.concatenate([found.episodes[number] for found in folds])
        low, high = few_shot.interval(episodes)
        name = f"{number}_shot_top1"
        figures["few_shot"] |= {name: float(episodes.mean()), f"{name}_low": low, f"{name}_high": high}
    if "shuffled" in predicted:
        right = {
            name: [found.predicted[name] == fold.test.classes for fold, found in zip(test.folds, folds, strict=True)]
            for name in predicted
        }
        figures["order"] = controls.order(right, test.chance, groups)
        pairs = test.chosen.reverses
        told = controls.directions(labels, predicted, pairs)
        if of_pairs := controls.of_pairs(controls.reverses(labels, predicted, pairs), told, groups):
            figures["reverses"] = of_pairs
    if len(folds) > 1:
        figures["folds"] = [
            {"collection": fold.collection} | {name: float(hits.mean()) for name, hits in found.hits.items()}
            for fold, found in zip(test.folds, folds, strict=True)
        ]
    return figures


def _overlap(test: LabelledTest, known: pa.Table | None, reporter: Reporter) -> dict[str, Any]:
    """Test videos that the model learned from: the figures, and a line that says so."""
    if known is None:
        return {}
    found = overlap.overlap(test.videos, known)
    if warning := found.warning(f"probe.tests.{test.name}"):
        reporter.message(warning)
    return {"overlap": found.figures}


def _floors(test: LabelledTest, params: ProbeParams) -> dict[str, Any]:
    """What guessing gets, and how much there is to guess."""
    chances: dict[str, float] = {}
    if "video_to_video" in params.protocols:
        for k in RECALLS:
            found = [video_to_video.chance(fold.test.classes, k) for fold in test.folds]
            chances[f"v2v_r{k}"] = float(np.mean(found))
    if "few_shot" in params.protocols:
        chances["few_shot"] = 1 / params.few_shot.ways
    return {
        "chance": test.chance,
        "chances": chances,
        "classes": len({name for fold in test.folds for name in fold.names}),
        "train": sum(len(fold.train.rows) for fold in test.folds),
        "test": sum(len(fold.test.rows) for fold in test.folds),
        "recordings": len(set(test.sources)),
    }


def _pictures(values: dict[str, Any], found: tables.Measured, folder: Path, prefix: str) -> list[Path]:
    """Draw a test; several tests lie side by side in one folder."""
    paths = [folder / f"{prefix}comparison.png"]
    plots.comparison(values, paths[-1])
    if "forward" in found.predicted:
        paths.append(folder / f"{prefix}confusion.png")
        plots.confusion(found.labels, found.predicted["forward"], paths[-1])
    if "order" in values:
        paths += [folder / f"{prefix}order.png", folder / f"{prefix}classes.png"]
        plots.order(values, paths[-2])
        plots.classes(controls.by_class(found.labels, found.predicted), paths[-1])
    if "reverses" in values:
        paths.append(folder / f"{prefix}reverses.png")
        plots.reverses(controls.reverses(found.labels, found.predicted, found.test.chosen.reverses), paths[-1])
    return paths
