"""TVTS: put K shuffled transcripts in order by looking at the video (CVPR 2023, section 3.2), and align both."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from scriptsight import distributed
from scriptsight.errors import ArgumentError, keyed
from scriptsight.models.bundle import Encoder
from scriptsight.models.video import Block, LayerNorm, VideoEncoder, VideoViT, sample_patches, sincos
from scriptsight.params.pretrain import PretrainParams
from scriptsight.pretrain.batches import Batch
from scriptsight.training.objective import Draw, Objective

HeadText = Literal["projected", "plain"]


class SortingHead(nn.Module):
    """Joint attention over video tokens and K sentence embeddings -> a position for each transcript.

    Transcripts get no position embedding, so that the head is equivariant to their order by construction.
    Two options are not the paper's: a temporal embedding on the video tokens, which small models need, and
    sentences that are `projected` to the video's width and normalised rather than added as they are.
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
        head_text: HeadText,
    ) -> None:
        super().__init__()
        self.k, self.steps = k, steps
        self.text_input: nn.Module
        if head_text == "projected":
            self.text_input = nn.Sequential(nn.Linear(text_width, video_width), nn.LayerNorm(video_width))
        elif text_width == video_width:
            self.text_input = nn.Identity()
        else:
            raise ArgumentError(
                "head_text",
                f"plain needs sentences as wide as video tokens, not {text_width} and {video_width}: take head_text: "
                "projected.",
            )
        self.video_type = nn.Parameter(torch.zeros(video_width))
        self.text_type = nn.Parameter(torch.zeros(video_width))
        # Sine-cosine start: from small random numbers the times of steps must first grow apart, and sorting stays at
        # chance for hundreds of steps more.
        times = sincos(np.arange(steps)[:, None], video_width)
        self.time = nn.Parameter(times) if temporal_embedding else None
        self.blocks = nn.ModuleList(Block(video_width, heads) for _ in range(depth))
        self.norm = LayerNorm(video_width)
        self.classifier = nn.Linear(video_width, k)
        for table in (self.video_type, self.text_type):
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


