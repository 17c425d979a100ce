"""Learning rates: schedules, and a rate of its own for the text encoder."""

import pytest
from torch import nn

from scriptsight.params.optimization import AdamW, Cosine, Milestones, Sgd
from scriptsight.training import optimizers

ADAMW = {"kind": "adamw", "lr": 0.01, "text_lr": None, "weight_decay": 0.0, "betas": (0.9, 0.98), "clip_norm": 1.0}


def test_warm_up_then_cosine_to_zero() -> None:
    schedule = Cosine(kind="cosine", warmup_steps=4)
    rates = [optimizers.rate(schedule, step, 24) for step in range(24)]
    assert rates[:4] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert rates[14] == pytest.approx(0.5)
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert 0 < rates[-1] < 0.03


def test_milestones() -> None:
    schedule = Milestones(kind="milestones", warmup_steps=2, at=(5, 8), factor=0.1)
    rates = [optimizers.rate(schedule, step, 10) for step in range(10)]
    assert rates == pytest.approx([0.5, 1, 1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01])


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        text = nn.ModuleDict({"backbone": nn.Linear(2, 2)})
        self.encoder = nn.ModuleDict({"text": text, "video": nn.Linear(2, 2)})


def test_the_text_encoder_has_a_rate_of_its_own() -> None:
    choice = AdamW.model_validate(ADAMW | {"text_lr": 0.001})
    optimizer = optimizers.build(Model(), choice)
    assert [group["base_lr"] for group in optimizer.param_groups] == [0.01, 0.001]
    assert [len(group["params"]) for group in optimizer.param_groups] == [2, 2]
    frozen = Model()
    frozen.encoder["text"].requires_grad_(False)
    (group,) = optimizers.build(frozen, choice).param_groups
    assert len(group["params"]) == 2


def test_layers_have_shares_of_the_rate_and_the_whole_one_is_what_curves_show() -> None:
    choice = AdamW.model_validate(ADAMW)
    optimizer = optimizers.build(Model(), choice, lambda name: 0.5 if "text" in name else 1.0)  # text comes first
    assert [group["base_lr"] for group in optimizer.param_groups] == [0.01, 0.005]
    assert [len(group["params"]) for group in optimizer.param_groups] == [2, 2]


def test_sgd_has_momentum() -> None:
    choice = Sgd(kind="sgd", lr=0.1, text_lr=None, weight_decay=1e-4, momentum=0.9, clip_norm=20.0)
    (group,) = optimizers.build(Model(), choice).param_groups
    assert (group["momentum"], group["weight_decay"]) == (0.9, 1e-4)
