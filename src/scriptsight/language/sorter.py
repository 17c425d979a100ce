"""Sorting transcripts without their video: a text encoder that is trained for it, and the sorting head of TVTS."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scriptsight.models.text import TextEncoder
from scriptsight.params.models import HuggingFaceText, TextParams
from scriptsight.pretrain import encoders
from scriptsight.pretrain.batches import Batch
from scriptsight.pretrain.objectives.tvts import SortingHead
from scriptsight.pretrain.samplers import Clip, Sample, Sampler, Stretch
from scriptsight.segments import Segment
from scriptsight.training.objective import Draw, Objective

WIDTH, DEPTH, HEADS = 96, 2, 3  # of the head
# Of words and of sentence vectors. With a hundred scripts a sorter without it is right on every training script and
# at 0.49 on others, where it gets 0.55 with it (chance 0.25); with thousands of scripts it costs nothing.
DROPOUT = 0.3


class WordsAlone(Sampler):
    """The samples of another sampler without their frames: nothing of the video is decoded."""

    sorts = True

    def __init__(self, sampler: Sampler) -> None:
        super().__init__(sampler.segments, Clip(frames=0, size=0), sampler.eligible)
        self.sampler = sampler

    def choose(self, segment: Segment, rng: np.random.Generator, training: bool) -> tuple[Sequence[str], Stretch]:
        return self.sampler.choose(segment, rng, training)

    def draw(self, row: int, rng: np.random.Generator, *, training: bool) -> Sample:
        segment = self.segments[row]
        texts, _ = self.choose(segment, rng, training)
        return Sample(np.empty((0, 0, 0, 3), np.uint8), texts, segment.segment_id)


class TextSorter(Objective):
    """The order of K transcripts from their words alone.

    The head is TVTS's, given no video token: self-attention over the K sentence vectors, which get no position, so
    that it is equivariant to their order by construction. Sentences are not detached as they are there: nothing else
    could learn what words tell of the order.
    """

    headline = "sort_accuracy"

    def __init__(self, text: TextEncoder, k: int) -> None:
        super().__init__()
        self.text, self.k = text, k
        self.dropout = nn.Dropout(DROPOUT)
        self.head = SortingHead(
            video_width=WIDTH,
            text_width=text.width,
            steps=1,
            k=k,
            depth=DEPTH,
            heads=HEADS,
            temporal_embedding=False,
            head_text="projected",
        )

    def rate_factor(self, name: str) -> float:
        """A pretrained language model is tuned, not learned: 5e-5 of the sorter's 3e-3."""
        tuned = name.startswith("text.") and self.text.config["kind"] == "huggingface"
        return 1 / 60 if tuned else 1.0

    def sort(self, batch: Batch) -> Tensor:
        """Logits [B, K, K]: row k scores the positions of transcript k."""
        device = self.head.classifier.weight.device
        ids, mask = self.text.tokenize(batch.texts)  # [B * K, L]
        if self.training and self.text.config["kind"] == "words":  # a language model has a dropout of its own
            mask &= torch.rand(mask.shape) >= DROPOUT
        sentences = self.dropout(self.text(ids.to(device), mask.to(device))).unflatten(0, (-1, self.k))  # [B, K, Dt]
        no_video = sentences.new_zeros(len(sentences), 0, WIDTH)
        logits: Tensor = self.head(no_video, sentences)
        return logits.float()

    def losses(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        """ "loss", the cross-entropy of positions, and the training "sort_accuracy"."""
        assert batch.order is not None
        logits = self.sort(batch)
        loss = F.cross_entropy(logits.flatten(0, 1), batch.order.flatten())
        return {"loss": loss, "sort_accuracy": (logits.argmax(-1) == batch.order).float().mean()}

    def measure(self, batch: Batch) -> dict[str, Tensor]:
        """The "order" and the "scores", log-probabilities of positions [B, K, K]."""
        assert batch.order is not None
        return {"order": batch.order, "scores": self.sort(batch).log_softmax(-1)}

    def figures(self, parts: Sequence[dict[str, Tensor]]) -> dict[str, Any]:
        """Sorting accuracies; of each script which of its transcripts are "right", in true order, and "surety", how
        probable its true order is (the geometric mean over its transcripts)."""
        order, scores = (torch.cat([part[name] for part in parts]) for name in ("order", "scores"))
        right = scores.argmax(-1) == order  # [N, K]
        surety = scores.gather(-1, order[..., None])[..., 0].mean(-1).exp()  # [N]
        return {
            "sort_accuracy": right.float().mean().item(),
            "sort_exact": right.all(-1).float().mean().item(),
            "chance": 1 / self.k,
            "chance_exact": 1 / math.factorial(self.k),
            "right": right.gather(1, order.argsort(-1)).tolist(),
            "surety": surety.tolist(),
        }


def build_text(choice: TextParams, texts: Iterable[str], max_tokens: int) -> TextEncoder:
    """pretrain's text encoder if it is a language model of Hugging Face, else word vectors; all of it is trained."""
    if isinstance(choice, HuggingFaceText):
        return encoders.text(choice.model_copy(update={"freeze": "none"}), texts, max_tokens)
    words = TextEncoder.words(texts, width=96, vocabulary=8000, max_tokens=max_tokens)
    words.frozen = False
    words.backbone.requires_grad_(True)
    return words
