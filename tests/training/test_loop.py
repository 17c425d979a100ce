"""The loop: resuming, stopping, scheduling. On a real, tiny problem."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from scriptsight.arithmetic import choose, deterministic
from scriptsight.reporting import ConsoleReporter
from scriptsight.training import checkpoint
from scriptsight.training.loop import NonFiniteLoss, Schedule, train

SCHEDULE = Schedule(
    steps=24,
    lr=0.01,
    weight_decay=0.05,
    betas=(0.9, 0.98),
    warmup_steps=4,
    clip_norm=1.0,
    validate_every=8,
    checkpoint_every=10,
)


@dataclass
class Points:
    x: torch.Tensor
    segment_ids: list[str]

    def to(self, device: torch.device) -> "Points":
        return self


class Killed(Exception):
    pass


def points(first: int, *, kill_at: int | None = None, poison_at: int | None = None) -> Iterator[Points]:
    for step in range(first, SCHEDULE.steps):
        if step == kill_at:
            raise Killed
        x = torch.randn(8, 3, generator=torch.Generator().manual_seed(step))
        yield Points(x * float("nan") if step == poison_at else x, [f"c/v/{step}"])


def run(folder, **batches):
    torch.manual_seed(0)
    model = nn.Linear(3, 1)

    def losses(batch, generator):
        noise = torch.randn(8, 1, generator=generator)  # a step's randomness must survive a resume as well
        return {"loss": (model(batch.x) - batch.x.sum(-1, keepdim=True) + 0.1 * noise).square().mean()}

    state = checkpoint.Checkpoint(folder, checkpoint.key({"lr": SCHEDULE.lr}))
    with deterministic(1):
        history, _ = train(
            model,
            losses,
            lambda first: points(first, **batches),
            lambda: {"weight": model.weight.sum().item()},
            schedule=SCHEDULE,
            seed=5,
            arithmetic=choose("fp32"),
            checkpoint=state,
            reporter=ConsoleReporter(),
        )
    return model, history, state


def test_a_killed_run_ends_like_an_uninterrupted_one_bit_for_bit(tmp_path):
    whole, curve, _ = run(tmp_path / "whole")
    with pytest.raises(Killed):
        run(tmp_path / "killed", kill_at=17)
    resumed, resumed_curve, _ = run(tmp_path / "killed")
    assert torch.equal(whole.weight, resumed.weight)
    assert torch.equal(whole.bias, resumed.bias)
    assert curve == resumed_curve
    assert [point["step"] for point in curve.validation] == [8, 16, 24]


def test_a_resumed_run_does_not_start_over(tmp_path, capsys):
    with pytest.raises(Killed):
        run(tmp_path, kill_at=17)
    run(tmp_path)
    assert "Resuming after step 10" in capsys.readouterr().err


def test_the_loss_falls(tmp_path):
    _, history, _ = run(tmp_path)
    assert history.training[-1]["loss"] < 0.8 * history.training[0]["loss"]


def test_a_loss_that_is_no_number_stops_before_the_update_and_names_the_segments(tmp_path):
    with pytest.raises(NonFiniteLoss, match=r"step 12.*c/v/12"):
        run(tmp_path, poison_at=12)
    state = checkpoint.Checkpoint(tmp_path, checkpoint.key({"lr": SCHEDULE.lr})).load()
    assert state["step"] == 10
    assert torch.isfinite(state["objective"]["weight"]).all()


def test_other_parameters_never_resume_from_this_checkpoint():
    assert checkpoint.key({"lr": 0.1}, "data") != checkpoint.key({"lr": 0.2}, "data")
    assert checkpoint.key({"lr": 0.1}, "data") != checkpoint.key({"lr": 0.1}, "other data")


def test_warm_up_then_cosine_to_zero():
    rates = [SCHEDULE.lr_at(step) for step in range(SCHEDULE.steps)]
    assert rates[:4] == pytest.approx([0.0025, 0.005, 0.0075, 0.01])
    assert rates[14] == pytest.approx(0.005)
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert 0 < rates[-1] < 0.0003


def test_a_checkpoint_runs_no_code(tmp_path):
    """Loading refuses anything but tensors and plain values."""
    import pickle

    state = checkpoint.Checkpoint(tmp_path, "key")
    torch.save({"step": 1, "objective": Killed}, state.path)
    with pytest.raises(pickle.UnpicklingError):
        state.load()
