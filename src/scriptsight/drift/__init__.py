"""Does what comes in now still look like what a model learned from, and does the model do as well on it?

The new videos are those that were neither learned from nor held out of the training; a sample of their recordings is
held against the sample in the model's folder (`profile`). Each measure has its test, by recordings, and all are
adjusted for their number (Holm): "differs" comes by chance in one of twenty comparisons, whatever was compared.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from scriptsight import overlap, profile
from scriptsight.drift import samples
from scriptsight.drift.samples import Contrast, Estimate
from scriptsight.errors import InputError
from scriptsight.models import bundle
from scriptsight.profile import Sample
from scriptsight.reporting import ConsoleReporter, Reporter
from scriptsight.segments import SPLITS, Segments
from scriptsight.statistics import LEAST_GROUPS, LEVEL, holm

FEW = 10  # recordings: with fewer, that no difference is seen says nothing
GALLERIES = (50, 20, 10, 5)  # among how many clips a text looks for its own, the first that there are enough for
KINDS = {  # measures of a recording -> what they are, how they are written
    "words_a_second": ("speaking rate", "{:.2f} words a second"),
    "spoken": ("share of time with speech", "{:.0%}"),
    "cue_seconds": ("length of cues", "{:.1f} s"),
    "segment_seconds": ("length of segments", "{:.1f} s"),
    "seconds": ("length of recordings", "{:.0f} s"),
}
DISTANCE = "{:z.3f}"
LOOK, LANGUAGE, RECALL = "look", "languages", "text finds its clip"

Verdict = Literal["differs", "no sign of it", "can't tell"]


@dataclass(frozen=True)
class Finding:
    """One measure of old and new videos, and whether they differ by it."""

    name: str
    what: str  # the figure, in words
    verdict: Verdict
    words: str  # one line
    form: str = "{}"  # how the figure is written
    old: Estimate | None = None
    new: Estimate | None = None
    difference: Estimate | None = None
    p_value: float | None = None  # adjusted for the number of measures
    old_recordings: int = 0
    new_recordings: int = 0


@dataclass(frozen=True)
class Report:
    """How new videos differ from those that a model learned from."""

    model: str
    compared: str  # which videos are called new
    videos: int  # of them
    recordings: int  # of them, in the sample
    findings: tuple[Finding, ...] = ()
    note: str = ""  # why there are no findings

    @property
    def differing(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.verdict == "differs"]

    @property
    def verdict(self) -> Verdict:
        """Of all measures together."""
        if self.differing:
            return "differs"
        told = any(finding.verdict == "no sign of it" for finding in self.findings)
        return "no sign of it" if told else "can't tell"

    @property
    def line(self) -> str:
        """All of it in one line."""
        if self.note:
            return self.note
        count = f"{self.videos:,} {self.compared}"
        if self.differing:
            return f"{count} differ from what the model learned from: " + "; ".join(
                finding.words for finding in self.differing
            )
        if self.verdict == "no sign of it":
            return f"{count} show no sign of a difference from what the model learned from."
        return f"{count} are too few to tell whether they differ from what the model learned from."

    def as_json(self) -> dict[str, Any]:
        """For a file: plain values."""
        return {**asdict(self), "verdict": self.verdict, "line": self.line}


def compare(
    folder: Path,
    segments: Path,
    collections: Iterable[str],
    *,
    model: str = "",
    only: tuple[str, str | None] | None = None,
    reporter: Reporter | None = None,
) -> Report:
    """Hold the new videos in `segments` against what the model in `folder` learned from.

    Args:
        collections: whose videos may be new, beside those that the model learned from.
        model: its name, for the report.
        only: a collection and a split of it (None: all) whose videos are compared instead, but for those that the
            model learned from.

    Raises:
        InputError: there is no model, its folder doesn't say what it learned from, or segments are damaged.
    """
    reporter = reporter or ConsoleReporter()
    known = profile.read(folder)
    if known is None:
        raise InputError(
            f"The model in {folder} does not say what the videos look like that it learned from (an older version "
            "wrote it): run the pretrain stage again, and new videos can be held against them."
        )
    encoder = bundle.load(folder)
    named = dict.fromkeys([*known.learned["collection"].unique().to_pylist(), *collections])
    splits = _splits(segments, named, only)
    rows, videos = _new(splits, known.learned if only else known.known)
    what = "new videos" if only is None else f"videos of {'/'.join(filter(None, only))}"
    report = Report(model or str(folder), what, videos, 0)
    if not videos:
        return replace(report, note=f"There are no {what} that the model did not learn from: nothing to compare.")
    new = profile.sampled(profile.sample(encoder, splits, reporter, f"encode {what}", rows))
    held_out = known.held_out if only is None else _without(known.held_out, new)
    return replace(report, recordings=len(new), findings=tuple(findings(known.sample, held_out, new)))


def _splits(segments: Path, collections: Iterable[str], only: tuple[str, str | None] | None) -> profile.Splits:
    """The collections' segments, or those that are asked for, which must be there."""
    if only is not None and only[1] is not None:
        return [(only[0], Segments(segments, only[0], only[1]))]
    names = list(collections) if only is None else [only[0]]
    found = [
        (name, Segments(segments, name, split))
        for name in names
        for split in SPLITS
        if (segments / name / split).is_dir()
    ]
    if not found:
        raise InputError(f"There are no segments of {', '.join(names)} in {segments}: run the segment stage first.")
    return found


