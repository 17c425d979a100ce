"""NCE and its banks against loops in float64 that follow the paper's formulas, and against each other."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from scriptsight.pretrain.objectives import nce
from scriptsight.pretrain.objectives.nce import Bank
from tests.training.test_distributed import together

B, N, M, WIDTH, TAU = 5, 40, 12, 6, 0.07


def unit(*shape: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(*shape, dtype=torch.float64, generator=generator), dim=-1)


def naive(
    anchors: torch.Tensor, bank: torch.Tensor, rows: list[int], noise: list[list[int]], z: float | None
) -> tuple[torch.Tensor, float]:
    """The paper's loss item by item and index by index -> (loss, Z)."""
    n = len(bank)
    if z is None:
        every = [math.exp(float(anchors[i].detach() @ bank[j]) / TAU) for i in range(B) for j in [rows[i], *noise[i]]]
        z = n * sum(every) / len(every)
    total = torch.zeros((), dtype=torch.float64)
    for i in range(B):
        m = len(noise[i])
        p = torch.exp(anchors[i] @ bank[rows[i]] / TAU) / z
        total = total - torch.log(p / (p + m / n))
        for j in noise[i]:
            p = torch.exp(anchors[i] @ bank[j] / TAU) / z
            total = total - torch.log(1 - p / (p + m / n))
    return total / B, z


