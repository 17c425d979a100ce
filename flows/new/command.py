"""`scriptsight new`: look at a folder of videos, and write a workspace that fits them."""

from __future__ import annotations

import argparse
import difflib
import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flows import PROJECT, parameters
from flows.new import choosing, machine, moments, places, planning, record, saying, writing
from flows.new.choosing import Chosen
from flows.new.looking import Look, look
from flows.new.machine import Machine, Speed
from flows.new.planning import Plan
from flows.new.saying import Made, Outcome, State
from flows.new.wording import plain
from scriptsight.catalogue import Video
from scriptsight.errors import InputError
from scriptsight.files import whole_file
from scriptsight.params.pretrain import PretrainParams
from scriptsight.reporting import ConsoleReporter
from scriptsight.spreading import evenly

UNFIT = 3  # exit status: the workspace is written, and a run of it fails or teaches nothing
DECODED = 4  # videos that are decoded for measuring


def command(options: argparse.Namespace) -> None:
    """Look, choose, write, and say all three; exit with status 3 where a run can't teach anything."""
    folder = options.folder.resolve()
    root = _checked(options.videos, folder)
    say = _nothing if options.json else print
    base = parameters.load(PROJECT / "params.yaml")
    here = machine.here(folder)
    params = base.ingest.model_copy(update={"workers": here.cores})

    def early(some: Sequence[Video], total: int) -> None:
        say(saying.early(some, total))

    found = look(root, places.find(root), params, ConsoleReporter(), early)
    if not found.videos:
        raise InputError(saying.nothing_readable(found))
    for line in saying.seen(found):
        say(line)
    before = record.read(folder)
    made = _make(found, base, here, folder, before, options.minutes)
    outcome = _write(folder, found, made, before, options.renew)
    if options.json:
        print(json.dumps(saying.for_programs(found, made, outcome), indent=2))
    else:
        for line in saying.said(options.folder, made, outcome):
            print(line)
    if any(problem.stops for problem in made.problems):
        sys.exit(UNFIT)


def _nothing(_line: str) -> None:
    """Programs read one JSON object and nothing else."""


def _checked(videos: str, folder: Path) -> Path:
    """The folder of the videos.

    Raises:
        InputError: it is none of this machine, or the workspace would lie in it or be the project itself.
    """
    if "://" in videos:
        raise InputError(
            f"{plain(videos)} is an address, and `scriptsight new` looks at folders of this machine alone. "
            "Copy the videos here, or write an overrides.yaml by hand (docs/how-to/datasets.md)."
        )
    root = Path(videos).absolute()
    if not root.is_dir():
        raise InputError(f"There is no folder {root}: --videos names the folder that the videos are in.")
    if folder == PROJECT:
        raise InputError(f"{folder} is the project itself: name another folder for the workspace, such as my-videos.")
    if folder == root.resolve() or folder.is_relative_to(root.resolve()):
        raise InputError(f"The workspace {folder} would lie in the videos of {root}: name a folder outside of them.")
    return root


def _make(
    found: Look,
    base: parameters.Params,
    here: Machine,
    folder: Path,
    before: record.Record | None,
    budget: float | None,
) -> Made:
    """Choose, measure and plan; what was measured for the same settings before is not measured again."""
    chosen = choosing.choose(found, here, base.segment)
    unmeasured = Speed(1.0, 0.1, 2000.0)
    spoken = moments.density(found.videos)

    def text(speed: Speed, peak: float) -> tuple[Plan, str]:
        plan = planning.plan(found, chosen, here, speed, peak, budget)
        return plan, writing.text_of(found, chosen, plan, here, spoken, folder, _start(chosen))

    params = writing.check(text(unmeasured, 0.0)[1])
    settings = _digest(params.pretrain, params.segment.fps, here)
    if before is not None and before.settings == settings:
        speed, peak = before.speed, before.peak_bytes
    else:
        speed, peak = _measured(found, params)
    plan, written = text(speed, peak)
    writing.check(written)
    return Made(chosen, plan, speed, peak, here, settings, written)


def _digest(params: PretrainParams, fps: float, here: Machine) -> str:
    """Of what the speed of a step and of decoding depends on."""
    same = params.model_dump_json(
        include={"k", "frames", "image_size", "keep", "video", "text", "batch", "objective", "engine"}
    )
    return hashlib.sha256(f"{same} {fps} {here.cores} {here.gpu}".encode()).hexdigest()[:16]


def _measured(found: Look, params: parameters.Params) -> tuple[Speed, float]:
    step, peak = machine.step(params.pretrain)
    videos = found.videos
    some = [videos[number].uri for number in evenly(len(videos), DECODED)]
    decode, frame = machine.decoding(
        some,
        params.segment.fps,
        params.segment.short_side,
        params.segment.jpeg_quality,
        params.segment.timeout_seconds,
    )
    return Speed(float(f"{step:.2g}"), float(f"{decode:.3g}"), float(f"{frame:.4g}")), peak


def _start(chosen: Chosen) -> Path | None:
    """The project's own model, if training could go on from it with the settings that were chosen."""
    folder = PROJECT / "models" / "pretrained"
    try:
        config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        video, text = config["video"], config["text"]
        size = chosen.size
        shape = (size.image, size.width, size.depth, size.heads, size.patch, choosing.FRAMES, chosen.text)
        names = ("size", "width", "depth", "heads", "patch", "frames")
        return folder if (*(video[name] for name in names), text["kind"]) == shape else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


# -------------------------------------------------------------------------------------------------- writing


def _write(folder: Path, found: Look, made: Made, before: record.Record | None, renew: bool) -> Outcome:
    """Write a new workspace; into one that is there only what its owner asked for."""
    path = folder / "overrides.yaml"
    now = record.of(found)
    fresh = record.Record(str(found.root), now, made.settings, made.speed, made.peak_bytes)
    old = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None
    changes = tuple(record.changes(before.videos, now)) if before is not None and old is not None else ()
    if old == made.text:
        record.write(folder, fresh)
        return Outcome("unchanged", path, changes)
    if old is None:
        target, difference = path, list[str]()
        state: State = "written"
    else:
        lines = (old.splitlines(), made.text.splitlines())
        difference = list(difflib.unified_diff(*lines, "overrides.yaml", "new", lineterm="", n=1))
        if not renew:
            return Outcome("kept", path, changes, tuple(difference))
        edited = writing.is_edited(old)
        target = path.with_name("overrides.yaml.new") if edited else path
        state = "beside" if edited else "renewed"
    with whole_file(target) as partial:
        partial.write_text(made.text, encoding="utf-8")
    record.write(folder, fresh)
    return Outcome(state, target, changes, tuple(difference))
