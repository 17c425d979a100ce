"""scriptsight learns video representations from the words that come with videos.

>>> import scriptsight
>>> encoder = scriptsight.load("models/pretrained")
>>> encoder.embed("clip.mp4") @ encoder.encode_text(["a red circle moves to the left"]).T
>>> scriptsight.search("a red circle moves to the left", index="models/index", top=5)

- Use a model: `load`, `Encoder` (`embed`, `encode_video`, `encode_text`, `features`), `save`, `Preprocessing`;
  `search`, which gives `Moment`s, with `Filters`, or `Like` another moment.
- Build one: `VideoViT` or `ResNet3d` (each a `VideoEncoder`), `TextEncoder`, `sample_patches`.
- Train one: the objectives `Tvts`, `Cpd`, `FrameOrder`, `MaskedPixels` and `Joint` (each an `Objective`, whose
  `losses` take a `Batch` and a `Draw`), and their parts: `SortingHead`, `alignment_loss`, `nce` (a module:
  `nce.nce_loss`, `nce.infonce_loss`, `nce.Bank`).
- Read data: `Segments`, each a `Segment` with its `Cue`s; `parse_captions`.
- `InputError` is what all of them raise: it says what is wrong and what to do about it.

All is imported when it is first asked for. What needs an extra of the package says which.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from scriptsight.errors import InputError
from scriptsight.lazily import offered

if TYPE_CHECKING:
    from pathlib import Path

    from scriptsight.captions import parse as parse_captions
    from scriptsight.catalogue import Cue
    from scriptsight.encoder import Encoder, load
    from scriptsight.models.bundle import Preprocessing, save
    from scriptsight.models.resnet import ResNet3d
    from scriptsight.models.text import TextEncoder
    from scriptsight.models.video import VideoEncoder, VideoViT, sample_patches
    from scriptsight.pretrain.batches import Batch
    from scriptsight.pretrain.objectives import nce
    from scriptsight.pretrain.objectives.cpd import Cpd
    from scriptsight.pretrain.objectives.frame_order import FrameOrder
    from scriptsight.pretrain.objectives.joint import Joint
    from scriptsight.pretrain.objectives.masked_pixels import MaskedPixels
    from scriptsight.pretrain.objectives.tvts import SortingHead, Tvts, alignment_loss
    from scriptsight.retrieve.search import Filters, Like, Moment
    from scriptsight.segments import Segment, Segments
    from scriptsight.training.objective import Draw, Objective

__version__ = "0.1.0"

__all__ = [
    "Batch",
    "Cpd",
    "Cue",
    "Draw",
    "Encoder",
    "Filters",
    "FrameOrder",
    "InputError",
    "Joint",
    "Like",
    "MaskedPixels",
    "Moment",
    "Objective",
    "Preprocessing",
    "ResNet3d",
    "Segment",
    "Segments",
    "SortingHead",
    "TextEncoder",
    "Tvts",
    "VideoEncoder",
    "VideoViT",
    "__version__",
    "alignment_loss",
    "load",
    "nce",
    "parse_captions",
    "sample_patches",
    "save",
    "search",
]

if not TYPE_CHECKING:  # else any name would do for a type checker
    __getattr__, __dir__ = offered(
        __name__,
        {
            "Batch": "scriptsight.pretrain.batches",
            "Cpd": "scriptsight.pretrain.objectives.cpd",
            "Cue": "scriptsight.catalogue",
            "Draw": "scriptsight.training.objective",
            "Encoder": "scriptsight.encoder",
            "Filters": "scriptsight.retrieve.search",
            "FrameOrder": "scriptsight.pretrain.objectives.frame_order",
            "Joint": "scriptsight.pretrain.objectives.joint",
            "Like": "scriptsight.retrieve.search",
            "MaskedPixels": "scriptsight.pretrain.objectives.masked_pixels",
            "Moment": "scriptsight.retrieve.search",
            "Objective": "scriptsight.training.objective",
            "Preprocessing": "scriptsight.models.bundle",
            "ResNet3d": "scriptsight.models.resnet",
            "Segment": "scriptsight.segments",
            "Segments": "scriptsight.segments",
            "SortingHead": "scriptsight.pretrain.objectives.tvts",
            "TextEncoder": "scriptsight.models.text",
            "Tvts": "scriptsight.pretrain.objectives.tvts",
            "VideoEncoder": "scriptsight.models.video",
            "VideoViT": "scriptsight.models.video",
            "alignment_loss": "scriptsight.pretrain.objectives.tvts",
            "load": "scriptsight.encoder",
            "nce": "scriptsight.pretrain.objectives.nce:",
            "parse_captions": "scriptsight.captions:parse",
            "sample_patches": "scriptsight.models.video",
            "save": "scriptsight.models.bundle",
        },
    )


def search(
    query: str | Path | Like,
    *,
    index: str | Path = "models/index",
    model: str | Path = "models/pretrained",
    top: int = 5,
    by: Literal["picture", "words", "both"] = "picture",
    filters: Filters | None = None,
) -> list[Moment]:
    """The `top` moments of an index that answer a query best, best first.

    For many queries open the index once: `scriptsight.retrieve.Searcher`.

    Args:
        query: words, the `Path` of a video, or `Like("segment id")`.
        index, model: folders; the model is the one that made the index.
        by: "picture" goes by what is seen, "words" by what is said, "both" joins the two rankings.
        filters: what a moment must be.

    Raises:
        scriptsight.retrieve.Undecided: all moments score alike for the model, and to rank them would be chance.
        InputError: a missing or damaged index or model, an index of another model, or what `Searcher.search` raises.
    """
    from scriptsight.retrieve import search as answers  # torch takes seconds to import

    (moments,) = answers([query], index=index, bundle=model, top=top, by=by, filters=filters)
    return moments
