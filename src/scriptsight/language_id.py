"""Which language a text is in, as py3langid finds it from its letters."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from itertools import islice
from typing import Any

from scriptsight.errors import needs

LETTERS = 20  # fewer say nothing about their language
SAMPLE = 20_000  # characters that are looked at


def language_of(texts: Iterable[str]) -> str | None:
    """The language of a script (ISO 639-1), None where there are too few letters."""
    text = " ".join(islice(texts, SAMPLE))[:SAMPLE]
    if sum(map(str.isalpha, text)) < LETTERS:
        return None
    return str(_identifier().classify(text)[0])


@cache
def _identifier() -> Any:
    with needs("data", "Finding out the language of captions"):
        from py3langid.langid import MODEL_FILE, LanguageIdentifier  # 0.3 s, and few ask for it

    return LanguageIdentifier.from_model_file(MODEL_FILE)
