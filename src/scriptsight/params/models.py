"""The shapes of video and text encoders."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from scriptsight.params.base import MACHINE, Count, Section, Seed


def _check_heads(encoder: Any) -> None:
    if encoder.width % encoder.heads:
        raise ValueError(f"width {encoder.width} is no multiple of heads {encoder.heads}")


VIDEO_PRESETS = {
    "vit_s16": {"width": 384, "depth": 12, "heads": 6, "patch": 16},
    "vit_b16": {"width": 768, "depth": 12, "heads": 12, "patch": 16},  # the paper's
    "vit_l16": {"width": 1024, "depth": 24, "heads": 16, "patch": 16},
}


class VitParams(Section):
    """A ViT over tubelets; `preset` stands for width, depth, heads and patch: {preset: vit_b16, tubelet: 2}."""

    kind: Literal["vit"]
    preset: Literal["vit_s16", "vit_b16", "vit_l16"] | None = None
    width: Count
    depth: Count
    heads: Count
    patch: Count  # pixels
    tubelet: Count  # frames
    init: str | None  # warm start: a timm image ViT by name, or a .safetensors or .pth file of one

    @model_validator(mode="before")
    @classmethod
    def _spell_out(cls, values: Any) -> Any:
        if not isinstance(values, dict) or values.get("preset") is None:
            return values
        if (shape := VIDEO_PRESETS.get(values["preset"])) is None:
            raise ValueError(f"preset {values['preset']!r} must be one of {', '.join(VIDEO_PRESETS)}")
        # The same value is no contradiction: a spelled-out section, dumped, is a section again.
        if twice := [key for key in shape if values.get(key, shape[key]) != shape[key]]:
            raise ValueError(f"preset {values['preset']} sets {', '.join(twice)}: leave out the one or the other")
        return shape | values

    @property
    def shape(self) -> dict[str, Any]:
        """The arguments of `VideoViT` with its kind, but for the clip's size and frames."""
        return self.model_dump(include={"kind", "width", "depth", "heads", "patch", "tubelet"})

    @model_validator(mode="after")
    def _heads_divide(self) -> VitParams:
        _check_heads(self)
        return self


class ResNetParams(Section):
    """A 3D ResNet, CPD's; it has no patches that could be left out."""

    kind: Literal["resnet3d"]
    depth: Literal[18, 50]
    init: str | None = None  # warm start: a timm image ResNet by name, or a .safetensors or .pth file of one

    @property
    def shape(self) -> dict[str, Any]:
        """The arguments of `ResNet3d` with its kind, but for the clip's size and frames."""
        return self.model_dump(include={"kind", "depth"})

    @property
    def width(self) -> int:
        """Of its last feature map."""
        return 512 if self.depth == 18 else 2048

    @property
    def tubelet(self) -> int:
        """Frames a step in time."""
        return 1


def _vit_unless_said(values: Any) -> Any:
    return {"kind": "vit"} | values if isinstance(values, dict) else values


VideoParams = Annotated[VitParams | ResNetParams, Field(discriminator="kind"), BeforeValidator(_vit_unless_said)]


class WordText(Section):
    """The mean of frozen random word vectors; the vocabulary comes from the training split."""

    kind: Literal["words"]
    width: Count
    vocabulary: Count  # most entries


class VectorText(Section):
    """The mean of word vectors: of a word2vec or GloVe file, or trained on the training split's texts."""

    kind: Literal["vectors"]
    path: str | None  # word2vec's .bin, its text or GloVe's; null: trained here by word2vec
    vocabulary: Count  # most entries
    frozen: bool = True
    width: Count | None = None  # of vectors trained here; a file has its own
    epochs: Count = 10  # of training here
    seed: Seed = 0

    @model_validator(mode="after")
    def _width_is_known_once(self) -> VectorText:
        if (self.path is None) == (self.width is None):
            raise ValueError("give path, a file of word vectors, or width, of vectors trained here, not both")
        return self


class TransformerText(Section):
    """A small transformers encoder (BERT) from scratch with its own subwords (BPE)."""

    kind: Literal["transformer"]
    width: Count
    depth: Count
    heads: Count
    vocabulary: Count

    @model_validator(mode="after")
    def _heads_divide(self) -> TransformerText:
        _check_heads(self)
        return self


class HuggingFaceText(Section):
    """Any encoder of Hugging Face, by name or local folder."""

    kind: Literal["huggingface"]
    name: str
    pool: Literal["cls", "mean"]
    freeze: Literal["none", "all"] | Count = "none"  # a number: the embeddings and so many first layers
    # groups by length that a batch of sentences is computed in; more than 1 pays for long ones
    buckets: Annotated[Count, MACHINE] = 1


TextParams = Annotated[WordText | VectorText | TransformerText | HuggingFaceText, Field(discriminator="kind")]
