"""What one noise draw shared by the batch saves over a draw for each sample: CPD's loss, forward and backward.

    python benchmarks/nce.py

Both directions of the loss against banks of N pairs, at the paper's batch and width, by the code that training
uses (`estimator: shared` and `per_sample`); the latter gathers [B, m, E] rows of each bank as the official code does.
Each case runs in a process of its own in one thread; its seconds are the processor's, so that what else runs does
not count, and its extra memory is how far its peak (VmHWM) rises over what it held before. Needs 10 GB. The last
line is one JSON object of ratios.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import torch
from torch.nn import functional as F

from benchmarks.machine import processor
from scriptsight.pretrain.objectives import nce
from scriptsight.pretrain.objectives.nce import Bank

B, WIDTH, N, TEMPERATURE = 256, 256, 300_000, 0.07
NOISE = (4096, 16392)  # the paper's smaller setting, and the released options
SECONDS = 4.0  # that a case is repeated for, once it has run; the best time counts


def step(
    v: torch.Tensor, t: torch.Tensor, banks: tuple[Bank, Bank], rows: torch.Tensor, noise: torch.Tensor
) -> float:
    """The loss and the gradients of unit vectors v and t [B, E] for noise rows [m] or [B, m]."""
    losses = []
    for anchors, bank in ((v, banks[1]), (t, banks[0])):
        against = bank.look_up(noise.flatten()).unflatten(0, noise.shape)
        positive, negative = nce.scores(anchors, bank.look_up(rows), against, TEMPERATURE)
        losses.append(nce.nce_loss(positive, negative, 2.8))  # Z / N of random vectors
    loss = torch.stack(losses).sum()
    loss.backward()
    return loss.item()


def status(name: str) -> int:
    """A figure of this process in kB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(name)))


def case(estimator: str, m: int) -> dict[str, float]:
    """Seconds a step and extra MB, in this process."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    cpu = torch.device("cpu")
    banks = Bank(N, WIDTH, generator, cpu), Bank(N, WIDTH, generator, cpu)
    v, t = (F.normalize(torch.randn(B, WIDTH, generator=generator), dim=-1).requires_grad_() for _ in range(2))
    rows = torch.randint(N, (B,), generator=generator)
    few = torch.randint(N, (8,), generator=generator)
    step(v, t, banks, rows, few)  # the libraries' own memory
    noise = torch.randint(N, (m,) if estimator == "shared" else (B, m), generator=generator)
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far was that of making the banks
    before = status("VmRSS")
    times: list[float] = []
    loss = 0.0
    while sum(times) < SECONDS:
        started = time.process_time()
        loss = step(v, t, banks, rows, noise)
        times.append(time.process_time() - started)
    return {"seconds": min(times), "extra_mb": (status("VmHWM") - before) / 1024, "loss": loss}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--case", nargs=2, metavar=("ESTIMATOR", "M"), help="one case alone, as JSON")
    chosen = parser.parse_args().case
    if chosen:
        print(json.dumps(case(chosen[0], int(chosen[1]))))
        return
    ratios: dict[str, dict[str, float]] = {"speedup": {}, "memory": {}}
    print(f"B = {B}, width {WIDTH}, N = {N:,}, one core")
    print(f"{'m':>6} {'noise':>11} {'seconds':>8} {'extra MB':>9} {'loss':>9}")
    for m in NOISE:
        found = {}
        for estimator in ("shared", "per_sample"):
            command = [sys.executable, __file__, "--case", estimator, str(m)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - our own words
            one = found[estimator] = json.loads(done.stdout)
            print(
                f"{m:>6} {estimator:>11} {one['seconds']:>8.3f} {one['extra_mb']:>9.0f} {one['loss']:>9.3f}",
                flush=True,
            )
        for name, figure in (("speedup", "seconds"), ("memory", "extra_mb")):
            ratios[name][f"{name}_{m}"] = round(found["per_sample"][figure] / found["shared"][figure], 1)
    print(json.dumps({**ratios["speedup"], **ratios["memory"], "processor": processor()}))


if __name__ == "__main__":
    main()
