"""What computing a frozen text encoder's sentences once saves: the text part of CPD's first stage.

    python benchmarks/sentences.py

A text encoder of DistilBERT's shape with random weights, titles of 4 to 16 words, batches of 64; the same objective
that training uses, on one core. Recomputing costs the same in every epoch; looking up costs a pass over all titles
before the first step, and a look-up in each. The last line is one JSON object: the speed-up over stages of so many
epochs, that pass included (the paper's has 150). Seconds are the processor's.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import numpy as np
import torch

from benchmarks.machine import processor
from scriptsight.models import text as text_encoders
from scriptsight.models.bundle import Encoder
from scriptsight.models.text import TextEncoder
from scriptsight.models.video import VideoViT
from scriptsight.pretrain.batches import Batch
from scriptsight.pretrain.objectives.cpd import Cpd

TITLES, BATCH, EPOCHS = 512, 64, (1, 10, 150)
SHAPE = {"dim": 768, "n_layers": 6, "n_heads": 12, "hidden_dim": 3072, "vocab_size": 30522}  # transformers' names


def objective(titles: list[str]) -> Cpd:
    """CPD around a text encoder as large as the paper's; its video encoder is not used."""
    tokenizer = TextEncoder.words(titles, width=8, vocabulary=30000).tokenizer
    config = {"kind": "huggingface", "model_type": "distilbert", "model": SHAPE, "pool": "mean"}
    text = text_encoders.from_config(config, tokenizer)
    video = VideoViT(width=32, depth=1, heads=2, patch=8, tubelet=2, size=16, frames=2)
    return Cpd(Encoder(video, text, 256, 512), noise=64, joint_from=1)


def seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    vocabulary = [f"word{number}" for number in range(2000)]
    titles = [" ".join(rng.choice(vocabulary, rng.integers(4, 17))) for _ in range(TITLES)]
    cpd = objective(titles)
    cpd.expect((f"c/v{number}/0", title) for number, title in enumerate(titles))
    frames = torch.zeros(BATCH, 2, 16, 16, 3, dtype=torch.uint8)
    ids = [f"c/v{number}/0" for number in range(TITLES)]
    batches = [
        Batch(frames, titles[first : first + BATCH], None, ids[first : first + BATCH])
        for first in range(0, TITLES, BATCH)
    ]

    def epoch() -> None:
        for batch in batches:
            cpd.sentences(batch)

    cpd.stage = 1  # without the pass over all titles, the first stage computes each batch's
    cpd.train()
    cpd.sentences(batches[0])  # warms up
    again = seconds(epoch)
    once = seconds(lambda: cpd.before_step(0, []))
    cpd.train()
    looked_up = min(seconds(epoch) for _ in range(5))
    print(f"{TITLES} titles in batches of {BATCH}: {again:.2f} s an epoch recomputed;")
    print(f"{once:.2f} s for all at once, then {1000 * looked_up:.1f} ms an epoch looked up")
    speedups = {count: count * again / (once + count * looked_up) for count in EPOCHS}
    found = {f"speedup_{count}_epochs": round(value, 1) for count, value in speedups.items()}
    print(json.dumps({**found, "processor": processor()}))


if __name__ == "__main__":
    main()
