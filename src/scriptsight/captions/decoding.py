"""Bytes -> text: by mark, by rule, and only where nothing says it by a guess, which is never silent.

What a caption file's bytes mean is stated by its mark, by the zero bytes of UTF-16, by being UTF-8 (which other text
is not by accident), by whoever made the collection, or by the file itself. For the rest chardet is asked, and
cp1252 where no other is clearly better. Of 178 subtitle files of one to three sentences in 30 languages, in the
encodings that each was written in, 173 are read rightly; with uchardet it was 149, with charset-normalizer 102. A
guess is a doubt of the script, but for cp1252 where the letters make words that could hardly be something else. Of
835 files of one to six sentences in over 30 languages, of which 153 are in encodings that are not looked for or too
short to be told, no wrong one lacks its doubt.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from scriptsight.errors import needs

with needs("data", "Reading captions"):
    import chardet

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SAMPLE = 4096  # bytes
_ZEROS = 0.3  # of every other byte: time stamps and line ends are ASCII, whatever the language
_STRAY = re.compile("[\udc80-\udcff]")  # a byte that is no UTF-8, as Python's surrogateescape has it
# Bytes that other tools paste into UTF-8: the quotation marks, dashes and dots of Windows.
_PASTED = re.compile("[\udc85\udc91-\udc97]")
_CUT = re.compile("[\udcc2-\udcf4][\udc80-\udcbf]{0,2}$")  # a character that lacks its last bytes
_DECLARED = (
    re.compile(rb"""\A\s*<\?xml[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9._-]+)"""),
    re.compile(rb"""<meta[^>]{0,200}?charset\s*=\s*["']?([A-Za-z0-9._-]+)""", re.IGNORECASE),
)

