"""Frame ordering: which frame comes when, given the text. MERLOT's task (arXiv 2106.02636, section 3.3), which the
TVTS paper sets against the sorting of transcripts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scriptsight.errors import ArgumentError, keyed
from scriptsight.models.bundle import Encoder
from scriptsight.models.video import Block, LayerNorm
from scriptsight.params.pretrain import PretrainParams
from scriptsight.pretrain.batches import Batch
from scriptsight.pretrain.objectives.tvts import align, draw_patches, embed, heads_of, recall, sentences_of, share_of
from scriptsight.training.objective import Draw, Objective


class FrameHead(nn.Module):
    """Joint attention over T step vectors and K sentences in their true order -> a position for each step.

    Steps get no position embedding, sentences do: their order says what comes first. So the head is
    equivariant to the order of the steps by construction.
    """

    def __init__(self, *, video_width: int, text_width: int, steps: int, k: int, depth: int, heads: int) -> None:
        super().__init__()
        self.text_input = nn.Sequential(nn.Linear(text_width, video_width), nn.LayerNorm(video_width))
        self.video_type = nn.Parameter(torch.zeros(video_width))
        self.places = nn.Parameter(torch.zeros(k, video_width))  # of sentences
        self.blocks = nn.ModuleList(Block(video_width, heads) for _ in range(depth))
        self.norm = LayerNorm(video_width)
        self.classifier = nn.Linear(video_width, steps)
        for table in (self.video_type, self.places):
            nn.init.normal_(table, std=0.02)

    def forward(self, video: Tensor, sentences: Tensor, steps: int) -> Tensor:
        """Tokens [B, T * kept, D] of T `steps`, and sentences [B, K, Dt] -> logits [B, T, T]."""
        seen = video.unflatten(1, (steps, -1)).mean(2) + self.video_type  # [B, T, D]
        words = self.text_input(sentences) + self.places[: sentences.shape[1]]  # [B, K, D]
        tokens = torch.cat([words, seen], dim=1)
        for block in self.blocks[:-1]:
            tokens = block(tokens)
        logits: Tensor = self.classifier(self.norm(self.blocks[-1](tokens, queries=steps)))
        return logits[..., :steps]


class FrameOrder(Objective):
    """loss = order_weight * ordering + align_weight * alignment.

    What is put in order are the encoder's steps in time: frames, or a ViT's tubelets. Ordering and alignment each
    encode the clip. Alignment sees it as it is; ordering sees its steps shuffled, and no ViT's table of times, so
    that the order of the input is the only order there is, and it is drawn at random: from a ViT, whose steps' tokens
    are then equivariant to it, shuffling takes nothing but the order; a ResNet's kernels see shuffled neighbours.
    MERLOT encodes each frame for itself, with the same effect. As in TVTS, ordering need not train the text encoder
    (`tvts.detach_text`). Were alignment to share the shuffled pass, the encoder
    would learn that time means nothing.

    Args:
        k: sentences of a sample, at most.
        keep: the share of the patches that training sees.
        order_weight, align_weight: of the losses; these and what follows are as in TVTS, to compare the two.
        temperature, align_chunk: of the alignment, as in `Tvts`.
        head_depth, head_heads: of the head, as in `Tvts`.
        detach_text: ordering does not train the text encoder.

    Raises:
        ArgumentError: heads that do not divide the width, clips of one step, or a ResNet and `keep` under 1.
    """

    headline = "order_accuracy"

    def __init__(
        self,
        encoder: Encoder,
        *,
        k: int = 4,
        keep: float = 0.25,
        order_weight: float = 2.0,
        align_weight: float = 1.0,
        temperature: float = 0.05,
        align_chunk: int | None = None,
        head_depth: int = 2,
        head_heads: int | None = None,
        detach_text: bool = True,
    ) -> None:
        super().__init__()
        if encoder.video.steps < 2:
            raise ArgumentError("encoder", "sees clips of one step in time, which has no order")
        self.encoder, self.keep = encoder, share_of(encoder, keep)
        self.order_weight, self.align_weight, self.detach_text = order_weight, align_weight, detach_text
        self.temperature, self.align_chunk = temperature, align_chunk
        self.head = FrameHead(
            video_width=encoder.video.width,
            text_width=encoder.text.width,
            steps=encoder.video.steps,
            k=k,
            depth=head_depth,
            heads=heads_of(encoder, head_heads),
        )

    @classmethod
    def from_params(cls, encoder: Encoder, params: PretrainParams) -> FrameOrder:
        """As `pretrain.frame_order` of params.yaml says; temperature, align_chunk and detach_text are those of
        `pretrain.tvts`.

        Raises:
            InputError: as above; the message names the key.
        """
        shared = params.tvts.model_dump(include={"temperature", "align_chunk", "detach_text"})
        with keyed("pretrain.frame_order", {"encoder": "pretrain.video"}):
            return cls(encoder, k=params.k, keep=params.keep, **params.frame_order.model_dump(), **shared)

    def losses(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        """ "loss", "order_loss" and the training "order_accuracy"; "align_loss" where it has a weight."""
        video, steps = self.encoder.video, self._steps(batch)
        order = draw.rand(steps).argsort(-1).to(batch.frames.device)  # [B, T]: which step is shown where
        keep = draw_patches(video, batch.frames, self.keep, draw)
        sentences = sentences_of(self.encoder, batch)  # [B, K, Dt]
        read = sentences.detach() if self.detach_text else sentences
        logits = self.order_logits(batch, read, order, keep).float()
        order_loss = F.cross_entropy(logits.flatten(0, 1), order.flatten())
        accuracy = (logits.argmax(-1) == order).float().mean()
        figures = {"order_loss": order_loss, "order_accuracy": accuracy}
        loss = self.order_weight * order_loss
        if self.align_weight:
            tokens = video(batch.frames, keep)  # [B, 1 + T * kept, D]
            figures["align_loss"] = align(self.encoder, tokens, sentences, self.temperature, self.align_chunk)
            loss = loss + self.align_weight * figures["align_loss"]
        return {"loss": loss, **figures}

    def _steps(self, batch: Batch) -> int:
        return batch.frames.shape[1] // self.encoder.video.tubelet

    def order_logits(self, batch: Batch, sentences: Tensor, order: Tensor, keep: Tensor | None = None) -> Tensor:
        """Logits [B, T, T] of the positions of the steps shown in this `order` [B, T]."""
        tokens = self.encoder.video(shuffled(batch.frames, order), keep, timed=False)
        return self.head(tokens[:, 1:], in_order(sentences, batch.order), order.shape[1])

    def measure(self, batch: Batch) -> dict[str, Tensor]:
        """Unit vectors "v" and "t" [B, E], the "order" that steps are shown in, what is "predicted" from them and the
        text, and what is predicted with the text "blank" [B, T]."""
        sentences = sentences_of(self.encoder, batch)
        v, t = embed(self.encoder, self.encoder.video(batch.frames), sentences)
        noise = torch.rand(len(batch.frames), self._steps(batch), generator=torch.Generator().manual_seed(0))
        order = noise.argsort(-1).to(batch.frames.device)  # the same at every validation
        blank = torch.zeros_like(sentences)
        tokens = self.encoder.video(shuffled(batch.frames, order), timed=False)[:, 1:]
        predicted, unread = (
            self.head(tokens, in_order(read, batch.order), order.shape[1]).argmax(-1) for read in (sentences, blank)
        )
        return {"v": v, "t": t, "order": order, "predicted": predicted, "blank": unread}

    def figures(self, parts: Sequence[dict[str, Tensor]]) -> dict[str, Any]:
        """Ordering with the text and with the text blanked (what pictures alone put in order), and text-to-video
        recall."""
        found = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        order = found["order"]  # [N, T]
        return {
            "order_accuracy": (found["predicted"] == order).float().mean().item(),
            "order_accuracy_blank": (found["blank"] == order).float().mean().item(),
            "chance": 1 / order.shape[1],
            **recall(found["v"], found["t"]),
        }


def shuffled(frames: Tensor, order: Tensor) -> Tensor:
    """Clips [B, M, H, W, 3] with their T steps in `order` [B, T]: step order[b, s] of clip b is shown at place s."""
    steps = frames.unflatten(1, (order.shape[1], -1))  # [B, T, M / T, H, W, 3]
    return steps[torch.arange(len(frames), device=frames.device)[:, None], order].flatten(1, 2)


def in_order(sentences: Tensor, order: Tensor | None) -> Tensor:
    """Sentences [B, K, Dt] where sentence k belongs at position order[b, k] -> in true order; a pair has one."""
    if order is None:
        return sentences
    rows = torch.arange(len(sentences), device=sentences.device)[:, None]
    return sentences[rows, order.argsort(-1)]
