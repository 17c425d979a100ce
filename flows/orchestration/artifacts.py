"""What a flow run of the pipeline leaves on its page: stages, figures before and after, rejects, plots.

Figures and outcomes are plain files and values, so that this needs neither MLflow nor a stage's libraries.
"""

from __future__ import annotations

import base64
import html
import re
import urllib.parse
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq
from prefect import get_run_logger
from prefect.artifacts import create_image_artifact, create_markdown_artifact, create_table_artifact

from flows.running import locks, stage
from flows.running.headlines import HEADLINES
from flows.running.repository import StageOutcome, figures
from flows.tracking import reporter, store
from scriptsight.redaction import LONGEST_VALUE, redacted

# figure in metrics/STAGE.json and what it is, beside the headlines
DATA = (
    ("ingest", "videos", "videos"),
    ("ingest", "hours", "hours of video"),
    ("ingest", "cues", "cues"),
    ("ingest", "rejects", "videos refused by ingest"),
    ("segment", "segments", "segments"),
    ("segment", "rejects", "videos refused by segment"),
)
REJECTS = (Path("data/catalogue/rejects.parquet"), Path("data/segments/rejects.parquet"))
MOST_REJECTS = 100  # rows on a page; the files have all
PLOTS = {  # of a stage that ran
    "pretrain": Path("plots/pretrain/curves.png"),
    "probe": Path("plots/probe/comparison.png"),
    "retrieve": Path("plots/retrieve/ranks.png"),
}
LARGEST_PLOT = 200_000  # bytes; it lies in Prefect's database
MLFLOW_UI = "http://127.0.0.1:5000"  # of `scriptsight ui`


def publish(outcomes: Sequence[StageOutcome], before: dict[str, float], decision: str = "", drift: str = "") -> None:
    """Put the artifacts on the page of the current flow run. What can't be put there is a warning in its log: a run
    is worth more than its page.

    Args:
        before: `repository.figures()` as they were when the run began.
        decision: what became of the model, in words.
        drift: whether new videos differ from what the champion learned from, in words.
    """
    try:
        workspace = re.sub(r"[^a-z0-9]+", "-", Path.cwd().name.lower()).strip("-") or "pipeline"
        create_markdown_artifact(
            report(outcomes, decision, drift), key=f"{workspace}-report", description="What ran, and where to look"
        )
        tables = (
            ("stages", stage_rows(outcomes), "What ran, what was skipped, and why"),
            ("figures", figure_rows(before, figures()), "Figures before and after this run"),
            ("rejects", reject_rows(), "Videos that were refused, and why"),
        )
        for name, rows, about in tables:
            if rows:
                create_table_artifact(_as_text(rows), key=f"{workspace}-{name}", description=about)
        for outcome in outcomes:
            if outcome.how == "ran" and (plot := _data_url(PLOTS.get(outcome.name))):
                create_image_artifact(plot, key=f"{workspace}-{outcome.name}", description=f"Plot of {outcome.name}")
    except Exception as error:
        get_run_logger().warning("The artifacts of this run are incomplete: %s: %s", type(error).__name__, error)


def report(outcomes: Sequence[StageOutcome], decision: str = "", drift: str = "") -> str:
    """The run in Markdown: which stages did what, the last lines of a failure, and links."""
    lines = []
    for how in ("ran", "restored", "skipped", "failed", "cancelled"):
        if names := [outcome.name for outcome in outcomes if outcome.how == how]:
            lines.append(f"- **{how}**: {', '.join(names)}")
    for outcome in outcomes:
        if outcome.how == "failed":
            lines += ["", f"### {outcome.name} failed", "", _quoted("\n".join((outcome.why, *outcome.lines)))]
    if decision:
        lines += ["", "### The model", "", _quoted(decision)]
    if drift:
        lines += ["", "### The new videos", "", _quoted(drift)]
    lines += ["", f"- MLflow: {_mlflow()}"]
    lines += [f"- Refused videos: `{path}`" for path in REJECTS if path.is_file()]
    if reporter.DATA_PAGE.is_file():
        lines.append(f"- The data on one page: `{reporter.DATA_PAGE}` (with each model in MLflow)")
    if Path("plots").is_dir():
        lines.append("- Plots: `plots/` (with each model in MLflow)")
    return "\n".join(lines)


def _as_text(rows: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """Cells that Prefect's page, which takes them for HTML, shows as they are: a file may have any name."""
    return [{name: html.escape(value, quote=False) for name, value in row.items()} for row in rows]


def _quoted(text: str) -> str:
    """A code block, whose fence is longer than any in the text: nothing in it is read as Markdown or HTML."""
    fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", text)), 3)
    return f"{fence}text\n{text}\n{fence}"


def _mlflow() -> str:
    """A link to the run of the model that is there, or to all."""
    address = store.uri()
    at_home = not address.startswith(("http://", "https://"))
    parts = urllib.parse.urlsplit(MLFLOW_UI if at_home else address)
    base = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl().rstrip("/")
    trained = stage.read_report(locks.LOCKS / "pretrain.report.json")  # gone when a training begins
    page = trained.get("mlflow", "")
    if trained and not page:  # of several processes, none of which reports it
        page = stage.read_report(locks.LOCKS / "probe.report.json").get("mlflow", "")
    hint = " (`scriptsight ui`)" if at_home else ""
    return f"[{'the run of this model' if page else 'all runs'}]({base}/{page}){hint}"


def stage_rows(outcomes: Sequence[StageOutcome]) -> list[dict[str, str]]:
    """A row a stage."""
    return [
        {
            "stage": outcome.name,
            "outcome": outcome.how,
            "why": outcome.why,
            "seconds": f"{outcome.run_s:.1f}" if outcome.how == "ran" else "",
        }
        for outcome in outcomes
    ]


def figure_rows(before: dict[str, float], after: dict[str, float]) -> list[dict[str, str]]:
    """A row for each figure that matters and is known before or after."""
    rows = []
    named = [(f"{part}/{name}", what, f"{part}/{other}", than) for part, name, what, other, than in HEADLINES]
    for name, what, other, than in named + [(f"{part}/{name}", what, "", "") for part, name, what in DATA]:
        old, new = before.get(name), after.get(name)
        if old is None and new is None:
            continue
        rows.append(
            {
                "figure": what,
                "before": _number(old),
                "after": _number(new),
                "change": f"{new - old:+.4g}" if old is not None and new is not None and new != old else "",
                "read against": f"{than}: {_number(after[other])}" if other in after else "",
            }
        )
    return rows


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value == round(value) else f"{value:,.3f}"


def reject_rows() -> list[dict[str, str]]:
    """The first rejects of ingest and of segment; addresses without what may be a secret in them."""
    rows: list[dict[str, str]] = []
    for path in REJECTS:
        if path.is_file():
            found = pq.read_table(path).slice(0, MOST_REJECTS - len(rows)).to_pylist()
            rows += [{name: redacted(str(value))[:LONGEST_VALUE] for name, value in row.items()} for row in found]
    return rows


def _data_url(path: Path | None) -> str | None:
    """A picture as an address of its own: Prefect's page can't read files, and serves none."""
    if path is None or not path.is_file() or path.stat().st_size > LARGEST_PLOT:
        return None
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
