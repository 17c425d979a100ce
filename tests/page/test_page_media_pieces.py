"""Second t of what a browser gets shows the picture that the reader gives for second t, whatever the film was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scriptsight.media import MediaError, audio, frames_at, frames_at_rate, probe
from scriptsight.page.pieces import How, Order, look, make
from scriptsight.page.seeking import frames_from, frames_near
from tests.numbered import HEIGHT, RATE, SIDE, copied, film, number_of

COUNT = 200
CLOSED = {"g": "25", "bf": "2"}
OPEN = {"g": "25", "x264-params": "open-gop=1:bframes=3:scenecut=0"}
X265 = {"x265-params": "keyint=25:min-keyint=25:bframes=4:open-gop=1:log-level=none:pools=none:frame-threads=1"}
SIMPLE = {"g": "10", "bf": "2", "b": "1500000"}
VP9 = {"g": "25", "cpu-used": "8", "deadline": "realtime", "b": "200k"}
# Name -> encoder, its options, with sound, and how the film comes to a browser.
FILMS: dict[str, tuple[str, dict[str, str], bool, How]] = {
    "closed.mp4": ("libx264", CLOSED, True, "served"),
    "closed.mov": ("libx264", CLOSED, False, "copied"),
    "closed.mkv": ("libx264", CLOSED, True, "copied"),
    "closed.ts": ("libx264", CLOSED, False, "copied"),
    "closed.flv": ("libx264", CLOSED, False, "copied"),
    "open.mp4": ("libx264", OPEN, False, "encoded"),
    "small.webm": ("libvpx-vp9", VP9, False, "served"),
    "hevc.mp4": ("libx265", X265, True, "encoded"),
    "old.mpg": ("mpeg2video", SIMPLE, True, "encoded"),
    "old.avi": ("mpeg4", SIMPLE, False, "encoded"),
}


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Each film, made when it is first asked for."""
    folder = tmp_path_factory.mktemp("films")

    def made(name: str) -> Path:
        encoder, options, sound, _ = FILMS[name]
        path = folder / name
        return (
            path if path.exists() else film(path, range(COUNT), encoder, options, sound=(2.0, 8.0) if sound else None)
        )

    return made


def numbers(path: Path) -> list[tuple[float, int]]:
    """When each picture is shown, and its number; the first counts from 0 on."""
    found = [(round(frame.time, 2), number_of(frame.image)) for frame in frames_at_rate(path, 1000, SIDE)]
    return [(0.0, found[0][1]), *found[1:]]


def piece(path: Path, target: Path, how: How | None = None, **stretch: float) -> Any:
    plan = look(path)
    return make(Order(str(path), str(target), replace(plan, how=how or plan.how), **stretch))


@pytest.mark.parametrize("name", FILMS)
def test_a_film_comes_as_it_is_or_as_a_copy_only_if_browsers_play_it(name: str, films: Any) -> None:
    assert look(films(name)).how == FILMS[name][3]


@pytest.mark.parametrize("name", [name for name, film in FILMS.items() if film[3] != "served"])
def test_what_is_made_shows_each_picture_at_its_time(name: str, films: Any, tmp_path: Path) -> None:
    path = films(name)
    made = piece(path, tmp_path / "a.mp4")
    assert numbers(tmp_path / "a.mp4") == numbers(path)
    assert (made.start, made.message) == (0.0, "")
    assert made.end == pytest.approx(COUNT / RATE, abs=0.1)
    assert not list(tmp_path.glob("*.progress"))
    assert look(tmp_path / "a.mp4").how == "served"
    if FILMS[name][2]:
        heard, wanted = audio(tmp_path / "a.mp4"), audio(path)
        loud = [np.flatnonzero(np.abs(sound) > 0.1)[0] / 16_000 for sound in (heard, wanted)]
        assert loud[0] == pytest.approx(loud[1], abs=0.03)


@pytest.mark.parametrize("name", ["hevc.mp4", "old.mpg"])
def test_a_piece_from_the_middle_has_the_times_of_the_whole(name: str, films: Any, tmp_path: Path) -> None:
    made = piece(films(name), tmp_path / "a.mp4", start=4.0, end=6.0)
    whole = [(frame.time, number_of(frame.image)) for frame in frames_at_rate(films(name), 1000, SIDE)]
    first = max(place for place, (time, _) in enumerate(whole) if time <= 4.0 + 4e-4)
    wanted = [(max(0.0, time - 4.0), number) for time, number in whole[first:] if time < 6.0]
    found = [(frame.time, number_of(frame.image)) for frame in frames_at_rate(tmp_path / "a.mp4", 1000, SIDE)]
    assert [number for _, number in found] == [number for _, number in wanted]
    assert [time for time, _ in found] == pytest.approx([time for time, _ in wanted], abs=0.001)
    assert (made.start, made.end) == pytest.approx((4.0, 6.0), abs=0.01)
    loud = np.abs(audio(tmp_path / "a.mp4"))  # the tone begins at 2 s
    assert loud[1600:4800].max() > 0.1
    assert len(loud) / 16_000 == pytest.approx(2.0, abs=0.15)


