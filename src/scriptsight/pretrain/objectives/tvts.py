"""TVTS: put K shuffled transcripts in order by looking at the video (CVPR 2023, section 3.2), and align both."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from scriptsight import params
from scriptsight.models.bundle import Encoder
from scriptsight.models.video import Block, LayerNorm, sample_patches
from scriptsight.pretrain.batches import Batch


class SortingHead(nn.Module):
    """Joint attention over video tokens and K sentence embeddings -> a position for each transcript.

    Transcripts get no position embedding, so that the head is equivariant to their order by construction.
    A temporal embedding on the video tokens is an option that the paper has not: small models need it.
    """

    def __init__(
        self,
        *,
        video_width: int,
        text_width: int,
        steps: int,
        k: int,
        depth: int,
        heads: int,
        temporal_embedding: bool,
    ) -> None:
        super().__init__()
        self.k, self.steps = k, steps
        self.text_input = nn.Sequential(nn.Linear(text_width, video_width), nn.LayerNorm(video_width))
        self.video_type = nn.Parameter(torch.zeros(video_width))
        self.text_type = nn.Parameter(torch.zeros(video_width))
        self.time = nn.Parameter(torch.zeros(steps, video_width)) if temporal_embedding else None
        self.blocks = nn.ModuleList(Block(video_width, heads) for _ in range(depth))
        self.norm = LayerNorm(video_width)
        self.classifier = nn.Linear(video_width, k)
        for table in (self.video_type, self.text_type, self.time):
            if table is not None:
                nn.init.normal_(table, std=0.02)

    def forward(self, video: Tensor, sentences: Tensor) -> Tensor:
        """Video tokens [B, 1 + T * kept, D] and sentence embeddings [B, K, Dt] -> logits [B, K, K]."""
        if self.time is not None:
            patches = video[:, 1:].unflatten(1, (self.steps, -1)) + self.time[:, None]  # [B, T, kept, D]
            video = torch.cat([video[:, :1], patches.flatten(1, 2)], dim=1)
        tokens = torch.cat([video + self.video_type, self.text_input(sentences) + self.text_type], dim=1)
        for block in self.blocks[:-1]:
            tokens = block(tokens)
        return self.classifier(self.norm(self.blocks[-1](tokens, queries=self.k)))


class Tvts(nn.Module):
    """loss = sort_weight * sorting + align_weight * alignment; the paper has 2 and 1."""

    def __init__(self, encoder: Encoder, choice: params.Tvts, *, k: int, keep: float) -> None:
        super().__init__()
        self.encoder, self.choice, self.k, self.keep = encoder, choice, k, keep
        video = encoder.video
        self.head = SortingHead(
            video_width=video.width,
            text_width=encoder.text.width,
            steps=video.steps,
            k=k,
            depth=choice.head_depth,
            heads=choice.head_heads,
            temporal_embedding=choice.temporal_embedding,
        )

    def losses(self, batch: Batch, generator: Generator) -> dict[str, Tensor]:
        """ "loss", "sort_loss", "align_loss", and the training "sort_accuracy"."""
        video = self.encoder.video
        keep = sample_patches(len(batch.frames), video.steps, video.patches, self.keep, generator)
        tokens = video(batch.frames, keep.to(batch.frames.device))  # [B, 1 + T * kept, D]
        sentences = self._sentences(batch)  # [B, K, Dt]
        logits = self.sort(tokens, sentences).float()
        sort_loss = F.cross_entropy(logits.flatten(0, 1), batch.order.flatten())
        align_loss = self._alignment(tokens, sentences)
        loss = self.choice.sort_weight * sort_loss + self.choice.align_weight * align_loss
        accuracy = (logits.argmax(-1) == batch.order).float().mean()
        return {"loss": loss, "sort_loss": sort_loss, "align_loss": align_loss, "sort_accuracy": accuracy}

    def sort(self, tokens: Tensor, sentences: Tensor) -> Tensor:
        """Logits [B, K, K]: row k scores the positions of transcript k."""
        return self.head(tokens, sentences.detach() if self.choice.detach_text else sentences)

    def _sentences(self, batch: Batch) -> Tensor:
        ids, mask = self.encoder.text.tokenize(batch.texts)
        sentences = self.encoder.text(ids.to(batch.frames.device), mask.to(batch.frames.device))
        return sentences.unflatten(0, (-1, self.k))

    def _embed(self, tokens: Tensor, sentences: Tensor) -> tuple[Tensor, Tensor]:
        """Unit vectors of clips and of their scripts, [B, E] each; a script is the mean of its transcripts."""
        v = F.normalize(self.encoder.project_video(tokens).float(), dim=-1)
        t = F.normalize(self.encoder.project_text(sentences).float().mean(1), dim=-1)
        return v, t

    def _alignment(self, tokens: Tensor, sentences: Tensor) -> Tensor:
        v, t = self._embed(tokens, sentences)
        return alignment_loss(v, t, self.choice.temperature)

    @torch.no_grad()
    def validate(self, batches: Iterable[Batch]) -> dict[str, Any]:
        """Sorting with the video and with the video blanked, the K x K confusion, text-to-video recall.

        "t2v_r1" ranks each script's own clip among all validation clips; ties count against it.
        """
        confusion = torch.zeros(self.k, self.k, dtype=torch.int64)  # [true position, predicted position]
        right, exact, right_blank, videos, texts = [], [], [], [], []
        for batch in batches:
            sentences = self._sentences(batch)
            tokens = self.encoder.video(batch.frames)
            predicted = self.sort(tokens, sentences).argmax(-1)  # [B, K]
            cells = (batch.order * self.k + predicted).flatten().cpu()
            confusion += cells.bincount(minlength=self.k**2).view(self.k, self.k)
            right.append((predicted == batch.order).float())
            exact.append((predicted == batch.order).all(-1).float())
            # What language alone can order: the same transcripts over a clip of one grey.
            blank = self.encoder.video(torch.full_like(batch.frames, 127))
            right_blank.append((self.sort(blank, sentences).argmax(-1) == batch.order).float())
            v, t = self._embed(tokens, sentences)
            videos.append(v)
            texts.append(t)
        similarity = _cosine(torch.cat(texts), torch.cat(videos))  # [N scripts, N clips]
        ranks = (similarity >= similarity.diagonal()[:, None]).sum(1)  # 1 is best
        return {
            "sort_accuracy": torch.cat(right).mean().item(),
            "sort_exact": torch.cat(exact).mean().item(),
            "sort_accuracy_blank": torch.cat(right_blank).mean().item(),
            "chance": 1 / self.k,
            "t2v_r1": (ranks == 1).float().mean().item(),
            "t2v_chance": 1 / len(ranks),
            "confusion": confusion.tolist(),
        }


def alignment_loss(video: Tensor, text: Tensor, temperature: float) -> Tensor:
    """Cross-entropy over cosine similarities, both directions summed (TVTS, equation 4).

    Args:
        video, text: unit vectors [B, E]; row i of one belongs to row i of the other.
    """
    similarity = _cosine(video, text) / temperature  # [B, B]
    target = torch.arange(len(video), device=video.device)
    return F.cross_entropy(similarity, target) + F.cross_entropy(similarity.T, target)


def _cosine(one: Tensor, other: Tensor) -> Tensor:
    """Products of unit vectors [N, E], [M, E] -> [N, M] in their own precision: in bf16 near ones would tie."""
    with torch.autocast(one.device.type, enabled=False):
        return one @ other.T
