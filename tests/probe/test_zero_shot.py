"""Zero-shot classification against a naive loop, with a text encoder that is a table."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from scriptsight.errors import InputError
from scriptsight.probe import zero_shot

NAMES = ["grow", "move_left", "move_right"]
TEMPLATES = ["someone moves {}", "{}, again and {}"]


class Table:
    """Texts -> random vectors of no certain length, the same each time."""

    def __init__(self) -> None:
        self.rng, self.known = np.random.default_rng(0), dict[str, np.ndarray]()

    def __call__(self, texts: Sequence[str]) -> torch.Tensor:
        for text in texts:
            self.known.setdefault(text, self.rng.normal(size=5) * self.rng.uniform(0.1, 9))
        return torch.from_numpy(np.stack([self.known[text] for text in texts])).float()


def test_equals_a_naive_loop() -> None:
    table, videos = Table(), np.random.default_rng(1).normal(size=(40, 5)).astype(np.float32)
    found = zero_shot.predict(videos, NAMES, table, TEMPLATES)
    for video, scores in zip(videos.astype(np.float64), found.scores, strict=True):
        for words, score in zip(("grow", "move left", "move right"), scores, strict=True):
            texts = [
                table.known[text].astype(np.float32)
                for text in (f"someone moves {words}", f"{words}, again and {words}")
            ]
            mean = sum(text / np.linalg.norm(text) for text in texts)
            assert score == pytest.approx(video @ mean / np.linalg.norm(video) / np.linalg.norm(mean), abs=1e-5)
    assert len(table.known) == 6 and set(found.classes) == {0, 1, 2}
    again = zero_shot.predict(videos, NAMES, Table(), TEMPLATES)
    assert again.scores.tobytes() == found.scores.tobytes()


def test_many_texts_are_encoded_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    table, sizes = Table(), list[int]()
    videos = np.random.default_rng(1).normal(size=(4, 5))
    whole = zero_shot.predict(videos, NAMES, table, TEMPLATES)
    monkeypatch.setattr(zero_shot, "CHUNK", 4)

    def counted(texts: Sequence[str]) -> torch.Tensor:
        sizes.append(len(texts))
        return table(texts)

    assert zero_shot.predict(videos, NAMES, counted, TEMPLATES).scores.tobytes() == whole.scores.tobytes()
    assert sizes == [4, 2]


def test_texts_replace_names_and_videos_near_their_text_are_hits() -> None:
    table = Table()
    classes = np.arange(30) % 3
    texts = {"grow": "gets bigger", "move_left": "goes left"}
    centres = table(["it gets bigger", "it goes left", "it move right"]).numpy()
    videos = centres[classes] + 0.01
    found = zero_shot.predict(videos, NAMES, table, ["it {}"], texts)
    assert found.accuracy(classes) == 1 and len(table.known) == 3
    shuffled = np.random.default_rng(0).permutation(np.arange(3000) % 3)
    many = zero_shot.predict(centres[np.arange(3000) % 3], NAMES, table, ["it {}"], texts)
    assert abs(many.accuracy(shuffled) - 1 / 3) < 0.04


def test_views_are_pooled() -> None:
    videos = np.random.default_rng(1).normal(size=(10, 2, 5))
    units = videos / np.linalg.norm(videos, axis=2, keepdims=True)
    found = zero_shot.predict(videos, NAMES, Table(), TEMPLATES)
    np.testing.assert_array_equal(
        found.scores, zero_shot.predict(units.sum(axis=1), NAMES, Table(), TEMPLATES).scores
    )


def test_classes_that_the_text_encoder_takes_for_equal_are_misses() -> None:
    found = zero_shot.predict(np.ones((6, 5)), NAMES, lambda texts: np.ones((len(texts), 5)), TEMPLATES)
    assert found.accuracy(np.arange(6) % 3) == 0


def test_a_template_is_no_format_string() -> None:
    assert zero_shot.prompts(["a_b"], ["{0.__class__} {} {x}"]) == [["{0.__class__} a b {x}"]]


@pytest.mark.parametrize(
    ("templates", "texts", "said"),
    [
        (["someone moves {}", "someone moves"], None, "'someone moves' has no {}"),
        ([], None, "needs a prompt template"),
        (["{}"], {"move_up": "up"}, "classes that the data lack: move_up"),
        (["{}"], {"grow": "move left"}, "'grow' and 'move_left' are both said as 'move left'"),
    ],
)
def test_what_cant_be_said_is_named(templates: list[str], texts: dict[str, str] | None, said: str) -> None:
    with pytest.raises(InputError, match=said):
        zero_shot.prompts(NAMES, templates, texts)


def test_template_file_is_read_and_its_faults_are_named(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_text("someone moves {}\r\n\n  a video of {} \n", encoding="utf-8-sig")
    assert zero_shot.read_templates(path) == ["someone moves {}", "a video of {}"]
    path.write_text("someone moves {}\n\nnothing\n")
    with pytest.raises(InputError, match=r"prompts.txt, line 3: 'nothing' has no \{\}"):
        zero_shot.read_templates(path)
    path.write_text(" \n")
    with pytest.raises(InputError, match=r"prompts.txt are empty"):
        zero_shot.read_templates(path)
    path.write_bytes(b"\xff\xfe{}")
    with pytest.raises(InputError, match=r"prompts.txt can't be read"):
        zero_shot.read_templates(path)
    with pytest.raises(InputError, match=r"none.txt can't be read"):
        zero_shot.read_templates(tmp_path / "none.txt")