def test_films_with_an_edit_list_that_hides_pictures_are_encoded(films: Any, tmp_path: Path) -> None:
    cut = copied(films("closed.mp4"), tmp_path / "cut.mp4", start=33 / RATE)
    assert look(cut).how == "encoded"
    piece(cut, tmp_path / "a.mp4")
    assert numbers(tmp_path / "a.mp4") == numbers(cut)
    assert numbers(cut)[0] == (0.0, 33)


def test_a_transport_stream_that_starts_late_is_copied_from_zero(films: Any, tmp_path: Path) -> None:
    late = copied(films("closed.mp4"), tmp_path / "late.ts", later=50.0)
    assert look(late).how == "copied"
    piece(late, tmp_path / "a.mp4")
    assert numbers(tmp_path / "a.mp4") == numbers(late)


def test_a_film_that_mirrors_its_pictures_is_encoded_and_one_that_turns_them_is_not(tmp_path: Path) -> None:
    turned = film(tmp_path / "turned.mp4", range(30), view=lambda seen: np.rot90(seen, -1), turn=(90, False, False))
    mirrored = film(tmp_path / "mirrored.mp4", range(30), view=lambda seen: seen[:, ::-1], turn=(0, True, False))
    assert (look(turned).how, look(mirrored).how) == ("served", "encoded")
    for path in (turned, mirrored):
        piece(path, tmp_path / "a.mp4", "encoded")
        assert numbers(tmp_path / "a.mp4") == numbers(path)
        assert (probe(tmp_path / "a.mp4").width, probe(tmp_path / "a.mp4").height) == (160, HEIGHT)


def test_a_damaged_film_is_shown_as_far_as_it_is_good_and_says_so(films: Any, tmp_path: Path) -> None:
    data = bytearray(films("closed.ts").read_bytes())
    middle = len(data) // 2 // 188 * 188
    path = tmp_path / "torn.ts"
    path.write_bytes(data[:middle] + data[middle + 40 * 188 :])
    made = piece(path, tmp_path / "a.mp4")
    assert "damaged" in made.message
    assert 1 < made.end < 7
    assert numbers(tmp_path / "a.mp4")[-1][0] == pytest.approx(made.end - 1 / RATE, abs=0.05)


def test_a_file_without_pictures_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no film at all" * 100)
    with pytest.raises(MediaError) as caught:
        look(tmp_path / "a.mp4")
    assert caught.value.reason == "unreadable video"


@pytest.mark.parametrize("name", ["closed.mp4", "closed.mkv", "open.mp4", "hevc.mp4", "small.webm", "closed.ts"])
def test_pictures_from_the_middle_are_those_that_decoding_from_the_start_gives(name: str, films: Any) -> None:
    path = films(name)
    whole = [(frame.time, number_of(frame.image)) for frame in frames_at_rate(path, 1000, SIDE)]
    for start in (0.0, 3.33, 7.9):
        place = max(place for place, (time, _) in enumerate(whole) if time <= start + 4e-4)
        assert [(one.time, number_of(one.image)) for one in frames_from(path, start, SIDE)] == whole[place:]
    times = [0.3, 1.0, 1.5, 4.01, 4.3, 7.9]
    seen = [number_of(frame.image) for frame in frames_near(path, times, SIDE)]
    assert seen == [number_of(frame.image) for frame in frames_at(path, times, SIDE)]


def test_real_awkward_films_keep_their_times(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "awkward_videos" / "exoplayer"
    for name in ("ts/sample_h264_mpeg_audio.ts", "mkv/sample_with_srt.mkv", "mp4/sample_android_slow_motion.mp4"):
        piece(folder / name, tmp_path / "a.mp4", None if look(folder / name).how != "served" else "encoded")
        wanted = [frame.time for frame in frames_at_rate(folder / name, 1000, 16)]
        found = [frame.time for frame in frames_at_rate(tmp_path / "a.mp4", 1000, 16)]
        assert found == pytest.approx([0.0, *wanted[1:]], abs=0.002), name
