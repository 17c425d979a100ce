"""What may stand in messages, logs, tables and records: no password, no token, no signature."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_plus

LONGEST_VALUE = 500  # characters of a parameter, a tag or an error in a record; every store takes these

_WEB = frozenset({"http", "https"})
# Where an @ behind a port stands in the name of a file: https://host:8080/@channel/a.mp4.
_WITH_FILES = _WEB | {"abfs", "abfss", "az", "file", "ftp", "gcs", "gs", "s3", "s3a", "sftp"}
# CONTAINER@ACCOUNT.dfs.core.windows.net is the place and no login.
_AZURE = frozenset({"abfs", "abfss", "wasb", "wasbs"})

# An address to the next white space, or to the one behind its @ where the password itself has some.
_ADDRESS = re.compile(
    r"(?:tar|zip)://(?:(?:(?!://|::)[^\n])*::)?"  # a member of an archive, whose own address follows
    r"|(?P<scheme>[A-Za-z][\w+.-]{0,30})://"
    r"(?P<rest>[^\s/?#@:]+:(?!\d{1,5}(?:[/?#\s]|$))[^\s@]+[^\S\n][^\n]*?@\S*|\S*)",
    re.IGNORECASE,
)
_AUTHORITY = re.compile(r"(?P<host>\[[^\]]*\]|[^/?#:]*)(?P<rest>[^/?#]*)")
_PORT = re.compile(r":\d{1,5}")
_SECRET_PART = re.compile(
    r"(?:auth|credential|key|pass(?:wd|word|phrase)?|pwd|secret|sig|signature|token)s?(?:_?id)?=", re.I
)
_NAME = (
    r"(?:[\w.-]*(?:password|passwd|passphrase|pwd|secret|token|signature|credentials?"
    r"|(?:access|account|api|auth|encryption|private|secret|shared|signing)[_-]?key(?:[_-]?id)?)|sig)"
)
_STRING = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
# Also DSNs of libpq.
_ASSIGNED = re.compile(rf"(?<![\w/\\.-])({_NAME}[^\S\n]*=[^\S\n]*)(?:{_STRING}|\S+)", re.IGNORECASE)
_QUOTED = re.compile(rf"""(["']{_NAME}["']\s*:\s*)(?:{_STRING}|[^\s,}}\]]+)""", re.IGNORECASE)  # JSON
_HEADER = re.compile(r"""(authorization["']?\s*[:=]\s*["']?(?:(?:basic|bearer|token)\s+)?)[^\s"']+""", re.IGNORECASE)
_BEARER = re.compile(r"(\bbearer\s+)(?=\S*\d)[\w.~+/=-]{16,}", re.IGNORECASE)
_SECRET_NAME = re.compile(_NAME, re.IGNORECASE)


def redacted(value: Any) -> str:
    """A value as text without what may be a secret: an address, a path, a message with addresses in it, an error, or
    an object of JSON. A text without one comes back as it is.

    Hidden (`***`) are the user and password of an address, of chained ones (`simplecache::s3://`,
    `tar://MEMBER::https://`) too; the query and the fragment of a web address, and the query of another where it
    names a key, a signature, a token or a password; and outside of addresses the value of `password=`, `token=`,
    `api_key=` and the like.

    A password may hold any sign, escaped or not: where one is stated, all up to the last `@` is hidden, a part of the
    path too if need be. Only digits before a slash in the address of a file (`https://host:8080/@channel`) count as a
    port. Names of members of archives, and paths, have no secrets.
    """
    if isinstance(value, str):
        return _text(value)
    if value is None or isinstance(value, bool | int | float | list | tuple | Mapping):
        return json.dumps(_inside(value))
    return _text(str(value))


def _inside(value: Any) -> Any:
    """An object of JSON with its texts redacted one by one: what ends one of them is no guess there."""
    if isinstance(value, Mapping):
        return {str(name): _named(str(name), part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_inside(part) for part in value]
    return value if value is None or isinstance(value, bool | int | float) else redacted(value)


def _named(name: str, part: Any) -> Any:
    return "***" if isinstance(part, str) and part and _SECRET_NAME.fullmatch(name) else _inside(part)


def _text(text: str) -> str:
    if "://" in text:
        text = _without_last_query(_ADDRESS.sub(_address, text))
    if "=" in text:
        text = _ASSIGNED.sub(r"\1***", text)
    if ":" in text:
        text = _QUOTED.sub(r'\1"***"', text)
    return _BEARER.sub(r"\1***", _HEADER.sub(r"\1***", text))


def _address(match: re.Match[str]) -> str:
    scheme, rest = match["scheme"], match["rest"]
    if scheme is None:
        return match[0]
    end = _login_end(scheme.lower(), rest)
    login, rest = ("", rest) if end is None else ("***@", rest[end + 1 :])
    return f"{scheme}://{login}{_query(scheme.lower(), rest)}"


def _without_last_query(text: str) -> str:
    """The query of a web address hidden, where spaces in its path have cut it in two for the search of addresses."""
    begin = max(text.rfind("http://"), text.rfind("https://"))
    mark = text.find("?", begin)
    query = text[mark + 1 :]
    if begin < 0 or mark < 0 or not query or query.startswith("***") or re.search(r"\s", query):
        return text
    return f"{text[:mark]}?***"


def _login_end(scheme: str, rest: str) -> int | None:
    """Where the `@` stands that ends a login, in an address behind its `://`; None where there is no login."""
    last = rest.rfind("@")
    if last <= 0:
        return None
    authority = _AUTHORITY.match(rest)
    assert authority is not None  # each part may be empty
    behind = rest[authority.end() :]
    if "@" in authority[0]:
        user, _, host = authority[0].partition("@")
        if scheme in _AZURE and ":" not in user and "." in host:
            return None
        return last if ":" in user else authority[0].rfind("@")
    if not authority["rest"]:  # no colon: the @ is part of a path or of a query
        return None
    port = _PORT.fullmatch(authority["rest"]) and behind.startswith("/") and scheme in _WITH_FILES
    drive = scheme == "file" and re.fullmatch("[A-Za-z]", authority["host"]) and authority["rest"] == ":"
    return None if port or drive else last


def _query(scheme: str, rest: str) -> str:
    """What follows the login, without what signs a request. A sign that ends a sentence belongs to that."""
    whole = rest.rstrip("'\")]}>,.;:")
    begin = re.search(r"[?#]" if scheme in _WEB else r"\?", whole)
    if begin is None or begin.end() == len(whole):
        return rest
    if scheme not in _WEB and not _SECRET_PART.search(unquote_plus(whole[begin.end() :])):
        return rest
    return f"{whole[: begin.end()]}***{rest[len(whole) :]}"
