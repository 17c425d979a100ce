"""`scriptsight sweep`: what K and which weights? A study of short trainings, each measured on validation splits.

`sweep` in params.yaml says what is drawn, what it is judged by and how many trials there are in all. Started again,
it goes on where it was; started on several machines with one database, they share the work. Segments are reused: no
trial decodes video. With --apply, the values of a trial are written into params.yaml.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event
from typing import TYPE_CHECKING, Any

from flows import parameters
from flows.experiments import runner
from flows.experiments.runner import Attempt
from flows.experiments.sweep import trial as trials
from flows.orchestration import runs, server
from flows.running import locks, workspace
from scriptsight import redaction
from scriptsight.errors import InputError

if TYPE_CHECKING:
    import optuna

    from flows.experiments.sweep.record import StudyRecord

FOLDER, PLOTS = Path(".sweeps"), Path("plots/sweep")
STATES = {"complete": "FINISHED", "failed": "FAILED"}  # of runs in MLflow; the others were KILLED


def command(options: argparse.Namespace) -> None:
    """Run the study, train its best to the end, or write the values of a trial into the parameters file."""
    settings = parameters.load(options.params)
    from flows.experiments.sweep.study import open_study

    if options.apply is not None:
        use(open_study(settings), options.apply, Path(options.params))
        return
    with locks.reading("pipeline", "scriptsight sweep"):  # segments, which a pipeline would replace under it
        study = open_study(settings)
        if options.finish is not None:
            finish(settings, study, options.finish or settings.sweep.finish)
        else:
            run(settings, study)


def use(study: optuna.Study, which: str, path: Path) -> None:
    """Write the values of a trial into the parameters file; in a workspace, into its overrides.yaml."""
    from flows.experiments.sweep import apply
    from flows.experiments.sweep.study import broken, values_of

    trial = apply.chosen(study, which)
    if missed := broken(trial):
        print(f"sweep: trial {trial.number} misses sweep.constraints: {'; '.join(missed)}", file=sys.stderr)
    overrides = path.with_name("overrides.yaml")
    target = overrides if overrides.is_file() else path
    changes = apply.write(target, values_of(trial), add=target == overrides)
    if target == overrides:
        workspace.prepare(path.resolve().parent)
    print(f"sweep: {target} has the values of trial {trial.number}" + "".join(f"\n  {line}" for line in changes))


def finish(settings: parameters.Params, study: optuna.Study, count: int) -> None:
    """Train the best `count` of the front and the default to the end, and say what came out."""
    from flows.experiments.sweep import finish as finishing
    from flows.experiments.sweep import finish_report
    from flows.experiments.sweep.study import originals, unfinished

    if left := unfinished(study) + max(0, settings.sweep.n_trials - len(originals(study.trials))):
        print(f"sweep: the study has {left} trial(s) still to run; the best so far are finished", file=sys.stderr)
    folder, plots = FOLDER / settings.sweep.study, PLOTS / settings.sweep.study
    whole_study = finishing.Finish(settings, study, count, folder)  # what is missing is said before anything starts
    record = _begin(settings, study)
    whole = False
    try:
        paths = finish_report.write(finishing.run(whole_study, record), settings, plots)
        for path in paths:
            record.artifact(record.run_id, path)
        whole = True
    finally:
        record.end(record.run_id, "FINISHED" if whole else "KILLED")
        if not whole:
            print("sweep: stopped; `scriptsight sweep --finish` goes on where it was", file=sys.stderr)
    print(paths[0].read_text(encoding="utf-8"))
    print(f"sweep: the same with a table and a picture is {paths[0]}")


def _begin(settings: parameters.Params, study: optuna.Study) -> StudyRecord:
    """What both runs need: processes to fork from, a Prefect server, and the study's run in MLflow."""
    from flows.experiments.sweep.record import StudyRecord
    from flows.experiments.sweep.study import with_values

    sweep = settings.sweep
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):  # trials share the cores while they are measured, too
        os.environ[name] = str(with_values(settings, {}).pretrain.engine.threads)
    runner.warm_up()
    process = _server()
    known = study.user_attrs.get("mlflow_run")
    record = StudyRecord(sweep.study, known, sweep.model_dump(mode="json", include={"space", "objectives"}))
    if record.run_id != known:
        study.set_user_attr("mlflow_run", record.run_id)
    if process:
        server.wait(os.environ["PREFECT_API_URL"], process)
    return record


def run(settings: parameters.Params, study: optuna.Study) -> None:
    """Run what is left of the study, then say what came out."""
    sweep = settings.sweep
    record = _begin(settings, study)
    whole = False
    try:
        _Trials(settings, study, record).run()
        whole = True
    finally:
        if not whole:
            print(
                f"sweep: stopped; `scriptsight sweep` goes on with study {sweep.study!r}",
                file=sys.stderr,
            )
        _report(study, record, whole)


def _server() -> Any:
    """Settle which Prefect server sees the study -> the process of one of our own, which may not be up yet."""
    url, process = server.find(), None
    if url is None:
        url, process = server.own()
    os.environ["PREFECT_API_URL"] = url
    return process


