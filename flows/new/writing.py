"""overrides.yaml of a new workspace: with the reason of each value, and never over what a person wrote."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from flows import PROJECT, parameters
from flows.new.choosing import FRAMES, Chosen, name_of_test
from flows.new.looking import Group, Look
from flows.new.machine import Machine
from flows.new.moments import Density
from flows.new.planning import Plan
from flows.new.wording import minutes, plain
from scriptsight.params import reading

SEAL = "# written by `scriptsight new`; while nobody has edited the lines above, their digest is "
TUBELET = 2  # frames of the project's default
WIDTH = 108  # characters of a line


def text_of(
    look: Look, chosen: Chosen, plan: Plan, machine: Machine, spoken: Density, folder: Path, start: Path | None
) -> str:
    """The whole file.

    Args:
        start: a trained model that a training with these settings could begin with.
    """
    lines = [
        *_comment(
            f"What differs from {PROJECT / 'params.yaml'}, chosen by `scriptsight new` for the videos in {look.root}."
            " Edit what you like: docs/reference/parameters.md says what every key means."
        ),
        *_comment(
            f"A whole run takes about {minutes(plan.total)}, {plan.memory / 1e9:.1f} GB of memory and "
            f"{plan.disk / 1e9:.1f} GB of disk, as measured on this machine: {machine}."
        ),
        "",
        *_ingest(look, chosen, machine, folder),
        "",
        *_segment(chosen, machine, spoken),
        "",
        *_pretrain(chosen, plan, machine, start),
        "",
        *_probe(look, chosen),
        "",
        *_retrieve(look, chosen),
    ]
    text = "\n".join(lines) + "\n"
    return f"{text}{SEAL}{_digest(text)}\n"


def check(text: str) -> parameters.Params:
    """The parameters that the project's own become with this text laid over them.

    Raises:
        InputError: it does not fit.
    """
    with TemporaryDirectory() as scratch:
        overrides = Path(scratch, "overrides.yaml")
        overrides.write_text(text, encoding="utf-8")
        merged = parameters.laid_over(reading.read_yaml(PROJECT / "params.yaml"), reading.read_yaml(overrides))
    return parameters.build(merged, "overrides.yaml")


def is_edited(text: str) -> bool:
    """Whether a person changed what was written, or wrote it."""
    *lines, last = text.splitlines(keepends=True) or [""]
    return last.strip() != f"{SEAL}{_digest(''.join(lines))}".strip()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


# ---------------------------------------------------------------------------------------------- the sections


def _ingest(look: Look, chosen: Chosen, machine: Machine, folder: Path) -> Iterator[str]:
    yield "ingest:"
    yield "  collections:"
    for group in look.groups:
        yield from _comment(f"{group.place.what}: {_summary(group)}; {_splits(group, chosen)}", "    ")
        yield from _entry(group.place.name, _section(group, chosen, look.root, folder), "    ")
    yield from _said("workers", machine.cores, "a video on each core", "  ")
    if not any(video.cues for video in look.videos):
        yield from _comment("Words for videos without captions, heard by Whisper (needs the extra asr):", "  ")
        yield "  # transcription: {model: small}"
    if chosen.reject_share != 0.5:
        yield from _said("max_reject_share", chosen.reject_share, "so much of a collection is broken", "  ")


def _section(group: Group, chosen: Chosen, root: Path, folder: Path) -> dict[str, Any]:
    """The section of a collection, its files named from the workspace where they lie in it."""
    name = group.place.name
    section = {
        key: _placed(value, root, folder) if key in ("path", "annotations", "lists", "titles") else value
        for key, value in group.place.section.items()
        if not (key == "labels" and name in chosen.demoted)
    }
    if group.place.section["kind"] != "folder" and "captions" in section:
        section["captions"] = _placed(section["captions"], root, folder)
    return section | chosen.splits[name].section


def _placed(value: Any, root: Path, folder: Path) -> Any:
    if isinstance(value, str):
        return os.path.relpath(value, folder) if root.is_relative_to(folder) else value
    if isinstance(value, Mapping):
        return {key: _placed(one, root, folder) for key, one in value.items()}
    return [_placed(one, root, folder) for one in value]


def _summary(group: Group) -> str:
    seconds = sum(video.duration for video in group.videos)
    words = sum(bool(video.cues) for video in group.videos)
    return f"{len(group.videos)} videos, {minutes(seconds)}, {words} with words"


def _splits(group: Group, chosen: Chosen) -> str:
    found = chosen.splits[group.place.name]
    counts = [f"{list(found.of_videos.values()).count(split)} {split}" for split in found.names]
    return f"{', '.join(counts)}: {found.why}"


def _segment(chosen: Chosen, machine: Machine, spoken: Density) -> Iterator[str]:
    cut = chosen.cut
    yield "segment:"
    clips = f"so that {FRAMES} frames fit the shortest stretch that is looked at"
    yield from _said("fps", chosen.fps, clips, "  ")
    yield from _said("short_side", chosen.size.image, "pixels; what pretrain.image_size needs", "  ")
    density = f"people say {spoken.cues_a_minute:.0f} captions a minute, of {spoken.cue_seconds:.1f} s each"
    if cut.k:
        why = f"{density}: {cut.share:.0%} of them lie in moments that have the {cut.k} that are put in order"
    else:
        why = "no words tell where to cut" if not spoken.cues else f"{density}: too few to put in order"
    yield from _said("max_seconds", cut.max_seconds, why, "  ")
    gap = f"the middle silence between captions is {spoken.gap_seconds:.1f} s: scripts are not torn by usual ones"
    yield from _said("max_gap_seconds", cut.max_gap_seconds, gap if spoken.cues else "", "  ")
    yield from _said("workers", machine.cores, "", "  ")
    if chosen.reject_share != 0.5:
        yield from _said("max_reject_share", chosen.reject_share, "", "  ")


def _pretrain(chosen: Chosen, plan: Plan, machine: Machine, start: Path | None) -> Iterator[str]:
    size = chosen.size
    learned = {name: {"text": text} for name, text in sorted(chosen.learned.items())} or {
        chosen.main: {"text": "script"}
    }
    yield "pretrain:"
    yield from _said("collections", learned, "figures are about the first", "  ")
    if start is not None:
        yield from _comment("A model with these shapes that is there already; training would go on from it:", "  ")
        yield f"  # start_from: {flow(str(start))}"
    yield from _said("objective", chosen.objective, "", "  ")
    if chosen.cut.k:
        yield from _said("k", chosen.cut.k, "captions that are put in order by looking at the video", "  ")
    yield from _said("frames", FRAMES, "of a clip", "  ")
    yield from _said("image_size", size.image, "", "  ")
    shape = {"width": size.width, "depth": size.depth, "heads": size.heads, "patch": size.patch, "tubelet": TUBELET}
    yield from _said("video", shape, f"a model that {machine.gpu or 'a processor'} trains in this time", "  ")
    if chosen.text == "transformer":
        text = {"kind": "transformer", "width": 96, "depth": 2, "heads": 3, "vocabulary": 8000}
        yield from _said("text", text, "parts of words: the language is written without spaces", "  ")
    yield from _said("batch", size.batch, f"of {chosen.eligible} moments to learn from", "  ")
    yield from _said("steps", plan.steps, f"about {minutes(plan.seconds['pretrain'])} here", "  ")
    yield from _said("schedule", {"warmup_steps": plan.warmup}, "", "  ")
    yield from _said("validate_every", plan.validate_every, "", "  ")
    yield from _said("checkpoint_every", plan.validate_every, "", "  ")
    yield from _said("engine", {"threads": min(machine.cores, 16)}, "", "  ")


def _probe(look: Look, chosen: Chosen) -> Iterator[str]:
    tests: dict[str, dict[str, Any]] = {name_of_test(name): {"collections": [name]} for name in chosen.tests}
    yield "probe:"
    if not tests:
        yield from _said("tests", {}, "no labelled clips: nothing to measure the encoder on", "  ")
        return
    groups = {group.place.name: group for group in look.groups}
    for name in chosen.tests:
        test = name_of_test(name)
        labels = sorted({video.label for video in groups[name].videos if video.label})
        texts = {label: " ".join(label.split("_")) for label in labels if "_" in label and label.strip("_")}
        if texts:
            tests[test]["texts"] = {label: text for label, text in texts.items() if label not in parameters.UNSEEN}
        yield from _comment(f"{test}: {len(labels)} classes", "  ")
    yield from _said("tests", tests, "", "  ")
    protocols = ["linear", "knn", "zero_shot", "video_to_video"]
    yield from _said("protocols", protocols, "those that are done in seconds; params.yaml has all", "  ")


def _retrieve(look: Look, chosen: Chosen) -> Iterator[str]:
    others = [group.place.name for group in look.groups if group.videos and group.place.name != chosen.main]
    captions = chosen.learned.get(chosen.main) == "caption"
    yield "retrieve:"
    yield from _said("collection", chosen.main, "that the search is measured on", "  ")
    yield from _said("split", chosen.measured, "", "  ")
    if captions:
        yield from _said("protocol", "captions", "", "  ")
    yield from _said("index_splits", ["train", "val", "test"], "every video can be found", "  ")
    yield from _said("more_collections", others, "videos without words are found by their picture", "  ")
    yield from _said("queries", list(chosen.queries), "examples, out of the captions", "  ")
    if not chosen.tests:
        yield ""
        yield "registry:"
        yield from _said("metric", "t2v/r1", "which model is better: how often words find their moment", "  ")
        yield "sweep:"
        yield from _said("objectives", {"retrieve/t2v/r1": "maximize"}, "", "  ")


# --------------------------------------------------------------------------------------------------- YAML


def _comment(text: str, indent: str = "") -> Iterator[str]:
    """Comment lines; what folders and files are called in it stays in them."""
    line = f"{indent}#"
    for word in plain(text).split():
        if len(line) + 1 + len(word) > WIDTH and not line.endswith("#"):
            yield line
            line = f"{indent}#"
        line += f" {word}"
    yield line


def _said(key: str, value: Any, why: str, indent: str) -> Iterator[str]:
    """A key with its value, and the reason behind it or above it."""
    lines = list(_entry(key, value, indent))
    if why and len(lines) == 1 and len(lines[0]) + len(why) + 4 <= WIDTH:
        yield f"{lines[0]} # {plain(why)}"
        return
    if why:
        yield from _comment(why, indent)
    yield from lines


def _entry(key: str, value: Any, indent: str) -> Iterator[str]:
    """A key with its value in one line, or in several where that is too long."""
    line = f"{indent}{flow(key)}: {flow(value)}"
    if len(line) <= WIDTH or not isinstance(value, Mapping | list) or not value:
        yield line
    elif isinstance(value, Mapping):
        yield f"{indent}{flow(key)}:"
        for inner, one in value.items():
            yield from _entry(inner, one, indent + "  ")
    else:
        yield f"{indent}{flow(key)}:"
        for one in value:
            yield f"{indent}  - {flow(one)}"


def flow(value: Any) -> str:
    """A value in YAML's flow style; any text comes out of it as it was."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{flow(key)}: {flow(one)}" for key, one in value.items()) + "}"
    if isinstance(value, str):
        bare = re.fullmatch(r"[A-Za-z_/][A-Za-z0-9_./-]*", value) is not None
        return value if bare and value.lower() not in _WORDS else _quoted(value)
    if isinstance(value, Sequence):
        return "[" + ", ".join(map(flow, value)) + "]"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).lower() if isinstance(value, bool) else "null" if value is None else str(value)


_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n", ".nan", ".inf"})


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(one if one.isprintable() else f"\\U{ord(one):08x}" for one in escaped) + '"'
