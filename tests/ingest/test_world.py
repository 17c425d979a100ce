"""The narrated world is a benchmark: it must be what its description says."""

import collections
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from scriptsight import catalogue, ingest, parts
from scriptsight.catalogue import Cue, Video
from scriptsight.errors import InputError
from scriptsight.ingest import rendering, world
from scriptsight.params.collections import WorldCollection
from scriptsight.reporting import SilentReporter
from tests import small


def collection(**changes: Any) -> WorldCollection:
    values = {
        "kind": "world",
        "content": "narrated",
        "videos": {"train": 3, "val": 1, "test": 0},
        "scenes": 3,
    }
    return WorldCollection.model_validate(values | changes)


def read(folder: Path, chosen: dict[str, Any]) -> tuple[list[Video], ingest.Result]:
    """The catalogue of one collection, and what ingest says of it."""
    result = ingest.run(
        small.ingest_params({"w": chosen}),
        world=folder / "world",
        catalogue=folder / "catalogue",
        metrics=folder / "ingest.json",
        work_root=folder / "work",
        reporter=SilentReporter(),
    )
    return list(catalogue.read(folder / "catalogue")), result


def make(folder: Path, **changes: Any) -> list[Video]:
    return read(folder, collection(**changes).model_dump())[0]


def render(folder: Path, chosen: WorldCollection) -> rendering.Rendering:
    return rendering.render(
        {"w": chosen},
        folder / "world",
        timeout=60.0,
        work_root=folder / "work",
        mapper=parts.in_processes(2),
        reporter=SilentReporter(),
    )


