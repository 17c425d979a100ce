"""What words alone say of their order: measured by a sorter without video, and refuted where they say nothing."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from scriptsight import language
from scriptsight.catalogue import Cue
from scriptsight.errors import InputError
from scriptsight.language.sorter import TextSorter, WordsAlone, build_text
from scriptsight.language.words import telling
from scriptsight.params.models import HuggingFaceText, WordText
from scriptsight.params.pretrain import Source
from scriptsight.pretrain import samplers
from scriptsight.pretrain.batches import Batch, ValidationBatches
from scriptsight.segments import Segment, Segments
from scriptsight.training.objective import Draw
from tests import small
from tests.models.test_text import local
from tests.training.together import settings

OPENERS = ("first", "then", "finally")
STEPS = 120


def write(folder: Path, collection: str, split: str, scripts: list[list[str]]) -> None:
    """Segments with frames that nobody can decode; two a video."""
    rows = [
        Segment(
            segment_id=f"{collection}/{split}{number // 2}/{number % 2}",
            video_id=f"{split}{number // 2}",
            uri="v.mp4",
            start=0.0,
            end=2.0 * len(texts),
            frame_times=np.arange(2.0),
            frames=[b"no picture"] * 2,
            cues=tuple(Cue(2.0 * i, 2.0 * i + 1.5, text) for i, text in enumerate(texts)),
            title=None,
            captions=(),
            label=None,
        )
        for number, texts in enumerate(scripts)
    ]
    small.write_segments(folder, collection, split, rows)


def scripts(count: int, seed: int, openers: tuple[str, ...] | None) -> list[list[str]]:
    """Three sentences of random words each; with `openers`, half of them begin with a word that tells their place."""
    rng = random.Random(seed)
    things, deeds = [f"thing{i}" for i in range(40)], [f"does{i}" for i in range(20)]

    def sentence(place: int) -> str:
        opener = [openers[place]] if openers and rng.random() < 0.5 else []
        return " ".join([*opener, "the", rng.choice(things), rng.choice(deeds), rng.choice(things)])

    return [[sentence(place) for place in range(3)] for _ in range(count)]


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("language")
    for collection, openers in (("narrated", OPENERS), ("shuffled", None)):
        write(folder / "segments", collection, "train", scripts(400, 1, openers))
        write(folder / "segments", collection, "val", scripts(200, 2, openers))
    return folder


def run(folder: Path, name: str, collection: str, **changes: Any) -> dict[str, Any]:
    own = {"collections": {collection: Source()}, "validation_samples": 200}
    choice = settings(**changes).model_copy(update=own)
    return language.run(
        choice,
        ks=(3, 4),
        steps=STEPS,
        segments=folder / "segments",
        metrics=folder / name / "language.json",
        plot=folder / name / "language.png",
        trained=folder / "pretrain.json",
        checkpoints=folder / name / "checkpoints",
    )


def test_telling_words_are_found_out_and_a_second_run_gives_the_same_bytes(corpora: Path) -> None:
    """A transcript with its word is placed by it; both others of the script follow where two have theirs."""
    video = {"sort_accuracy": 0.9, "sort_accuracy_blank": 0.3, "chance": 1 / 3, "confusion": [[1, 0, 0]] * 3}
    (corpora / "pretrain.json").write_text(json.dumps({"val": video}))
    found = run(corpora, "one", "narrated")
    assert found["low"] > 0.55 > found["chance"]
    assert found["verdict"].startswith("Language alone puts") and "must be read against this" in found["verdict"]
    assert f"{100 * (0.9 - found['accuracy']):+.1f} points over language alone" in found["verdict"]
    assert [word["word"] for word in found["words"]["first"]] == ["first"]
    assert [word["word"] for word in found["words"]["last"]] == ["finally"]
    assert found["scripts"][0]["texts"][0].startswith("first") or found["scripts"][0]["texts"][2].startswith("final")
    assert list(found["by_k"]) == ["3"]  # no script has four
    assert (found["interval_over"], found["videos_measured"]) == ("videos", 100)
    assert json.loads((corpora / "one" / "language.json").read_text()) == found
    run(corpora, "two", "narrated")
    for file in ("language.json", "language.png"):
        assert (corpora / "one" / file).read_bytes() == (corpora / "two" / file).read_bytes()
    assert not list((corpora / "one" / "checkpoints").glob("*"))


def test_words_that_tell_nothing_leave_chance_in_the_interval(corpora: Path) -> None:
    (corpora / "pretrain.json").unlink(missing_ok=True)
    found = run(corpora, "nothing", "shuffled")
    assert found["low"] <= 1 / 3 <= found["high"]
    assert "no more than chance" in found["verdict"]
    assert found["words"] == {"first": [], "last": []} and found["video_model"] is None


def test_the_sorter_is_equivariant_to_the_order_of_its_input() -> None:
    torch.manual_seed(0)
    texts = ["first the red one", "then the blue one", "finally a green one", "and it is over"]
    choice = WordText(kind="words", width=16, vocabulary=100)
    sorter = TextSorter(build_text(choice, texts, 50), 4).eval()
    place = torch.tensor([2, 0, 3, 1])
    one, other = (
        sorter.sort(Batch(torch.empty(1, 0), said, torch.arange(4)[None], ["c/v/0"]))
        for said in (texts, [texts[i] for i in place])
    )
    torch.testing.assert_close(one[:, place], other)
    assert all(value.requires_grad for value in sorter.text.parameters())


def test_it_is_measured_on_the_scripts_and_orders_that_pretrain_is(tmp_path: Path) -> None:
    split = Segments(small.narrated(tmp_path, "val", 30).parents[2], "talks", "val")
    seen = samplers.Cues(split, samplers.Clip(4, 16), 3)
    whole, words = (ValidationBatches(sampler, batch=8, samples=20, seed=3) for sampler in (seen, WordsAlone(seen)))
    for one, other in zip(whole, words, strict=True):
        assert (one.texts, one.segment_ids) == (other.texts, other.segment_ids)
        assert one.order is not None and other.order is not None
        assert torch.equal(one.order, other.order)
        assert one.frames.numel() and not other.frames.numel()


def test_a_language_model_is_trained_whole_and_slowly(tmp_path: Path) -> None:
    name = str(local(tmp_path, "bert"))
    frozen = HuggingFaceText(kind="huggingface", name=name, pool="cls", freeze="all")
    sorter = TextSorter(build_text(frozen, [], 32), 2)
    assert not sorter.text.frozen and any(value.requires_grad for value in sorter.text.parameters())
    rates = {name.partition(".")[0]: sorter.rate_factor(name) for name, _ in sorter.named_parameters()}
    assert rates == {"text": 1 / 60, "head": 1.0}
    batch = Batch(torch.empty(1, 0), ["the red one", "the blue one"], torch.tensor([[1, 0]]), ["c/v/0"])
    sorter.losses(batch, Draw(torch.Generator(), 0, 1, 1))["loss"].backward()
    assert any(value.grad is not None and value.grad.any() for value in sorter.text.parameters())


def test_log_odds_of_words() -> None:
    """30 of 100 first transcripts and none of the last hold the word: log (30.5 / 70.5) - log (0.5 / 100.5)."""
    said = [["now it starts" if i < 30 else "it goes on", "it goes on"] for i in range(100)]
    found = {word.word: word for word in telling(said)}
    assert found["now"].log_odds == pytest.approx(np.log(30.5 / 70.5) - np.log(0.5 / 100.5))
    assert (found["now"].first, found["now"].last) == (0.3, 0.0)
    assert found["goes"].log_odds < 0 and "it" not in found
    assert not telling([["now it starts", "it goes on"]] * 9)  # too few to say


def test_a_corpus_without_scripts_is_told(corpora: Path) -> None:
    with pytest.raises(InputError, match="no collection with `text: script`"):
        language.run(
            settings(collections={"narrated": {"text": "caption"}}, objective="contrastive"),
            segments=corpora / "segments",
        )
    with pytest.raises(InputError, match="has 5 transcripts"):
        run(corpora, "none", "narrated", k=5)
