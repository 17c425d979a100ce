"""How a machine computes: precision, attention, threads, and what makes two runs equal to the byte."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from scriptsight.models.video import use_explicit_attention


@dataclass(frozen=True)
class Arithmetic:
    """The device, and whether matrices are multiplied in bfloat16."""

    device: torch.device
    bf16: bool

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)

    def prepare(self, model: nn.Module) -> None:
        """Move the model to the device and choose its attention: on CPUs, explicit softmax is faster in
        bf16 than the fused kernel; GPUs have flash attention."""
        model.to(self.device)
        use_explicit_attention(model, explicit=self.device.type == "cpu" and self.bf16)

    def __str__(self) -> str:
        return f"{self.device.type}, {'bf16' if self.bf16 else 'fp32'}"


def choose(precision: Literal["auto", "bf16", "fp32"]) -> Arithmetic:
    """A GPU where there is one; "auto" is bf16 where the processor computes in it."""
    if torch.cuda.is_available():
        return Arithmetic(torch.device("cuda"), precision != "fp32")
    fast = torch.cpu.get_capabilities().get("avx512_bf16", False)
    return Arithmetic(torch.device("cpu"), precision == "bf16" or (precision == "auto" and fast))


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
