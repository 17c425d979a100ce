"""Averaged word vectors, of a file and trained on the corpus."""

from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gensim.models import KeyedVectors

from flows import parameters
from scriptsight.errors import ArgumentError, InputError
from scriptsight.models import bundle
from scriptsight.models.text import TextEncoder
from scriptsight.params import reading
from tests import small

PROJECT = Path(__file__).parents[2]
CORPUS = ["The red circle moves, then the circle grows", "a zebra moves"]
STORED = ["the", "circle", "moves", "red", "elephant", "a"]


@pytest.fixture(params=["w2v.bin", "w2v.txt", "glove.txt", "glove.txt.gz"])
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, KeyedVectors]:
    """The same six vectors in every form that they are published in."""
    vectors = KeyedVectors(4)
    vectors.add_vectors(STORED, np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32))
    path = tmp_path / request.param
    headless = request.param.startswith("glove")
    vectors.save_word2vec_format(str(path), binary=path.suffix == ".bin", write_header=not headless)
    return path, vectors


def build(**choice: Any) -> TextEncoder:
    return TextEncoder.vectors(CORPUS, **({"vocabulary": 50, "max_tokens": 12} | choice))


def mean(vectors: KeyedVectors, *words: str) -> torch.Tensor:
    return torch.tensor(np.mean([vectors[word] for word in words], axis=0))


def test_a_sentence_is_the_mean_of_the_words_that_have_a_vector(stored: tuple[Path, KeyedVectors]) -> None:
    path, vectors = stored
    encoder = build(path=str(path))
    texts = ["the red zebra moves!", "zebra", "", "Circle of unknown words around a circle"]
    found = encoder(*encoder.tokenize(texts))
    torch.testing.assert_close(found[0], mean(vectors, "the", "red", "moves"))
    torch.testing.assert_close(found[3], mean(vectors, "circle", "a", "circle"))
    assert not found[1:3].any()
    assert not found.requires_grad
    # Words of the corpus that have a vector, the most frequent first; the elephant is in no text.
    names = [encoder.tokenizer.id_to_token(index) for index in range(encoder.tokenizer.get_vocab_size())]
    assert names == ["[PAD]", "[UNK]", "circle", "moves", "the", "a", "red"]


def test_a_vocabulary_of_the_most_frequent(stored: tuple[Path, KeyedVectors]) -> None:
    assert build(path=str(stored[0]), vocabulary=4).tokenizer.get_vocab_size() == 4


def test_frozen_or_trained_and_saved(tmp_path: Path) -> None:
    for frozen in (True, False):
        text = build(path=None, width=6, epochs=1, frozen=frozen)
        text(*text.tokenize(CORPUS)).sum().backward() if not frozen else None
        assert (text.backbone.table.weight.grad is None) == frozen  # type: ignore[union-attr]
        encoder = bundle.Encoder(small.tiny_encoder().video, text, embed_dim=8).eval()
        bundle.save(encoder, tmp_path / str(frozen))
        loaded = bundle.load(tmp_path / str(frozen))
        assert loaded.text.frozen == frozen
        assert torch.equal(loaded.encode_text([*CORPUS, "zzz"]), encoder.encode_text([*CORPUS, "zzz"]))


def test_vectors_trained_here_put_words_of_one_use_together() -> None:
    rng = np.random.default_rng(0)
    animals, colours = ("dog", "cat", "horse", "goat"), ("red", "green", "blue", "grey")
    texts = [f"the {rng.choice(animals)} eats" for _ in range(300)]
    texts += [f"paint it {rng.choice(colours)} now" for _ in range(300)]
    encoder = TextEncoder.vectors(texts, width=16, vocabulary=50, epochs=20, max_tokens=12)
    found = torch.nn.functional.normalize(encoder(*encoder.tokenize([*animals, *colours])), dim=-1)
    similarity = found @ found.T
    within = (similarity[:4, :4].sum() + similarity[4:, 4:].sum() - 8) / 24
    assert within > similarity[:4, 4:].mean() + 0.2


TRAIN = """
from tests.models.test_vectors import trained
print(trained(3))
"""


def trained(seed: int) -> str:
    """The digest of vectors trained here."""
    table: Any = build(path=None, width=6, seed=seed).backbone.table
    return hashlib.sha256(table.weight.detach().numpy().tobytes()).hexdigest()


def test_two_runs_train_equal_bytes() -> None:
    """In a process whose strings hash differently."""
    environment = os.environ | {"PYTHONHASHSEED": "1", "PYTHONPATH": f"{PROJECT / 'src'}"}
    done = subprocess.run(  # noqa: S603 - our own words
        [sys.executable, "-c", TRAIN],
        env=environment,
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.strip() == trained(3) != trained(4)


class Trap:
    """Unpickling it leaves a folder behind."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.folder),)


def test_what_is_no_file_of_vectors(tmp_path: Path) -> None:
    for name in ("trap.bin", "trap.kv", "trap.txt", "model"):  # gensim's own form is a pickle
        (tmp_path / name).write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
        with pytest.raises(InputError, match=rf"{name} (can't be read as word vectors|has a vector of no word)"):
            build(path=str(tmp_path / name))
    assert not (tmp_path / "sprung").exists()
    (tmp_path / "torn.txt").write_text("2 4\nthe 1 2 3 4\nred 1 2")
    with pytest.raises(InputError, match="can't be read as word vectors"):
        build(path=str(tmp_path / "torn.txt"))
    with pytest.raises(InputError, match="there is no file"):
        build(path=str(tmp_path / "none.txt"))
    (tmp_path / "other.txt").write_text("2 2\nelefant 1 2\nnashorn 3 4\n")
    with pytest.raises(InputError, match="has a vector of no word of the training texts"):
        build(path=str(tmp_path / "other.txt"))


def test_a_width_or_a_file() -> None:
    for given in ({}, {"path": "glove.txt", "width": 50}):
        with pytest.raises(ArgumentError, match=r"^path or width is needed: .* not both"):
            build(**given)
    values = reading.read_yaml(PROJECT / "params.yaml")
    for choice in ({"path": None}, {"path": "glove.txt", "width": 50}):
        text = {"kind": "vectors", "vocabulary": 10, **choice}
        with pytest.raises(InputError, match="give path, a file of word vectors, or width"):
            parameters.build(reading.merge(values, {"pretrain": {"text": text}}))
