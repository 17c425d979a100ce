"""The loop: resuming, stopping, averaging, saying what went wrong. On a real, tiny problem."""

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from scriptsight.arithmetic import deterministic, plain
from scriptsight.errors import InputError
from scriptsight.params.optimization import AdamW, Cosine, Milestones, Sgd
from scriptsight.reporting import ConsoleReporter
from scriptsight.training import checkpoint
from scriptsight.training.loop import NonFiniteLoss, Trained, TrainingPlan, train
from scriptsight.training.objective import Draw, Objective

PLAN = TrainingPlan(
    seed=5,
    steps=24,
    batch=8,
    accumulate=1,
    optimizer=AdamW(kind="adamw", lr=0.01, text_lr=None, weight_decay=0.05, betas=(0.9, 0.98), clip_norm=1.0),
    schedule=Cosine(kind="cosine", warmup_steps=4),
    ema=0.0,
    validate_every=8,
    checkpoint_every=10,
    strategy="ddp",
)


@dataclass
class Points:
    x: torch.Tensor
    segment_ids: list[str]

    def to(self, device: torch.device) -> "Points":
        return self


class Plane(Objective):
    """Learns the sum of three numbers from noisy sums."""

    headline = "fit"

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 1)
        self.greedy, self.dropout = False, 0.5

    def losses(self, batch: Points, draw: Draw) -> dict[str, torch.Tensor]:
        if self.greedy:
            torch.empty(2**48)
        noise = draw.rand(1)  # a step's randomness must survive a resume as well
        noise = noise + 0.1 * nn.functional.dropout(torch.ones(len(batch.x), 1), self.dropout)  # and dropout's
        return {"loss": (self.linear(batch.x) - batch.x.sum(-1, keepdim=True) + 0.1 * noise).square().mean()}

    def measure(self, batch: Points) -> dict[str, torch.Tensor]:
        return {"error": (self.linear(batch.x) - batch.x.sum(-1, keepdim=True)).abs()}

    def figures(self, parts: Any) -> dict[str, float]:
        return {"fit": 1 / (1 + torch.cat([part["error"] for part in parts]).mean().item())}


class Killed(Exception):
    pass


def points(
    first: int,
    plan: TrainingPlan,
    *,
    kill_at: int | None = None,
    poison_at: int | None = None,
    signal_at: int | None = None,
) -> Iterator[Points]:
    for item in range(first * plan.accumulate, plan.steps * plan.accumulate):
        step, part = divmod(item, plan.accumulate)
        if step == kill_at:
            raise Killed
        if step == signal_at:
            os.kill(os.getpid(), signal.SIGTERM)
        x = torch.randn(plan.batch, 3, generator=torch.Generator().manual_seed(step))
        share = plan.batch // plan.accumulate
        x = x[part * share : (part + 1) * share]
        yield Points(x * float("nan") if step == poison_at else x, [f"c/v/{step}"])


def run(
    folder: Path,
    plan: TrainingPlan = PLAN,
    *,
    greedy: bool = False,
    dropout: float = 0.5,
    keep: int = 2,
    **batches: int,
) -> tuple[Trained, checkpoint.Checkpoints]:
    torch.manual_seed(0)
    objective = Plane()
    objective.greedy, objective.dropout = greedy, dropout
    state = checkpoint.Checkpoints(folder, checkpoint.key({"lr": plan.optimizer.lr}), keep)
    held_out = {"": [Points(torch.eye(3), ["h/v/0"]), Points(torch.ones(1, 3), ["h/v/1"])]}
    with deterministic(1):
        outcome = train(
            objective,
            lambda first: points(first, plan, **batches),
            held_out,
            plan=plan,
            arithmetic=plain("fp32"),
            checkpoints=state,
            reporter=ConsoleReporter(),
        )
    return outcome, state


@pytest.mark.parametrize("ema", [0.0, 0.9])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_killed_run_ends_like_an_uninterrupted_one_bit_for_bit(tmp_path: Path, ema: float, accumulate: int) -> None:
    plan = replace(PLAN, ema=ema, accumulate=accumulate)
    whole, _ = run(tmp_path / "whole", plan)
    with pytest.raises(Killed):
        run(tmp_path / "killed", plan, kill_at=17)
    resumed, _ = run(tmp_path / "killed", plan)
    assert all(torch.equal(whole.weights[name], resumed.weights[name]) for name in whole.weights)
    assert whole.history == resumed.history
    assert [point["step"] for point in whole.history.validation] == [8, 16, 24]


def test_a_resumed_run_does_not_start_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Killed):
        run(tmp_path, kill_at=17)
    run(tmp_path)
    assert "Resuming after step 10" in capsys.readouterr().err