def fast(
    anchors: torch.Tensor, bank: torch.Tensor, rows: list[int], noise: torch.Tensor, mean: float | None
) -> tuple[torch.Tensor, float]:
    positive, negative = nce.scores(anchors, bank[rows], bank[noise], TAU)
    mean = nce.mean_score(positive, negative) if mean is None else mean
    return nce.nce_loss(positive, negative, mean), mean


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("known", [True, False])  # Z is set from the first batch and used for the next ones
def test_loss_gradient_and_constant_are_those_of_a_loop(shared: bool, known: bool) -> None:
    raw = torch.randn(B, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    bank, rows = unit(N, WIDTH, seed=1), [7, 0, 3, 39, 20]
    noise = torch.randint(N, (M,) if shared else (B, M), generator=torch.Generator().manual_seed(2))
    # Noise may be the positive, or drawn twice.
    noise[..., 0], noise[..., 1], noise[..., 2] = 7, 11, 11
    lists = noise.expand(B, M).tolist()
    results = []
    for compute, z in ((naive, 200.0 if known else None), (fast, 5.0 if known else None)):
        weight = raw.clone().requires_grad_()
        chosen: Any = lists if compute is naive else noise
        loss, constant = compute(F.normalize(weight, dim=-1), bank, rows, chosen, z)
        loss.backward()
        results.append((loss.detach(), weight.grad, constant))
    (loss, gradient, z), (found, its_gradient, mean) = results
    torch.testing.assert_close(found, loss, rtol=1e-12, atol=0)
    torch.testing.assert_close(its_gradient, gradient, rtol=1e-10, atol=1e-12)
    assert N * mean == pytest.approx(z, rel=1e-12)


def test_both_draws_of_noise_have_the_expectation_of_all_pairs() -> None:
    """Over 2000 draws the mean loss and gradient of either are those of m times the mean over all N pairs, within
    four standard errors."""
    bank, rows, mean, draws = unit(N, WIDTH, seed=1), [7, 0, 3, 39, 20], 5.0, 2000
    anchors = unit(B, WIDTH, seed=3).requires_grad_()
    positive, every = nce.scores(anchors, bank[rows], bank, TAU)
    offset = math.log(M * mean)
    expected = (F.softplus(offset - positive) + M * F.softplus(every - offset).mean(1)).mean()
    (slope,) = torch.autograd.grad(expected, anchors)
    generator = torch.Generator().manual_seed(4)
    for shape in ((M,), (B, M)):
        found = []
        for _ in range(draws):
            noise = torch.randint(N, shape, generator=generator)
            loss, _ = fast(anchors, bank, rows, noise, mean)
            found.append(torch.cat([loss.detach()[None], torch.autograd.grad(loss, anchors)[0].flatten()]))
        values = torch.stack(found)
        error = values.std(0) / math.sqrt(draws)
        truth = torch.cat([expected.detach()[None], slope.flatten()])
        assert ((values.mean(0) - truth).abs() < 4 * error).all()
        assert error[0] < 0.02 * truth[0]  # so that the test can see it


def test_a_draw_for_each_sample_that_is_the_same_is_the_shared_one() -> None:
    anchors, bank, rows = unit(B, WIDTH, seed=3), unit(N, WIDTH, seed=1), [7, 0, 3, 39, 20]
    noise = torch.randint(N, (M,), generator=torch.Generator().manual_seed(5))
    one, other = (fast(anchors, bank, rows, draw, 5.0)[0] for draw in (noise, noise.expand(B, M)))
    torch.testing.assert_close(one, other, rtol=1e-12, atol=0)


def test_infonce_is_cross_entropy_without_the_positive_drawn_as_noise() -> None:
    anchors, bank = unit(B, WIDTH, seed=3), unit(N, WIDTH, seed=1)
    rows, noise = torch.tensor([7, 0, 3, 39, 20]), torch.tensor([7, 1, 2, 2, 30])
    expected = []
    for i, row in enumerate(rows.tolist()):
        logits = [anchors[i] @ bank[j] / TAU for j in [row, *(j for j in noise.tolist() if j != row)]]
        expected.append(-F.log_softmax(torch.stack(logits), 0)[0])
    positive, negative = nce.scores(anchors, bank[rows], bank[noise], TAU)
    found = nce.infonce_loss(positive, negative, noise == rows[:, None])
    torch.testing.assert_close(found, torch.stack(expected).mean(), rtol=1e-12, atol=0)


def test_scores_that_are_far_off_stay_finite() -> None:
    positive, negative = torch.tensor([-1.0, 1.0]) / 0.001, torch.tensor([[1.0, -1.0], [1.0, -1.0]]) / 0.001
    assert torch.isfinite(nce.nce_loss(positive, negative, 1e-3))


def test_banks_move_as_a_loop_says_and_stay_unit_rows() -> None:
    bank = Bank(N, WIDTH, torch.Generator().manual_seed(0), torch.device("cpu"))
    before = bank.own.double().numpy().copy()
    np.testing.assert_allclose(np.linalg.norm(before, axis=1), 1, atol=1e-6)
    rows, vectors = torch.tensor([3, 39, 3, 0]), unit(4, WIDTH, seed=6).float()
    bank.update(rows, vectors, 0.5)
    expected = before.copy()
    for row, own in ((3, [0, 2]), (39, [1]), (0, [3])):  # of a pair that came twice, the mean
        moved = 0.5 * before[row] + 0.5 * vectors[own].double().numpy().mean(0)
        expected[row] = moved / np.linalg.norm(moved)
    np.testing.assert_allclose(bank.own.numpy(), expected, atol=1e-6)
    torch.testing.assert_close(bank.look_up(rows), bank.whole()[rows])


def test_keys_are_the_names_own() -> None:
    names = [("c/v0/0", "a title"), ("c/v0/0", "another"), ("c/v1/0", None), ("c/v1/0", "")]
    found = nce.keys(names)
    assert torch.equal(nce.keys(reversed(names)), found.flip(0))
    assert len(set(found[:3].tolist())) == 3
    assert found[0].item() == nce.keys([names[0]]).item()
    assert nce.keys([]).shape == (0,)


def test_held_out_figures_are_those_of_a_loop() -> None:
    """The noise's part is m times the mean over the other pairs; a model that knows nothing is at chance."""
    scores, means, m = (
        torch.randn(6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1)),
        [2.0, 3.0],
        9,
    )
    loss = right = 0.0
    for table, mean in ((scores.T, means[0]), (scores, means[1])):
        for i in range(6):
            h = [float(torch.exp(table[i, j]) / (torch.exp(table[i, j]) + m * mean)) for j in range(6)]
            noise = [h[j] for j in range(6) if j != i]
            loss += (-math.log(h[i]) - m * sum(math.log(1 - x) for x in noise) / 5) / 6
            even = [math.exp(table[i, j]) / (math.exp(table[i, j]) + mean) > 0.5 for j in range(6)]
            right += (even[i] + sum(not even[j] for j in range(6) if j != i) / 5) / 24
    found = nce.nce_figures(scores, m, means)
    assert found["nce_loss"] == pytest.approx(loss)
    assert found["nce_accuracy"] == pytest.approx(right)
    blind = nce.nce_figures(torch.zeros(6, 6, dtype=torch.float64), m, [1.0, 1.0])
    assert blind["nce_loss"] == pytest.approx(blind["nce_loss_chance"])
    same = nce.infonce_figures(torch.ones(6, 6, dtype=torch.float64), m)
    assert same["infonce_loss"] == pytest.approx(same["infonce_loss_chance"])


