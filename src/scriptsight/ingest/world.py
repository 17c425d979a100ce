"""The narrated world: a generated corpus of real H.264 files with WebVTT scripts. A benchmark, so described exactly.

Here is what a video shows and what is said in it; `rendering` makes folders of such videos.

**What is seen.** 64 x 64 pixels, 4 frames a second. The background is a 5 x 5 grid of random greys with a
little colour, scaled up bilinearly, with fresh grey Gaussian noise (0.06 of full scale) on every frame. On it one
object (4 shapes, 6 colours, with a white hand from its middle to its edge) does one of twelve things, in six
pairs of opposites: moves left/right, up/down, grows/shrinks, appears/vanishes, is covered/uncovered by a
dark screen, turns clockwise/anticlockwise. Moving objects leave at one edge and come back at the other.

**Narrated videos** are scenes of `2 * pairs` events of 2 s, each starting with a hard cut to a new place, and
2 s of pause after each scene. *Do and undo:* a scene shows `pairs` different pairs, both directions of each,
in random order. The bag of its verbs then says nothing about direction; only the order of the events does
(`undo: false` draws verbs independently instead). Half of the scenes keep one object, half draw a new one for
every event. A speaker says one sentence for each event, of synonyms; every word of it is lost with 8%, and
misheard with 3% if it is one of those in `MISHEARD`. A filler comes before it (30%), chatter after it (5%). A
sentence starts 0.25 s before to 0.35 s after its event, but not before the last one ended, and ends likewise
against the event's end. Sentences do not depend on their place: the text alone says nothing about the order.

**Action clips** are silent, last 8 s, show one object and carry the verb as label. They come in twins: the
second is the first backwards, frame by frame, under the opposite label, so that the frames of a clip, taken
one by one, do not give its class away (as drawn; what H.264 leaves of it was not measured).
- `loop`: the verb over and over with a period of 2 s from a random phase, each time at a new place. Even a
  frame *and* its place in the clip say nothing about direction.
- `slow`: the verb once, over 2 to 5 s; before and after it the clip shows the object standing elsewhere.

All is drawn from numpy generators seeded by (seed, split, number): equal parameters give equal bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from PIL import Image

from scriptsight.catalogue import Cue
from scriptsight.errors import needs
from scriptsight.params.collections import WorldCollection

with needs("data", "Rendering the narrated world"):
    import pysubs2

SIDE = 64  # pixels
FPS = 4
EVENT_SECONDS = 2.0
PAUSE_SECONDS = 2.0
CLIP_SECONDS = 8.0
NOISE = 0.06
EVENT_FRAMES = round(EVENT_SECONDS * FPS)

COLOURS = {
    "red": (0.90, 0.15, 0.15),
    "green": (0.15, 0.75, 0.20),
    "blue": (0.15, 0.30, 0.95),
    "yellow": (0.95, 0.90, 0.15),
    "purple": (0.65, 0.20, 0.80),
    "orange": (1.00, 0.55, 0.10),
}
SHAPES = {
    "circle": ("circle", "ball", "disc"),
    "square": ("square", "box", "block"),
    "triangle": ("triangle", "wedge"),
    "cross": ("cross", "plus"),
}
PAIRS = (
    ("left", "right"),
    ("up", "down"),
    ("grow", "shrink"),
    ("appear", "vanish"),
    ("cover", "uncover"),
    ("clockwise", "anticlockwise"),
)
OPPOSITE = {one: other for pair in PAIRS for one, other in (pair, pair[::-1])}
VERBS = tuple(verb for pair in PAIRS for verb in pair)
PHRASES = {
    "left": ("moves to the left", "slides left", "drifts leftwards", "goes left"),
    "right": ("moves to the right", "slides right", "drifts rightwards", "goes right"),
    "up": ("moves up", "rises", "climbs upwards", "goes up"),
    "down": ("moves down", "sinks", "falls downwards", "goes down"),
    "grow": ("grows", "gets bigger", "expands", "swells"),
    "shrink": ("shrinks", "gets smaller", "contracts", "dwindles"),
    "appear": ("appears", "fades in", "shows up", "becomes visible"),
    "vanish": ("vanishes", "fades away", "disappears", "melts into nothing"),
    "cover": ("is being covered", "hides behind a screen", "gets concealed"),
    "uncover": ("is being uncovered", "comes out from a screen", "gets revealed"),
    "clockwise": ("turns clockwise", "spins clockwise", "rotates clockwise"),
    "anticlockwise": ("turns anticlockwise", "spins counterclockwise", "rotates anticlockwise"),
}
FILLERS = ("um", "uh", "okay", "so", "well", "you see", "look", "you know", "like", "right here")
CHATTER = (
    "my coffee is getting cold",
    "do not forget to subscribe",
    "I love this part",
    "sorry about the noise",
    "what a lovely day",
    "the weather was awful this morning",
)
MISHEARD = {
    "red": "read",
    "blue": "blew",
    "green": "grain",
    "yellow": "hello",
    "purple": "people",
    "circle": "cycle",
    "square": "scare",
    "cross": "gross",
    "ball": "bowl",
    "left": "lift",
    "grows": "gross",
    "rises": "prizes",
    "sinks": "thinks",
    "turns": "terms",
    "covered": "coloured",
    "expands": "demands",
    "visible": "invincible",
}


@dataclass(frozen=True)
class Thing:
    """An object: its shape, its colour, its radius in pixels."""

    shape: str
    colour: str
    radius: float


@dataclass(frozen=True)
class Drawn:
    """A video as it was drawn.

    Attributes:
        frames: uint8 [F, SIDE, SIDE, 3], `FPS` of them a second.
        cues: what is said; a sentence that lost all its words is silence.
        title: of a narrated video.
        label: of a clip.
    """

    frames: np.ndarray
    cues: tuple[Cue, ...] = ()
    title: str | None = None
    label: str | None = None


def draw(collection: WorldCollection, split: str, number: int) -> tuple[Drawn, ...]:
    """The narrated video `number` of a split, or, of an even number, the clip and its twin, which comes next."""
    rng = np.random.default_rng([collection.seed, ("train", "val", "test").index(split), number])
    if collection.content == "narrated":
        return (narrated(collection, rng),)
    verb = VERBS[(number + rng.integers(2)) % len(VERBS)]
    clip = _loop(verb, rng) if collection.content == "loop" else _slow(verb, rng)
    return Drawn(clip, label=verb), Drawn(clip[::-1], label=OPPOSITE[verb])


# ------------------------------------------------------------------------------------------ what happens


def narrated(collection: WorldCollection, rng: np.random.Generator) -> Drawn:
    """A video of narrated scenes."""
    stretches: list[np.ndarray] = []
    cues: list[Cue] = []
    clock = 0.0
    first: Thing | None = None
    for _ in range(collection.scenes):
        background = _background(rng)
        keeps_object = rng.random() < 0.5
        thing: Thing | None = None
        for verb in scene_verbs(collection, rng):
            thing = thing if thing and keeps_object else _thing(rng)
            first = first or thing
            stretches.append(_render(background, thing, event(verb, EVENT_FRAMES, rng), rng))
            said_from = clock + rng.uniform(-0.25, 0.35)
            said_until = clock + EVENT_SECONDS + rng.uniform(-0.25, 0.35)
            said_from = max(said_from, 0.0, cues[-1].end if cues else 0.0)  # one speaker, one sentence at a time
            cues.append(Cue(round(said_from, 3), round(said_until, 3), sentence(verb, thing, rng)))
            clock += EVENT_SECONDS
        empty = np.zeros((round(PAUSE_SECONDS * FPS), SIDE, SIDE), np.float32)
        stretches.append(_noisy(empty + 1, background, empty, (0, 0, 0), empty, rng))
        clock += PAUSE_SECONDS
    assert first is not None
    title = f"{collection.scenes} scenes of shapes, first a {first.colour} {first.shape}"
    return Drawn(np.concatenate(stretches), tuple(cues), title)


def scene_verbs(collection: WorldCollection, rng: np.random.Generator) -> list[str]:
    if not collection.undo:
        return [VERBS[i] for i in rng.integers(len(VERBS), size=2 * collection.pairs)]
    pairs = rng.choice(len(PAIRS), size=collection.pairs, replace=False)
    verbs = [verb for pair in pairs for verb in PAIRS[pair]]
    return [verbs[i] for i in rng.permutation(len(verbs))]


def _loop(verb: str, rng: np.random.Generator) -> np.ndarray:
    """The verb over and over, from a random phase -> uint8 [F, SIDE, SIDE, 3]."""
    total = round(CLIP_SECONDS * FPS)
    background, thing = _background(rng), _thing(rng)
    turns = [event(verb, EVENT_FRAMES, rng) for _ in range(total // EVENT_FRAMES + 1)]
    phase = rng.integers(EVENT_FRAMES)
    return _render(background, thing, np.concatenate(turns)[phase : phase + total], rng)


def _slow(verb: str, rng: np.random.Generator) -> np.ndarray:
    """The verb once, over 2 to 5 seconds, between two stills of the object elsewhere -> uint8 [F, SIDE, SIDE, 3]."""
    total = round(CLIP_SECONDS * FPS)
    background, thing = _background(rng), _thing(rng)
    length = int(rng.integers(2 * FPS, 5 * FPS + 1))
    before = int(rng.integers(total - length + 1))
    states = [_still(before, rng), event(verb, length, rng), _still(total - length - before, rng)]
    return _render(background, thing, np.concatenate(states), rng)


# A state is (x, y, scale, opacity, angle, screen x offset, screen y offset): offsets in pixels from the object
# to the middle of the screen, far away when there is none.
FAR = 10 * SIDE


def _still(frames: int, rng: np.random.Generator) -> np.ndarray:
    x, y, angle = rng.uniform(0, SIDE), rng.uniform(0, SIDE), rng.uniform(0, 2 * np.pi)
    return np.tile([x, y, rng.uniform(0.8, 1.6), 1.0, angle, FAR, FAR], (frames, 1))


def event(verb: str, frames: int, rng: np.random.Generator) -> np.ndarray:
    """States of one event, frame by frame -> [F, 7]."""
    progress = (np.arange(frames) + 0.5) / frames
    states = np.tile([0.0, 0.0, 1.2, 1.0, rng.uniform(0, 2 * np.pi), FAR, FAR], (frames, 1))
    states[:, :2] = rng.uniform(0, SIDE, size=2)
    if verb in ("shrink", "vanish", "uncover", "anticlockwise"):  # their opposites backwards
        progress = progress[::-1]
    match verb:
        case "left" | "right" | "up" | "down":
            axis = 0 if verb in ("left", "right") else 1
            sign = 1 if verb in ("right", "down") else -1
            states[:, axis] += sign * rng.uniform(12, 24) * progress
        case "grow" | "shrink":
            states[:, 2] = 0.6 + (rng.uniform(1.5, 2.0) - 0.6) * progress
        case "appear" | "vanish":
            states[:, 3] = progress
        case "cover" | "uncover":
            along, side = int(rng.integers(2)), rng.choice([-1, 1])
            states[:, 5:] = 0.0
            states[:, 5 + along] = side * 34 * (1 - progress)
        case _:
            states[:, 4] += rng.uniform(1.6, 2.6) * progress
    return states


# ---------------------------------------------------------------------------------------- how it looks


def _thing(rng: np.random.Generator) -> Thing:
    shape, colour = rng.integers(len(SHAPES)), rng.integers(len(COLOURS))
    return Thing(tuple(SHAPES)[shape], tuple(COLOURS)[colour], rng.uniform(9, 12))


def _background(rng: np.random.Generator) -> np.ndarray:
    """Float32 [SIDE, SIDE, 3], full scale 1."""
    grid = rng.uniform(0.25, 0.65, size=(5, 5, 1)) + rng.uniform(-0.06, 0.06, size=(5, 5, 3))
    image = Image.fromarray((grid * 255).astype(np.uint8)).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return np.asarray(image, dtype=np.float32) / 255


def _render(background: np.ndarray, thing: Thing, states: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw the object in each of its states -> uint8 [F, SIDE, SIDE, 3]."""
    x, y, scale, opacity, angle, screen_x, screen_y = states.astype(np.float32).T[:, :, None, None]  # each [F, 1, 1]
    place = np.arange(SIDE, dtype=np.float32)
    # Distances wrap around the edges: what leaves on the right comes back on the left.
    dx = (place - x + SIDE / 2) % SIDE - SIDE / 2  # [F, 1, SIDE]
    dy = (place[:, None] - y + SIDE / 2) % SIDE - SIDE / 2  # [F, SIDE, 1]
    u = np.cos(angle) * dx + np.sin(angle) * dy
    v = -np.sin(angle) * dx + np.cos(angle) * dy
    radius = thing.radius * scale
    body = _coverage(_distance(thing.shape, u, v, radius)) * opacity
    light = body * _coverage(np.maximum(np.abs(v) - 0.16 * radius, np.abs(u - 0.5 * radius) - 0.5 * radius))
    seen = 1 - light
    # Painted over each other: background, body, white hand, dark screen.
    if (np.abs(states[:, 5:]) < FAR).any():
        screen = _coverage(np.maximum(np.abs(dx - screen_x), np.abs(dy - screen_y)) - 17)
        seen, light = seen * (1 - screen), light * (1 - screen) + np.float32(0.12) * screen
    return _noisy((1 - body) * seen, background, body * seen, COLOURS[thing.colour], light, rng)


