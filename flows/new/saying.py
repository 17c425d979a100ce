"""What `scriptsight new` says: to people line by line, to programs as one JSON object."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from flows.new import moments
from flows.new.choosing import Chosen, Problem
from flows.new.looking import Group, Look
from flows.new.machine import Machine, Speed
from flows.new.planning import Plan
from flows.new.wording import minutes, plain
from scriptsight.catalogue import Video
from scriptsight.ingest.datasets.pairing import suffix

State = Literal["written", "renewed", "unchanged", "kept", "beside"]
SHOWN = 60  # lines of a difference


@dataclass(frozen=True)
class Made:
    """What was made of a look."""

    chosen: Chosen
    plan: Plan
    speed: Speed
    peak_bytes: float
    machine: Machine
    settings: str  # digest of what the speed is of
    text: str  # of overrides.yaml

    @property
    def problems(self) -> list[Problem]:
        """All of them, those that make a run pointless first."""
        return sorted((*self.chosen.problems, *self.plan.problems), key=lambda problem: not problem.stops)


@dataclass(frozen=True)
class Outcome:
    """What became of overrides.yaml.

    Attributes:
        state: renewed: it was as `new` had written it; kept: it is there and nothing was asked; beside: a person
            edited it, so that the new one is another file.
        file: that was written, or is there.
        changes: of the videos, since the workspace was written last.
        difference: between what is there and what would be written now.
    """

    state: State
    file: Path
    changes: tuple[str, ...] = ()
    difference: tuple[str, ...] = ()


def early(sample: Sequence[Video], total: int) -> str:
    """The verdict on the first few videos, while all are opened."""
    if not sample:
        return f"{total} files; none of the first few can be read as a video. All are opened now."
    spoken = sum(bool(video.cues) for video in sample)
    seconds = sorted(video.duration for video in sample)[len(sample) // 2]
    return (
        f"{total} videos. Of {len(sample)} of them {spoken} have captions, and the middle one lasts {seconds:.0f} s. "
        "All are opened now."
    )


def seen(look: Look) -> Iterator[str]:
    """What was found, a collection a line."""
    for group in look.groups:
        yield f"  {group.place.name}: {plain(_found(group))}"
    spoken = moments.density(look.videos)
    if spoken.cues:
        yield (
            f"  words: {spoken.cues_a_minute:.1f} captions and {spoken.words_a_minute:.0f} words a minute, a caption "
            f"lasts {spoken.cue_seconds:.1f} s, the middle silence {spoken.gap_seconds:.1f} s"
        )


def _found(group: Group) -> str:
    videos = group.videos
    if not videos:
        return f"{group.place.what}, none of {group.named} can be read"
    kinds = Counter(suffix(video.uri) for video in videos)
    heights = sorted({f"{video.width}x{video.height}" for video in videos})
    seconds = sum(video.duration for video in videos)
    parts = [
        group.place.what,
        ", ".join(f"{count} {kind}" for kind, count in kinds.most_common()),
        minutes(seconds),
        f"{sum(video.size for video in videos) / 1e6:.0f} MB",
        f"{heights[0]}{f' and {len(heights) - 1} other sizes' if len(heights) > 1 else ''}",
        f"{_middle([video.fps for video in videos]):.0f} pictures a second",
        f"{sum(video.has_audio for video in videos)} with sound",
    ]
    words = ", ".join(f"{count} from {source}" for source, count in group.words_from.most_common())
    parts.append(f"words: {words}" if words else "no words")
    languages = Counter(video.language for video in videos if video.language)
    if languages:
        parts.append("in " + ", ".join(language for language, _ in languages.most_common(5)))
    labels = {video.label for video in videos if video.label}
    if labels:
        parts.append(f"{len(labels)} labels")
    return ", ".join(parts)


def _middle(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]


def said(folder: Path, made: Made, outcome: Outcome) -> Iterator[str]:
    """What was chosen, what will not work, and what to type next.

    Args:
        folder: the workspace, as it was typed.
    """
    chosen, plan = made.chosen, made.plan
    yield ""
    if chosen.learned:
        learned = ", ".join(sorted(chosen.learned))
        order = f"puts {chosen.cut.k} captions in order" if chosen.cut.k else "pairs texts with their videos"
        yield f"Learns from {learned} ({chosen.eligible} moments): {order}, in {plan.steps} steps."
    yield (
        f"About {chosen.moments} moments of at most {chosen.cut.max_seconds:g} s can be found, "
        f"{chosen.fps:g} stored pictures a second of {chosen.size.image} pixels."
    )
    if chosen.tests:
        yield f"Measures the encoder on the labels of {', '.join(chosen.tests)}."
    for problem in made.problems:
        yield f"{'! ' if problem.stops else 'note: '}{plain(problem.what)}.\n    {plain(problem.remedy)}."
    yield ""
    yield from map(plain, _written(outcome))
    yield ""
    yield (
        f"A run takes about {minutes(plan.total)} on this machine (training: {minutes(plan.seconds['pretrain'])}), "
        f"{plan.memory / 1e9:.1f} GB of memory and {plan.disk / 1e9:.1f} GB of disk. Next:"
    )
    typed = shlex.quote(str(folder))
    yield f"  scriptsight run {typed}"
    yield f"  scriptsight page {typed}"


def _written(outcome: Outcome) -> Iterator[str]:
    if outcome.changes:
        yield "The videos changed since this workspace was written:"
        yield from (f"  {line}" for line in outcome.changes)
    if outcome.state == "unchanged":
        yield f"{outcome.file} is what would be written now: nothing to do."
        return
    if outcome.difference:
        yield f"What would be written now differs from {outcome.file.parent / 'overrides.yaml'}:"
        yield from (f"  {line}" for line in outcome.difference[:SHOWN])
        if len(outcome.difference) > SHOWN:
            yield f"  ... and {len(outcome.difference) - SHOWN} more lines"
    match outcome.state:
        case "kept":
            yield "Nothing was written. --renew writes it: in its place, or beside it where somebody edited it."
        case "beside":
            yield f"overrides.yaml was edited and stays as it is: {outcome.file} has what would be written."
        case _:
            yield f"{outcome.file} is written, with the reason of each value: read it, and change what you like."


def nothing_readable(look: Look) -> str:
    """That no video can be read, with the first reasons."""
    rejects = [reject for group in look.groups for reject in group.rejects][:5]
    reasons = "\n".join(f"  {plain(one.uri)}: {one.reason}: {plain(one.detail)}" for one in rejects)
    return f"No video in {plain(str(look.root))} can be read:\n{reasons}"


def for_programs(look: Look, made: Made, outcome: Outcome) -> dict[str, Any]:
    """All of it for a program; seconds, bytes and counts."""
    chosen, plan = made.chosen, made.plan
    return {
        "videos": str(look.root),
        "collections": {
            group.place.name: {
                "what": group.place.what,
                "kind": group.place.section["kind"],
                "videos": len(group.videos),
                "seconds": round(sum(video.duration for video in group.videos), 1),
                "bytes": sum(video.size for video in group.videos),
                "words_from": dict(group.words_from),
                "languages": dict(Counter(video.language for video in group.videos if video.language)),
                "labels": len({video.label for video in group.videos if video.label}),
                "splits": dict(Counter(chosen.splits[group.place.name].of_videos.values())),
                "learned_from": chosen.learned.get(group.place.name),
                "rejects": [asdict(reject) for reject in group.rejects],
            }
            for group in look.groups
        },
        "density": asdict(moments.density(look.videos)),
        "moments": chosen.moments,
        "eligible": chosen.eligible,
        "machine": asdict(made.machine),
        "speed": asdict(made.speed),
        "steps": plan.steps,
        "seconds": {stage: round(value, 1) for stage, value in plan.seconds.items()},
        "memory": round(plan.memory),
        "disk": round(plan.disk),
        "problems": [asdict(problem) for problem in made.problems],
        "state": outcome.state,
        "file": str(outcome.file),
        "changes": list(outcome.changes),
        "difference": list(outcome.difference),
    }
