"""What this machine has, and how fast it is at what the settings ask for: measured, not looked up."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

from scriptsight.media import Failed, frames_at_rate, isolated
from scriptsight.params.models import TransformerText, WordText

if TYPE_CHECKING:
    from scriptsight.params.pretrain import PretrainParams

TRIED_SECONDS = 10.0  # of a video that is decoded for measuring
TRIED_STEPS = 4  # of training
ALONE = 1.2  # seconds that a step takes on a processor of its own, for each second that its threads are busy
_WORDS = [f"word{number} of {number // 7} others" for number in range(200)]  # as many as a small vocabulary has


@dataclass(frozen=True)
class Machine:
    """Cores that this process may use, memory and free disk in bytes, and the GPU's name and memory, if there is
    one."""

    cores: int
    memory: int
    disk: int
    gpu: str | None = None
    gpu_memory: int = 0

    def __str__(self) -> str:
        gpu = f", {self.gpu} with {self.gpu_memory / 1e9:.0f} GB" if self.gpu else ", no GPU"
        return f"{self.cores} cores, {self.memory / 1e9:.0f} GB of memory, {self.disk / 1e9:.0f} GB of free disk{gpu}"


@dataclass(frozen=True)
class Speed:
    """Measured here: seconds of a training step, seconds of a core that a second of video takes when it is cut into
    frames, and bytes of a stored frame."""

    step: float
    decode: float
    frame_bytes: float


def here(folder: Path) -> Machine:
    """This machine; the disk is that on which `folder` will lie."""
    import torch

    there = next(place for place in (folder, *folder.parents) if place.exists())
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    disk = shutil.disk_usage(there).free
    if not torch.cuda.is_available():
        return Machine(cores, memory, disk)
    gpu = torch.cuda.get_device_properties(0)
    return Machine(cores, memory, disk, gpu.name, gpu.total_memory)


def step(params: PretrainParams) -> tuple[float, float]:
    """Seconds of one step of this training, and the bytes of memory that it takes, measured on clips of noise: the
    model, the objective and the optimizer are those that the parameters ask for.

    Raises:
        InputError: the parameters can't be built.
    """
    import torch

    from scriptsight import arithmetic
    from scriptsight.models.bundle import Encoder, build_video
    from scriptsight.pretrain.batches import Batch
    from scriptsight.pretrain.encoders import text
    from scriptsight.pretrain.objectives import OBJECTIVES
    from scriptsight.training import optimizers
    from scriptsight.training.clock import peak_mb
    from scriptsight.training.objective import Draw

    assert isinstance(params.text, WordText | TransformerText)  # others would be fetched
    sorts = next(iter(params.collections.values())).text == "script"
    count = params.batch * (params.k if sorts else 1)
    with arithmetic.deterministic(params.engine.threads):
        video = build_video({**params.video.shape, "size": params.image_size, "frames": params.frames})
        encoder = Encoder(video, text(params.text, _WORDS, params.max_text_tokens), params.embed_dim)
        objective = OBJECTIVES[params.objective](encoder, params)
        work = arithmetic.Work(video, params.batch, params.keep, training=True)
        machine = arithmetic.choose(params.engine.precision, params.engine.attention, work)
        machine.prepare(objective)
        shape = (params.batch, params.frames, params.image_size, params.image_size, 3)
        batch = Batch(
            torch.randint(0, 256, shape, dtype=torch.uint8),
            [_WORDS[number % len(_WORDS)] for number in range(count)],
            torch.stack([torch.randperm(params.k) for _ in range(params.batch)]) if sorts else None,
            [str(number) for number in range(params.batch)],
        ).to(machine.device)
        objective.expect(batch.pairs)
        optimizer = optimizers.build(objective, params.optimizer, objective.rate_factor)
        fastest = inf
        for number in range(TRIED_STEPS):
            began, busy = time.perf_counter(), time.process_time()
            draw = Draw(torch.Generator().manual_seed(number), 0, params.batch, params.batch)
            with machine.autocast():
                losses = objective("losses", batch, draw)
            losses["loss"].backward()
            optimizer.step()
            optimizer.zero_grad()
            losses["loss"].item()  # a GPU is done then
            took = time.perf_counter() - began
            if machine.device.type == "cpu":  # others may be at work here now: what it takes alone is asked
                took = min(took, ALONE * (time.process_time() - busy) / params.engine.threads)
            fastest = min(fastest, took)
        return fastest, 1e6 * peak_mb(machine.device)


def decoding(uris: Sequence[str], fps: float, short_side: int, quality: int, timeout: float) -> tuple[float, float]:
    """Seconds of a core a second of video, and bytes of a stored frame: means over the first seconds of some videos,
    read in a process that may hang or crash; those that can't be read don't count."""
    work, seconds, size, frames = 0.0, 0.0, 0, 0
    do = partial(_decoded, fps=fps, short_side=short_side, quality=quality)
    for _, outcomes in isolated(do, [[uri] for uri in uris], workers=1, timeout=timeout):
        for _, result in outcomes:
            if not isinstance(result, Failed) and result is not None:
                work, seconds = work + result[0], seconds + result[1]
                size, frames = size + result[2], frames + result[3]
    return (work / seconds if seconds else 0.0), (size / frames if frames else 0.0)


def _decoded(
    uris: Sequence[str], *, fps: float, short_side: int, quality: int
) -> tuple[float, float, int, int] | None:
    """In a worker: seconds of a core, seconds of video, bytes and frames; None of what can't be read."""
    import simplejpeg

    from scriptsight.media import MediaError, local

    began, size, frames, last = time.process_time(), 0, 0, 0.0
    try:
        with local(uris[0]) as path:
            for frame in takewhile(lambda one: one.time < TRIED_SECONDS, frames_at_rate(path, fps, short_side)):
                size += len(simplejpeg.encode_jpeg(frame.image, quality=quality))
                frames, last = frames + 1, frame.end
    except MediaError:
        return None
    return (time.process_time() - began, last, size, frames) if last > 0 else None
