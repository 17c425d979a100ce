"""Which of a video's caption files are read, and in which order they are tried."""

from __future__ import annotations

from collections.abc import Collection, Container, Sequence
from dataclasses import dataclass

from scriptsight.captions.languages import fits, language
from scriptsight.ingest.datasets.pairing import Paired

OTHER_LANGUAGES = "captions in other languages"  # than those that were asked for: the reason of a reject
SEVERAL_LANGUAGES = "captions in several languages"  # and nothing says which to take


@dataclass(frozen=True)
class Choice:
    """What to read of a video's captions.

    Attributes:
        files: the caption files in the order in which they are tried, each with its language where that is known.
        problem: the reason and detail of a reject: there are files, and none of them was chosen for its language.
            Where `files` is not empty it holds if none of those turns out to be captions.
        looked_into: a track inside the video may have what the files lack.
    """

    files: tuple[tuple[str, str | None], ...]
    problem: tuple[str, str] | None

    @property
    def looked_into(self) -> bool:
        return not self.files and (self.problem is None or self.problem[0] == OTHER_LANGUAGES)


def of_files(
    beside: Sequence[Paired],
    languages: Sequence[str],
    own: str | None = None,
    manual: Container[str] = (),
    *,
    unnamed: bool = True,
) -> Choice:
    """Choose among the caption files of one video, the surest first, as `choose` does among languages.

    A file whose name says no language is tried first where no language is asked for, else after those that say one
    that is. Files whose suffix may mean anything are tried last.

    Args:
        unnamed: believe that a file whose name says no language is in the one that is asked for; else it is in none.
    """
    named = [one for one in beside if one.language or not unnamed]
    plain = [one for one in beside if one not in named]
    codes, problem = choose({one.language for one in named}, languages, own, manual)
    chosen = [one for code in codes for one in named if one.language == code]
    order = sorted([*chosen, *plain] if languages else [*plain, *chosen], key=lambda one: one.weak)
    if any(not one.weak for one in plain):
        problem = None
    default = languages[0] if languages else None
    return Choice(tuple((one.file, one.language or default) for one in order), problem)


def choose(
    codes: Collection[str], languages: Sequence[str], own: str | None, manual: Container[str]
) -> tuple[list[str], tuple[str, str] | None]:
    """Choose of the language codes of a video's captions ("" where it is not said).

    The languages in `languages` are tried in their order, and no other. Without them it is `own`, the language that
    is spoken, else the only one there is. Of one language, codes in `manual` go before automatic ones, and `en`
    before `en-GB`.

    Returns:
        The codes to try, in order, and the reason and detail of a reject where there are some and none was chosen.
    """
    if not codes:
        return [], None

    def order(code: str) -> tuple[bool, int, str]:
        return code not in manual, code.replace("_", "-").count("-"), code

    by_order = sorted(codes, key=order)
    wanted = list(languages) or ([own, language(own)] if own else [])
    if chosen := list(dict.fromkeys(code for one in wanted for code in by_order if fits(code, one))):
        return chosen, None
    found = ", ".join(sorted(code or "one that is not named" for code in codes))
    if languages:
        return [], (OTHER_LANGUAGES, f"those beside it are in {found}, none in {', '.join(languages)}")
    by_hand = [code for code in by_order if code in manual] or by_order
    if len({language(code) for code in by_hand}) == 1:
        return [code for code in by_order if language(code) == language(by_hand[0])], None
    return [], (SEVERAL_LANGUAGES, f"choose by the collection: {found}")
