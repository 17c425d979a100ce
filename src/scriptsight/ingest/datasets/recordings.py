"""How the recording that a clip was cut from is called: alike in all collections, so that a test clip is known again
among what was learned from, and that clips of one recording are not counted as independent evidence."""

from __future__ import annotations

import hashlib
from urllib.parse import parse_qs, urlsplit

_SITES = {"youtube.com", "youtube-nocookie.com", "youtu.be"}
_PATHS = {"embed", "live", "shorts", "v"}  # youtube.com/shorts/ID


def of(site: str, key: str) -> str:
    """The recording that a site (`youtube`, and what yt-dlp's extractors are called) or a dataset calls `key`."""
    return f"{site.lower()}/{key}"


def of_url(url: object) -> str | None:
    """The recording at an address: YouTube's by its id, another by a hash, as an address may hold a token; None: it
    is no address."""
    if not isinstance(url, str) or "://" not in url:
        return None
    try:
        parts = urlsplit(url.strip())
        host = (parts.hostname or "").removeprefix("www.").removeprefix("m.").removeprefix("music.")
    except ValueError:
        return None
    if host in _SITES:
        steps = [step for step in parts.path.split("/") if step]
        found = parse_qs(parts.query).get("v") or (steps if host == "youtu.be" else [])
        found = found or (steps[1:2] if steps[:1] and steps[0] in _PATHS else [])
        if found:
            return of("youtube", found[0])
    return of("url", hashlib.sha256(url.strip().encode(errors="backslashreplace")).hexdigest()[:16])
