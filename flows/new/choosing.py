"""From what was seen of a folder to settings that fit it, and to what will not work. Nothing is read here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Literal

from flows import parameters
from flows.new import moments, splitting
from flows.new.looking import Group, Look
from flows.new.machine import Machine
from flows.new.moments import Cut
from flows.new.splitting import Splits
from flows.new.wording import minutes
from scriptsight.params.probe import TAKEN
from scriptsight.params.segment import SegmentParams
from scriptsight.segment.cut import stretches
from scriptsight.segments import is_transcript
from scriptsight.spreading import evenly

Text = Literal["script", "transcript", "caption"]

FRAMES = 8  # of a clip
RATES = (2.0, 4.0, 8.0)  # stored frames a second: the page shows two at least
FEW_RECORDINGS, FEW_SECONDS = 10, 900.0  # with fewer, a model learns them by heart
ALIKE = 0.2  # share of the transcripts that must be different for words to tell moments apart
CLIP_SECONDS = 60.0  # longer videos in folders are no clips of an action
QUERIES = 3
# Languages that are written without spaces between words: a list of words would have whole sentences in it.
UNSPACED = frozenset({"bo", "ja", "km", "lo", "my", "th", "yue", "zh"})


@dataclass(frozen=True)
class Problem:
    """What will not work, and what to do about it. With `stops` a run fails, or teaches nothing."""

    what: str
    remedy: str
    stops: bool = False


@dataclass(frozen=True)
class Size:
    """Of the model, and of what it sees."""

    image: int
    width: int
    depth: int
    heads: int
    patch: int
    batch: int


@dataclass(frozen=True)
class Chosen:
    """All settings that don't depend on how fast the machine is.

    Attributes:
        splits: collection -> how it is split.
        learned: collection that is learned from -> which of its texts.
        main: the collection that retrieval is measured on.
        measured: the split that retrieval is measured on.
        tests: collections with labels, that the probe measures on.
        demoted: collections whose folders' names are no classes after all.
        reject_share: share of a collection that may be refused.
        moments: expected in the index.
        eligible: moments that training draws from.
    """

    cut: Cut
    fps: float
    size: Size
    text: Literal["words", "transformer"]
    objective: Literal["tvts", "contrastive"]
    splits: dict[str, Splits]
    learned: dict[str, Text]
    main: str
    measured: Literal["test", "val", "train"]
    tests: tuple[str, ...]
    demoted: tuple[str, ...]
    queries: tuple[str, ...]
    reject_share: float
    moments: int
    eligible: int
    problems: tuple[Problem, ...] = field(default=())


def choose(look: Look, machine: Machine, base: SegmentParams) -> Chosen:
    """Settings for what was seen.

    Args:
        base: the parameters of cutting that stay as the project has them.
    """
    cut = moments.choose(look.videos, base)
    usable = {group.place.name: _usable(group, cut, base) for group in look.groups}
    texts = {group.place.name: text for group in look.groups if (text := _text(group, usable, cut)) is not None}
    demoted = tuple(group.place.name for group in look.groups if _no_classes(group))
    labelled = [group for group in look.groups if group.place.name not in demoted and len(_labels(group)) > 1]
    names = [group.place.name for group in labelled]
    splits = {group.place.name: _splits(group, texts, names, usable) for group in look.groups}
    tests = tuple(group.place.name for group in labelled if _measurable(group, splits[group.place.name]))
    learned = _learned(texts, splits)
    main = _main(look, learned, splits, usable)
    measured = next((split for split in ("test", "val") if split in splits[main].names), "train")
    eligible = sum(
        usable[name][video][0]
        for name in learned
        for video, split in splits[name].of_videos.items()
        if split == "train"
    )
    spans = [cut.span] if learned else []
    spans += [_middle_seconds(group) for group in look.groups if group.place.name in tests]
    return Chosen(
        cut=cut,
        fps=_rate(look, spans),
        size=_size(machine, eligible),
        text=_text_model(look, learned),
        objective="tvts" if "script" in learned.values() else "contrastive",
        splits=splits,
        learned=learned,
        main=main,
        measured=measured,  # type: ignore[arg-type]
        tests=tests,
        demoted=demoted,
        queries=_queries(look, main),
        reject_share=_reject_share(look, base),
        moments=_moments(look, cut, base),
        eligible=eligible,
        problems=(
            *_problems(look, cut, learned, texts, splits, eligible),
            *(_unmeasured(name) for name in names if name not in tests),
        ),
    )


# ---------------------------------------------------------------------------------------------- collections


def _usable(group: Group, cut: Cut, base: SegmentParams) -> dict[str, tuple[int, int]]:
    """Video id -> moments that can be learned from, and moments with words."""
    found = {}
    for video in group.videos:
        if not video.cues and video.captions:
            found[video.video_id] = (1, 1)
        else:
            found[video.video_id] = moments.eligible(video, cut, base)
    return found


def _text(group: Group, usable: dict[str, dict[str, tuple[int, int]]], cut: Cut) -> Text | None:
    """Which texts of a collection can be learned from."""
    if any(any(is_transcript(cue.text) for cue in video.cues) for video in group.videos):
        if any(eligible for eligible, _ in usable[group.place.name].values()):
            return "script" if cut.k else "transcript"
        return None  # no moment has as many as those of the other collections
    return "caption" if any(video.captions for video in group.videos) else None


def _labels(group: Group) -> Counter[str]:
    return Counter(video.label for video in group.videos if video.label)


def _no_classes(group: Group) -> bool:
    """Whether folders that looked like classes are something else: their videos are long, or have words."""
    if group.place.section.get("labels") != "folder" or not group.videos:
        return False
    spoken = sum(bool(video.cues) for video in group.videos)
    return _middle_seconds(group) > CLIP_SECONDS or spoken > len(group.videos) / 2


def _measurable(group: Group, splits: Splits) -> bool:
    """Whether a probe can be trained and tested: two classes or more, and none in the test alone."""
    classes: dict[str, set[str]] = {"train": set(), "val": set(), "test": set()}
    for video in group.videos:
        if video.label:
            classes[splits.of_videos[video.video_id]].add(video.label)
    return len(classes["train"]) > 1 and bool(classes["test"]) and classes["test"] <= classes["train"]


def _splits(
    group: Group, texts: dict[str, Text], tests: Sequence[str], usable: dict[str, dict[str, tuple[int, int]]]
) -> Splits:
    name = group.place.name
    if name in texts:
        return splitting.of_words(group, usable[name])
    return splitting.of_clips(group) if name in tests else splitting.all_shown(group)


def _learned(texts: dict[str, Text], splits: dict[str, Splits]) -> dict[str, Text]:
    """Collections that something is learned from: those that also hold something out, where there are any; scripts
    before captions, as one objective is for all."""
    held = {name: text for name, text in texts.items() if {"train", "val"} <= set(splits[name].names)}
    scripts: dict[str, Text] = {name: text for name, text in held.items() if text != "caption"}
    return scripts or held or dict(sorted(texts.items())[:1])


def _main(
    look: Look,
    learned: dict[str, Text],
    splits: dict[str, Splits],
    usable: dict[str, dict[str, tuple[int, int]]],
) -> str:
    """The collection with the most held-out moments that words can look for; the largest where there is none."""

    def held(name: str) -> int:
        return sum(usable[name][video][1] for video, split in splits[name].of_videos.items() if split != "train")

    if learned:
        return max(sorted(learned), key=held)
    return max(look.groups, key=lambda group: len(group.videos)).place.name


# -------------------------------------------------------------------------------------------------- figures


def _middle_seconds(group: Group) -> float:
    return median(video.duration for video in group.videos) if group.videos else 0.0


def _rate(look: Look, spans: Sequence[float]) -> float:
    """The lowest rate that gives the shortest stretches all frames of a clip, as far as the videos have as many."""
    shortest = min((span for span in spans if span > 0), default=FRAMES / RATES[0])
    wanted = next((rate for rate in RATES if rate * shortest >= FRAMES), RATES[-1])
    there = median(video.fps or RATES[-1] for video in look.videos) if look.videos else RATES[-1]
    return min(wanted, max(1.0, float(round(there))))


def _size(machine: Machine, eligible: int) -> Size:
    """The model by what computes it and by how much there is to learn from."""
    batch = 64
    while batch > 8 and batch > eligible:
        batch //= 2
    if machine.gpu is None:
        return Size(image=64, width=96, depth=4, heads=3, patch=8, batch=batch)
    if eligible < 20_000:
        return Size(image=96, width=192, depth=6, heads=3, patch=12, batch=batch)
    return Size(image=112, width=384, depth=12, heads=6, patch=16, batch=256)


def _text_model(look: Look, learned: dict[str, Text]) -> Literal["words", "transformer"]:
    languages = _languages(look, learned)
    unspaced = sum(count for language, count in languages.items() if language.split("-")[0] in UNSPACED)
    return "transformer" if 2 * unspaced > languages.total() else "words"


def _languages(look: Look, learned: dict[str, Text]) -> Counter[str]:
    return Counter(
        video.language
        for group in look.groups
        if group.place.name in learned
        for video in group.videos
        if video.language
    )


def _queries(look: Look, main: str) -> tuple[str, ...]:
    """Some sentences of the main collection, as people may type them."""
    group = next(group for group in look.groups if group.place.name == main)
    texts = [cue.text for video in group.videos for cue in video.cues] or [
        caption for video in group.videos for caption in video.captions[:1]
    ]
    plain = dict.fromkeys(" ".join(text.split()) for text in texts)
    good = [text for text in plain if is_transcript(text) and (3 <= len(text.split()) <= 12 or len(text) <= 60)]
    return tuple(good[number] for number in evenly(len(good), QUERIES))


def _reject_share(look: Look, base: SegmentParams) -> float:
    """What the project allows, or more where more of a collection is broken: the rest of it is still to be found."""
    worst = max((len(group.refused) / max(1, group.named) for group in look.groups if group.videos), default=0.0)
    return base.max_reject_share if worst <= base.max_reject_share else min(1.0, round(worst + 0.05, 2))


def _moments(look: Look, cut: Cut, base: SegmentParams) -> int:
    """How many moments there will be, about."""
    params = base.model_copy(update={"max_seconds": cut.max_seconds, "max_gap_seconds": cut.max_gap_seconds})
    tried = [look.videos[number] for number in evenly(len(look.videos), moments.TRIED)]
    if not tried:
        return 0
    found = sum(len(stretches(video.cues, video.duration, params)) for video in tried)
    return round(found * len(look.videos) / len(tried))


# ------------------------------------------------------------------------------------------------- problems


TRAINED = (
    "begin with a model that is trained already (pretrain.start_from in overrides.yaml names its folder; "
    "docs/how-to/training-at-scale.md)"
)


def _problems(
    look: Look,
    cut: Cut,
    learned: dict[str, Text],
    texts: dict[str, Text],
    splits: dict[str, Splits],
    eligible: int,
) -> Iterator[Problem]:
    yield from _no_words(look, texts)
    if texts:
        yield from _too_few(look, learned, splits, eligible)
        yield from _no_order(cut, texts)
        yield from _alike(look, learned)
    for name in sorted(texts.keys() - learned.keys()):
        yield Problem(
            f"{name}: too few videos with words, or other texts than the rest: nothing is learned from it",
            "it is in the index all the same",
        )
    yield from _several_languages(look, learned)
    for group in look.groups:
        yield from _broken(group)
    yield from _copies(look)


def _no_words(look: Look, texts: dict[str, Text]) -> Iterator[Problem]:
    if texts:
        return
    if any(video.cues for video in look.videos):
        yield Problem(
            "the captions are too short to learn from: none has ten characters",
            f"look at them with a player; or {TRAINED}",
            stops=True,
        )
        return
    heard = sum(video.has_audio for video in look.videos)
    hear = (
        "`ingest.transcription` can make them of the sound: it needs the extra asr (pip install 'scriptsight[asr]')"
    )
    yield Problem(
        f"no captions at all, beside the videos or inside them: there is nothing to learn from "
        f"({heard} of {len(look.videos)} videos have sound)",
        f"put captions beside the videos; or {hear if heard else TRAINED}{f'; or {TRAINED}' if heard else ''}",
        stops=True,
    )


def _too_few(look: Look, learned: dict[str, Text], splits: dict[str, Splits], eligible: int) -> Iterator[Problem]:
    groups = [group for group in look.groups if group.place.name in learned]
    spoken = [video for group in groups for video in group.videos if video.cues or video.captions]
    recordings = sum(
        any(video.cues or video.captions for video in several)
        for group in groups
        for several in splitting.recordings(group.videos)
    )
    seconds = sum(video.duration for video in spoken)
    how_many = f"{recordings} video{'' if recordings == 1 else 's'} with words, {minutes(seconds)}"
    if not all({"train", "val"} <= set(splits[name].names) for name in learned):
        yield Problem(
            f"{how_many}: of one recording nothing can be held out to see whether anything was learned",
            f"add videos, three at least; or {TRAINED}",
            stops=True,
        )
    elif recordings < FEW_RECORDINGS or seconds < FEW_SECONDS:
        yield Problem(
            f"{how_many}: too few to learn from; the search will hardly be better than chance",
            f"add videos, an hour or more; or {TRAINED}",
            stops=True,
        )
    elif eligible < 2:
        yield Problem("one moment alone to learn from", "add videos, or longer ones", stops=True)


def _no_order(cut: Cut, texts: dict[str, Text]) -> Iterator[Problem]:
    if not cut.k and "transcript" in texts.values():
        yield Problem(
            "no moment of a minute has two captions of ten characters: there is no order to learn",
            "each caption is learned with its own stretch of video instead (pretrain.objective: contrastive)",
        )


def _alike(look: Look, learned: dict[str, Text]) -> Iterator[Problem]:
    texts = [
        text.casefold()
        for group in look.groups
        if group.place.name in learned
        for video in group.videos
        for text in ([cue.text for cue in video.cues] or video.captions)
    ]
    if len(texts) > 1 and len(set(texts)) < max(2.0, ALIKE * len(texts)):
        yield Problem(
            f"the words are all alike: {len(texts)} captions, {len(set(texts))} different ones: they can't tell "
            "moments apart",
            f"look at the captions: these may be of another kind than speech; or {TRAINED}",
            stops=True,
        )


def _several_languages(look: Look, learned: dict[str, Text]) -> Iterator[Problem]:
    languages = _languages(look, learned)
    if len(languages) > 1 and languages.most_common()[1][1] > 0.1 * languages.total():
        named = ", ".join(f"{language} ({count})" for language, count in languages.most_common(5))
        yield Problem(
            f"words in several languages: {named}: words of one are not found by those of another",
            "one of them alone: ingest.cleaning.languages",
        )


def _broken(group: Group) -> Iterator[Problem]:
    if not group.rejects:
        return
    reasons = Counter(reject.reason for reject in group.rejects)
    shown = "; ".join(f"{reject.uri}: {reject.reason}: {reject.detail}" for reject in group.rejects[:3])
    counted = ", ".join(f"{count} x {reason}" for reason, count in reasons.most_common())
    yield Problem(
        f"{group.place.name}: {counted}. {shown}",
        "the others are used; data/catalogue/rejects.parquet will name them all",
        stops=not group.videos,
    )


def _unmeasured(name: str) -> Problem:
    return Problem(
        f"{name}: its labels can't be measured on: training and test need two classes of clips in common",
        "give each class two clips or more, or a column `split`",
    )


def _copies(look: Look) -> Iterator[Problem]:
    same: dict[str, list[str]] = {}
    for video in look.videos:
        same.setdefault(video.digest, []).append(video.uri)
    copies = [uris for uris in same.values() if len(uris) > 1]
    if copies:
        yield Problem(
            f"{sum(map(len, copies)) - len(copies)} files are copies of others: {' and '.join(copies[0][:2])}",
            "copies in one collection stay in one split; remove them to find each video once",
        )


def name_of_test(collection: str) -> str:
    """What a test of the probe on a collection is called: some names are those of figures."""
    taken = collection in TAKEN or collection.endswith("_top1") or collection.startswith("v2v_r")
    return f"{collection}_clips" if taken or collection in parameters.UNSEEN else collection