def _noisy(
    background_share: np.ndarray,
    background: np.ndarray,
    colour_share: np.ndarray,
    colour: Sequence[float],
    light: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Mix shares and light, each [F, SIDE, SIDE], add grey noise -> uint8 [F, SIDE, SIDE, 3]."""
    noise = rng.standard_normal(light.shape, dtype=np.float32)
    noise *= np.float32(NOISE)
    light = light + noise
    frames = np.empty((*light.shape, 3), np.uint8)
    mixed, part = np.empty_like(light), np.empty_like(light)  # once, not for each step of the sum
    for channel in range(3):
        np.multiply(background_share, background[..., channel], out=mixed)
        np.multiply(colour_share, np.float32(colour[channel]), out=part)
        mixed += part
        mixed += light
        np.clip(mixed, 0, 1, out=mixed)
        mixed *= 255
        frames[..., channel] = mixed
    return frames


def _distance(shape: str, u: np.ndarray, v: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Signed distance in pixels to the outline of a shape centred on (0, 0); negative inside."""
    match shape:
        case "circle":
            return np.hypot(u, v) - radius
        case "square":
            return np.maximum(np.abs(u), np.abs(v)) - 0.88 * radius
        case "triangle":
            sides = [np.cos(turn) * u + np.sin(turn) * v for turn in np.pi + np.arange(3) * 2 * np.pi / 3]
            return np.maximum.reduce(sides) - 0.62 * radius
        case _:
            along = np.maximum(np.abs(u) - radius, np.abs(v) - 0.36 * radius)
            across = np.maximum(np.abs(v) - radius, np.abs(u) - 0.36 * radius)
            return np.minimum(along, across)


def _coverage(distance: np.ndarray) -> np.ndarray:
    return np.clip(0.5 - distance, 0, 1)


def write_mp4(path: Path, frames: np.ndarray) -> None:
    """Encode uint8 [F, SIDE, SIDE, 3] as H.264, equal frames to equal bytes: one thread, no time of day, and no
    B-frames, with which x264's rate control reads memory that nobody wrote (MALLOC_PERTURB_ changes the file)."""
    with av.open(str(path), "w", options={"fflags": "+bitexact", "movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "26", "preset": "veryfast", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], "yuv420p"
        stream.codec_context.thread_count = 1
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")))
        container.mux(stream.encode())


# --------------------------------------------------------------------------------------- what is said


def sentence(verb: str, thing: Thing, rng: np.random.Generator) -> str:
    noun = SHAPES[thing.shape][rng.integers(len(SHAPES[thing.shape]))]
    phrase = PHRASES[verb][rng.integers(len(PHRASES[verb]))]
    article = ("the", "a", "this", "our")[rng.integers(4)]
    words = list(heard(f"{article} {thing.colour} {noun} {phrase}".split(), rng))
    if rng.random() < 0.3:
        words.insert(0, FILLERS[rng.integers(len(FILLERS))])
    if rng.random() < 0.05:
        words.append(CHATTER[rng.integers(len(CHATTER))])
    return " ".join(words)


def heard(words: Sequence[str], rng: np.random.Generator) -> Iterator[str]:
    """What a speech recogniser makes of it: words lost, words misheard."""
    for word in words:
        luck = rng.random()
        if luck >= 0.08:
            yield MISHEARD.get(word, word) if luck < 0.11 else word


def write_vtt(path: Path, cues: Sequence[Cue]) -> None:
    """Write a script in English as WebVTT, in milliseconds."""
    script = pysubs2.SSAFile()
    for cue in cues:
        if cue.text:
            script.append(pysubs2.SSAEvent(start=round(cue.start * 1000), end=round(cue.end * 1000), text=cue.text))
    text = script.to_string("vtt").replace("WEBVTT\n", "WEBVTT\nLanguage: en\n", 1)
    path.write_text(text, encoding="utf-8", newline="\n")
