"""Contract 3, pretrain -> probe, retrieve and everybody else: the saved encoder.

A bundle is a folder: `config.json` (shapes), `model.safetensors` (weights), `tokenizer/` and
`preprocessing.json` (what a clip must look like). It holds no code, and of the training no more than lists and a
small profile of its videos (`overlap`, `profile`). Checksums of all else in `config.json` show damage; models that
were saved without them are read as well.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar, overload

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from scriptsight import finite
from scriptsight.errors import ArgumentError, InputError, MissingExtra
from scriptsight.files import CHECKSUMS, check_sealed, digest, seal, whole_folder, write_json
from scriptsight.models import text as text_encoders
from scriptsight.models.resnet import ResNet3d
from scriptsight.models.text import TextEncoder
from scriptsight.models.video import VideoEncoder, VideoViT

# Of config.json; raised when an older reader could not read a newer bundle. 1 knew one kind of video encoder.
FORMAT = 2
FILES = ("preprocessing.json", "tokenizer", "model.safetensors")
DEEPEST = 1000  # layers; a damaged number must not have a model built for minutes
REMEDY = "Run the pretrain stage again."


@dataclass(frozen=True)
class Preprocessing:
    """What `encode_video` expects: M frames of size x size pixels, RGB, uint8."""

    frames: int
    size: int


E = TypeVar("E", bound="Encoder")


class Encoder(nn.Module):
    """A video and a text encoder with projections into one space. D width, E shared width.

    After TVTS's code: v = Linear(class token), t = Linear(ReLU(sentence)). CPD has a hidden layer of `text_hidden`
    dimensions in front: t = Linear(ReLU(BatchNorm(Linear(sentence)))).
    """

    def __init__(
        self, video: VideoEncoder, text: TextEncoder, embed_dim: int, text_hidden: int | None = None
    ) -> None:
        super().__init__()
        self.video, self.text, self.embed_dim = video, text, embed_dim
        self.video_projection = nn.Linear(video.width, embed_dim)
        self.text_hidden: nn.Sequential | None = None
        if text_hidden is not None:
            self.text_hidden = nn.Sequential(nn.Linear(text.width, text_hidden), nn.BatchNorm1d(text_hidden))
        self.text_projection = nn.Linear(text_hidden or text.width, embed_dim)

    @property
    def preprocessing(self) -> Preprocessing:
        return Preprocessing(frames=self.video.frames, size=self.video.size)

    def project_video(self, tokens: Tensor) -> Tensor:
        """Video tokens [B, N, D] -> [B, E], not normalised."""
        return self.video_projection(tokens[:, 0])

    def project_text(self, sentences: Tensor) -> Tensor:
        """Sentence embeddings [..., D] -> [..., E], not normalised."""
        if self.text_hidden is not None:
            hidden = self.text_hidden(sentences.flatten(0, -2))
            sentences = hidden.view(*sentences.shape[:-1], -1)
        return self.text_projection(sentences.relu())

    @torch.inference_mode()
    def features(self, frames: Tensor) -> dict[str, Tensor]:
        """Frozen features of clips uint8 [B, M, size, size, 3]: {"cls": [B, D], "mean": [B, D]}."""
        tokens = self.video(frames)
        return {"cls": tokens[:, 0].float(), "mean": tokens[:, 1:].mean(1).float()}

    @torch.inference_mode()
    def encode_video(self, frames: Tensor) -> Tensor:
        """Clips uint8 [B, M, size, size, 3] -> unit vectors [B, E]."""
        return F.normalize(self.project_video(self.video(frames)).float(), dim=-1)

    @torch.inference_mode()
    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Texts -> unit vectors [S, E]."""
        return self.encode_scripts([[text] for text in texts])

    @torch.inference_mode()
    def encode_scripts(self, scripts: Sequence[Sequence[str]]) -> Tensor:
        """Scripts of several transcripts each -> unit vectors [B, E]; a script is the mean of its transcripts.

        Raises:
            ValueError: a script without any transcript.
        """
        counts = [len(script) for script in scripts]
        if not counts:
            return torch.empty(0, self.embed_dim)
        if 0 in counts:
            raise ValueError(f"script {counts.index(0)} has no transcript")
        ids, mask = self.text.tokenize([text for script in scripts for text in script])
        device = self.text_projection.weight.device
        projected = self.project_text(self.text(ids.to(device), mask.to(device))).float()
        means = torch.stack([part.mean(0) for part in projected.split(counts)])
        return F.normalize(means, dim=-1)

    def config(self) -> dict[str, Any]:
        """All that is needed to build the same shape again."""
        hidden = {} if self.text_hidden is None else {"text_hidden": self.text_hidden[0].out_features}
        return {
            "format": FORMAT,
            "embed_dim": self.embed_dim,
            **hidden,
            "video": self.video.config,
            "text": self.text.config,
        }


def save(encoder: Encoder, folder: str | Path, weights: Mapping[str, Tensor] | None = None) -> None:
    """Write the bundle, whole or not at all; with other `weights` of this shape than the encoder has now.

    Raises:
        InputError: weights that are not finite, or the disk is full.
    """
    named = encoder.state_dict() if weights is None else weights
    weights = {name: value.detach().cpu().contiguous() for name, value in named.items()}
    finite.check_weights(weights, f"The model for {folder} is not saved", "Train again, with a smaller lr.")
    with whole_folder(folder) as partial:
        write_json(partial / "config.json", encoder.config())
        write_json(partial / "preprocessing.json", asdict(encoder.preprocessing))
        text_encoders.save_tokenizer(encoder.text.tokenizer, partial / "tokenizer")
        save_file(weights, partial / "model.safetensors")
        seal(partial / "config.json")


