"""From what annotation files say to a list of videos: files looked up, what is doubtful refused."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from scriptsight.catalogue import Reject
from scriptsight.ingest.datasets.listing import Listing, unsafe
from scriptsight.ingest.sources import Entry, Listed

MISSING = "missing video"


@dataclass(frozen=True)
class Claim:
    """What a source says of one video.

    Attributes:
        where: file and line that say it.
        entry: `video_id` is still the dataset's own id, and `uri` is empty where the video must be looked up.
        names: what its file may be called, the surest first.
    """

    where: str
    entry: Entry
    names: tuple[str, ...] = ()


def assemble(name: str, claims: Iterable[Claim | Reject], media: Listing) -> Listed:
    """List what is claimed, with what is refused: a name that leaves the folder, a video that is not there or could
    be one of several files, and the second claim to an id."""
    listed = Listed()
    for claim in claims:
        reject = claim if isinstance(claim, Reject) else _take(name, claim, media, listed)
        if reject:
            listed.refuse(reject)
    for unnameable in media.unnameable:
        listed.refuse(Reject(name, unnameable, "unusable file name", f"in {media.folder}: rename it"))
    return listed


def _take(name: str, claim: Claim, media: Listing, listed: Listed) -> Reject | None:
    """Look a claim's video up and list its entry, or say why not."""
    entry = claim.entry
    if not entry.video_id or any(unsafe(given) for given in (entry.video_id, *claim.names)):
        return Reject(name, claim.where, "unsafe name", f"{entry.video_id!r} is no name of a video in a folder")
    if not entry.uri:
        found = media.matches(*claim.names)
        if not found:
            return Reject(name, claim.where, MISSING, f"{claim.names[0]!r} is not in {media.folder}")
        if len(found) > 1:
            choice = ", ".join(found[:5])
            return Reject(name, claim.where, "ambiguous video", f"{claim.names[0]!r} may be: {choice}")
        entry = replace(entry, uri=media.address(found[0]))
    try:
        if not listed.add(entry):
            return Reject(name, claim.where, "duplicate id", f"{entry.video_id!r} was named before")
    except ValueError:
        return Reject(name, claim.where, "bad text", f"what is said of {entry.video_id!r} is no Unicode")
    return None