SHARDED = """
import sys, torch
from torch import nn
from scriptsight.pretrain.objectives.nce import Bank
from scriptsight import distributed
with distributed.joined(torch.device("cpu")):
    x = torch.load(sys.argv[1], weights_only=True)
    own = slice(4 * distributed.rank(), 4 * distributed.rank() + 4)
    bank = Bank(9, 6, torch.Generator().manual_seed(0), torch.device("cpu"))
    found = {"held": torch.tensor(len(bank.own)), "own": bank.look_up_own(x["rows"][own])}
    found["all"] = bank.look_up(x["noise"])
    bank.update(distributed.gather(x["rows"][own]), distributed.gather(x["vectors"][own]), 0.5)
    found["whole"] = bank.whole()
    bank.put(x["noise"], x["put"])
    found["put"] = bank.whole()
    model = nn.Sequential(nn.Linear(6, 3), nn.BatchNorm1d(3), nn.ReLU())
    model.load_state_dict(x["model"])
    model = distributed.wrap(model, "ddp", torch.device("cpu"))
    y = model(x["vectors"][own])
    (y * x["vectors"][own, :3]).mean().backward()
    found |= {"y": y.detach(), "gradient": model.module[0].weight.grad, "norm": model.module[1].weight.grad}
    found |= {name: value for name, value in model.module[1].state_dict().items() if "running" in name}
    torch.save(found, f"{sys.argv[1]}.{distributed.rank()}")
"""


def test_two_processes_hold_the_bank_and_normalise_as_one(tmp_path: Path) -> None:
    """Rows 0 to 4 are in the first process, 5 to 8 in the second; a batch norm sees the batch of both."""
    model = nn.Sequential(nn.Linear(6, 3), nn.BatchNorm1d(3), nn.ReLU())
    x: dict[str, Any] = {
        "rows": torch.tensor([0, 8, 3, 5, 8, 4, 1, 7]),
        "noise": torch.tensor([5, 2, 8, 0]),
        "vectors": unit(8, 6, seed=1).float(),
        "put": unit(4, 6, seed=2).float(),
        "model": {name: value.clone() for name, value in model.state_dict().items()},
    }
    torch.save(x, tmp_path / "x")
    (tmp_path / "sharded.py").write_text(SHARDED)
    done = together(tmp_path / "sharded.py", tmp_path / "x")
    assert done.returncode == 0, done.stderr
    bank = Bank(9, 6, torch.Generator().manual_seed(0), torch.device("cpu"))
    before = bank.whole().clone()
    bank.update(x["rows"], x["vectors"], 0.5)
    y = model(x["vectors"])
    (y * x["vectors"][:, :3]).mean().backward()
    moved = bank.whole().clone()
    bank.put(x["noise"], x["put"])
    for rank, held in enumerate((5, 4)):
        found = torch.load(tmp_path / f"x.{rank}", weights_only=True)
        own = slice(4 * rank, 4 * rank + 4)
        assert found["held"] == held
        assert torch.equal(found["own"], before[x["rows"][own]])
        assert torch.equal(found["all"], before[x["noise"]])
        torch.testing.assert_close(found["whole"], moved)
        torch.testing.assert_close(found["put"], bank.whole())
        torch.testing.assert_close(found["y"], y[own].detach())
        torch.testing.assert_close(found["gradient"], model[0].weight.grad)
        torch.testing.assert_close(found["norm"], model[1].weight.grad)
        for name in ("running_mean", "running_var"):
            torch.testing.assert_close(found[name], model[1].state_dict()[name])
