"""Which of a video's caption files is read, where there are several languages."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping, Sequence

OTHER_LANGUAGES = "captions in other languages"  # than those that were asked for: the reason of a reject


def choose(
    beside: Mapping[str, str], languages: Sequence[str], own: str | None, manual: Container[str]
) -> tuple[str | None, str | None, str | None]:
    """Choose of the files in `beside` (by language code, "" where the name has none).

    The languages in `languages` are tried in their order, and no other. Without them it is `own`, the language that
    is spoken, else the only one there is. Of one language, files in `manual` go before automatic ones, and `en`
    before `en-GB`.

    Returns:
        The file, its language, and why none was chosen where the choice is open.
    """
    if not beside:
        return None, None, None

    def order(code: str) -> tuple[bool, int, str]:
        return code not in manual, code.count("-"), code

    codes = sorted(beside, key=order)
    for wanted in languages or ((own, _base(own)) if own else ()):
        for code in codes:
            if _base(code) == wanted or code == wanted:
                return beside[code], code, None
    if languages:
        return None, None, None
    by_hand = [code for code in codes if code in manual] or codes
    if len({_base(code) for code in by_hand}) == 1:
        return beside[by_hand[0]], by_hand[0] or None, None
    return None, None, f"choose by the collection's `languages`: {', '.join(sorted(beside))}"


def _base(code: str) -> str:
    return re.split("[-_]", code)[0]
