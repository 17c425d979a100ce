"""What the page of a study shows while it works: trials that are done and that run, the best so far, MLflow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flows import parameters
from flows.experiments import runner
from flows.experiments.sweep import apply, report
from flows.experiments.sweep import study as studies
from flows.orchestration import live

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

    from flows.experiments.sweep.record import StudyRecord


class Shown:
    """The study as its page has it. Trials of other machines count; how far they are is known of those here."""

    def __init__(self, study: optuna.Study, sweep: parameters.SweepParams, record: StudyRecord) -> None:
        self._study, self._sweep, self._record = study, sweep, record
        self._parts: dict[int, live.Progress] = {}  # number -> how far the trial is

    def tell(self, number: int) -> runner.Tell:
        """What gets a trial's events while it runs here."""

        def take(event: Mapping[str, Any]) -> None:
            if "progress" in event:
                self._parts[number] = live.progress_of(event)

        return take

    def look(self, page: live.Page) -> None:
        """Bring the page up to date."""
        latest = {studies.first_number(one): one for one in self._study.get_trials(deepcopy=False)}.values()
        running = [trial for trial in latest if not trial.state.is_finished()]
        done = min(len(latest) - len(running), self._sweep.n_trials)
        parts = {trial.number: self._parts.get(trial.number, live.Progress("starts")) for trial in running}
        share = (done + sum(part.share for part in parts.values())) / self._sweep.n_trials
        said = f"{done} of {self._sweep.n_trials} trials are done"
        page.show(f"{live.prefix()}-study-progress", "progress", round(100 * min(share, 1.0), 1), said)
        lines = [f"- {said}", self._best()]
        lines += [f"- trial {number}: {live.plain(str(part))}" for number, part in parts.items()]
        lines.append(f"- MLflow: {live.mlflow_link(self._record.page)}")
        page.show(
            f"{live.prefix()}-study", "markdown", "\n".join(lines), f"The study {live.plain(self._sweep.study)}"
        )

    def _best(self) -> str:
        if not report.complete(self._study):
            return "- no trial is complete yet"
        best: FrozenTrial = apply.chosen(self._study, "best")
        figures = dict(zip(self._study.metric_names or (), best.values or (), strict=False))
        said = f"{report.listed(figures)} ({report.listed(best.params)})"
        return f"- best so far, trial {best.number}: {live.plain(said)}"