def test_sigterm_checkpoints_after_the_step_and_ends(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as stopped:
        run(tmp_path / "stopped", signal_at=13)
    assert stopped.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is before
    resumed, _ = run(tmp_path / "stopped")
    assert "Resuming after step 14" in capsys.readouterr().err
    whole, _ = run(tmp_path / "whole")
    assert torch.equal(whole.weights["linear.weight"], resumed.weights["linear.weight"])


def test_a_stated_number_of_checkpoints_is_kept(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        run(tmp_path, replace(PLAN, checkpoint_every=3), kill_at=20, keep=2)
    (folder,) = tmp_path.iterdir()
    assert sorted(path.name for path in folder.iterdir()) == ["0000000015.pt", "0000000018.pt", "best.pt"]


def test_a_damaged_checkpoint_is_named_and_nothing_older_taken_in_silence(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        run(tmp_path, replace(PLAN, checkpoint_every=3), kill_at=20)
    newest = next(tmp_path.rglob("*18.pt"))
    newest.write_bytes(newest.read_bytes()[:100])
    with pytest.raises(InputError, match=r"000018\.pt can't be read.*remove it"):
        run(tmp_path, replace(PLAN, checkpoint_every=3))


def test_the_best_weights_are_those_of_the_best_validation(tmp_path: Path) -> None:
    plan = replace(PLAN, validate_every=1, optimizer=PLAN.optimizer.model_copy(update={"lr": 0.5}))
    outcome, state = run(tmp_path, plan)
    fits = [point["fit"] for point in outcome.history.validation]
    assert max(fits) > fits[-1]  # so large a rate overshoots
    best = Plane()
    best.load_state_dict(state.load_best())
    errors = best.measure(Points(torch.eye(3), [])), best.measure(Points(torch.ones(1, 3), []))
    assert best.figures(errors)["fit"] == pytest.approx(max(fits))


def test_the_loss_falls(tmp_path: Path) -> None:
    outcome, _ = run(tmp_path)
    assert outcome.history.training[-1]["loss"] < 0.8 * outcome.history.training[0]["loss"]


def test_parts_of_a_batch_together_are_the_batch(tmp_path: Path) -> None:
    sgd = Sgd(kind="sgd", lr=0.1, text_lr=None, weight_decay=0.0, momentum=0.9, clip_norm=100.0)
    plan = replace(PLAN, optimizer=sgd)
    one, _ = run(tmp_path / "one", plan, dropout=0.0)
    two, _ = run(tmp_path / "two", replace(plan, accumulate=2), dropout=0.0)
    torch.testing.assert_close(one.weights, two.weights, atol=1e-6, rtol=1e-6)


def test_the_average_of_the_weights_is_kept(tmp_path: Path) -> None:
    """After two steps from w0: w' = 0.81 w0 + 0.09 w1 + 0.1 w2."""

    def weight(steps: int, ema: float) -> torch.Tensor:
        plan = replace(PLAN, ema=ema, schedule=Milestones(kind="milestones", warmup_steps=0, at=(), factor=0.1))
        return run(tmp_path / f"{steps} {ema}", replace(plan, steps=steps))[0].weights["linear.weight"]

    torch.manual_seed(0)
    start = Plane().linear.weight.detach()
    expected = 0.81 * start + 0.09 * weight(1, 0.0) + 0.1 * weight(2, 0.0)
    torch.testing.assert_close(weight(2, 0.9), expected)


def test_a_loss_that_is_no_number_stops_before_the_update_and_names_the_segments(tmp_path: Path) -> None:
    with pytest.raises(NonFiniteLoss, match=r"step 12.*c/v/12"):
        run(tmp_path, poison_at=12)
    loaded = checkpoint.Checkpoints(tmp_path, checkpoint.key({"lr": PLAN.optimizer.lr}), 2).load()
    assert loaded is not None
    state, path = loaded
    assert state["step"] == 10 and path.name == "0000000010.pt"
    assert torch.isfinite(state["model"]["linear.weight"]).all()


def test_no_memory_left_says_what_to_lower(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"Memory ran out.*pretrain\.batch.*engine\.accumulate"):
        run(tmp_path, greedy=True)


def test_speed_is_told(tmp_path: Path) -> None:
    speed = run(tmp_path)[0].speed
    assert speed["samples_per_second"] > 0
    assert 0 <= speed["data_wait_share"] <= 1
    assert {"forward_ms", "backward_ms", "optimizer_ms", "data_ms", "mfu", "peak_mb"} < set(speed)


def test_other_parameters_never_resume_from_this_checkpoint() -> None:
    assert checkpoint.key({"lr": 0.1}, "data") != checkpoint.key({"lr": 0.2}, "data")
    assert checkpoint.key({"lr": 0.1}, "data") != checkpoint.key({"lr": 0.1}, "other data")


def test_a_checkpoint_runs_no_code(tmp_path: Path) -> None:
    """Loading refuses anything but tensors and plain values."""
    state = checkpoint.Checkpoints(tmp_path, "key", 1)
    (tmp_path / "key").mkdir()
    torch.save({"step": 1, "model": Killed}, tmp_path / "key" / "0000000001.pt")
    with pytest.raises(InputError, match="can't be read"):
        state.load()
