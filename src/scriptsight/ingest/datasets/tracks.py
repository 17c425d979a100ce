"""Which of a video's caption files is read, where there are several languages."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

from scriptsight.captions.languages import fits, language

OTHER_LANGUAGES = "captions in other languages"  # than those that were asked for: the reason of a reject
SEVERAL_LANGUAGES = "captions in several languages"  # and nothing says which to take


def choose(
    beside: Mapping[str, str], languages: Sequence[str], own: str | None, manual: Container[str]
) -> tuple[str | None, str | None, tuple[str, str] | None]:
    """Choose of the files in `beside` (by language code, "" where the name has none).

    The languages in `languages` are tried in their order, and no other. Without them it is `own`, the language that
    is spoken, else the only one there is. Of one language, files in `manual` go before automatic ones, and `en`
    before `en-GB`.

    Returns:
        The file, its language, and the reason and detail of a reject where there are files and none was chosen.
    """
    if not beside:
        return None, None, None

    def order(code: str) -> tuple[bool, int, str]:
        return code not in manual, code.replace("_", "-").count("-"), code

    codes = sorted(beside, key=order)
    for wanted in languages or ((own, language(own)) if own else ()):
        for code in codes:
            if fits(code, wanted):
                return beside[code], code, None
    found = ", ".join(sorted(code or "one that is not named" for code in beside))
    if languages:
        return None, None, (OTHER_LANGUAGES, f"those beside it are in {found}, none in {', '.join(languages)}")
    by_hand = [code for code in codes if code in manual] or codes
    if len({language(code) for code in by_hand}) == 1:
        return beside[by_hand[0]], by_hand[0] or None, None
    return None, None, (SEVERAL_LANGUAGES, f"choose by the collection: {found}")