class _Trials:
    """The trials that this process runs, `sweep.workers` at a time, each a Prefect task run."""

    def __init__(self, settings: parameters.Params, study: optuna.Study, record: StudyRecord) -> None:
        from flows.experiments.sweep.shown import Shown

        self.shown = Shown(study, settings.sweep, record)
        self.settings, self.sweep, self.study, self.record = settings, settings.sweep, study, record
        self.stopping = Event()
        self.running: dict[Any, Any] = {}  # future -> its trial
        self.begun: dict[int, Any] = {}  # number -> trial, for the task: Prefect records what tasks are given
        self.free = list(range(self.sweep.workers))
        self.errors: list[BaseException] = []  # of this program, not of a trial
        self.above: list[str] = []  # flow runs whose pages show the study too

    def run(self) -> None:
        """Run trials until the study has all of them."""
        from prefect import flow
        from prefect.runtime import flow_run
        from prefect.task_runners import ThreadPoolTaskRunner

        self.above = [flow_run.id] if flow_run.id else []  # of a deployed sweep
        threads: Any = ThreadPoolTaskRunner(max_workers=self.sweep.workers)
        name = f"study {self.sweep.study}"
        study = flow(name="study", flow_run_name=name, task_runner=threads, persist_result=False)(
            runs.untagged()(self._flow)
        )
        with runs.recorded():
            state: Any = study(return_state=True)
        if self.errors:
            raise self.errors[0]
        state.result()

    def _flow(self) -> None:
        from prefect.runtime import flow_run

        from flows.orchestration import live

        live.announce("sweep")
        with live.Page([flow_run.id, *self.above], lambda: self.shown.look(page)) as page:
            self._run_all()

    def _run_all(self) -> None:
        from flows.experiments.sweep.study import ask, unfinished

        task, done = self._task(), SimpleQueue[Any]()
        waiting = ""
        try:
            while not self.errors:
                while self.free and (trial := ask(self.study, self.sweep)):
                    self.begun[trial.number] = trial
                    future = task.submit(trial.number, self.free.pop(0))
                    self.running[future] = trial
                    future.add_done_callback(done.put)
                if not self.running:
                    left = unfinished(self.study)
                    if not left:
                        return
                    if not waiting:  # they may be lost, and then fall to this process
                        waiting = f"sweep: waiting for {left} trial(s) of other workers"
                        print(waiting, flush=True)
                try:
                    self.running.pop(done.get(timeout=self.sweep.heartbeat_seconds))
                except Empty:
                    continue
        finally:
            self.stopping.set()  # however it ends: trials that run write their checkpoints
            for future in self.running:
                future.wait()

    def _task(self) -> Any:
        from prefect import task
        from prefect.cache_policies import NO_CACHE
        from prefect.states import Completed, Failed

        @task(name="trial", task_run_name="trial {number}", cache_policy=NO_CACHE, persist_result=False)
        def trial(number: int, worker: int) -> Any:
            try:
                attempt = self._attempt(self.begun[number], worker)
            except BaseException as error:
                self.errors.append(error)
                return Failed(message=f"{type(error).__name__}: {error}")
            finally:
                self.free.append(worker)
            summary = attempt.reason or ", ".join(
                f"{name} {attempt.figures[name]:.4f}" for name in self.sweep.objectives
            )
            return Completed(message=summary) if attempt.how in ("complete", "pruned") else Failed(message=summary)

        return trial

    def _attempt(self, trial: Any, worker: int) -> Attempt:
        """Run a trial in a process of its own, and tell Optuna, MLflow and the terminal how it went."""
        from flows.experiments.sweep import report
        from flows.experiments.sweep import study as studies

        values = studies.values_of(trial)
        run_id = ""
        frozen = self.study.trials[trial.number]
        lost = studies.before(self.study, frozen)
        if lost and "reason" not in lost.user_attrs and (run := lost.user_attrs.get("run")):
            self.record.end(run, "KILLED", {"reason": report.reason(lost)})  # nobody else could say so
        folder = FOLDER / self.sweep.study / str(studies.first_number(frozen))
        since = str(self.study.trials[studies.first_number(frozen)].datetime_start)
        self._say(trial, "starts: " + report.listed(values))
        try:
            settings = studies.with_values(self.settings, values)
        except InputError as error:
            attempt = Attempt("failed", str(error))
        else:
            run_id = self.record.begin(trial.number, {"pretrain": settings.pretrain.model_dump(mode="json")})
            trial.set_user_attr("run", run_id)
            with studies.beating(self.study, trial):  # MLflow may be waited for longer than a worker may be silent
                attempt = runner.run(
                    trials.work,
                    trials.settings_of(settings, since),
                    folder,
                    worker,
                    stopping=self.stopping,
                    most=self.sweep.trial_seconds,
                    take=self._taker(trial, run_id),
                    tell=self.shown.tell(trial.number),
                )
        if self.study.trials[trial.number].state.is_finished():  # the machine slept, and others took it for lost
            attempt = Attempt("lost", "it was silent for so long that it was given to another worker")
            self._say(trial, f"{attempt.how}: {attempt.reason}")
        else:
            self._tell(trial, attempt)
        if run_id:
            self.record.metrics(run_id, {**attempt.figures, "seconds/all": attempt.seconds})
            self.record.end(run_id, STATES.get(attempt.how, "KILLED"), {"how": attempt.how, "reason": attempt.reason})
        if attempt.how in ("failed", "pruned"):
            trials.tidy(folder)
        elif attempt.how == "complete" and self.sweep.keep == "front":
            self._keep_front()
        return attempt

    def _taker(self, trial: Any, run_id: str) -> runner.Take:
        """What gets a trial's figures while it runs, and says why it is to be pruned, if it is."""
        prune = self.sweep.prune
        figure = None if prune is None else prune.figure.replace("pretrain/", "val/", 1)

        def take(values: Mapping[str, float], step: int, moment: int) -> str:
            self.record.metrics(run_id, values, step, moment)
            if figure is None or figure not in values:
                return ""
            trial.report(values[figure] if self._up else -values[figure], step)
            return f"worse than the median at step {step}" if trial.should_prune() else ""

        return take

    @property
    def _up(self) -> bool:
        """Whether the pruner, which looks where the objective looks, takes more for better."""
        return next(iter(self.sweep.objectives.values())) == "maximize"

    def _tell(self, trial: Any, attempt: Attempt) -> None:
        """Record how it went, and queue again what was lost."""
        from optuna.trial import TrialState

        from flows.experiments.sweep import report
        from flows.experiments.sweep import study as studies

        wanted = [*self.sweep.objectives, *self.sweep.constraints]
        missing = [name for name in wanted if name not in attempt.figures]
        for name, value in (("seconds", attempt.seconds), ("figures", attempt.figures), ("reason", attempt.reason)):
            if value:
                trial.set_user_attr(name, value)
        if attempt.how == "complete" and not missing:
            studies.bounded(trial, self.sweep, attempt.figures)
            figures = [attempt.figures[name] for name in self.sweep.objectives]
            self.study.tell(trial, figures, skip_if_finished=True)
            named = {name: attempt.figures[name] for name in self.sweep.objectives}
            self._say(trial, f"{report.listed(named)} after {attempt.seconds:.0f} s")
            return
        pruned = attempt.how == "pruned"
        self.study.tell(trial, state=TrialState.PRUNED if pruned else TrialState.FAIL, skip_if_finished=True)
        if attempt.how == "complete":
            raise InputError(
                f"A trial has no figure {missing[0]!r}, which sweep.objectives or sweep.constraints names. It has: "
                f"{', '.join(sorted(attempt.figures))}."
            )
        if attempt.how in ("lost", "stopped"):
            counted = attempt.how == "lost"
            studies.repeat(self.study, self.study.trials[trial.number], self.sweep, counted=counted)
        self._say(trial, f"{attempt.how}: {attempt.reason}")

    def _keep_front(self) -> None:
        """Remove the models of complete trials that others beat."""
        from flows.experiments.sweep import report
        from flows.experiments.sweep.study import first_number

        front = {first_number(trial) for trial in self.study.best_trials}
        for trial in report.complete(self.study):
            if first_number(trial) not in front:
                trials.tidy(FOLDER / self.sweep.study / str(first_number(trial)))

    def _say(self, trial: Any, text: str) -> None:
        from prefect import get_run_logger

        print(f"sweep: {time.strftime('%H:%M:%S')} trial {trial.number} {text}", flush=True)
        get_run_logger().info("trial %d %s", trial.number, redaction.redacted(text))