def frames_of(path: str | Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


@pytest.fixture(scope="module")
def narrated(tmp_path_factory: pytest.TempPathFactory) -> list[Video]:
    return make(tmp_path_factory.mktemp("world"))


def test_videos_are_h264_files_with_scripts(narrated: list[Video]) -> None:
    assert [video.video_id for video in narrated] == [
        "train-00000",
        "train-00001",
        "train-00002",
        "val-00000",
    ]
    for video in narrated:
        with av.open(video.uri) as container:
            stream = container.streams.video[0]
            assert stream.codec_context.name == "h264"
            assert (stream.width, stream.height) == (64, 64) and stream.average_rate == 4
        assert len(frames_of(video.uri)) == 3 * (4 * 2 + 2) * 4 == video.duration * video.fps
        script = small.script(Path(video.uri).with_suffix(".vtt"))
        assert (script.cues, script.language, video.language) == (list(video.cues), "en", "en")


def test_what_is_read_is_what_was_drawn(narrated: list[Video]) -> None:
    for video in narrated:
        (drawn,) = world.draw(collection(), video.split, int(video.video_id.rpartition("-")[2]))
        assert video.cues == drawn.cues
        assert (video.title, video.label) == (drawn.title, None)
        assert video.duration == len(drawn.frames) / world.FPS


def test_a_sentence_that_lost_all_its_words_is_silence(tmp_path: Path) -> None:
    world.write_vtt(tmp_path / "a.vtt", [Cue(0.5, 1.5, ""), Cue(2.0, 3.125, "it grows")])
    assert small.script(tmp_path / "a.vtt").cues == [Cue(2.0, 3.125, "it grows")]


def test_equal_parameters_give_equal_bytes_and_another_seed_other_ones(tmp_path: Path, narrated: list[Video]) -> None:
    def digests(videos: list[Video]) -> list[str]:
        return [video.digest for video in videos]

    assert digests(make(tmp_path / "again")) == digests(narrated)
    assert not set(digests(make(tmp_path / "other", seed=9))) & set(digests(narrated))


def test_what_is_done_is_undone() -> None:
    rng = np.random.default_rng(0)
    orders: collections.Counter[tuple[str, int]] = collections.Counter()
    for _ in range(3000):
        verbs = world.scene_verbs(collection(), rng)
        assert len(set(verbs)) == 4
        assert all(world.OPPOSITE[verb] in verbs for verb in verbs)
        orders.update((verb, place) for place, verb in enumerate(verbs))
    # Every verb is equally often at every place: 3000 / 12 expected, 5 standard deviations allowed.
    assert all(abs(orders[verb, place] - 250) < 76 for verb in world.VERBS for place in range(4))


def test_without_undo_verbs_are_independent() -> None:
    rng = np.random.default_rng(0)
    scenes = [world.scene_verbs(collection(undo=False), rng) for _ in range(300)]
    assert any(len(set(verbs)) < 4 for verbs in scenes)


def test_sentences_do_not_depend_on_their_place_and_stay_near_their_event(narrated: list[Video]) -> None:
    for video in narrated:
        for number, cue in enumerate(video.cues):
            event = number * 2.0 + number // 4 * 2.0
            assert -0.26 <= cue.start - event <= 0.36
            assert -0.26 <= cue.end - (event + 2.0) <= 0.36
        assert all(one.end <= other.start for one, other in zip(video.cues, video.cues[1:], strict=False))


def test_words_are_lost_and_misheard_at_the_stated_rates() -> None:
    rng = np.random.default_rng(0)
    heard = [list(world.heard(["red"], rng)) for _ in range(20000)]
    assert sum(not words for words in heard) / 20000 == pytest.approx(0.08, abs=0.008)
    assert sum(words == ["read"] for words in heard) / 20000 == pytest.approx(0.03, abs=0.005)


@pytest.mark.parametrize("content", ["loop", "slow"])
def test_twins_show_the_same_frames_backwards_under_opposite_labels(tmp_path: Path, content: str) -> None:
    clips = make(tmp_path, content=content, videos={"train": 4, "val": 0, "test": 3})
    assert [video.split for video in clips] == ["test"] * 3 + ["train"] * 4
    for one, other in (clips[:2], clips[3:5], clips[5:]):
        assert one.label is not None and world.OPPOSITE[one.label] == other.label
        forwards, backwards = frames_of(one.uri).astype(float), frames_of(other.uri).astype(float)
        assert len(forwards) == 32
        same, mixed = np.abs(forwards - backwards[::-1]).mean(), np.abs(forwards - backwards).mean()
        assert same < 0.6 * mixed  # what is left of `same` is what H.264 loses


def test_labels_are_balanced(tmp_path: Path) -> None:
    clips = make(tmp_path, content="loop", videos={"train": 48, "val": 0, "test": 0})
    assert set(collections.Counter(video.label for video in clips).values()) == {4}


@pytest.mark.parametrize("verb", world.VERBS)
def test_an_event_does_what_its_verb_says(verb: str) -> None:
    rng = np.random.default_rng(0)
    states = world.event(verb, 8, rng)
    column, sign = {
        "left": (0, -1),
        "right": (0, 1),
        "up": (1, -1),
        "down": (1, 1),
        "grow": (2, 1),
        "shrink": (2, -1),
        "appear": (3, 1),
        "vanish": (3, -1),
        "clockwise": (4, 1),
        "anticlockwise": (4, -1),
    }.get(verb, (None, 0))
    if column is None:
        distance = np.abs(states[:, 5:]).sum(1)
        assert (np.diff(distance) < 0).all() if verb == "cover" else (np.diff(distance) > 0).all()
        states[:, 5:] = 0
    else:
        assert (sign * np.diff(states[:, column]) > 0).all()
        states[:, column] = 0
    assert (states == states[0]).all()  # nothing else changes


def test_a_failed_publication_leaves_nothing(tmp_path: Path) -> None:
    rendered = render(tmp_path, collection())
    (chunk,) = rendered.chunks
    summary = rendered.job.summary(chunk)
    whole = summary.read_bytes()
    summary.write_bytes(whole[:-9])
    with pytest.raises(InputError, match="is damaged"):
        rendered.publish(tmp_path / "world")
    assert list((tmp_path / "world").iterdir()) == []
    summary.write_bytes(whole)
    rendered.publish(tmp_path / "world")
    assert sorted(path.name for path in (tmp_path / "world").iterdir()) == ["collections.json", "w"]


def test_a_twin_alone_is_the_same_file(tmp_path: Path) -> None:
    clips = collection(content="loop", videos={"train": 4, "val": 0, "test": 0})
    rendered = render(tmp_path, clips)
    (chunk,) = rendered.chunks
    for line in chunk.lines():
        rendering.work([line], worlds={"w": clips}, folder=tmp_path / "alone")
    together, alone = rendered.job.folder / "videos" / "w", tmp_path / "alone" / "videos" / "w"
    files = sorted(path.name for path in together.iterdir())
    assert len(files) == 4
    assert all((together / name).read_bytes() == (alone / name).read_bytes() for name in files)


@pytest.mark.parametrize(("content", "table"), [("narrated", "captions"), ("loop", "labels")])
def test_the_whole_folder_is_an_ordinary_collection(tmp_path: Path, content: str, table: str) -> None:
    made, result = read(tmp_path, collection(content=content).model_dump())
    assert not sum(result.cleaned.values())  # cleaning finds nothing in what the default learns from
    path = tmp_path / "world" / "w"
    assert b"\r" not in (path / f"{table}.csv").read_bytes()
    plain = {"kind": "folder", "path": str(path), table: f"{table}.csv", "splits": "column"}
    again, result = read(tmp_path / "again", plain)
    assert again == made
    assert [video.cues for video in again] == [video.cues for video in made]
    assert (result.videos, result.rejects, sum(result.cleaned.values())) == (4, 0, 0)
