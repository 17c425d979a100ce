"""Learning rates: schedules, and a rate of its own for the text encoder."""

import pytest
import torch
from torch import nn

from scriptsight.params.optimization import AdamW, Cosine, Milestones, Muon, Sgd
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


MUON = Muon.model_validate(ADAMW | {"kind": "muon", "matrix_lr": 0.02, "weight_decay": 0.1, "momentum": 0.9})


class Deep(nn.Module):
    """Two blocks between a matrix at the start and one at the end."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(9, 8)
        self.blocks = nn.ModuleList([nn.Linear(8, 24), nn.Linear(24, 8)])
        self.head = nn.Linear(8, 3)


def step(model: nn.Module, *optimizers_of_it: torch.optim.Optimizer, seed: int) -> None:
    noise = torch.Generator().manual_seed(seed)
    for value in model.parameters():
        value.grad = torch.randn(value.shape, generator=noise)
    for optimizer in optimizers_of_it:
        optimizer.step()


def test_muon_turns_the_matrices_of_blocks_and_adapts_all_else() -> None:
    """Held against torch's own Muon, which computes in bfloat16, and its AdamW."""
    start, model, other = Deep(), Deep(), Deep()
    ours = optimizers.build(model, MUON)
    matrices = [other.get_parameter(f"blocks.{number}.weight") for number in range(2)]
    rest = [value for value in other.parameters() if all(value is not matrix for matrix in matrices)]
    adam = torch.optim.AdamW(rest, lr=MUON.lr, betas=MUON.betas, weight_decay=MUON.weight_decay, fused=True)
    muon = torch.optim.Muon(
        matrices, lr=MUON.matrix_lr, weight_decay=MUON.weight_decay, momentum=0.9, adjust_lr_fn="match_rms_adamw"
    )
    for seed in range(5):
        step(model, ours, seed=seed)
        step(other, adam, muon, seed=seed)
    expected = dict(other.named_parameters())
    before = dict(start.named_parameters())
    for name, value in model.named_parameters():
        if name in ("blocks.0.weight", "blocks.1.weight"):
            moved = (expected[name] - before[name]).norm()
            assert moved > 0.01 and (value - expected[name]).norm() < 0.02 * moved, name
        else:
            assert torch.equal(value, expected[name]), name


@pytest.mark.parametrize("shape", [(8, 24), (24, 8)])
def test_a_matrix_that_only_turns_has_the_same_singular_vectors(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    inner = left.T @ optimizers.orthogonal(matrix) @ right.T
    assert ((inner.diagonal() > 0.6) & (inner.diagonal() < 1.3)).all() and values.max() > 2 * values.min()
    assert (inner - inner.diagonal().diag()).abs().max() < 1e-5


def test_muon_goes_on_from_its_state() -> None:
    whole, stopped = Deep(), Deep()
    first, second = optimizers.build(whole, MUON), optimizers.build(stopped, MUON)
    for seed in range(3):
        step(whole, first, seed=seed)
        step(stopped, second, seed=seed)
    resumed = optimizers.build(stopped, MUON)
    resumed.load_state_dict(second.state_dict())
    step(whole, first, seed=3)
    step(stopped, resumed, seed=3)
    for one, other in zip(whole.parameters(), stopped.parameters(), strict=True):
        assert torch.equal(one, other)


def test_muon_has_the_text_encoders_rate_and_none_for_what_is_frozen() -> None:
    model = nn.ModuleDict({"encoder": nn.ModuleDict({"text": nn.ModuleDict({"backbone": Deep()}), "video": Deep()})})
    optimizer = optimizers.build(model, MUON.model_copy(update={"text_lr": 0.001}))
    assert [(group["base_lr"], "momentum" in group) for group in optimizer.param_groups] == [
        (0.01, False),
        (0.001, False),
        (0.002, True),
        (0.02, True),
    ]
    assert [len(group["params"]) for group in optimizer.param_groups] == [5, 5, 2, 2]
    step(model, optimizer, seed=0)
    model.get_submodule("encoder.video").requires_grad_(False)
    assert len(optimizers.build(model, MUON).param_groups) == 2
