"""One TVTS training step at the paper's scale: the official formulation beside ours, in one run.

    OMP_NUM_THREADS=1 python benchmarks/step.py [--data-wait metrics/speed.json]

Two sizes: the paper's, and the default of params.yaml. The paper's:
ViT-B/16, 16 frames of 224 px, a quarter of the patches kept, K = 4 transcripts, batch 2, DistilBERT's shape for
the text; random weights, noise for frames, sentences of 8 to 50 random tokens. The official formulation, as the
paper's code has it, embeds all patches and then gathers the kept ones, writes attention out in float32, pads
sentences to the batch's longest, computes the sorting head's last block for every token, and updates parameter by
parameter. Ours is what training runs, by the arithmetic that training chooses on this machine. A step is forward,
backward and update; frames are ready in memory (the official ones already normalised, which is not counted). Times
are the best of some interleaved repeats. `mfu` is model FLOPS utilisation: the operations of a step's matrix products
over its time, as a share of what this machine's best matrix product does, in float32 or bf16. `vs_best` is the time
of the chosen arithmetic over that of the fastest of all ways, by whole steps in the same run.

With a GPU, ours in bf16 on it against the official formulation in float32 on it, each at its best batch size,
with the share of the GPU's own measured bf16 matrix rate; kept in benchmarks/results/. `--tiny` tries the whole
script on a tiny model, the GPU part on the CPU, and keeps nothing. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.machine import processor
from scriptsight import arithmetic
from scriptsight.arithmetic import Arithmetic, Work, deterministic
from scriptsight.models import text as text_encoders
from scriptsight.models.bundle import Encoder
from scriptsight.models.video import VideoViT, sample_patches
from scriptsight.params.models import VIDEO_PRESETS
from scriptsight.pretrain.objectives.tvts import SortingHead, alignment_loss

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Setting:
    """The sizes of the measured model."""

    video: dict[str, int]
    text: dict[str, int]  # of transformers' DistilBertConfig
    head_heads: int
    k: int = 4
    keep: float = 0.25
    tokens: int = 50
    buckets: int = 4
    embed_dim: int = 256
    batch: int = 2


PAPER = Setting(
    video=VIDEO_PRESETS["vit_b16"] | {"tubelet": 2, "size": 224, "frames": 16},
    text={"vocab_size": 30522, "dim": 768, "n_layers": 6, "n_heads": 12, "hidden_dim": 3072},
    head_heads=12,
)
DEFAULT = Setting(  # of params.yaml, whose text encoder is a small transformer of its own
    video={"width": 96, "depth": 4, "heads": 3, "patch": 8, "tubelet": 2, "size": 32, "frames": 8},
    text={"vocab_size": 8000, "dim": 96, "n_layers": 1, "n_heads": 3, "hidden_dim": 384},
    head_heads=3,
    keep=0.75,
    tokens=12,
    embed_dim=64,
    batch=64,
)
TINY = Setting(
    video={"width": 64, "depth": 2, "heads": 2, "patch": 8, "tubelet": 2, "size": 32, "frames": 4},
    text={"vocab_size": 100, "dim": 64, "n_layers": 2, "n_heads": 2, "hidden_dim": 128},
    head_heads=2,
)


@dataclass(frozen=True)
class Sample:
    """A batch: frames uint8 [B, M, H, W, 3], kept patches [B, T, kept], tokens [B * K, L], positions [B, K]."""

    frames: Tensor
    keep: Tensor
    ids: Tensor
    mask: Tensor
    order: Tensor

    def to(self, device: torch.device) -> Sample:
        return Sample(*(value.to(device) for value in vars(self).values()))


class Ours(nn.Module):
    """The encoders and the sorting head as training has them."""

    def __init__(self, setting: Setting) -> None:
        super().__init__()
        words = Tokenizer(WordLevel({"[PAD]": 0}, unk_token="[PAD]"))  # noqa: S106 - a token of text
        shape = {**setting.text, "dropout": 0.0, "attention_dropout": 0.0}
        config = {"kind": "huggingface", "model_type": "distilbert", "model": shape, "pool": "cls"}
        text = text_encoders.from_config(config, words)
        text.buckets = setting.buckets
        self.encoder = Encoder(VideoViT(**setting.video), text, setting.embed_dim)
        self.head = SortingHead(
            video_width=setting.video["width"],
            text_width=text.width,
            steps=self.encoder.video.steps,
            k=setting.k,
            depth=2,
            heads=setting.head_heads,
            temporal_embedding=False,
            head_text="plain",
        )
        self.k = setting.k

    def see(self, sample: Sample) -> Tensor:
        return self.encoder.video(sample.frames, sample.keep)  # [B, 1 + T * kept, D]

    def read(self, sample: Sample) -> Tensor:
        return self.encoder.text(sample.ids, sample.mask).unflatten(0, (-1, self.k))  # [B, K, D]

    def sort(self, tokens: Tensor, sentences: Tensor) -> Tensor:
        return self.head(tokens, sentences.detach())  # [B, K, K]

    def align(self, tokens: Tensor, sentences: Tensor) -> tuple[Tensor, Tensor]:
        return self.encoder.project_video(tokens), self.encoder.project_text(sentences).mean(1)  # [B, E] each


class Official(Ours):
    """The official formulation. Built at the same seed it has the same weights."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.encoder.text.buckets = 1
        bert: Any = self.encoder.text.backbone
        bert.model.set_attn_implementation("eager")
        video: Any = self.encoder.video
        cube = (video.tubelet, video.patch, video.patch)
        kernel = video.patch_embed.weight.detach().unflatten(1, (*cube, 3)).movedim(-1, 1)  # [D, 3, tubelet, p, p]
        self.patch_embed = nn.Conv3d(3, video.width, cube, stride=cube)
        self.patch_embed.weight = nn.Parameter(kernel.contiguous())
        self.patch_embed.bias = video.patch_embed.bias
        del video.patch_embed

    def normalised(self, frames: Tensor) -> Tensor:
        """uint8 [B, M, H, W, 3] -> float32 [B, 3, M, H, W]: what the official loader hands over."""
        video: Any = self.encoder.video
        mean, scale = video.mean[:3], video.scale[:3]
        return ((frames.float() - mean) * scale).movedim(-1, 1).contiguous()

    def see(self, sample: Sample) -> Tensor:
        """Here `sample.frames` are normalised."""
        video: Any = self.encoder.video
        everything = self.patch_embed(sample.frames).flatten(3).permute(0, 2, 3, 1)  # [B, T, P, D]
        everything = everything + video.space + video.time
        kept = everything.gather(2, sample.keep[..., None].expand(-1, -1, -1, video.width))  # [B, T, kept, D]
        tokens = torch.cat([video.cls_token.expand(len(kept), -1, -1), kept.flatten(1, 2)], dim=1)
        for block in video.blocks:
            tokens = _official_block(block, tokens)
        return video.norm(tokens)

    def sort(self, tokens: Tensor, sentences: Tensor) -> Tensor:
        """Both blocks over all tokens; the transcripts' are the last K."""
        head, sentences = self.head, sentences.detach()
        joint = torch.cat([tokens + head.video_type, head.text_input(sentences) + head.text_type], dim=1)
        for block in head.blocks:
            joint = _official_block(block, joint)
        return head.classifier(head.norm(joint)[:, -self.k :])


