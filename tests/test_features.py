"""Frozen features: those of a naive loop, in memory and from a store that is killed, damaged and shared."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg
import torch
from torch import nn

from scriptsight import arithmetic, clips, features
from scriptsight.clips import View
from scriptsight.errors import InputError
from scriptsight.models.bundle import Encoder
from scriptsight.models.resnet import ResNet3d
from scriptsight.models.video import VideoViT
from scriptsight.reporting import ConsoleReporter
from scriptsight.segments import Segment, Segments
from tests import small

REPORTER = ConsoleReporter()
PROJECT = Path(__file__).parents[1]
EVERY = ("cls", "mean", "embedding", "tokens", "cls@1", "mean@2", "cls@3")


class Heard(ConsoleReporter):
    """Remembers what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def message(self, text: str) -> None:
        self.lines.append(text)


def deep_encoder() -> Encoder:
    """A tiny encoder of three blocks."""
    encoder = small.tiny_encoder()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        encoder.video = VideoViT(width=32, depth=3, heads=2, patch=8, tubelet=2, size=16, frames=4).eval()
    return encoder


def wide(name: str, seed: int) -> Segment:
    """A segment of noisy frames twice as wide as high."""
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 16, 32, 3)).astype(np.uint8)
    return dataclasses.replace(small.segment(name), frames=[simplejpeg.encode_jpeg(image) for image in pixels])


@pytest.fixture
def segments(tmp_path: Path) -> Segments:
    rows = [small.segment(f"v{i}", colour=(20 * i, 250 - 20 * i, 100), seed=i) for i in range(11)]
    small.write_segments(tmp_path, "c", "test", rows)
    return Segments(tmp_path, "c", "test")


def test_features_are_those_of_each_segment_alone(segments: Segments) -> None:
    encoder = small.tiny_encoder()
    found = features.extract(encoder, segments, 4, REPORTER, "test", precision="fp32")
    assert {name: values.shape for name, values in found.items()} == {
        "cls": (11, 1, 32),
        "mean": (11, 1, 32),
        "embedding": (11, 1, 8),
    }
    for row, segment in enumerate(segments):
        frames = torch.from_numpy(clips.views(segment, View(), 4, 16))
        alone = {**encoder.features(frames), "embedding": encoder.encode_video(frames)}
        for name, values in found.items():
            assert values.dtype == np.float32
            np.testing.assert_allclose(values[row], alone[name].numpy(), atol=1e-5)
    assert np.ptp(found["cls"], axis=0).max() > 0.01  # the segments do differ


@pytest.mark.parametrize("batch", [1, 3, 11, 50])
def test_features_do_not_depend_on_the_batch_size(segments: Segments, batch: int) -> None:
    encoder = small.tiny_encoder()
    one, other = (
        features.extract(encoder, segments, size, REPORTER, "test", precision="fp32") for size in (4, batch)
    )
    for name in one:
        np.testing.assert_allclose(one[name], other[name], atol=1e-5)


def test_two_extractions_are_equal_to_the_bit_and_leave_torch_as_it_was(segments: Segments) -> None:
    encoder = small.tiny_encoder()
    one, other = (features.extract(encoder, segments, 4, REPORTER, "test") for _ in range(2))
    assert all(one[name].tobytes() == other[name].tobytes() for name in one)
    assert not torch.are_deterministic_algorithms_enabled()


def test_rows_choose_segments_in_order(segments: Segments) -> None:
    encoder = small.tiny_encoder()
    every = features.extract(encoder, segments, 4, REPORTER, "test", precision="fp32")["cls"]
    some = features.extract(encoder, segments, 2, REPORTER, "test", rows=[7, 0, 3], precision="fp32")["cls"]
    np.testing.assert_allclose(some, every[[7, 0, 3]], atol=1e-5)


def vit(encoder: Encoder) -> VideoViT:
    assert isinstance(encoder.video, VideoViT)
    return encoder.video