def _report(study: optuna.Study, record: StudyRecord, whole: bool) -> None:
    """Print the table, draw the pictures, and close the study's run in MLflow."""
    from flows.experiments.sweep import apply, report
    from flows.experiments.sweep.study import broken

    done = report.complete(study)
    feasible = [trial for trial in done if not broken(trial)]
    front = apply.ranked(study) if done else []
    chosen = front[0].number if front else None
    paths = report.write(study, PLOTS / study.study_name, chosen)
    print(report.table(study))
    best = {f"best/{name}": value for name, value in _best(study, chosen).items()}
    record.metrics(record.run_id, {**best, "trials/complete": len(done), "trials/all": len(study.trials)})
    for path in paths:
        record.artifact(record.run_id, path)
    record.end(record.run_id, "FINISHED" if whole else "KILLED")
    missed = f", {over} of which miss sweep.constraints" if (over := len(done) - len(feasible)) else ""
    print(f"sweep: {len(done)} complete trials{missed}; table and pictures in {PLOTS / study.study_name}")
    if chosen is not None:
        print(f"sweep: `scriptsight sweep --apply` takes trial {chosen}; `--apply N` another")


def _best(study: optuna.Study, chosen: int | None) -> dict[str, float]:
    if chosen is None:
        return {}
    return dict(zip(study.metric_names or (), study.trials[chosen].values or (), strict=True))