@overload
def load(folder: str | Path) -> Encoder: ...
@overload
def load(folder: str | Path, kind: type[E]) -> E: ...
def load(folder: str | Path, kind: type[Encoder] = Encoder) -> Encoder:
    """Load a bundle in evaluation mode on the CPU, as an encoder of this class.

    Raises:
        InputError: the folder is no bundle, is damaged, has weights that are not finite, or was written by a newer
            version.
    """
    folder = Path(folder)
    with _damage_named(folder):
        config = _config(folder, FILES)
        weights = load_file(folder / "model.safetensors")
        finite.check_weights(weights, folder / "model.safetensors", f"{REMEDY[:-1]}, with a smaller lr.")
        _check_fits(config, folder, weights, kind)
        encoder = build(config, folder, kind)
        encoder.load_state_dict(weights)
    return encoder.eval()


def random_like(folder: str | Path, seed: int) -> Encoder:
    """An encoder of the same shape with fresh weights: the control of every probe."""
    folder = Path(folder)
    with _damage_named(folder):
        config = _config(folder, FILES[:-1])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return build(config, folder).eval()


@contextmanager
def _damage_named(folder: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # whatever a damaged file provokes in four readers
        if isinstance(error, MissingExtra) or (
            isinstance(error, InputError) and not isinstance(error, ArgumentError)
        ):
            raise
        cause = str(error)[:500] or type(error).__name__
        raise InputError(f"The model in {folder} is damaged: {cause}. {REMEDY}") from error


def _config(folder: Path, files: Sequence[str]) -> dict[str, Any]:
    """The shape of a model whose `files` are whole."""
    if not (folder / "config.json").is_file():
        raise InputError(f"{folder} is no scriptsight model: it has no config.json. Run the pretrain stage first.")
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if not isinstance(config["format"], int) or isinstance(config["format"], bool):
        raise ValueError(f"config.json has the format {config['format']!r}")
    if config["format"] not in range(1, FORMAT + 1):
        raise InputError(
            f"{folder} has format {config['format']}, this version reads up to {FORMAT}: update scriptsight."
        )
    strange = config.keys() - {"format", "embed_dim", "text_hidden", "video", "text"}
    if CHECKSUMS not in config and strange:  # it may be that word that is damaged
        raise ValueError(f"config.json has unknown keys: {', '.join(sorted(strange))}")
    if config["format"] == 1:  # from before there were kinds and checksums
        config["video"].setdefault("kind", "vit")
    else:
        check_sealed(
            folder / "config.json", files, f"The model in {folder} is damaged: {REMEDY[0].lower()}{REMEDY[1:]}"
        )
    return config


def _check_fits(config: dict[str, Any], folder: Path, weights: Mapping[str, Tensor], kind: type[Encoder]) -> None:
    """See that `weights` are those of the shape that `config` says, and the clips too, before memory is taken for it.

    Raises:
        ValueError: they are not.
    """
    for name, value in _numbers(config):
        if name in ("depth", "num_hidden_layers", "heads", "num_attention_heads") and not 0 < value <= DEEPEST:
            raise ValueError(f"config.json has {name} {value}")
    with torch.device("meta"):
        encoder = build(config, folder, kind)
    shapes = {name: list(value.shape) for name, value in encoder.state_dict().items()}
    found = {name: list(value.shape) for name, value in weights.items()}
    if differing := sorted(name for name in shapes.keys() | found.keys() if shapes.get(name) != found.get(name)):
        name = differing[0]
        raise ValueError(
            f"{len(differing)} weights don't fit config.json: {name} is {found.get(name, 'missing')} instead of "
            f"{shapes.get(name, 'nothing')}"
        )
    shown = json.loads((folder / "preprocessing.json").read_text(encoding="utf-8"))
    if shown != asdict(encoder.preprocessing):
        raise ValueError(f"preprocessing.json says {shown}, config.json {asdict(encoder.preprocessing)}")


def _numbers(config: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """The whole numbers in a config, sections included."""
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _numbers(value)
        elif isinstance(value, int):
            yield name, value


def build(config: dict[str, Any], folder: Path, kind: type[Encoder] = Encoder) -> Encoder:
    """The encoder that a bundle's config describes, with fresh weights and the bundle's tokenizer."""
    text = text_encoders.from_config(config["text"], text_encoders.load_tokenizer(folder / "tokenizer"))
    hidden = config.get("text_hidden")  # only models that have one say so
    return kind(build_video(config["video"]), text, config["embed_dim"], hidden)


def build_video(config: Mapping[str, Any]) -> VideoEncoder:
    """The video encoder of this `kind` and shape, with fresh weights."""
    shape = dict(config)
    kinds: dict[str, type[VideoEncoder]] = {"vit": VideoViT, "resnet3d": ResNet3d}
    return kinds[shape.pop("kind")](**shape)


def weights_digest(folder: str | Path) -> str:
    """SHA-256 of the weights file: the name of a trained model."""
    return digest(Path(folder) / "model.safetensors")
