"""How long to learn on this machine, and what a whole run costs in time, memory and disk."""

from __future__ import annotations

from dataclasses import dataclass

from flows.new.choosing import Chosen, Problem
from flows.new.looking import Look
from flows.new.machine import Machine, Speed

SHORTEST, LONGEST = 2.5, 60.0  # minutes of training, where nobody says how many
MINUTES_AN_HOUR = 3.0  # of training, an hour of video with words
FEWEST_STEPS = 50
MOST_EPOCHS = 400  # of the moments that are learned from: after so many nothing new comes
# Seconds that are none of the work: starting the servers, processes and libraries of a run; each stage again.
START, STAGE = 20.0, 8.0
FORWARD = 0.3  # of a step's time is its forward pass: what embedding a clip costs
BESIDE = 1.15  # of the time of steps: reading frames, validation, checkpoints
MAP = 12.0  # seconds of the map of the corpus
OWN_BYTES = 300e6  # what a workspace holds beside frames: models, figures, the record of runs
STAGES = ("start", "ingest", "segment", "pretrain", "probe", "retrieve")


@dataclass(frozen=True)
class Plan:
    """Steps of training, and what a run comes to: seconds by stage, and bytes."""

    steps: int
    validate_every: int
    warmup: int
    seconds: dict[str, float]
    memory: float
    disk: float
    problems: tuple[Problem, ...]

    @property
    def total(self) -> float:
        """Seconds of a whole run."""
        return sum(self.seconds.values())


def plan(
    look: Look, chosen: Chosen, machine: Machine, speed: Speed, peak_bytes: float, minutes: float | None
) -> Plan:
    """How long to learn, and the estimate.

    Args:
        peak_bytes: the memory that a few steps of the training took.
        minutes: of training, if somebody said so.
    """
    spoken = sum(video.duration for video in look.videos if video.cues) / 3600
    wanted = min(LONGEST, max(SHORTEST, MINUTES_AN_HOUR * spoken)) if minutes is None else minutes
    most = max(FEWEST_STEPS, MOST_EPOCHS * chosen.eligible // chosen.size.batch)
    steps = max(FEWEST_STEPS, min(most, int(60 * wanted / (BESIDE * speed.step))) // 10 * 10)
    seconds_of_video = sum(video.duration for video in look.videos)
    embedding = chosen.moments * FORWARD * speed.step / chosen.size.batch
    frames = seconds_of_video * chosen.fps * speed.frame_bytes
    seconds = {
        "start": START,
        "ingest": STAGE + look.seconds / machine.cores,
        "segment": STAGE + seconds_of_video * speed.decode / machine.cores,
        "pretrain": STAGE + steps * speed.step * BESIDE,
        "probe": STAGE + (4 * embedding if chosen.tests else 0.0),
        "retrieve": STAGE + 2 * embedding + MAP,
    }
    disk = OWN_BYTES + 1.1 * frames
    return Plan(
        steps=steps,
        validate_every=max(10, steps // 50 * 10),
        warmup=min(50, steps // 10),
        seconds=seconds,
        memory=peak_bytes + 0.2 * frames if frames < 1e9 else peak_bytes + 0.2e9,
        disk=disk,
        problems=tuple(_problems(machine, disk, peak_bytes)),
    )


def _problems(machine: Machine, disk: float, memory: float) -> list[Problem]:
    found = []
    if disk > machine.disk:
        found.append(
            Problem(
                f"the disk is too small: a run needs {disk / 1e9:.1f} GB, and {machine.disk / 1e9:.1f} GB are free",
                "free some, put the workspace on another disk, or lower segment.fps",
                stops=True,
            )
        )
    if memory > 0.9 * machine.memory:
        found.append(
            Problem(
                f"the memory is too small: training needs {memory / 1e9:.1f} GB of {machine.memory / 1e9:.1f} GB",
                "lower pretrain.batch, or raise pretrain.engine.accumulate",
                stops=True,
            )
        )
    return found
