"""The training loop: one for every objective, on one screen."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import inf
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from scriptsight import distributed, finite
from scriptsight.arithmetic import Arithmetic
from scriptsight.errors import InputError
from scriptsight.params.optimization import AdamW, Cosine, Milestones, Muon, Sgd
from scriptsight.reporting import Reporter
from scriptsight.training import optimizers
from scriptsight.training.checkpoint import Checkpoints
from scriptsight.training.clock import Clock, peak_mb
from scriptsight.training.objective import Draw, Objective

LOG_EVERY = 10  # steps between two points of a curve
# What to change in params.yaml when memory runs out.
REMEDY = (
    "Set pretrain.engine.checkpoint_activations, lower pretrain.batch, frames, image_size or keep, or raise "
    "pretrain.engine.accumulate (alignment then sees a part of the batch at a time)."
)


class NonFiniteLoss(InputError):
    """The loss or its gradient is no number any more; nothing was updated with it."""


@dataclass(frozen=True)
class TrainingPlan:
    """How long and how fast to learn. Steps are optimizer steps; `batch` samples a step are shared by all
    processes, each of which computes its share in `accumulate` parts."""

    seed: int
    steps: int
    batch: int
    accumulate: int
    optimizer: AdamW | Muon | Sgd
    schedule: Cosine | Milestones
    ema: float
    validate_every: int
    checkpoint_every: int
    strategy: Literal["ddp", "fsdp"]


@dataclass
class History:
    """The curves: training figures every `LOG_EVERY` steps and validation figures, each with its step."""

    training: list[dict[str, float]] = field(default_factory=list)
    validation: list[dict[str, float]] = field(default_factory=list)

    def tell(self, reporter: Reporter) -> None:
        """Give all points to what records this run, which has only the rest of them otherwise."""
        for name, curve in (("train", self.training), ("val", self.validation)):
            for point in curve:
                figures = {f"{name}/{key}": point[key] for key in point if key != "step"}
                reporter.metrics(figures, int(point["step"]))


@dataclass(frozen=True)
class Trained:
    """What training came to.

    `val` is what the last validation found, `weights` the objective's (averaged, if there is an average) on the
    processor, in the first process; `speed` says how fast it went: samples_per_second, data_wait_share, the
    milliseconds of a step's parts, mfu (model FLOPS utilisation), peak_mb.
    """

    history: History
    val: dict[str, Any]
    weights: dict[str, Tensor]
    speed: dict[str, float]


def train(
    objective: Objective,
    batches: Callable[[int], Iterator[Any]],
    held_out: Mapping[str, Sequence[Any]],
    *,
    plan: TrainingPlan,
    arithmetic: Arithmetic,
    checkpoints: Checkpoints,
    reporter: Reporter,
    label: str = "pretrain",
    remedy: str = REMEDY,
) -> Trained:
    """Train `objective` in place; resumes from `checkpoints` where there are any.

    Args:
        batches: first step -> this process's parts of the batches from there on, a pure function of the step.
        held_out: validation batches by name; those of the name "" give the figures without a prefix, by which the
            best weights are chosen. Without them the last weights are the best.
        label: of the progress bar.
        remedy: what the message says to do when memory runs out.

    Raises:
        NonFiniteLoss: before the update that it would have spoilt; the message names the segments.
        InputError: memory ran out; the message says what to lower.
        SystemExit: SIGTERM or SIGINT came; a checkpoint was written after the step.
    """
    training = _Training(objective, plan, arithmetic, checkpoints, reporter)
    first = training.resume()
    stream = batches(first)
    with _stop_signals() as stopped, _memory_named(remedy):
        for step in reporter.progress(range(first, plan.steps), label):
            started = time.perf_counter()
            training.step(step, stream)  # it ends by looking at the loss, so that a GPU is done by then
            training.wall += time.perf_counter() - started
            done = step + 1
            if done % LOG_EVERY == 0 or done == plan.steps:
                training.log(done)
            if done % plan.validate_every == 0 or done == plan.steps:
                training.validate(done, held_out)
            stopping = distributed.anywhere(bool(stopped))
            if (stopping or done % plan.checkpoint_every == 0) and done < plan.steps:
                training.save(done)
                if stopping:
                    reporter.message(f"Stopped after step {done}; run again to go on from there.")
                    raise SystemExit(128 + (stopped or [signal.SIGTERM])[0])
    with training.averaged():
        weights = distributed.full_weights(training.model)
    return Trained(training.history, training.val, weights, training.speed())


class _Training:
    """The state of a training, and what is done with it."""

    def __init__(
        self,
        objective: Objective,
        plan: TrainingPlan,
        arithmetic: Arithmetic,
        checkpoints: Checkpoints,
        reporter: Reporter,
    ) -> None:
        self.objective, self.plan, self.arithmetic = objective, plan, arithmetic
        self.checkpoints, self.reporter = checkpoints, reporter
        self.share = plan.batch // (plan.accumulate * distributed.world())  # samples of a process in a part
        self.model = distributed.wrap(objective, plan.strategy, arithmetic.device)
        self.parameters = [value for value in objective.parameters() if value.requires_grad]
        self.optimizer = optimizers.build(objective, plan.optimizer, objective.rate_factor)
        self.average = optimizers.Average(self.parameters, plan.ema)
        self.history, self.val = History(), dict[str, Any]()
        self.clock = Clock(arithmetic.device)
        self.peak_rate = arithmetic.matrix_rate()
        self.costs: dict[tuple[int, ...], int] = {}  # operations of a part, by the shape of its clips
        self.steps, self.operations = 0, 0  # done in this process
        self.wall, self.seconds = 0.0, dict[str, float]()  # time of all steps, and of their parts
        self.recent: list[Mapping[str, Any]] = []  # figures of the steps since the last point of the curve

    def step(self, step: int, stream: Iterator[Any]) -> None:
        # --------------------------------------------------------------------------------- one step
        plan, clock = self.plan, self.clock
        with self.arithmetic.autocast():
            self.objective.before_step(step, self.history.validation)
        self.model.train()
        self.optimizer.zero_grad()
        for group in self.optimizer.param_groups:
            group["lr"] = group["base_lr"] * optimizers.rate(plan.schedule, step, plan.steps)
        figures: list[dict[str, Tensor]] = []
        ids: list[str] = []
        for part in range(plan.accumulate):
            with clock("data", host=True):
                batch = next(stream).to(self.arithmetic.device)
            ids += batch.segment_ids
            self.operations += self._operations(batch, self._draw(step, part))
            with distributed.without_exchange(self.model, last=part == plan.accumulate - 1):
                with clock("forward"), self.arithmetic.autocast():
                    losses = self.model("losses", batch, self._draw(step, part))
                with clock("backward"):
                    (losses["loss"] / plan.accumulate).backward()
            figures.append({name: value.detach() for name, value in losses.items()})
        self.recent.append({name: sum(part[name] for part in figures) / len(figures) for name in figures[-1]})
        with clock("optimizer"):
            norm = distributed.whole(nn.utils.clip_grad_norm_(self.parameters, plan.optimizer.clip_norm))
            self._check_finite(step, norm, ids)
            self.optimizer.step()
            self.average.update()
            self.objective.after_step()
        # ------------------------------------------------------------------------------------------
        self.steps += 1

    def _draw(self, step: int, part: int) -> Draw:
        """All of a step's randomness comes from its number (dropout's too): nothing else is saved to resume."""
        first = (part * distributed.world() + distributed.rank()) * self.share
        number = self.plan.seed * 1_000_003 + step
        torch.manual_seed((number * self.plan.batch + first) % 2**63)  # dropout's; differs between processes
        return Draw(torch.Generator().manual_seed(number), first, self.share, self.plan.batch)

    def _operations(self, batch: Any, draw: Draw) -> int:
        """Floating-point operations of one part: a forward pass is counted, and twice as much for backward."""
        if (shape := tuple(batch.frames.shape) if hasattr(batch, "frames") else ()) in self.costs:
            return self.costs[shape]
        self.model.eval()  # the extra pass must leave no trace in running statistics
        with torch.no_grad(), self.arithmetic.autocast(), FlopCounterMode(display=False) as counter:
            self.model("losses", batch, draw)
        self.model.train()
        self.costs[shape] = 3 * counter.get_total_flops()
        return self.costs[shape]

    def _check_finite(self, step: int, norm: Tensor, ids: list[str]) -> None:
        loss = self.recent[-1]["loss"]
        if not distributed.anywhere(not (bool(torch.isfinite(loss)) and bool(torch.isfinite(norm)))):
            return
        found = distributed.collect((loss.item(), ids))
        # A gradient that overflows spoils all processes alike; a loss names its own.
        guilty = [names for value, names in found if not torch.isfinite(torch.tensor(value))] or [n for _, n in found]
        raise NonFiniteLoss(
            f"The loss is {loss.item()}, its gradient's norm {norm.item()} at step {step}; nothing was updated. "
            f"Segments: {', '.join(name for names in guilty for name in names)}. Lower the "
            "learning rate, or look at these segments."
        )

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The model has the averaged weights inside the block."""
        distributed.forget_gathered(self.model)
        with self.average.applied():
            yield
            distributed.forget_gathered(self.model)

    def log(self, done: int) -> None:
        # The mean over the steps that have a figure: with several collections not all have the same.
        names = dict.fromkeys(name for figures in self.recent for name in figures)
        means = {}
        for name in names:
            values = [float(figures[name]) for figures in self.recent if name in figures]
            means[name] = sum(values) / len(values)
        self.recent, point = [], distributed.mean(means)
        for name, seconds in self.clock.lap().items():
            self.seconds[name] = self.seconds.get(name, 0.0) + seconds
        lr = self.optimizer.param_groups[0]["lr"]
        self.history.training.append({"step": done, "lr": lr, **point})
        self.reporter.metrics({f"train/{name}": value for name, value in point.items()} | {"train/lr": lr}, done)
        speed = self.speed()
        self.reporter.metrics({f"speed/{name}": value for name, value in speed.items()}, done)
        beside = [f"{name} {value:.3f}" for name, value in point.items()]
        self.reporter.status(", ".join([*beside, f"waits for data {speed['data_wait_share']:.0%}"]))

    def speed(self) -> dict[str, float]:
        """How fast this process trained so far, validation not counted."""
        total = self.wall
        if not total:
            return {}
        parts = {f"{name}_ms": 1000 * seconds / self.steps for name, seconds in self.seconds.items()}
        return {
            "samples_per_second": self.plan.batch * self.steps / total,
            "data_wait_share": self.seconds.get("data", 0.0) / total,
            **parts,
            "mfu": self.operations / total / self.peak_rate,
            "peak_mb": peak_mb(self.arithmetic.device),
        }

    def validate(self, done: int, held_out: Mapping[str, Sequence[Any]]) -> None:
        self.val = {}
        with self.averaged():
            for name, batches in held_out.items():
                found = self._validated(batches)
                self.val |= {f"{name}/{key}" if name else key: value for key, value in found.items()}
            scalars = {name: value for name, value in self.val.items() if isinstance(value, float)}
            headline = self.objective.headline
            best = max((point[headline] for point in self.history.validation if headline in point), default=-inf)
            if scalars.get(headline, inf) > best:
                weights = distributed.full_weights(self.model)
                if distributed.rank() == 0:
                    self.checkpoints.save_best(weights)
        if not scalars:
            return
        self.history.validation.append({"step": done, **scalars})
        self.reporter.metrics({f"val/{name}": value for name, value in scalars.items()}, done)
        self.reporter.message(f"step {done}: " + ", ".join(f"{name} {value:.3f}" for name, value in scalars.items()))

    def _validated(self, batches: Sequence[Any]) -> dict[str, Any]:
        """The objective's figures over `batches`, which the processes share."""
        world, rank = distributed.world(), distributed.rank()
        self.model.eval()
        mine = []
        for turn in range(-(-len(batches) // world)):
            number = turn * world + rank
            # With FSDP all processes compute together: one that has no batch left repeats the last.
            batch = batches[min(number, len(batches) - 1)].to(self.arithmetic.device)
            with torch.no_grad(), self.arithmetic.autocast():
                part = self.model("measure", batch)
            for figure, values in part.items():
                finite.check(values, f"the model's {figure} of a validation batch", "Train again, with a smaller lr.")
            if number < len(batches):
                mine.append((number, {name: value.cpu() for name, value in part.items()}))
        found = sorted((item for items in distributed.collect(mine) for item in items), key=lambda item: item[0])
        return self.objective.figures([part for _, part in found])

    def save(self, done: int) -> None:
        state = {**distributed.full_state(self.model, self.optimizer), "memory": self.objective.memory()}
        with self.averaged():
            average = distributed.full_weights(self.model) if self.plan.ema else None
        recent = [distributed.mean({name: float(value) for name, value in one.items()}) for one in self.recent]
        if distributed.rank() == 0:
            curves = {"training": self.history.training, "validation": self.history.validation}
            self.checkpoints.save(done, {"step": done, **state, "average": average, "recent": recent, **curves})
        distributed.collect(None)  # nobody goes on, or ends, before it is written

    def resume(self) -> int:
        """Load the newest checkpoint, if any -> the first step to do."""
        found = self.checkpoints.load()
        if found is None:
            return 0
        state, path = found
        if self.plan.ema:
            distributed.load_state(self.model, self.optimizer, {**state, "model": state["average"]})
            self.average = optimizers.Average(self.parameters, self.plan.ema)
        distributed.load_state(self.model, self.optimizer, state)
        self.objective.remember(state["memory"])
        self.history, self.recent = History(state["training"], state["validation"]), state["recent"]
        self.history.tell(self.reporter)
        self.reporter.message(f"Resuming after step {state['step']} from {path}.")
        return int(state["step"])


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """A list that gets the number of a SIGTERM or SIGINT; the second one is heeded at once."""
    heard: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield heard
        return
    before: dict[int, Any] = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def hear(number: int, _frame: Any) -> None:
        heard.append(number)
        signal.signal(number, before[number])

    for number in before:
        signal.signal(number, hear)
    try:
        yield heard
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _memory_named(remedy: str) -> Iterator[None]:
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        known = isinstance(error, torch.OutOfMemoryError | MemoryError)
        if not known and "DefaultCPUAllocator" not in str(error):  # the processor's has no exception of its own
            raise
        cause = str(error).partition(chr(10))[0] or type(error).__name__
        raise InputError(f"Memory ran out while training ({cause}). {remedy}") from error