def _new(splits: profile.Splits, known: Any) -> tuple[list[list[int]], int]:
    """Of each split the rows of videos that are not among the known ones, and how many videos these are."""
    rows, count = [], 0
    for collection, segments in splits:
        videos = overlap.videos([(collection, segments)])
        flags = overlap.among(videos, known)
        fresh = {name for name, flag in zip(videos["video_id"].to_pylist(), flags, strict=True) if not flag}
        count += len(fresh)
        rows.append([row for row, name in enumerate(segments.column("video_id")) if name in fresh])
    return rows, count


def _without(sample: Sample, other: Sample) -> Sample:
    """A sample without the recordings that another one has as well."""
    others = set(other.names)
    return sample.having(np.array([name not in others for name in sample.names], bool)[sample.owners])


# ---------------------------------------------------------------------------------------------------- findings


def findings(learned: Sample, held_out: Sample, new: Sample) -> list[Finding]:
    """What differs between the recordings that were learned from and new ones; of recall, between those that were
    held out of the training and new ones."""
    found = [_look(learned, new), _languages(learned, new)]
    found += [_measured(name, learned, new) for name in KINDS]
    found.append(_recall(held_out, new))
    adjusted = holm({one.name: one.p_value for one in found if one.p_value is not None})
    return [_judged(one, adjusted.get(one.name)) for one in found]


def _judged(finding: Finding, p_value: float | None) -> Finding:
    if p_value is None:
        return finding
    few = min(finding.old_recordings, finding.new_recordings) < FEW
    verdict: Verdict = "differs" if p_value < 1 - LEVEL else "can't tell" if few else "no sign of it"
    count = f"; {finding.new_recordings} recordings are too few to tell" if verdict == "can't tell" else ""
    words = f"{finding.words} (p = {p_value:.2g}{count})"
    return replace(finding, verdict=verdict, words=words, p_value=p_value)


def _contrasted(name: str, what: str, sizes: tuple[int, int], words: str, form: str, contrast: Contrast) -> Finding:
    """A finding that is yet to be judged."""
    return Finding(
        name=name,
        what=what,
        verdict="can't tell",
        words=words,
        form=form,
        old=contrast.first,
        new=contrast.second,
        difference=contrast.difference,
        p_value=contrast.p_value,
        old_recordings=sizes[0],
        new_recordings=sizes[1],
    )


def _too_few(name: str, what: str, sizes: tuple[int, int], of: str = "learned from") -> Finding:
    words = f"{what}: {sizes[1]} new recordings and {sizes[0]} {of} have it, and {LEAST_GROUPS} are needed to compare"
    return Finding(name, what, "can't tell", words, old_recordings=sizes[0], new_recordings=sizes[1])


def _look(learned: Sample, new: Sample) -> Finding:
    what = "distance of the encoder's features"
    sizes = len(learned), len(new)
    if min(sizes) < LEAST_GROUPS:
        return _too_few(LOOK, what, sizes)
    found = samples.distance(learned.features, new.features, (learned.owners, new.owners))
    words = (
        f"what is seen: the features are {span(found.second, DISTANCE)} apart, those of two parts of what was "
        f"learned from {span(found.first, DISTANCE)}"
    )
    return _contrasted(LOOK, what, sizes, words, DISTANCE, found)


def _languages(learned: Sample, new: Sample) -> Finding:
    what = "languages of what is said"
    parts = [[name for name in sample.languages if name] for sample in (learned, new)]
    sizes = len(parts[0]), len(parts[1])
    if min(sizes) < LEAST_GROUPS:
        return _too_few(LANGUAGE, what, sizes)
    language, found = samples.shares(*parts)
    words = _against(f"languages: of {language}", "{:.0%}", found)
    return _contrasted(LANGUAGE, f"share of recordings in {language}", sizes, words, "{:.0%}", found)


def _measured(name: str, learned: Sample, new: Sample) -> Finding:
    what, form = KINDS[name]
    values = [sample.measures[name][np.isfinite(sample.measures[name])] for sample in (learned, new)]
    sizes = len(values[0]), len(values[1])
    if min(sizes) < LEAST_GROUPS:
        return _too_few(name, what, sizes)
    found = samples.means(values[0], values[1])
    return _contrasted(name, what, sizes, _against(what, form, found), form, found)


def _recall(held_out: Sample, new: Sample) -> Finding:
    both = [_spoken(sample) for sample in (held_out, new)]
    sizes = len(both[0]), len(both[1])
    if min(sizes) < LEAST_GROUPS:
        return _too_few(RECALL, "recall at 1", sizes, "held out of the training")
    found = samples.recall(
        np.concatenate([one.text for one in both]),
        np.concatenate([one.video for one in both]),
        np.concatenate([both[0].owners, both[1].owners + sizes[0]]),
        np.repeat([False, True], sizes),
        GALLERIES,
    )
    if found is None:
        return _too_few(RECALL, "recall at 1", sizes, "held out of the training")
    gallery, contrast = found
    words = (
        f"the model's recall at 1 of {gallery} is {span(contrast.second, '{:.2f}')} on new videos, "
        f"{span(contrast.first, '{:.2f}')} on old ones that it did not learn from"
    )
    return _contrasted(RECALL, f"recall at 1 of {gallery}, text to video", sizes, words, "{:.2f}", contrast)


def _spoken(sample: Sample) -> Sample:
    """The segments of a sample in which something is said, and their recordings."""
    return sample.having(np.isfinite(sample.text).all(axis=1))


def _against(what: str, form: str, found: Contrast) -> str:
    return f"{what} {span(found.second, form)} instead of {span(found.first, form)}"


def span(one: Estimate, form: str) -> str:
    """A figure with its interval."""
    number = form[: form.index("}") + 1]
    return f"{form.format(one.value)} ({number.format(one.low)} to {number.format(one.high)})"
