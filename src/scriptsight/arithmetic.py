"""How a machine computes: precision, attention, threads, and what makes two runs equal to the byte."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from scriptsight import tuning
from scriptsight.files import write_json
from scriptsight.models.video import Attention, VideoEncoder, VideoViT, sample_patches, use_explicit_attention

DEEP = 4  # blocks of a ViT that are tried
COMPUTED = "computed.json"  # in a model's folder
TRIED = 0.5  # seconds that one trial of a way may take, about


@dataclass(frozen=True)
class Arithmetic:
    """The device, whether matrices are multiplied in bfloat16, and how attention is computed."""

    device: torch.device
    bf16: bool
    explicit_attention: bool
    measured: str = field(default="", compare=False)  # what each way took, where it was measured

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)

    def prepare(self, model: nn.Module) -> None:
        """Move the model to the device and set how it attends."""
        model.to(self.device)
        use_explicit_attention(model, explicit=self.explicit_attention)

    def __str__(self) -> str:
        attention = "explicit" if self.explicit_attention else "fused"
        return f"{self.device.type}, {'bf16' if self.bf16 else 'fp32'}, {attention} attention"

    def told(self) -> str:
        """The same, with what each way took here."""
        return f"{self} (measured here: {self.measured})" if self.measured else str(self)

    def write(self, folder: str | Path, threads: int) -> None:
        """Put into a model's folder how it was computed: what its numbers depend on besides data, parameters and
        code."""
        about = {
            "device": self.device.type,
            "precision": "bf16" if self.bf16 else "fp32",
            "attention": "explicit" if self.explicit_attention else "fused",
            "threads": threads,
            "torch": torch.__version__,
            "processor": tuning.machine()["model name"],
        }
        write_json(Path(folder) / COMPUTED, about)

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


@dataclass(frozen=True)
class Work:
    """What a machine is to be fast at: `clips` clips at once through a video encoder, of which training sees `keep`
    of the patches, and goes back through it."""

    video: VideoEncoder
    clips: int
    keep: float = 1.0
    training: bool = False

    def __str__(self) -> str:
        shape = ", ".join(f"{name} {value}" for name, value in sorted(self.video.config.items()))
        seen = f", keep {self.keep:g}" if self.keep < 1 else ""
        return f"{'training' if self.training else 'features'}: {self.clips} clips{seen}; {shape}"


Precision = Literal["auto", "bf16", "fp32"]
HowToAttend = Literal["auto", "explicit", "fused"]


def device() -> torch.device:
    """A GPU where there is one; under torchrun the one of this process."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    own = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    torch.cuda.set_device(own)
    return own


def choose(precision: Precision, attention: HowToAttend, work: Work) -> Arithmetic:
    """How the work is done fastest here; what isn't "auto" is as it is said.

    On a GPU that is bf16 with fused attention. On a processor it is measured (`tuning`), once for
    encoders of one shape: a processor that has instructions for bfloat16 is not always faster in it, and the
    attention that wins in one precision may lose in the other.
    """
    own = device()
    if own.type == "cuda":
        return Arithmetic(own, precision != "fp32", attention == "explicit")
    kinds = ["fp32", "bf16"] if precision == "auto" else [precision]
    attentions = ["fused", "explicit"] if attention == "auto" else [attention]
    if not any(isinstance(module, Attention) for module in work.video.modules()):
        attentions = attentions[:1]
    ways = {
        f"{kind} {how}": Arithmetic(own, kind == "bf16", how == "explicit") for kind in kinds for how in attentions
    }
    if len(ways) == 1:
        return next(iter(ways.values()))
    answer = tuning.fastest(f"{work}; {', '.join(ways)}", lambda: _trials(work, ways))
    return replace(ways[answer.way], measured=str(answer))


def plain(precision: Precision) -> Arithmetic:
    """For work so small that how it is done makes no difference: float32, unless bf16 is asked for."""
    return Arithmetic(device(), precision == "bf16", explicit_attention=False)


def _trials(work: Work, ways: Mapping[str, Arithmetic]) -> dict[str, Callable[[], None]]:
    """What is timed: a copy of the encoder sees clips of noise."""
    video = copy.deepcopy(work.video).train(work.training)
    if isinstance(video, VideoViT):  # whose blocks are all alike
        video.blocks = video.blocks[:DEEP]
    shape = video.frames, video.size, video.size, 3
    noise = torch.Generator().manual_seed(0)
    frames = torch.randint(256, (work.clips, *shape), dtype=torch.uint8, generator=noise)
    seen = None
    if work.keep < 1:
        seen = sample_patches(torch.rand(work.clips, video.steps, video.patches, generator=noise), work.keep)

    def trial(way: Arithmetic, clips: int) -> None:
        use_explicit_attention(video, way.explicit_attention)
        with deterministic(threads=1), torch.random.fork_rng(devices=[]), torch.set_grad_enabled(work.training):
            with way.autocast():
                tokens = video(frames[:clips], None if seen is None else seen[:clips])
            if work.training:
                tokens.float().mean().backward()
                video.zero_grad()

    first = next(iter(ways.values()))
    trial(first, 1)  # takes longer
    started = time.thread_time()
    trial(first, 1)
    clips = max(1, min(work.clips, int(TRIED / (time.thread_time() - started))))
    return {name: partial(trial, way, clips) for name, way in ways.items()}


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