# What subtitles are written in, by language family, the more usual first: of equals the first is taken.
_USUAL = (
    *("cp1252", "cp1251", "cp1250", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp874"),
    *("cp932", "gb18030", "big5hkscs", "cp949", "euc-jp", "koi8-r", "koi8-u"),
    *("iso8859-2", "iso8859-5", "iso8859-6", "iso8859-7", "iso8859-8", "iso8859-9", "iso8859-13", "iso8859-15"),
    *("cp866", "cp850", "cp852", "mac-roman", "mac-cyrillic"),
)
_OLD = {
    codecs.lookup(name).name for name in ("cp850", "cp852", "mac-roman")
}  # looked for where cp1252 makes no words
_RANK = {codecs.lookup(name).name: place for place, name in enumerate(_USUAL)}
_WESTERN = codecs.lookup("cp1252").name
_CLEARLY = 1.2  # times the score of the Windows code page of the West must another have,
_OF_FEW = 0.8  # and more so of few letters: this much divided by their number
_EQUAL = 0.999  # of the best score: as good, so the more usual encoding is taken
_LOOKED_AT = 1 << 20  # bytes of a text
_WORD = re.compile(r"[^\W\d_]+")
_INSIDE = re.compile(r"(?<=[A-Za-z])[^\x00-\x7f](?=[a-z])")
_ASCII = re.compile(r"[\x00-\x7f]+")
_MARK_OF_LINE = re.compile("^\ufeff+", re.MULTILINE)  # of files that were joined
# Two signs a character, and the usual ones begin with no small letter, as in a text that only looks so.
_HZ = re.compile(rb"~\{(?:[\x21-\x57][\x21-\x7e](?:[\x58-\x77][\x21-\x7e])?)+?~\}")
_UTF7 = re.compile(rb"\+[A-Za-z0-9+/]{3,}(?![A-Za-z0-9+/])")
_SHIFTS = 3  # to other letters and back that are no accident
_DISTINCT, _ALONE = 8, 0.6  # other letters than ASCII, and their share of the words that they are in
_FRACTION = re.compile("[\xbc\xbd\xbe](?=[a-z])")
_SURE = 0.8  # of a language that has the letters
# What letters a text in the code page of the West may have, by its language; English has borrowed some.
_LETTERS = {
    "de": "äöüßéèàç",
    "fr": "àâæçéèêëîïôùûüÿœ",
    "es": "áéíóúüñçªº",
    "pt": "ãõáéíóúâêôàçüªº",
    "ca": "àèéíïòóúüç·",
    "gl": "áéíóúüñ",
    "it": "àèéìíîòóù",
    "nl": "ëïéèöüáóíêç",
    "da": "æøåéüö",
    "nb": "æøåéòóôä",
    "no": "æøåéòóôä",
    "nn": "æøåéòóôä",
    "sv": "åäöéàü",
    "fi": "äöå",
    "is": "áéíóúýðþæö",
    "en": "éáíóúöüäçï",
}
_SIGNS = (
    "\u2019\u2018\u201c\u201d\u201e\u201a\u2013\u2014\u2026\u20ac\xab\xbb\xbf\xa1"
    "\xa3\xb0\xa9\xae\u2122\xa0\xb7\xb4\xbd\u2022"
)
_BORROWED = re.compile(r"(?<![^\W\d_])[áíóäçï]", re.IGNORECASE)  # no English word begins so
_JOINING = "\u2019\u2018\xad\u2013\xb7"


@dataclass(frozen=True)
class Decoded:
    """The text of a caption file.

    Attributes:
        encoding: what it was read as, a name that Python knows.
        guessed: nothing said so but its letters.
        doubts: what may have been read wrongly, a sentence each.
    """

    text: str
    encoding: str
    guessed: bool = False
    doubts: tuple[str, ...] = ()

    @property
    def legacy(self) -> bool:
        """Whether it was written in something else than Unicode: what looks like broken UTF-8 in it is no such."""
        return not self.encoding.startswith("utf")


def read(data: bytes, named: str | None = None) -> Decoded:
    """The text of a caption file.

    In this order counts: its mark; UTF-16 by its zero bytes; UTF-8; what is `named` by whoever knows the file; what
    the file itself declares; UTF-8 with a few stray bytes; and a guess. A declaration does not come first, as tools
    copy it along and write UTF-8.

    Raises:
        UnicodeError: it is not in the encoding that is named or declared, or in none at all.
        LookupError: there is no such encoding as is named or declared.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return _unicode(data, encoding)
    sample = data[:_SAMPLE]
    for encoding, high, low in (("utf-16-le", sample[1::2], sample[::2]), ("utf-16-be", sample[::2], sample[1::2])):
        if high and high.count(0) > _ZEROS * len(high) and low.count(0) < 0.1 * high.count(0):
            return _unicode(data, encoding)
    if (wide := _utf32(data[:_SAMPLE])) is not None:
        return _unicode(data, wide)
    if named is None and data.isascii() and (found := _seven_bits(data)) is not None:
        return found
    try:
        text = data.decode("utf-8")
        if named is None or not data.isascii():
            return _wrongly_saved(text) or _told(text, "utf-8")
    except UnicodeDecodeError:
        pass
    if named is None and (joined := _surrogates(data)) is not None:
        return _told(joined, "utf-8")
    if named is not None:
        return Decoded(data.decode(named), codecs.lookup(named).name)
    for pattern in _DECLARED:
        if match := pattern.search(sample):
            declared = match[1].decode()
            if not codecs.lookup(declared).name.startswith("utf") or declared.lower().startswith("utf-16"):
                return Decoded(data.decode(declared), codecs.lookup(declared).name)
    return _nearly_utf8(data) or _guess(data, _candidates(data))


def decode(data: bytes, named: str | None = None) -> str:
    """The text of `read`, for those who can't pass a doubt on."""
    return read(data, named).text


def lines(data: bytes) -> list[str]:
    """The lines of a caption file without their ends; NUL becomes U+FFFD, as WebVTT says."""
    return with_plain_ends(decode(data).replace("\0", "\ufffd")).split("\n")


def with_plain_ends(text: str) -> str:
    """A text whose lines end as those of Unix, whatever they ended in."""
    if "\r" not in text:
        return text
    if "\r\r\n" in text and text.count("\r\r\n") == text.count("\n"):  # translated twice
        text = text.replace("\r\r\n", "\n")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _unicode(data: bytes, encoding: str) -> Decoded:
    """What says that it is Unicode; a file that was cut in the middle of a character lacks that one only."""
    decoder = codecs.getincrementaldecoder(encoding)()
    if encoding == "utf-8-sig":
        text = data[len(codecs.BOM_UTF8) :].decode("utf-8", errors="surrogateescape")
        if _STRAY.search(text):
            return _mended(text)
        return _told(text, "utf-8")
    text = decoder.decode(data)
    cut = decoder.getstate()[0] != b""
    found = _told(text, encoding)
    return replace(found, doubts=(*found.doubts, _ENDS_EARLY)) if cut else found


_ENDS_EARLY = "it ends in the middle of a character, so it may lack its end"


def _told(text: str, encoding: str) -> Decoded:
    """Text that is sound; what was lost before it was written is told."""
    lost = text.count("\ufffd")
    doubts = (f"{lost} of its characters were lost before it was written (U+FFFD stands for them)",) if lost else ()
    return Decoded(_MARK_OF_LINE.sub("", text), encoding, doubts=doubts)


def _utf32(sample: bytes) -> str | None:
    """UTF-32 without a mark: of four bytes two are always zero, or nearly."""
    for encoding, always, mostly in (("utf-32-le", 3, 2), ("utf-32-be", 0, 1)):
        zeros, more = sample[always::4], sample[mostly::4]
        if len(zeros) > 1 and not any(zeros) and more.count(0) > 0.9 * len(more):
            return encoding
    return None


def _seven_bits(data: bytes) -> Decoded | None:
    """Text of seven bits that stands for other letters: ISO-2022 by its escapes, which no other text has, HZ and
    UTF-7 by theirs, which must all make letters."""
    for mark, encoding in ((b"\x1b$)C", "iso2022_kr"), (b"\x1b$", "iso2022_jp_ext")):
        if mark in data:
            return _guess(data, [encoding])
    for pattern, encoding in ((_HZ, "hz"), (_UTF7, "utf-7")):
        shifts = len(pattern.findall(data))
        try:
            text = data.decode(encoding) if shifts else ""
        except UnicodeDecodeError:
            continue
        letters = "".join(filter(str.isalpha, _ASCII.sub("", text)))
        others = _ASCII.sub("", text)
        if letters and 2 * len(letters) > len(others) and _one_script(letters):
            return Decoded(text, encoding, True, (_doubt(encoding),) if shifts < _SHIFTS else ())
    return None


def _one_script(letters: str) -> bool:
    """Whether letters are of few blocks, as those of a language are and those of chance are not."""
    blocks = {"han" if letter >= "\u2e80" else ord(letter) // 0x180 for letter in letters}
    return len(blocks) == 1


def _surrogates(data: bytes) -> str | None:
    """Java's UTF-8, in which characters beyond 16 bits are pairs of surrogates; None where it is anything else."""
    try:
        return data.decode("utf-8", "surrogatepass").encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        return None


def _wrongly_saved(text: str) -> Decoded | None:
    """What some tool took for Western and saved as UTF-8, read as what it was: Cyrillic as "Ñíà÷àëà". Only where
    words are of such letters nearly alone, as those of no Western language are."""
    words = [word for word in text.split() if not word.isascii()]
    others = "".join(_ASCII.sub("", word) for word in words)
    letters = sum(map(str.isalnum, "".join(words)))
    if len(set(others)) < _DISTINCT or len(others) < _ALONE * letters or max(others) > "\u2122":
        return None
    try:
        data = b"".join(_western_bytes(character) for character in text)
    except UnicodeEncodeError:
        return None
    encoding = _candidates(data)[0]
    if encoding in (_WESTERN, *_OLD) or not _plausible(data, encoding):
        return None
    doubt = f"its letters were taken for Western ones before it was written: they were read as {encoding}"
    try:
        return Decoded(data.decode(encoding), "utf-8", doubts=(doubt,))
    except UnicodeDecodeError:
        return None


def _western_bytes(character: str) -> bytes:
    """The byte that a Western code page has for a character; the five that Windows leaves open are Latin-1's."""
    try:
        return character.encode(_WESTERN)
    except UnicodeEncodeError:
        return character.encode("latin-1")


def _nearly_utf8(data: bytes) -> Decoded | None:
    """UTF-8 into which other bytes were pasted, or that was cut; None where more speaks against it than for it."""
    text = data.decode("utf-8", errors="surrogateescape")
    strays = len(_STRAY.findall(text)) - len(_PASTED.findall(text))
    sound = sum(not character.isascii() for character in _STRAY.sub("", text))
    return _mended(text) if sound and strays <= sound else None


def _mended(text: str) -> Decoded:
    """Text with `surrogateescape`s: stray bytes are taken for those of Windows, what they can't be is U+FFFD."""
    whole = _CUT.sub("", text)
    doubts: tuple[str, ...] = (_ENDS_EARLY,) if whole != text else ()
    if strays := _STRAY.findall(whole):
        named = ", ".join(sorted({f"0x{ord(stray) - 0xDC00:02x}" for stray in strays})[:5])
        doubts += (
            f"{len(strays)} of its bytes ({named}) are no UTF-8, as the rest is: they were read as {_WESTERN}",
        )
    said = _STRAY.sub(lambda stray: bytes([ord(stray[0]) - 0xDC00]).decode(_WESTERN, errors="replace"), whole)
    return Decoded(_MARK_OF_LINE.sub("", said), "utf-8", doubts=doubts)


def _candidates(data: bytes) -> list[str]:
    """Encodings that the letters of a text speak for, the likeliest first."""
    found: dict[str, float] = {}
    for guess in chardet.detect_all(data, ignore_threshold=True, include_encodings=_USUAL, compat_names=False):
        if guess["encoding"]:
            found[codecs.lookup(guess["encoding"]).name] = guess["confidence"]
    letters = sum(byte > 127 for byte in data)
    western = found.get(_WESTERN, 0.0) if _plausible(data, _WESTERN) else 0.0
    floor = western * (_CLEARLY + _OF_FEW / max(letters, 1))
    clear = {
        name: score
        for name, score in found.items()
        if score >= floor and not (western and name in _OLD) and _plausible(data, name)
    }
    best = _EQUAL * max(clear.values(), default=0.0)
    return [*sorted(clear, key=lambda name: (-min(clear[name], best), _RANK.get(name, len(_RANK)))), _WESTERN]


def _plausible(data: bytes, encoding: str) -> bool:
    """Whether it fits, and makes words that could be some: most have letters of one script, not a Greek one at the
    end of a Latin word, and no capitals or signs inside, as "GŠste"."""
    try:
        text = data[:_LOOKED_AT].decode(encoding)
    except UnicodeDecodeError as error:
        # A long text may have been cut inside a character just now.
        return len(data) > _LOOKED_AT and error.start > _LOOKED_AT - 4
    words = [word for word in _WORD.findall(text) if not word.isascii()]
    mixed = sum(bool(re.search("[A-Za-z]", word)) and max(word) > "\u024f" for word in words)
    inside = [match[0] for match in _INSIDE.finditer(text)]
    odd = sum(sign.isupper() or not (sign.isalpha() or sign in _JOINING) for sign in inside)
    return 2 * mixed <= len(words) and 2 * odd <= max(len(inside), len(words))


def _doubt(encoding: str) -> str:
    doubt = f"it does not say its encoding and was read as {encoding}: where its letters are wrong, name the"
    return f"{doubt} right one as `encoding` of the collection"


def _hardly_else(text: str) -> bool:
    """Whether a text read in the code page of the West makes words that could hardly be something else: the language
    of its words is one of the West, all letters are that language's, and signs stand where signs do."""
    said = "\n".join(line for line in text[:_LOOKED_AT].splitlines() if "-->" not in line)
    letters = {letter.lower() for letter in set(_ASCII.sub("", said)) if letter not in _SIGNS}
    ranked = _identifier().rank(said[:_SAMPLE])
    share = sum(share for language, share in ranked if letters <= set(_LETTERS.get(language, "")))
    if share < _SURE or ranked[0][0] not in _LETTERS or (ranked[0][0] == "en" and _BORROWED.search(said)):
        return False
    inside = re.findall(r"(?<=[^\W\d_])[^\w\s\x00-\x7f](?=[^\W\d_])", said)
    shouted = re.findall(r"(?<=[a-z])[^\W\d_a-zA-Z](?=[a-z])", said)
    # A sign beside a letter is a letter of another code page, as in "©koda" and "lad¿".
    before = re.findall("[\xb0\xb4\xbd\xa3\xae\xa9\xb7\u2022\u2122\u20ac](?=[^\\W\\d_])", said)
    behind = re.findall("[^\\W\\d_][\u201e\u201a\xbf\xa1\xb0\xb4\xbd\xa3\xae\xa9]", said)
    return set(inside) <= set(_JOINING) and not any(map(str.isupper, shouted)) and not (before or behind)


@cache
def _identifier() -> Any:
    with needs("data", "Finding out the encoding of captions"):
        from py3langid.langid import MODEL_FILE, LanguageIdentifier  # 0.3 s, and few ask for it

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def _guess(data: bytes, candidates: list[str]) -> Decoded:
    for encoding in candidates:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if encoding == _WESTERN and _FRACTION.search(text):  # the French ligature of a newer code page
            encoding, text = "iso8859-15", data.decode("iso8859-15")
        sure = encoding == _WESTERN and _hardly_else(text)
        return Decoded(text, encoding, True, () if sure else (_doubt(encoding),))
    raise UnicodeError("its bytes are text in no encoding that is known here: convert it to UTF-8")