def block_outputs(encoder: Encoder, frames: torch.Tensor, block: int) -> torch.Tensor:
    """The tokens [C, 1 + N, D] that leave a block: those of an encoder that ends there."""
    video: Any = deepcopy(vit(encoder))
    video.blocks, video.norm = video.blocks[:block], nn.Identity()
    return video(frames)


@torch.inference_mode()
def test_every_kind_of_every_clip_is_that_of_a_naive_loop(tmp_path: Path) -> None:
    """Wide segments have three crops each, square ones one that stands for three; batches mix them."""
    rows = [wide("w0", 0), small.segment("s0", seed=1), wide("w1", 2), wide("w2", 3), small.segment("s1", seed=4)]
    small.write_segments(tmp_path, "c", "test", rows)
    segments = Segments(tmp_path, "c", "test")
    encoder, view, heard = deep_encoder(), View(stretches=2, crops=3), Heard()
    found = features.extract(encoder, segments, 13, heard, "test", view=view, kinds=EVERY, precision="fp32")
    assert {kind: values.shape[2:] for kind, values in found.items()} == {
        **dict.fromkeys(("cls", "mean", "cls@1", "mean@2", "cls@3"), (32,)),
        "embedding": (8,),
        "tokens": (8, 32),
    }
    for row, segment in enumerate(segments):
        shown = clips.views(segment, view, 4, 16)
        assert len(shown) == (6 if segment.video_id.startswith("w") else 2)
        for place in range(6):
            clip = torch.from_numpy(shown[place if len(shown) == 6 else place // 3])[None]
            tokens = encoder.video(clip)
            naive = {
                "cls": tokens[0, 0],
                "mean": tokens[0, 1:].mean(0),
                "embedding": encoder.encode_video(clip)[0],
                "tokens": tokens[0, 1:],
                "cls@1": block_outputs(encoder, clip, 1)[0, 0],
                "mean@2": block_outputs(encoder, clip, 2)[0, 1:].mean(0),
                "cls@3": block_outputs(encoder, clip, 3)[0, 0],
            }
            for kind, value in naive.items():
                np.testing.assert_allclose(found[kind][row, place], value.numpy(), atol=2e-5)
    assert [line for line in heard.lines if "square" in line] == heard.lines and len(heard.lines) == 1


def test_class_tokens_alone_are_the_same_and_cost_no_other_token_its_last_block(segments: Segments) -> None:
    encoder = deep_encoder()
    whole = features.extract(encoder, segments, 4, REPORTER, "test", kinds=EVERY, precision="fp32")
    seen: list[int] = []
    last: Any = vit(encoder).blocks[2]
    hook = last.mlp.register_forward_hook(lambda _, given, __: seen.append(given[0].shape[1]))
    few = ("cls", "embedding", "cls@1", "cls@3", "mean@2")
    trimmed = features.extract(encoder, segments, 4, REPORTER, "test", kinds=few, precision="fp32")
    hook.remove()
    assert seen == [1, 1, 1]
    for kind in few:
        np.testing.assert_allclose(trimmed[kind], whole[kind], atol=1e-5)
    after = features.extract(encoder, segments, 4, REPORTER, "test", kinds=EVERY, precision="fp32")
    assert all(after[kind].tobytes() == whole[kind].tobytes() for kind in EVERY)  # it left nothing behind


@pytest.mark.parametrize("kind", ["pixels", "cls@0", "mean@4", "tokens@1", "cls@", "cls@-1"])
def test_unknown_kinds_are_refused(segments: Segments, kind: str) -> None:
    with pytest.raises(InputError, match=rf"no features '{kind}'.* cls@1 to cls@3"):
        features.extract(deep_encoder(), segments, 4, REPORTER, "test", kinds=("cls", kind))


def test_a_resnet_has_all_but_blocks(segments: Segments) -> None:
    encoder = small.tiny_encoder()
    encoder.video = ResNet3d(depth=18, size=16, frames=4).eval()
    encoder.video_projection = nn.Linear(512, 8)
    with pytest.raises(InputError, match=r"no features 'cls@1'.*a ViT's"):
        features.extract(encoder, segments, 4, REPORTER, "test", kinds=("cls@1",))
    kinds = ("cls", "embedding", "tokens")
    found = features.extract(encoder, segments, 4, REPORTER, "test", [2, 1], kinds=kinds, precision="fp32")
    assert found["tokens"].shape == (2, 1, 4, 512)
    clip = torch.from_numpy(clips.views(segments[1], View(), 4, 16))
    np.testing.assert_allclose(found["embedding"][1], encoder.encode_video(clip).numpy(), atol=1e-5)


def test_orders_take_time_away_from_features(segments: Segments, tmp_path: Path) -> None:
    def seen(order: clips.Order, which: Segments = segments) -> np.ndarray:
        kinds, view = ("mean",), View(order=order)
        return features.extract(deep_encoder(), which, 4, REPORTER, "test", view=view, kinds=kinds)["mean"]

    forward = seen("forward")
    for order in ("shuffled", "reversed", "first_frame"):
        changed = np.abs(seen(order) - forward).max(axis=(1, 2))
        assert (changed > 1e-3).all()
    still = []
    for segment in segments:
        first = segment.frames[clips.frame_indices(segment.frame_times, segment.start, segment.end, 4)[0]]
        still.append(dataclasses.replace(segment, frames=[bytes(first)] * 6))
    small.write_segments(tmp_path / "still", "c", "test", still)
    repeated = Segments(tmp_path / "still", "c", "test")
    assert seen("first_frame").tobytes() == seen("forward", repeated).tobytes()
    assert seen("shuffled").tobytes() == seen("shuffled").tobytes()


def test_bf16_stays_close_and_leaves_the_encoder_as_it_was(segments: Segments) -> None:
    encoder = deep_encoder()
    exact, fast = (
        features.extract(encoder, segments, 4, REPORTER, "test", precision=precision)
        for precision in ("fp32", "bf16")
    )
    for kind in exact:
        a, b = exact[kind][:, 0].astype(float), fast[kind][:, 0].astype(float)
        cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
        assert 0.999 < cosine.min() < 1  # it was computed otherwise, and little is lost
    assert {parameter.device.type for parameter in encoder.parameters()} == {"cpu"}
    assert not any(getattr(module, "explicit", False) for module in encoder.modules())


def test_no_rows_is_an_error(segments: Segments) -> None:
    with pytest.raises(InputError, match="no segments"):
        features.extract(small.tiny_encoder(), segments, 4, REPORTER, "test", rows=[])


def test_a_damaged_frame_names_its_segment(tmp_path: Path) -> None:
    good, bad = small.segment("good"), small.segment("bad")
    object.__setattr__(bad, "frames", [b"\xff\xd8 no picture"] * 6)
    small.write_segments(tmp_path, "c", "test", [good, bad])
    with pytest.raises(InputError, match=r"small/bad/0 are damaged.*segment stage"):
        features.extract(small.tiny_encoder(), Segments(tmp_path, "c", "test"), 4, REPORTER, "test")


def test_features_that_are_not_finite_are_refused(segments: Segments) -> None:
    encoder = small.tiny_encoder()
    with torch.no_grad():
        vit(encoder).norm.weight[0] = float("nan")
    with pytest.raises(InputError, match=r"small/v0/0 are not finite"):
        features.extract(encoder, segments, 4, REPORTER, "test")


def test_script_texts_prefers_cues_then_the_caption_then_the_title() -> None:
    assert features.script_texts(small.segment("v", texts=["one", " ", "two"], captions=["c"])) == ["one", "two"]
    assert features.script_texts(small.segment("v", captions=["c"], title="t")) == ["c"]
    assert features.script_texts(small.segment("v", captions=[" "], title="t")) == ["t"]
    assert features.script_texts(small.segment("v")) == []


# ---------------------------------------------------------------------------------------------------- store


def kept(
    encoder: Encoder, segments: Segments, store: Path, reporter: ConsoleReporter = REPORTER, **asked: Any
) -> Any:
    return features.extract(encoder, segments, 4, reporter, "test", store=store, **asked)


def refuse(*_: object) -> None:
    raise AssertionError("the encoder was asked again")


def test_a_store_gives_the_bytes_of_memory_and_asks_the_encoder_once(
    segments: Segments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = deep_encoder()
    view = View(stretches=2)
    memory = features.extract(encoder, segments, 4, REPORTER, "test", view=view, kinds=EVERY)
    first = kept(encoder, segments, tmp_path / "store", view=view, kinds=EVERY)
    hook = encoder.video.register_forward_pre_hook(refuse)
    again = kept(encoder, segments, tmp_path / "store", view=view, kinds=EVERY)
    fewer = kept(encoder, segments, tmp_path / "store", view=view, kinds=("tokens", "mean@2"))
    assert list(fewer) == ["tokens", "mean@2"]
    for kind in EVERY:
        assert isinstance(again[kind], np.memmap) and again[kind].dtype == np.float32
        assert first[kind].tobytes() == again[kind].tobytes() == memory[kind].tobytes()
    again["cls"][:] = 0  # harms nobody else
    assert kept(encoder, segments, tmp_path / "store", view=view)["cls"].tobytes() == memory["cls"].tobytes()
    assert not list((tmp_path / "store").rglob("*.parts"))
    fastest = arithmetic.choose("auto", "auto", arithmetic.Work(encoder.video, clips=4))
    changes: list[dict[str, Any]] = [
        {"view": View()},
        {"view": View(2, order="shuffled")},
        {"view": view, "rows": [0, 1]},
        {"view": view, "precision": "fp32" if fastest.bf16 else "bf16"},
    ]
    for change in changes:  # nothing stale is read
        with pytest.raises(AssertionError, match="asked again"):
            kept(encoder, segments, tmp_path / "store", **change)
    with monkeypatch.context() as patch:
        patch.setattr(features, "version", lambda name: "another")
        with pytest.raises(AssertionError, match="asked again"):
            kept(encoder, segments, tmp_path / "store", view=view)
    hook.remove()
    with torch.no_grad():
        vit(encoder).patch_embed.bias[3] += 1e-3
    assert kept(encoder, segments, tmp_path / "store", view=view)["cls"].tobytes() != memory["cls"].tobytes()
    small.write_segments(segments.paths[0].parents[2], "c", "test", [small.segment("v0", seed=77)] * 11)
    other = kept(encoder, Segments(segments.paths[0].parents[2], "c", "test"), tmp_path / "store", view=view)
    assert np.ptp(other["cls"], axis=0).max() == 0


@pytest.mark.parametrize("harm", ["cut", "bit", "manifest", "other", "none"])
def test_damaged_and_foreign_features_are_said_to_be_and_made_again(
    segments: Segments, tmp_path: Path, harm: str
) -> None:
    encoder, heard = small.tiny_encoder(), Heard()
    right = kept(encoder, segments, tmp_path / "store", kinds=("cls",))["cls"].tobytes()
    kept(encoder, segments, tmp_path / "store", kinds=("mean",))
    (path,) = [file for file in (tmp_path / "store").rglob("features.npy") if file.read_bytes().endswith(right)]
    (other,) = set((tmp_path / "store").rglob("features.npy")) - {path}
    content = bytearray(path.read_bytes())
    if harm == "cut":
        path.write_bytes(content[:-5])
    elif harm == "bit":
        content[len(content) // 2] ^= 4
        path.write_bytes(content)
    elif harm == "manifest":
        path.with_name("manifest.json").write_text('{"about": ')
    elif harm == "other":
        for name in ("features.npy", "manifest.json"):
            path.with_name(name).write_bytes(other.with_name(name).read_bytes())
    else:
        path.unlink()
    assert kept(encoder, segments, tmp_path / "store", heard, kinds=("cls",))["cls"].tobytes() == right
    (line,) = heard.lines
    assert str(path.parent) in line and "damaged" in line


def test_a_store_that_cannot_be_written_is_named(segments: Segments, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(InputError, match=r"can't be kept in .*file.*another folder"):
        kept(small.tiny_encoder(), segments, tmp_path / "file")


SCRIPT = """
import os, signal, sys
from pathlib import Path
import numpy as np, torch
from scriptsight import features
from scriptsight.reporting import ConsoleReporter
from scriptsight.segments import Segments
from scriptsight import distributed
from tests.test_features import deep_encoder

class Mortal(ConsoleReporter):
    def progress(self, items, label, total=None):
        for number, item in enumerate(items):
            if str(number) == os.environ.get("KILL_AT"):
                os.kill(os.getpid(), signal.SIGKILL)
            yield item

features.PART_CLIPS = 4
folder = Path(sys.argv[1])
with distributed.joined(torch.device("cpu")):
    found = features.extract(
        deep_encoder(), Segments(folder, "c", "test"), 2, Mortal(), "test", store=folder / sys.argv[2],
        kinds=("cls", "tokens")[: int(sys.argv[3])],
    )
    np.save(folder / f"{sys.argv[2]}-{distributed.rank()}.npy", found["cls"])
"""


def run(
    folder: Path, store: str, *launcher: str, kinds: int = 1, **environment: str
) -> subprocess.CompletedProcess[str]:
    (folder / "script.py").write_text(SCRIPT)
    return subprocess.run(  # noqa: S603 - our own words
        [sys.executable, *launcher, str(folder / "script.py"), str(folder), store, str(kinds)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{PROJECT / 'src'}:{PROJECT}", **environment},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def test_a_killed_extraction_goes_on_where_it_was(
    segments: Segments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eleven segments, two a pass and four a part: killed in the fifth pass, with two whole parts, one of which is
    then damaged."""
    assert run(tmp_path, "store", KILL_AT="4").returncode == -signal.SIGKILL
    parts = sorted((tmp_path / "store").rglob("*.f32"))
    assert [path.name.split(".")[0] for path in parts] == ["000000000000-000000000004", "000000000004-000000000008"]
    assert not list((tmp_path / "store").rglob("features.npy"))
    parts[0].write_bytes(parts[0].read_bytes()[:-1] + b"?")
    monkeypatch.setattr(features, "PART_CLIPS", 4)
    encoder, heard, passes = deep_encoder(), Heard(), list[int]()
    encoder.video.register_forward_pre_hook(lambda _, given: passes.append(len(given[0])))
    with arithmetic.deterministic(threads=1):
        alone = features.extract(encoder, segments, 2, heard, "test", kinds=("cls",))["cls"]
        passes.clear()
        found = features.extract(encoder, segments, 2, heard, "test", kinds=("cls",), store=tmp_path / "store")["cls"]
    assert passes == [2, 2, 2, 1]  # the damaged part and the last, of three segments
    assert found.tobytes() == alone.tobytes()
    assert len(heard.lines) == 2 and str(parts[0]) in heard.lines[0] and "1 of 3 parts are there" in heard.lines[1]


def test_two_processes_keep_the_bytes_of_one(segments: Segments, tmp_path: Path) -> None:
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    done = run(tmp_path, "two", *torchrun, kinds=2)
    assert done.returncode == 0, done.stderr
    with arithmetic.deterministic(threads=1):
        kinds, store = ("cls", "tokens"), tmp_path / "one"
        one = features.extract(deep_encoder(), segments, 2, REPORTER, "test", kinds=kinds, store=store)["cls"]
    assert all(np.load(tmp_path / f"two-{rank}.npy").tobytes() == one.tobytes() for rank in (0, 1))
    files = {
        name: {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob("*.*")}
        for name in ("one", "two")
    }
    assert files["one"] == files["two"] and len(files["one"]) == 4
