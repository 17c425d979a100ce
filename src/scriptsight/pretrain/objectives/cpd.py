"""CPD: every pair of a video and its text is a class of its own, distinguished from all others (arXiv 2001.05691)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from scriptsight import distributed
from scriptsight.errors import ArgumentError, keyed
from scriptsight.models.bundle import Encoder
from scriptsight.params.objectives import AtStep
from scriptsight.params.pretrain import PretrainParams
from scriptsight.pretrain.batches import Batch
from scriptsight.pretrain.objectives import nce
from scriptsight.pretrain.objectives.nce import Bank
from scriptsight.pretrain.objectives.tvts import draw_patches, embed, recall, share_of
from scriptsight.training.objective import Draw, Objective

CHUNK = 256  # texts that are encoded together when a frozen text encoder's sentences are computed once

Estimator = Literal["shared", "per_sample", "infonce"]


class Cpd(Objective):
    """loss = video_loss + text_loss: videos among the texts of a memory bank, and texts among its videos.

    Of a batch of scripts the K transcripts' mean is the text, as in TVTS's alignment. The curriculum has two stages,
    given as the figure "stage": in 1 the text encoder is frozen and its sentences are looked up, in 2 all is
    trained. Which it is depends on the step and on the held-out figures alone, so there is no state to resume.

    Before the first step `expect` must be called with all pairs: it makes the banks.

    Args:
        keep: the share of the patches that training sees; CPD's ResNet sees all.
        estimator: "per_sample" is the paper's NCE, with noise drawn for each sample; "shared" draws it once a batch,
            with the same loss to four digits and 60 to 80 times faster; "infonce" is a cross-entropy.
        noise: m, noise pairs drawn a step (4096, the paper's smaller setting).
        temperature, momentum: of the scores, and what a row of the banks keeps of itself (the paper's 0.07 and 0.5).
        joint_from: the step at which stage 2 begins.
        patience: it begins instead after so many validations in a row without a better headline figure.
        seed: of the banks' first rows.

    Raises:
        ArgumentError: no such estimator, less than one noise pair, or a ResNet and `keep` under 1.
    """

    headline = "t2v_r1"

    def __init__(
        self,
        encoder: Encoder,
        *,
        keep: float = 1.0,
        estimator: Estimator = "shared",
        noise: int = 4096,
        temperature: float = 0.07,
        momentum: float = 0.5,
        joint_from: int = 0,
        patience: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if estimator not in get_args(Estimator):
            raise ArgumentError("estimator", f"{estimator!r} is none of {', '.join(get_args(Estimator))}")
        if noise < 1:
            raise ArgumentError("noise", f"{noise} is under 1: the estimator needs pairs to compare with")
        self.encoder, self.keep, self.seed = encoder, share_of(encoder, keep), seed
        self.estimator, self.noise, self.temperature, self.momentum = estimator, noise, temperature, momentum
        self.joint_from, self.patience = joint_from, patience
        self.stage = 2
        self.keys = np.empty(0, np.int64)  # of the pairs, sorted: a pair's row is its key's place
        self.banks: tuple[Bank, Bank]  # of videos and of texts
        self.mean_scores: list[float] = []  # Z / N of videos and of texts, once they are known
        self._texts: list[str] = []  # what a text encoder may say of once
        self._sentences_of: tuple[np.ndarray, Tensor] | None = None  # sorted keys of texts, float16 [texts, D]
        self._seen: list[tuple[Tensor, Tensor, Tensor]] = []  # rows [B], v and t [B, E] of this step's parts

    @classmethod
    def from_params(cls, encoder: Encoder, params: PretrainParams) -> Cpd:
        """As the sections `pretrain` and `pretrain.cpd` of params.yaml say.

        Raises:
            InputError: as above; the message names the key.
        """
        switch = params.cpd.joint_from
        step = switch.step if isinstance(switch, AtStep) else 0
        patience = None if isinstance(switch, AtStep) else switch.validations
        same = params.cpd.model_dump(exclude={"joint_from"})
        with keyed("pretrain.cpd"):
            return cls(encoder, keep=params.keep, seed=params.seed, joint_from=step, patience=patience, **same)

    # ----------------------------------------------------------------------------------------- the loss

    def losses(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        """ "loss", its halves "video_loss" and "text_loss", and the "stage"."""
        keep = draw_patches(self.encoder.video, batch.frames, self.keep, draw)
        v, t = embed(self.encoder, self.encoder.video(batch.frames, keep), self.sentences(batch))
        rows = self._rows(batch.pairs).to(v.device)
        noise = self._draw_noise(draw).to(v.device)  # [m] or [B, m]
        halves = [
            self._scores(anchors, bank, rows, noise)
            for anchors, bank in zip((v, t), reversed(self.banks), strict=True)
        ]
        means = self.mean_scores or self._mean_scores(halves)
        if self.training:
            self.mean_scores = means
            self._seen.append((rows, v.detach(), t.detach()))
        same = noise == rows[:, None]  # [B, m]
        video, text = (
            nce.infonce_loss(positive, negative, same)
            if self.estimator == "infonce"
            else nce.nce_loss(positive, negative, mean)
            for (positive, negative), mean in zip(halves, means, strict=True)
        )
        stage = torch.tensor(float(self.stage))
        return {"loss": video + text, "video_loss": video, "text_loss": text, "stage": stage}

    def _draw_noise(self, draw: Draw) -> Tensor:
        """Rows drawn uniformly and with replacement: [m] for the whole batch, or [B, m]."""
        count, pairs = self.noise, len(self.keys)
        if self.estimator != "per_sample":
            return torch.randint(pairs, (count,), generator=draw.generator)
        rows = torch.randint(pairs, (draw.total, count), generator=draw.generator)
        return rows[draw.first : draw.first + draw.count]

    def _scores(self, anchors: Tensor, bank: Bank, rows: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        if noise.dim() == 1:
            against = bank.look_up(noise)
        else:
            against = bank.look_up_own(noise.flatten()).unflatten(0, noise.shape)
        return nce.scores(anchors, bank.look_up_own(rows), against, self.temperature)

    def _mean_scores(self, halves: Sequence[tuple[Tensor, Tensor]]) -> list[float]:
        own = {str(number): nce.mean_score(*half) for number, half in enumerate(halves)}
        return list(distributed.mean(own).values())

    # ---------------------------------------------------------------------------------------- the banks

    def expect(self, pairs: Iterable[tuple[str, str | None]]) -> None:
        """Start the banks with a random row for each pair."""
        pairs = list(pairs)
        self._texts = [text for _, text in pairs if text is not None]
        self.keys = np.unique(nce.keys(pairs).numpy())
        generator = torch.Generator().manual_seed(self.seed)
        device = self.encoder.text_projection.weight.device
        video, text = (Bank(len(self.keys), self.encoder.embed_dim, generator, device) for _ in range(2))
        self.banks = video, text

    def _rows(self, pairs: Sequence[tuple[str, str | None]]) -> Tensor:
        """The rows of pairs, int64 [B]."""
        return torch.from_numpy(np.searchsorted(self.keys, nce.keys(pairs).numpy()))

    def after_step(self) -> None:
        """Move the rows of the global batch to what the encoders said of it before the step."""
        rows, v, t = (distributed.gather(torch.cat(parts)) for parts in zip(*self._seen, strict=True))
        self._seen.clear()
        for bank, vectors in zip(self.banks, (v, t), strict=True):
            bank.update(rows, vectors, self.momentum)

    def memory(self) -> dict[str, Tensor]:
        """The pairs' keys int64 [N], both banks [N, E], and Z / N of videos and of texts, float64 [2]."""
        return {
            "keys": torch.from_numpy(self.keys),
            "videos": self.banks[0].whole(),
            "texts": self.banks[1].whole(),
            "mean_scores": torch.tensor(self.mean_scores, dtype=torch.float64),
        }

    def remember(self, memory: dict[str, Tensor]) -> None:
        """Take over the rows of the pairs that are known here; others stay as they start."""
        _, here, there = np.intersect1d(self.keys, memory["keys"].numpy(), assume_unique=True, return_indices=True)
        for bank, name in zip(self.banks, ("videos", "texts"), strict=True):
            bank.put(torch.from_numpy(here).to(bank.own.device), memory[name][torch.from_numpy(there)])
        self.mean_scores = memory["mean_scores"].tolist()

    # ----------------------------------------------------------------------------------- the curriculum

    def before_step(self, step: int, validation: Sequence[dict[str, float]]) -> None:
        """Enter the stage of this step; the first one of stage 1 computes all sentences."""
        if self.patience is None:
            joint = step >= self.joint_from
        else:
            joint = plateaued([point[self.headline] for point in validation], self.patience)
        self.stage = 2 if joint else 1
        if joint:
            self._sentences_of = None
        elif self._sentences_of is None and self._texts:
            self._sentences_of = self._all_sentences()

    def sentences(self, batch: Batch) -> Tensor:
        """Sentence embeddings [B, K, D]; K is 1 in a batch of pairs. In stage 1 they take no gradient, and those of
        pairs are looked up."""
        frozen = self.stage == 1 and self.training
        if frozen and batch.order is None and self._sentences_of is not None:
            known, table = self._sentences_of
            places = np.searchsorted(known, nce.keys((text, None) for text in batch.texts).numpy())
            return table[torch.from_numpy(places)].float().to(batch.frames.device)[:, None]
        if frozen:
            self.encoder.text.eval()  # no dropout, as in what is looked up
        with torch.set_grad_enabled(torch.is_grad_enabled() and not frozen):
            return self.encode(batch.texts)["sentences"].unflatten(0, (len(batch.frames), -1))

    def encode(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """ "sentences": embeddings [S, D] of texts; called through the module, for FSDP's sake."""
        ids, mask = self.encoder.text.tokenize(texts)
        device = self.encoder.text_projection.weight.device
        return {"sentences": self.encoder.text(ids.to(device), mask.to(device))}

    @torch.no_grad()
    def _all_sentences(self) -> tuple[np.ndarray, Tensor]:
        """What the frozen text encoder says of every text, by sorted key: float16 [texts, D] on the processor.

        Always in the same chunks, of texts of like length, so that a resumed run computes the same bits; the
        processes share them.
        """
        self.eval()
        world, rank = distributed.world(), distributed.rank()
        texts = sorted(set(self._texts), key=lambda text: (len(text), text))
        padded = texts + texts[-1:] * (-len(texts) % (CHUNK * world))
        parts = []
        for first in range(rank * CHUNK, len(padded), CHUNK * world):
            found = self("encode", padded[first : first + CHUNK])["sentences"]
            parts.append(distributed.gather(found.half()).cpu().numpy())  # autocast to bf16 joins no float16
        known = nce.keys((text, None) for text in texts).numpy()
        order = np.argsort(known)
        return known[order], torch.from_numpy(np.concatenate(parts)[order])

    # -------------------------------------------------------------------------------------- the figures

    def measure(self, batch: Batch) -> dict[str, Tensor]:
        """Unit vectors "v" and "t" [B, E]."""
        v, t = embed(self.encoder, self.encoder.video(batch.frames), self.sentences(batch))
        return {"v": v, "t": t}

    def figures(self, parts: Sequence[dict[str, Tensor]]) -> dict[str, Any]:
        """Text-to-video recall ("t2v_r1" ranks each text's own clip among all held-out clips; ties count against
        it), and the loss, its noise being the other held-out pairs, beside that of one who knows only that there are
        m of them. NCE also says how well it distinguishes pairs from noise: the mean of both shares, chance being
        a half.
        """
        v, t = (torch.cat([part[name] for part in parts]) for name in ("v", "t"))
        figures: dict[str, Any] = recall(v, t)
        if len(v) == 1 or not self.mean_scores:
            return figures
        scores = (t @ v.T).double() / self.temperature  # [N texts, N clips]
        if self.estimator == "infonce":
            return {**figures, **nce.infonce_figures(scores, self.noise)}
        return {**figures, **nce.nce_figures(scores, self.noise, self.mean_scores)}


def plateaued(values: Sequence[float], patience: int) -> bool:
    """Whether so many values in a row, at any time so far, were no better than the best before them."""
    best, since = -math.inf, 0
    for value in values:
        best, since = (value, 0) if value > best else (best, since + 1)
        if since >= patience:
            return True
    return False