def _official_block(block: Any, tokens: Tensor) -> Tensor:
    """A pre-norm block with its attention written out: [B, N, D] -> [B, N, D]."""
    heads = block.attn.heads
    batch, count, width = tokens.shape
    qkv = block.attn.qkv(block.norm1(tokens)).reshape(batch, count, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
    q, k, v = qkv.unbind(0)  # [B, heads, N, d]
    attention = ((q @ k.transpose(-2, -1)) * (width // heads) ** -0.5).softmax(dim=-1)
    tokens = tokens + block.attn.proj((attention @ v).transpose(1, 2).reshape(batch, count, width))
    return tokens + block.mlp.fc2(F.gelu(block.mlp.fc1(block.norm2(tokens))))


class Stepper:
    """One formulation with its optimizer; `times` are the seconds of its last step, part by part."""

    def __init__(self, model: Ours, sample: Sample, way: Arithmetic) -> None:
        self.model, self.way = model.train(), way
        self.device = way.device
        way.prepare(model)
        self.sample = sample.to(way.device)
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        if isinstance(model, Official):
            self.sample = Sample(**(vars(self.sample) | {"frames": model.normalised(self.sample.frames)}))
            self.optimizer = torch.optim.AdamW(parameters, lr=1e-4, weight_decay=0.0, foreach=False, fused=False)
        else:
            self.optimizer = torch.optim.AdamW(parameters, lr=1e-4, weight_decay=0.0, fused=True)
        self.times: dict[str, float] = {}

    def forward(self) -> dict[str, Tensor]:
        """Everything the loss needs, by name."""
        with self.way.autocast():
            tokens = self._timed("video", lambda: self.model.see(self.sample))
            sentences = self._timed("text", lambda: self.model.read(self.sample))
            logits = self._timed("head", lambda: self.model.sort(tokens, sentences))
            v, t = self.model.align(tokens, sentences)
        return {"tokens": tokens, "sentences": sentences, "logits": logits, "v": v, "t": t}

    def step(self) -> float:
        """Forward, backward, update -> seconds; ours by deterministic kernels, as training has them."""
        with nullcontext() if isinstance(self.model, Official) else deterministic():
            return self._step()

    def _step(self) -> float:
        started = self._now()
        out = self.forward()
        sorting = F.cross_entropy(out["logits"].float().flatten(0, 1), self.sample.order.flatten())
        v, t = F.normalize(out["v"].float(), dim=-1), F.normalize(out["t"].float(), dim=-1)
        loss = 2 * sorting + alignment_loss(v, t, 0.05)
        self.optimizer.zero_grad()
        self._timed("backward", loss.backward)
        self._timed("optimizer", self.optimizer.step)
        return self._now() - started

    def best(self, repeats: int) -> float:
        return min(self.step() for _ in range(repeats))

    def _timed(self, name: str, work: Callable[[], Any]) -> Any:
        started = self._now()
        result = work()
        self.times[name] = self._now() - started
        return result

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()


def draw(setting: Setting, batch: int) -> Sample:
    """A batch of noise, the same at every call."""
    generator = torch.Generator().manual_seed(1)
    shape, count = setting.video, batch * setting.k
    steps, patches = shape["frames"] // shape["tubelet"], (shape["size"] // shape["patch"]) ** 2
    frames = torch.randint(
        256, (batch, shape["frames"], shape["size"], shape["size"], 3), dtype=torch.uint8, generator=generator
    )
    keep = sample_patches(torch.rand(batch, steps, patches, generator=generator), setting.keep)
    lengths = torch.randint(8, setting.tokens + 1, (count,), generator=generator)
    mask = torch.arange(int(lengths.max())) < lengths[:, None]  # [B * K, L]
    ids = torch.randint(1, setting.text["vocab_size"], mask.shape, generator=generator) * mask
    order = torch.rand(batch, setting.k, generator=generator).argsort(1)
    return Sample(frames, keep, ids, mask, order)


def stepper(which: str, setting: Setting, batch: int, way: Arithmetic) -> Stepper:
    """ "ours" or "official" with fresh weights; the official one in float32, with its own attention."""
    torch.manual_seed(0)
    if which == "official":
        return Stepper(Official(setting), draw(setting, batch), Arithmetic(way.device, False, False))
    return Stepper(Ours(setting), draw(setting, batch), way)


def chosen(setting: Setting, batch: int) -> Arithmetic:
    """What training takes on this machine for a model of this size."""
    work = Work(VideoViT(**setting.video), batch, setting.keep, training=True)
    return arithmetic.choose("auto", "auto", work)


def largest_difference(setting: Setting) -> float:
    """Over all outputs of the forward pass, in float32 on the CPU, both formulations on the same weights."""
    exact = Arithmetic(torch.device("cpu"), bf16=False, explicit_attention=False)
    with torch.no_grad():
        one = stepper("ours", setting, setting.batch, exact).forward()
        other = stepper("official", setting, setting.batch, exact).forward()
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def peak_mb(which: str, tiny: bool) -> float:
    """The most memory that a process of its own held while it made two steps, its imports included (Linux)."""
    command = [sys.executable, __file__, "--peak-of", which, *(["--tiny"] if tiny else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - this very script
    return float(done.stdout.split()[-1])


def _own_peak_mb() -> float:
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def on_this_cpu(setting: Setting, repeats: int, *, official: bool) -> dict[str, Any]:
    """Time whole steps in every way, in turns, and the official formulation if asked; print them part by part."""
    cpu = torch.device("cpu")
    ways = {
        str(way): way
        for way in (Arithmetic(cpu, bf16, explicit) for bf16 in (False, True) for explicit in (False, True))
    }
    taken = chosen(setting, setting.batch)
    print(f"ours: {taken.told()}", flush=True)
    steppers = {name: stepper("ours", setting, setting.batch, way) for name, way in ways.items()}
    if official:
        steppers["official"] = stepper("official", setting, setting.batch, taken)
    times: dict[str, list[tuple[float, dict[str, float]]]] = {name: [] for name in steppers}
    for each in steppers.values():
        each.step()  # allocations, optimizer state
    for _ in range(repeats):
        for name, each in steppers.items():
            times[name].append((each.step(), dict(each.times)))
    best = {name: min(found, key=lambda item: item[0]) for name, found in times.items()}
    _table({name: {"step": seconds, **split} for name, (seconds, split) in best.items()})
    seconds = {name: value for name, (value, _) in best.items()}
    with FlopCounterMode(display=False) as counter:
        steppers[str(taken)].step()
    rates = {kind: matrix_rate(cpu, 1024, kind) for kind in (torch.float32, torch.bfloat16)}
    own = seconds[str(taken)]
    found = {
        "way": str(taken),
        "step_s": round(own, 4),
        "vs_best": round(own / min(seconds[name] for name in ways), 3),
        "mfu": round(counter.get_total_flops() / own / max(rates.values()), 3),
        "matrix_gflops": {str(kind).removeprefix("torch."): round(rate / 1e9) for kind, rate in rates.items()},
    }
    return found | ({"speedup": round(seconds["official"] / own, 2)} if official else {})


def matrix_rate(device: torch.device, size: int, kind: torch.dtype = torch.bfloat16) -> float:
    """Operations a second of a product of size x size matrices of this kind."""
    a = torch.randn(size, size, device=device, dtype=kind)
    b = torch.randn(size, size, device=device, dtype=kind)

    def seconds(count: int) -> float:
        _wait(device)
        started = time.perf_counter()
        for _ in range(count):
            a @ b
        _wait(device)
        return (time.perf_counter() - started) / count

    seconds(3)
    return 2 * size**3 / min(seconds(20) for _ in range(3))


def on_accelerator(setting: Setting, device: torch.device, batches: list[int], matrix: int) -> dict[str, Any]:
    """Ours in bf16 and the official formulation in float32, each at its best batch size, and ours' share of the
    matrix rate (MFU)."""
    found: dict[str, Any] = {"matrix_tflops": matrix_rate(device, matrix) / 1e12}
    for which in ("official", "ours"):
        rows = []
        for batch in batches:
            try:
                each = stepper(which, setting, batch, Arithmetic(device, True, device.type == "cpu"))
                each.best(2)
                seconds, split = min(((each.step(), dict(each.times)) for _ in range(5)), key=lambda item: item[0])
            except torch.OutOfMemoryError:
                break
            rows.append({"batch": batch, "samples_per_second": batch / seconds, "step": seconds, **split})
            if which == "ours":
                with FlopCounterMode(display=False) as counter:
                    each.step()
                rows[-1]["mfu"] = counter.get_total_flops() / seconds / (found["matrix_tflops"] * 1e12)
            del each
        _table({f"{which}, batch {row['batch']}": row for row in rows})
        found[which] = max(rows, key=lambda row: row["samples_per_second"])
    found["speedup"] = found["ours"]["samples_per_second"] / found["official"]["samples_per_second"]
    return found


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def _table(rows: dict[str, dict[str, float]]) -> None:
    columns = list(dict.fromkeys(name for row in rows.values() for name in row))
    widths = {name: max(10, len(name) + 2) for name in columns}
    print(" " * 16 + "".join(f"{name:>{width}}" for name, width in widths.items()))
    for title, row in rows.items():
        cells = (f"{row[name]:{width}.3f}" if name in row else " " * width for name, width in widths.items())
        print(f"{title:>16}" + "".join(cells))
    sys.stdout.flush()


def main() -> None:
    """Measure what there is to measure here."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--data-wait", type=Path, help="metrics/speed.json of a training: its data_wait_share")
    parser.add_argument("--tiny", action="store_true", help="try the script in seconds; the figures mean nothing")
    parser.add_argument("--peak-of", choices=["ours", "official"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    setting = TINY if options.tiny else PAPER
    cpu, cuda = torch.device("cpu"), torch.cuda.is_available()
    if options.peak_of:
        stepper(options.peak_of, setting, setting.batch, chosen(setting, setting.batch)).best(2)
        print(_own_peak_mb())
        return
    wait = (
        json.loads(options.data_wait.read_text(encoding="utf-8")).get("data_wait_share")
        if options.data_wait
        else None
    )
    print(f"{torch.get_num_threads()} threads, batch {setting.batch}; seconds:", flush=True)
    figures: dict[str, Any] = {
        **on_this_cpu(setting, options.repeats, official=True),
        "default": on_this_cpu(TINY if options.tiny else DEFAULT, 4 * options.repeats, official=False),
        "max_abs_diff": largest_difference(setting),
        "data_wait_share": wait,
        "peak_mb": round(peak_mb("ours", options.tiny)),
        "reference_peak_mb": round(peak_mb("official", options.tiny)),
    }
    if options.tiny:
        on_accelerator(setting, cpu, [2, 4], matrix=256)
    elif cuda:
        name = torch.cuda.get_device_name()
        found = on_accelerator(setting, torch.device("cuda"), [2, 8, 16, 32, 64, 128, 256], matrix=8192)
        RESULTS.mkdir(exist_ok=True)
        kept = RESULTS / f"{''.join(c if c.isalnum() else '_' for c in name)}.json"
        kept.write_text(json.dumps({"gpu": name, "torch": torch.__version__, **found}, indent=2) + "\n")
        print(f"{name}: {found['speedup']:.1f}x, MFU {found['ours']['mfu']:.2f}; kept in {kept}")
    else:
        print("No GPU here: the CPU part only.")
    print(json.dumps({**figures, "processor": processor()}))


if __name__ == "__main__":
    main()
