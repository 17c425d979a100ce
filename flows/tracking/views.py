"""What MLflow's pages show at first sight: the columns and charts that compare models, and notes that explain them.

MLflow keeps a view that was saved on its page as a tag of the experiment; this module writes such a tag. Whoever
changes the view or a note on the page keeps their own: tags that are there are left alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

NOTE = "mlflow.note.content"
SEGMENTS = "data/segments"
VIEW = "scriptsight"  # the view's key in its address
RUN_NOTE = "**What this model is worth**"


@dataclass(frozen=True)
class Figure:
    """A figure worth a column, what it means, and the figure to read it against."""

    name: str
    meaning: str
    against: str = ""
    against_meaning: str = ""


_UNTRAINED = "untrained encoder"
FIGURES = (
    Figure("probe/linear_top1", "linear probe, share right", "probe/random_init/linear_top1", _UNTRAINED),
    Figure("probe/knn_top1", "k nearest neighbours, share right", "probe/random_init/knn_top1", _UNTRAINED),
    Figure("probe/v2v_r1", "video-to-video R@1", "probe/random_init/v2v_r1", _UNTRAINED),
    Figure("retrieve/t2v/r1", "text-to-video R@1", "retrieve/chance_r1", "chance"),
    Figure("retrieve/v2t/r1", "video-to-text R@1", "retrieve/chance_r1", "chance"),
    Figure("retrieve/judged/ndcg10", "people's thumbs, nDCG@10", "retrieve/judged/chance_ndcg10", "random order"),
    Figure("val/sort_accuracy", "transcripts in their place, held out", "val/sort_accuracy_blank", "video blanked"),
    Figure("val/t2v_r1", "text-to-video R@1, held out", "val/t2v_chance", "chance"),
    Figure("speed/samples_per_second", "training samples a second"),
)
PARAMS = ("pretrain.objective", "pretrain.k", "pretrain.frames", "pretrain.steps", "pretrain.seed")
CURVES = ("train/loss", "val/sort_accuracy", "val/t2v_r1", "train/lr")
_SECTIONS = (
    "train",
    "val",
    "probe",
    "probe/random_init",
    "retrieve",
    "retrieve/t2v",
    "retrieve/v2t",
    "retrieve/judged",
    "speed",
)
_FOLDED = (*_SECTIONS, "data/ingest", "data/segment")  # sections that MLflow makes of the names of figures


def run_note(metrics: Mapping[str, float]) -> str:
    """The description of a run: its headline figures, each beside what it is read against (Markdown)."""
    rows = [
        f"| {figure.meaning} | {metrics[figure.name]:.4g} | "
        + (f"{figure.against_meaning} {metrics[figure.against]:.4g}" if figure.against in metrics else "")
        + f" | `{figure.name}` |"
        for figure in FIGURES
        if figure.name in metrics
    ]
    table = ["| figure | value | read it against | name |", "| --- | --- | --- | --- |", *rows]
    nothing = "Nothing has been measured yet."
    return "\n".join([RUN_NOTE, "", *(table if rows else [nothing]), "", "All parameters: artifact `params.yaml`."])


def experiment_tags(experiment_id: str) -> dict[str, str]:
    """Tags of the experiment: that it trains models, how to read it, and the view that compares them."""
    return {
        "mlflow.experimentKind": "custom_model_development",  # else the page opens as one for language models
        NOTE: _experiment_note(experiment_id),
        f"mlflow.sharedViewState.{VIEW}": _view(),
        # The chart that comes first where runs are compared, unless a view says otherwise. Without it that is
        # train/loss, and the losses of different weights and objectives say nothing about which model is better.
        "mlflow.experiment.primaryMetric.name": FIGURES[0].name,
        "mlflow.experiment.primaryMetric.greaterIsBetter": "True",
    }


def address(experiment_id: str) -> str:
    """The page, below MLflow's own address, that compares all models at first sight."""
    how = f"viewStateShareKey={VIEW}&compareRunsMode=CHART&workflowType=machine_learning"
    return f"/#/experiments/{experiment_id}/runs?{how}"


def _experiment_note(experiment_id: str) -> str:
    meanings = "\n".join(f"- `{figure.name}`: {figure.meaning}" for figure in FIGURES)
    return (
        f"**One run is one trained model.** [Compare them]({address(experiment_id)}), or choose *Views, Compare "
        "models* above: parameters that differ, what each model is worth, how it learned.\n\n"
        f"{meanings}\n\n"
        "Shares are between 0 and 1. `train/` and `val/` are curves over optimizer steps, `speed/` is what the "
        "training cost, `data/` what it learned from. `scriptsight better A B` says whether a difference is more "
        "than chance, `scriptsight compare A B C` shows several on one page; the registered model's alias `champion` "
        "is the best so far by that test."
    )


def _view() -> str:
    """The saved view `Compare models`, as MLflow 3.17's page writes it."""
    columns = {"What differs": 1, "What it is worth": 3, "How it learned": 2}  # charts beside each other
    charts: list[dict[str, Any]] = [
        {
            "type": "DIFFERENCE",
            "metricSectionId": "What differs",
            "chartName": "Parameters and figures that differ",
            "compareGroups": ["Parameters", "Model metrics"],
            "showChangeFromBaseline": True,
            "showDifferencesOnly": True,
            "baselineColumnUuid": "",
        }
    ]
    for figure in FIGURES:
        if not figure.name.startswith(("val/", "speed/")):
            charts.append({"type": "BAR", "metricSectionId": "What it is worth", **_metric(figure.name)})
    for name in CURVES:
        curve = {"xAxisKey": "step", "xAxisScaleType": "linear", "scaleType": "linear", "lineSmoothness": 0}
        more = {"selectedMetricKeys": [name], "yAxisKey": "metric", "yAxisExpressions": [], "useGlobalXaxisKey": True}
        charts.append({"type": "LINE", "metricSectionId": "How it learned", **_metric(name), **curve, **more})
    state = {
        "orderByKey": "attributes.start_time",
        "orderByAsc": False,
        "selectedColumns": [
            "attributes.`Models`",
            *(f"metrics.`{figure.name}`" for figure in FIGURES),
            "metrics.`probe/random_init/linear_top1`",
            *(f"params.`{name}`" for name in PARAMS),
        ],
        "compareRunSections": [
            {
                "uuid": name,
                "name": name,
                "display": name in columns,
                "isReordered": True,
                "columns": columns.get(name, 3),
            }
            for name in (*columns, *_FOLDED)
        ],
        "compareRunCharts": [
            {
                "uuid": f"scriptsight-{place}",
                "deleted": False,
                "isGenerated": False,
                "runsCountToCompare": 10,
                **chart,
            }
            for place, chart in enumerate(charts)
        ],
        "isAccordionReordered": True,
        "hideEmptyCharts": True,
    }
    return json.dumps({"name": "Compare models", "createdAt": 0, "updatedAt": 0, "state": json.dumps(state)})


def _metric(name: str) -> dict[str, str]:
    return {"metricKey": name, "displayName": name}
