"""Several processes train what one trains: DDP and FSDP under torchrun, on loopback with gloo."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

from scriptsight.pretrain.objectives.tvts import alignment_loss
from tests import small
from tests.training.together import settings, train

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
PROJECT = Path(__file__).parents[2]


def together(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - our own words
        [*TORCHRUN, *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(PROJECT / "src"), **environment},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        cwd=PROJECT,
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Segments, and what one process learns from them."""
    folder = tmp_path_factory.mktemp("together")
    for split, count in (("train", 20), ("val", 12)):
        small.narrated(folder / "segments", split, count, "narrated")
    train(folder, "alone", settings(ema=0.9, validate_every=3))
    return folder


def weights(folder: Path, name: str) -> dict[str, torch.Tensor]:
    return load_file(folder / name / "last" / "model.safetensors")


def curve(folder: Path, name: str, which: str = "training") -> list[dict[str, float]]:
    with (folder / name / "plots" / f"{which}.csv").open() as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_processes_train_what_one_does(world: Path, strategy: str) -> None:
    """To float tolerance: sums are rounded in another order."""
    done = together("-m", "tests.training.together", world, strategy, strategy, "ema=0.9", "validate_every=3")
    assert done.returncode == 0, done.stderr
    one, two = weights(world, "alone"), weights(world, strategy)
    torch.testing.assert_close(two, one, atol=2e-4, rtol=2e-3)
    for which in ("training", "validation"):
        for a, b in zip(curve(world, "alone", which), curve(world, strategy, which), strict=True):
            assert a == pytest.approx(b, abs=1e-3)


def test_a_killed_pair_of_processes_goes_on_as_one(world: Path) -> None:
    """Kill both after a checkpoint; one process, with the whole batch, ends like the uninterrupted run."""
    same = ("ema=0.9", "validate_every=3")
    done = together("-m", "tests.training.together", world, "killed", "ddp", *same, KILL_AT="10")
    assert done.returncode != 0
    (kept,) = {path.parent for path in (world / "killed" / "checkpoints").rglob("0000000008.pt")}
    assert not (world / "killed" / "last").exists()
    result = train(world, "killed", settings(ema=0.9, validate_every=3))
    assert result.speed["samples_per_second"] > 0
    assert not kept.exists()
    torch.testing.assert_close(weights(world, "killed"), weights(world, "alone"), atol=2e-4, rtol=2e-3)
    assert [point["step"] for point in curve(world, "killed", "validation")] == [3, 6, 9, 12]


ALIGNMENT = """
import sys, torch
from torch.nn import functional as F
from scriptsight.pretrain.objectives.tvts import alignment_loss
from scriptsight import distributed
with distributed.joined(torch.device("cpu")):
    x = torch.load(sys.argv[1], weights_only=True)
    mine = slice(4 * distributed.rank(), 4 * distributed.rank() + 4)
    for chunk in (None, 3):
        weight = torch.eye(6, dtype=torch.float64, requires_grad=True)
        v, t = (F.normalize(x[name][mine] @ weight, dim=-1) for name in "vt")
        loss = alignment_loss(v, t, 0.05, chunk)
        loss.backward()
        torch.distributed.all_reduce(weight.grad)
        means = distributed.mean({"loss": loss.item()})
        if distributed.rank() == 0:
            torch.save({"loss": means["loss"], "grad": weight.grad / 2}, f"{sys.argv[1]}.{chunk}")
"""


def test_alignment_over_all_processes_has_the_gradient_of_one(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    x = {name: torch.randn(8, 6, dtype=torch.float64, generator=generator) for name in "vt"}
    torch.save(x, tmp_path / "x")
    (tmp_path / "align.py").write_text(ALIGNMENT)
    done = together(tmp_path / "align.py", tmp_path / "x")
    assert done.returncode == 0, done.stderr
    weight = torch.eye(6, dtype=torch.float64, requires_grad=True)
    v, t = (F.normalize(x[name] @ weight, dim=-1) for name in "vt")
    loss = alignment_loss(v, t, 0.05)
    loss.backward()
    for chunk in ("None", "3"):
        found = torch.load(tmp_path / f"x.{chunk}", weights_only=True)
        assert found["loss"] == pytest.approx(loss.item(), rel=1e-12)
        torch.testing.assert_close(found["grad"], weight.grad, rtol=1e-10, atol=1e-12)
