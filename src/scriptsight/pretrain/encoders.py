"""The encoders that the parameters ask for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from scriptsight.errors import keyed
from scriptsight.models import bundle, warm
from scriptsight.models.text import TextEncoder
from scriptsight.models.video import VideoEncoder
from scriptsight.params.models import HuggingFaceText, TextParams, VectorText, WordText
from scriptsight.params.pretrain import PretrainParams, Source
from scriptsight.segments import Segments


def build(params: PretrainParams, learned: Sequence[tuple[Source, Segments]]) -> bundle.Encoder:
    """A new encoder of the shape that `params` asks for; its vocabulary comes from the training splits.

    Raises:
        InputError: as `text` does.
    """
    texts = (said for source, split in learned for said in split.texts(source.text))
    video = bundle.build_video({**params.video.shape, "size": params.image_size, "frames": params.frames})
    return bundle.Encoder(
        video, text(params.text, texts, params.max_text_tokens), params.embed_dim, params.text_hidden
    )


def text(choice: TextParams, texts: Iterable[str], max_tokens: int) -> TextEncoder:
    """A new text encoder; vocabularies are learned from `texts` (the training split's transcripts).

    Raises:
        InputError: a Hugging Face name or folder that can't be loaded, takes fewer tokens than `max_tokens`, or has
            fewer layers than are to be frozen; a file that holds no word vectors, or none of a word of `texts`. The
            message names the key of params.yaml.
    """
    arguments = {**choice.model_dump(exclude={"kind"}), "max_tokens": max_tokens}
    keys = {"max_tokens": "pretrain.max_text_tokens", "texts": "pretrain.collections"}
    with keyed("pretrain.text", keys):
        if isinstance(choice, HuggingFaceText):
            return TextEncoder.huggingface(**arguments)
        if isinstance(choice, VectorText):
            return TextEncoder.vectors(texts, **arguments)
        if isinstance(choice, WordText):
            return TextEncoder.words(texts, **arguments)
        return TextEncoder.transformer(texts, **arguments)


def warm_start(video: VideoEncoder, source: str) -> warm.LoadReport:
    """Start a video encoder from `pretrain.video.init`; see `models.warm.load_into`.

    Raises:
        InputError: what that raises; the message names the key of params.yaml.
    """
    with keyed("pretrain.video", {"source": "pretrain.video.init"}):
        return warm.load_into(video, source)
