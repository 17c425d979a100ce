"""How a machine computes: precision, attention, threads, and what makes two runs equal to the byte."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from scriptsight.models.video import choose_attention, use_explicit_attention


@dataclass(frozen=True)
class Arithmetic:
    """The device, whether matrices are multiplied in bfloat16, and how attention is computed."""

    device: torch.device
    bf16: bool
    explicit_attention: bool

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)

    def prepare(self, model: nn.Module) -> None:
        """Move the model to the device and set how it attends."""
        model.to(self.device)
        use_explicit_attention(model, explicit=self.explicit_attention)

    def __str__(self) -> str:
        attention = "explicit" if self.explicit_attention else "fused"
        return f"{self.device.type}, {'bf16' if self.bf16 else 'fp32'}, {attention} attention"

    def matrix_rate(self, seconds: float = 0.1) -> float:
        """Operations a second of a large matrix product, measured: what model FLOPS utilisation is a share of."""
        kind = torch.bfloat16 if self.bf16 else torch.float32
        n = 8192 if self.device.type == "cuda" else 1024
        one = torch.randn(n, n, device=self.device, dtype=kind)
        done, started = -1, 0.0
        while done < 1 or time.perf_counter() - started < seconds:
            one @ one
            if self.device.type == "cuda":
                torch.cuda.synchronize()
            done += 1
            started = started or time.perf_counter()  # the first product warms up
        return done * 2 * n**3 / (time.perf_counter() - started)


def choose(
    precision: Literal["auto", "bf16", "fp32"], attention: Literal["auto", "explicit", "fused"] = "auto"
) -> Arithmetic:
    """A GPU where there is one; precision "auto" is bf16 where the processor computes in it."""
    if torch.cuda.is_available():
        device, bf16 = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))), precision != "fp32"
        torch.cuda.set_device(device)
    else:
        fast = torch.cpu.get_capabilities().get("avx512_bf16", False)
        device, bf16 = torch.device("cpu"), precision == "bf16" or (precision == "auto" and fast)
    return Arithmetic(device, bf16, choose_attention(device, bf16, attention) == "explicit")


@contextmanager
def deterministic(threads: int | None = None) -> Iterator[None]:
    """Same inputs, same bytes: deterministic kernels inside the block, and a fixed number of threads if given."""
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS refuses to be deterministic
    if threads is not None:
        torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    # Filling fresh memory with NaN is a debugging aid that costs a fifth of a step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1])
