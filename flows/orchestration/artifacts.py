"""What a flow run of the pipeline has on its page: stages, progress, figures before and after, rejects, plots.

Figures and outcomes are plain files and values, so that this needs neither MLflow nor a stage's libraries.
"""

from __future__ import annotations

import base64
import html
import itertools
import json
import math
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from flows.orchestration import live
from flows.running import estimate, events
from flows.running.headlines import HEADLINES
from flows.running.repository import StageOutcome, figures
from flows.tracking import reporter
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


class RunPage:
    """The page of the current flow run of the pipeline, from its beginning to its end, however that comes."""

    def __init__(
        self,
        page: live.Page,
        names: Sequence[str],
        reasons: Mapping[str, str],
        before: Mapping[str, float],
        outcomes: Sequence[StageOutcome],
        expected: Mapping[str, float | None] = MappingProxyType({}),
    ) -> None:
        """
        Args:
            names: the stages to look at.
            reasons: why those will run that are stale when the run begins.
            before: `repository.figures()` as they were then.
            outcomes: gets how each stage went.
            expected: the seconds that stages will take, as far as that is known; empty where it is not to be shown.
        """
        self._expected, self._since = expected, time.monotonic()
        self._page, self._names, self._reasons, self._before, self._outcomes = page, names, reasons, before, outcomes
        self._running = ""
        self._prefix = live.prefix()

    def update(self, running: str = "", why: str = "") -> None:
        """Show how the stages stand, one of which may be running."""
        self._running, self._since = running, time.monotonic()
        if running:
            self._reasons = {**self._reasons, running: why}
        rows = stage_rows(self._names, self._outcomes, self._reasons, running)
        self._table("stages", rows, "What ran, what was skipped, and why")
        self.report()
        self.progress(live.Progress(f"{running} starts") if running else None)

    def report(self, decision: str = "", drift: str = "", unread: Sequence[str] = ()) -> None:
        """Show the run in words."""
        text = report(self._outcomes, decision, drift, unread)
        self._page.show(f"{self._prefix}-report", "markdown", text, "What ran, and where to look")

    def progress(self, part: live.Progress | None) -> None:
        """Show how far the run is: stages count the same, and the one that is running by its part."""
        done = len(self._outcomes)
        percent = 100 * (done + (part.share if part else 0)) / max(1, len(self._names))
        stages = f"{done} of {len(self._names)} stages are done" + (f"; {self._running}: " if part else "")
        words = stages + live.plain(str(part)) + self._left(part) if part else stages
        self._page.show(f"{self._prefix}-progress", "progress", round(min(percent, 100.0), 1), words)

    def _left(self, part: live.Progress) -> str:
        """When the whole run will be done, if anybody knows."""
        seconds = estimate.left(self._expected, self._running, time.monotonic() - self._since, part.left)
        return "" if seconds is None else f"; about {estimate.span(seconds)} left of the whole run"

    def end(self, decision: str, drift: str) -> None:
        """Show what came out: figures, rejects, plots of what ran; what became of the model, and whether new videos
        differ from what the champion learned from, in words."""
        unread: list[str] = []
        after = figures(unread.append)
        rejects = reject_rows(unread)
        self._table("figures", figure_rows(self._before, after), "Figures before and after this run")
        self._table("rejects", rejects, "Videos that were refused, and why")
        for outcome in self._outcomes:
            if outcome.how == "ran" and (plot := _data_url(PLOTS.get(outcome.name), unread)):
                self._page.show(f"{self._prefix}-{outcome.name}", "image", plot, f"Plot of {outcome.name}")
        self.update()
        self.report(decision, drift, unread)

    def _table(self, name: str, rows: Sequence[dict[str, str]], about: str) -> None:
        if rows:
            self._page.show(f"{self._prefix}-{name}", "table", json.dumps(_as_text(rows)), about)


def report(outcomes: Sequence[StageOutcome], decision: str = "", drift: str = "", unread: Sequence[str] = ()) -> str:
    """The run in Markdown: which stages did what, the last lines of a failure, files that can't be read, links."""
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
    if unread:
        lines += ["", "### Files that can't be read", "", _quoted("\n".join(map(redacted, unread)))]
    lines += ["", f"- MLflow: {live.mlflow_link(events.mlflow_page('pretrain') or events.mlflow_page('probe'))}"]
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


def stage_rows(
    names: Sequence[str], outcomes: Sequence[StageOutcome], reasons: Mapping[str, str], running: str = ""
) -> list[dict[str, str]]:
    """A row a stage, of a run that may not have come to it yet."""
    ended = {outcome.name: outcome for outcome in outcomes}
    rows = []
    for name in names:
        seconds = ""
        if name in ended:
            how, why = ended[name].how, ended[name].why
            seconds = f"{ended[name].run_s:.1f}" if how == "ran" else ""
        elif name == running:
            how, why = "runs", reasons.get(name, "")
        elif name in reasons:
            how, why = "will run", reasons[name]
        else:
            how, why = "to be seen", "up to date, unless an earlier stage changes what it reads"
        rows.append({"stage": name, "outcome": how, "why": why, "seconds": seconds})
    return rows


def figure_rows(before: Mapping[str, float], after: Mapping[str, float]) -> list[dict[str, str]]:
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
    return f"{value:,.0f}" if math.isfinite(value) and value == round(value) else f"{value:,.3f}"


def reject_rows(unread: list[str]) -> list[dict[str, str]]:
    """The first rejects of ingest and of segment; addresses without what may be a secret in them. A file that can't
    be read is a line in `unread`."""
    rows: list[dict[str, str]] = []
    for path in REJECTS:
        if path.is_file():
            try:
                found = _first_rows(path, MOST_REJECTS - len(rows))
            except (OSError, ValueError, pa.ArrowException) as error:
                unread.append(f"The rejects {path} can't be read ({error}): run the stage again with --force.")
                continue
            rows += [{name: redacted(str(value))[:LONGEST_VALUE] for name, value in row.items()} for row in found]
    return rows


def _first_rows(path: Path, count: int) -> list[dict[str, Any]]:
    with pq.ParquetFile(path) as file:
        batches = (batch.to_pylist() for batch in file.iter_batches(batch_size=MOST_REJECTS))
        return list(itertools.islice(itertools.chain.from_iterable(batches), count))


def _data_url(path: Path | None, unread: list[str]) -> str | None:
    """A picture as an address of its own: Prefect's page can't read files, and serves none."""
    if path is None or not path.is_file():
        return None
    try:
        content = path.read_bytes() if path.stat().st_size <= LARGEST_PLOT else b""
    except OSError as error:
        unread.append(f"The plot {path} can't be read ({error}).")
        return None
    return f"data:image/png;base64,{base64.b64encode(content).decode()}" if content else None
