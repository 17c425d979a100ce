"""Zero-shot classification: the class whose name, put into sentences, is most like the video.

Prompt templates and their averaging are CLIP's (Radford et al. 2021, section 3.1.4).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from scriptsight import finite
from scriptsight.errors import InputError
from scriptsight.probe.cosine import pooled
from scriptsight.probe.predictions import Predictions

CHUNK = 256  # texts at a time: CLIP's 80 templates for 400 classes are 32,000
PLACE = "{}"  # where the class goes in a template
EncodeText = Callable[[Sequence[str]], Tensor | np.ndarray]  # S texts -> [S, E]


def read_templates(path: str | Path) -> list[str]:
    """The templates of a text file, one a line with `{}` where the class goes; empty lines are skipped.

    Raises:
        InputError: the file is missing, no UTF-8, without a template, or has one without `{}`.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The prompt templates {path} can't be read: {error}. Give a UTF-8 text file.") from error
    for number, line in enumerate(lines, 1):
        if line.strip() and PLACE not in line:
            raise InputError(f"{path}, line {number}: {line.strip()!r} has no {PLACE} where the class goes; add one.")
    templates = [line.strip() for line in lines if line.strip()]
    if not templates:
        raise InputError(f"The prompt templates {path} are empty: write one a line, as in 'someone moves {PLACE}'.")
    return templates


def prompts(
    names: Sequence[str], templates: Sequence[str], texts: Mapping[str, str] | None = None
) -> list[list[str]]:
    """Each class in each template, [C][templates].

    Args:
        texts: class -> how a sentence says it; underscores of classes that it lacks become spaces.

    Raises:
        InputError: no template, one without `{}`, a text for a class that there is not, or two classes that are
            said alike.
    """
    if wrong := [template for template in templates if PLACE not in template]:
        raise InputError(f"The prompt template {wrong[0]!r} has no {PLACE} where the class goes; add one.")
    if not templates:
        raise InputError(f"Zero-shot classification needs a prompt template, such as 'someone moves {PLACE}'.")
    said = dict(texts or {})
    if strangers := sorted(set(said) - set(names)):
        raise InputError(
            f"There are texts for classes that the data lack: {', '.join(strangers[:10])}; "
            f"the classes are {', '.join(sorted(names)[:20])}."
        )
    words = [said.get(name, name.replace("_", " ")).strip() for name in names]
    for index, text in enumerate(words):
        if text in words[:index]:
            raise InputError(
                f"The classes {names[words.index(text)]!r} and {names[index]!r} are both said as {text!r}: "
                "give one of them another text."
            )
    return [[template.replace(PLACE, text) for template in templates] for text in words]


def predict(
    embeddings: np.ndarray,
    names: Sequence[str],
    encode_text: EncodeText,
    templates: Sequence[str],
    texts: Mapping[str, str] | None = None,
) -> Predictions:
    """Predict the class of each video; scores are cosines with the classes' mean embeddings.

    Args:
        embeddings: of the videos in the space that they share with texts, [N, E], or of several views [N, V, E],
            which are pooled.
        names: of the C classes, in the order of their numbers.
        encode_text: S texts -> embeddings [S, E], as `Encoder.encode_text`.
        templates, texts: see `prompts`.

    Raises:
        InputError: see `prompts`.
    """
    written = prompts(names, templates, texts)
    said = [text for texts in written for text in texts]
    parts = (torch.as_tensor(encode_text(said[start : start + CHUNK])) for start in range(0, len(said), CHUNK))
    encoded = torch.cat([part.double().cpu() for part in parts]).numpy()
    finite.check(encoded, "the model's vectors of the classes' names")
    finite.check(embeddings, "the model's vectors of the videos")
    classes = pooled(encoded.reshape(len(names), len(templates), -1))  # [C, E]
    # float32, so that equal classes tie however the product was summed.
    return Predictions((pooled(embeddings) @ classes.T).astype(np.float32).astype(np.float64))
