"""Bytes -> text, by rule and not by guess: a caption file is too short for statistics to be trusted."""

from __future__ import annotations

import codecs

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SAMPLE = 4096  # bytes
_ZEROS = 0.3  # of every other byte: time stamps and line ends are ASCII, whatever the language


def decode(data: bytes, declared: str = "cp1252") -> str:
    """The text of a caption file: by its mark; UTF-16 without one by its zero bytes; UTF-8; else what the file itself
    declares, and without that cp1252, the Windows code page of old subtitle tools.

    A declaration comes last: tools copy it along and write UTF-8.

    Raises:
        UnicodeError: none of them fits.
        LookupError: there is no such encoding as is declared.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data.decode(encoding)
    sample = data[:_SAMPLE]
    for encoding, high, low in (("utf-16-le", sample[1::2], sample[::2]), ("utf-16-be", sample[::2], sample[1::2])):
        if high and high.count(0) > _ZEROS * len(high) and low.count(0) < 0.1 * high.count(0):
            return data.decode(encoding)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode(declared)


def lines(data: bytes) -> list[str]:
    """The lines of a caption file without their ends; NUL becomes U+FFFD, as WebVTT says."""
    text = decode(data).replace("\0", "\ufffd")
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