class Tvts(Objective):
    """loss = sort_weight * sorting + align_weight * alignment.

    A batch of pairs, one text a sample, is aligned only: the paper's second phase. With sort_weight 0 nothing is
    built or computed for sorting: what remains is `contrastive`, the paper's Frozen.

    Args:
        encoder: what is trained, with a ViT unless `keep` is 1.
        k: transcripts a sample (the paper's 4).
        keep: the share of the patches that training sees (the paper's 0.25).
        sort_weight, align_weight: of the losses (the paper's 2 and 1).
        temperature: of the alignment's cosines (0.05, of the official code).
        align_chunk: rows of the similarity matrix that are held at once; None holds all.
        head_depth: blocks of the sorting head (2).
        head_heads: of its attention; None: one for each 64 dimensions, as in the paper.
        head_text: how sentences come in: "plain" as they are (the paper's, for encoders of one width), or
            "projected" to the video's width and normalised.
        temporal_embedding: at the head's input, on video tokens. The paper has none; small models need one.
        detach_text: sorting does not train the text encoder (the paper's).

    Raises:
        ArgumentError: both weights are 0, a ResNet and `keep` under 1, heads that do not divide the width, or
            `head_text` "plain" for encoders of two widths.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        k: int = 4,
        keep: float = 0.25,
        sort_weight: float = 2.0,
        align_weight: float = 1.0,
        temperature: float = 0.05,
        align_chunk: int | None = None,
        head_depth: int = 2,
        head_heads: int | None = None,
        head_text: HeadText = "plain",
        temporal_embedding: bool = False,
        detach_text: bool = True,
    ) -> None:
        super().__init__()
        if not sort_weight and not align_weight:
            raise ArgumentError("sort_weight", "and align_weight are both 0: there is nothing to learn")
        self.encoder, self.k, self.keep = encoder, k, share_of(encoder, keep)
        self.sort_weight, self.align_weight, self.detach_text = sort_weight, align_weight, detach_text
        self.temperature, self.align_chunk = temperature, align_chunk
        self.headline = "sort_accuracy" if sort_weight else "t2v_r1"
        self.head = None
        if sort_weight:
            self.head = SortingHead(
                video_width=encoder.video.width,
                text_width=encoder.text.width,
                steps=encoder.video.steps,
                k=k,
                depth=head_depth,
                heads=heads_of(encoder, head_heads),
                temporal_embedding=temporal_embedding,
                head_text=head_text,
            )

    @classmethod
    def from_params(cls, encoder: Encoder, params: PretrainParams) -> Tvts:
        """As the sections `pretrain` and `pretrain.tvts` of params.yaml say.

        Raises:
            InputError: as above; the message names the key.
        """
        with keyed("pretrain.tvts"):
            objective = cls(encoder, k=params.k, keep=params.keep, **params.tvts.model_dump())
        if next(iter(params.collections.values())).text != "script":
            objective.headline = "t2v_r1"  # the collection that figures are about has nothing to sort
        return objective

    def losses(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        """ "loss" and "align_loss"; of scripts also "sort_loss" and the training "sort_accuracy"."""
        keep = draw_patches(self.encoder.video, batch.frames, self.keep, draw)
        tokens = self.encoder.video(batch.frames, keep)  # [B, 1 + T * kept, D]
        sentences = sentences_of(self.encoder, batch)  # [B, K, Dt]
        figures = {"align_loss": align(self.encoder, tokens, sentences, self.temperature, self.align_chunk)}
        loss = self.align_weight * figures["align_loss"]
        if batch.order is not None and self.head is not None:
            logits = self.sort(tokens, sentences).float()
            sort_loss = F.cross_entropy(logits.flatten(0, 1), batch.order.flatten())
            loss = self.sort_weight * sort_loss + loss
            accuracy = (logits.argmax(-1) == batch.order).float().mean()
            figures |= {"sort_loss": sort_loss, "sort_accuracy": accuracy}
        return {"loss": loss, **figures}

    def sort(self, tokens: Tensor, sentences: Tensor) -> Tensor:
        """Logits [B, K, K]: row k scores the positions of transcript k."""
        assert self.head is not None
        logits: Tensor = self.head(tokens, sentences.detach() if self.detach_text else sentences)
        return logits

    def measure(self, batch: Batch) -> dict[str, Tensor]:
        """Unit vectors "v" and "t" [B, E]; of scripts also "order", what is "predicted", and what is predicted with
        the video "blank" [B, K]."""
        tokens, sentences = self.encoder.video(batch.frames), sentences_of(self.encoder, batch)
        v, t = embed(self.encoder, tokens, sentences)
        if batch.order is None or self.head is None:
            return {"v": v, "t": t}
        # What language alone can order: the same transcripts over a clip of one grey.
        blank = self.encoder.video(torch.full_like(batch.frames, 127))
        predicted, unseen = (self.sort(seen, sentences).argmax(-1) for seen in (tokens, blank))
        return {"v": v, "t": t, "order": batch.order, "predicted": predicted, "blank": unseen}

    def figures(self, parts: Sequence[dict[str, Tensor]]) -> dict[str, Any]:
        """Text-to-video recall; of scripts also sorting with the video and with the video blanked, the share of
        neighbours that are in order, which compares one K with another, and the K x K confusion."""
        found = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        if "order" not in found:
            return recall(found["v"], found["t"])
        right = found["predicted"] == found["order"]  # [N, K]
        cells = (found["order"] * self.k + found["predicted"]).flatten()
        return {
            "sort_accuracy": right.float().mean().item(),
            "sort_exact": right.all(-1).float().mean().item(),
            "sort_accuracy_blank": (found["blank"] == found["order"]).float().mean().item(),
            "pairs_in_order": neighbours_in_order(found["order"], found["predicted"]),
            "chance": 1 / self.k,
            "chance_exact": 1 / math.factorial(self.k),
            **recall(found["v"], found["t"]),
            # [true position, predicted position]
            "confusion": cells.bincount(minlength=self.k**2).view(self.k, self.k).tolist(),
        }


def neighbours_in_order(order: Tensor, predicted: Tensor) -> float:
    """Of two transcripts that follow one another, how often the first is put before the second; put at the same
    position, they count half.

    Neighbours are as far apart in time whatever K is, and guessing finds half of them: unlike accuracy, whose chance
    is 1 / K, this is one question at every K. (Pairs of all distances would be easier at a larger K.)

    Args:
        order, predicted: positions of the transcripts [N, K].
    """
    places = predicted.gather(1, order.argsort(1))  # [N, K]: in true order, the positions they were put at
    step = places.diff(dim=1)
    return ((step > 0).float() + 0.5 * (step == 0)).mean().item()


def draw_patches(video: VideoEncoder, frames: Tensor, share: float, draw: Draw) -> Tensor | None:
    """The patches of each clip and step that training sees, int64 [B, T, kept]; None where it sees all."""
    if share == 1:
        return None
    noise = draw.rand(frames.shape[1] // video.tubelet, video.patches)
    return sample_patches(noise, share).to(frames.device)


def share_of(encoder: Encoder, keep: float) -> float:
    """`keep`, for an encoder that can leave patches out.

    Raises:
        ArgumentError: the encoder is no ViT, and `keep` is under 1.
    """
    if keep < 1 and not isinstance(encoder.video, VideoViT):
        raise ArgumentError("keep", f"{keep} leaves patches out, which only a ViT can: take 1.0")
    return keep


def heads_of(encoder: Encoder, heads: int | None) -> int:
    """The attention heads of an objective's head over video tokens: as many as are said, else one for each 64
    dimensions.

    Raises:
        ArgumentError: they do not divide the width of the tokens.
    """
    width = encoder.video.width
    heads = heads or max(1, width // 64)
    if width % heads:
        raise ArgumentError("head_heads", f"{heads} does not divide the video encoder's width of {width}")
    return heads


def sentences_of(encoder: Encoder, batch: Batch) -> Tensor:
    """Sentence embeddings [B, K, Dt]; K is 1 in a batch of pairs."""
    ids, mask = encoder.text.tokenize(batch.texts)
    sentences: Tensor = encoder.text(ids.to(batch.frames.device), mask.to(batch.frames.device))
    return sentences.unflatten(0, (len(batch.frames), -1))


def embed(encoder: Encoder, tokens: Tensor, sentences: Tensor) -> tuple[Tensor, Tensor]:
    """Unit vectors of clips and of their scripts, [B, E] each; a script is the mean of its transcripts."""
    v = F.normalize(encoder.project_video(tokens).float(), dim=-1)
    t = F.normalize(encoder.project_text(sentences).float().mean(1), dim=-1)
    return v, t


def align(encoder: Encoder, tokens: Tensor, sentences: Tensor, temperature: float, chunk: int | None) -> Tensor:
    """The alignment loss of clips and scripts, from tokens [B, N, D] and sentences [B, K, Dt]."""
    v, t = embed(encoder, tokens, sentences)
    return alignment_loss(v, t, temperature, chunk)


def recall(v: Tensor, t: Tensor) -> dict[str, float]:
    """Of unit vectors [N, E]: "t2v_r1" ranks each script's own clip among all validation clips; ties count against
    it."""
    similarity = _cosine(t, v)  # [N scripts, N clips]
    ranks = (similarity >= similarity.diagonal()[:, None]).sum(1)  # 1 is best
    return {"t2v_r1": (ranks == 1).float().mean().item(), "t2v_chance": 1 / len(ranks)}


def alignment_loss(video: Tensor, text: Tensor, temperature: float, chunk: int | None = None) -> Tensor:
    """Cross-entropy over cosine similarities in the batch of all processes, both directions summed (TVTS, eq. 4).

    Args:
        video, text: this process's unit vectors [B, E]; row i of one belongs to row i of the other.
        chunk: rows of the similarity matrix [B, world * B] that are held at once, and computed again for the
            gradient; None holds all.

    Returns:
        the mean over this process's rows. The mean of that over the processes, and with gathered vectors its
        gradient too, is that of the whole batch in one process.
    """
    if chunk is None and distributed.world() == 1:  # one matrix serves both directions
        similarity = _cosine(video, text) / temperature  # [B, B]
        own = torch.arange(len(video), device=video.device)
        return F.cross_entropy(similarity, own) + F.cross_entropy(similarity.T, own)
    videos, texts = distributed.gather(video), distributed.gather(text)
    target = distributed.rank() * len(video) + torch.arange(len(video), device=video.device)
    return _row_loss(video, texts, target, temperature, chunk) + _row_loss(text, videos, target, temperature, chunk)


def _row_loss(rows: Tensor, columns: Tensor, target: Tensor, temperature: float, chunk: int | None) -> Tensor:
    """Cross-entropy of rows [B, E] against columns [N, E], of which `target` [B] are the right ones."""

    def summed(some: Tensor, right: Tensor) -> Tensor:
        return F.cross_entropy(_cosine(some, columns) / temperature, right, reduction="sum")

    if chunk is None:
        return F.cross_entropy(_cosine(rows, columns) / temperature, target)
    pieces = zip(rows.split(chunk), target.split(chunk), strict=True)
    total = sum(checkpoint(summed, some, right, use_reentrant=False) for some, right in pieces)
    assert isinstance(total, Tensor)
    return total / len(rows)


def _cosine(one: Tensor, other: Tensor) -> Tensor:
    """Products of unit vectors [N, E], [M, E] -> [N, M] in their own precision: in bf16 near ones would tie."""
    with torch.autocast(one.device.type, enabled=False):
        return one @ other.T
