"""How long to learn, and what a run costs."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from flows import PROJECT, parameters
from flows.new import choosing
from flows.new.looking import Group, Look
from flows.new.machine import Machine, Speed
from flows.new.places import Place
from flows.new.planning import BESIDE, LONGEST, SHORTEST, Plan, plan
from scriptsight.catalogue import Cue, Video

SPEED = Speed(step=0.5, decode=0.02, frame_bytes=3000.0)
MACHINE = Machine(cores=2, memory=8 * 10**9, disk=50 * 10**9)


def planned(
    videos: int, minutes: float | None = None, machine: Machine = MACHINE, speed: Speed = SPEED, peak: float = 1e9
) -> Plan:
    cues = tuple(Cue(3.0 * n, 3.0 * n + 2, f"this is the sentence {n}") for n in range(200))
    one = Video("a", "talks", "train", "/v/a.mp4", 9, "d", 600.0, 25.0, 640, 360, "h264", True, cues=cues)
    several = tuple(replace(one, video_id=f"a{n}", uri=f"/v/a{n}.mp4", digest=f"{n}") for n in range(videos))
    place = Place("talks", {"kind": "folder", "path": "/v", "splits": "folder"}, "a folder of videos")
    look = Look(Path("/v"), (Group(place, several, (), videos, Counter(), {}),), 10.0)
    chosen = choosing.choose(look, machine, parameters.load(PROJECT / "params.yaml").segment)
    return plan(look, chosen, machine, speed, peak, minutes)


@pytest.mark.parametrize(
    ("videos", "minutes", "wanted"),
    [(3, None, SHORTEST), (12, None, 6.0), (3000, None, LONGEST), (12, 4.0, 4.0)],
)
def test_the_steps_fill_the_time_that_is_meant_for_them(videos: int, minutes: float | None, wanted: float) -> None:
    steps = planned(videos, minutes).steps
    assert steps == pytest.approx(60 * wanted / (0.5 * BESIDE), abs=10)


def test_a_slower_machine_does_fewer_steps_in_the_same_time() -> None:
    fast, slow = planned(12), planned(12, speed=replace(SPEED, step=1.0))
    assert slow.steps == pytest.approx(fast.steps / 2, abs=10)
    assert slow.seconds["pretrain"] == pytest.approx(fast.seconds["pretrain"], rel=0.05)


def test_a_few_moments_are_not_repeated_for_ever() -> None:
    assert planned(1, minutes=600.0).steps < 2000


def test_more_video_takes_more_disk_and_more_time() -> None:
    few, many = planned(10), planned(1000)
    assert many.disk > 10 * few.disk
    assert many.seconds["segment"] > 20 * few.seconds["segment"]


@pytest.mark.parametrize(
    ("machine", "peak", "said"),
    [
        (replace(MACHINE, disk=10**8), 1e9, "the disk is too small: a run needs .* and 0.1 GB are free"),
        (replace(MACHINE, memory=10**9), 2e9, "the memory is too small: training needs 2.0 GB of 1.0 GB"),
    ],
)
def test_what_does_not_fit_is_said(machine: Machine, peak: float, said: str) -> None:
    (problem,) = planned(12, machine=machine, peak=peak).problems
    assert problem.stops and re.search(said, problem.what)
    assert planned(12).problems == ()
