"""Each configuration of a training in README.md and docs/ takes a training step at its own size."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from flows import parameters
from scriptsight.catalogue import Cue
from scriptsight.errors import InputError
from scriptsight.models import bundle
from scriptsight.models.text import TextEncoder
from scriptsight.params import reading
from scriptsight.params.models import HuggingFaceText
from scriptsight.params.pretrain import PretrainParams
from scriptsight.pretrain import encoders
from scriptsight.segments import Segments
from tests import small
from tests.docs.test_documentation import blocks, plain
from tests.training.together import train

SECONDS, RATE = 30, 2.0  # of a segment: K = 4 spans of the paper's three to five seconds fit in


def trainings() -> list[tuple[str, dict[str, Any]]]:
    """(page, values) of each block of YAML that says what is learned."""
    base = reading.read_yaml(small.PROJECT / "params.yaml")
    found = [(page, plain(block)) for page, block in blocks("yaml")]
    return [(page, parameters.laid_over(base, values)) for page, values in found if "pretrain" in values]


def corpus(folder: Path, params: PretrainParams) -> None:
    """Four segments of each collection and split, with all kinds of words, of the size that is learned."""
    times = np.arange(round(SECONDS * RATE)) / RATE
    for collection in params.collections:
        for split in ("train", "val"):
            rows = []
            for number in range(4):
                name = f"{split}{number}"
                plain = small.segment(name, captions=["somebody puts a cup down"], seed=number)
                cues = tuple(Cue(at, at + 2.9, f"then comes the step {at}") for at in range(0, SECONDS, 3))
                frames = small.frames((90, 120, 60), len(times), params.image_size, number)
                rows.append(
                    replace(
                        plain, start=0.0, end=float(SECONDS), frame_times=times, frames=frames, cues=cues, title=name
                    )
                )
            small.write_segments(folder / "segments", collection, split, rows)


def language_model(folder: Path) -> Path:
    """A Hugging Face folder of DistilBERT's width and a single layer, with a tokenizer."""
    from transformers import DistilBertConfig, DistilBertModel, PreTrainedTokenizerFast

    words = TextEncoder.transformer([small.WORDS], width=16, depth=1, heads=2, vocabulary=80, max_tokens=64)
    words.tokenizer.no_padding()
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=words.tokenizer, **special).save_pretrained(folder)
    DistilBertModel(DistilBertConfig(vocab_size=words.tokenizer.get_vocab_size(), n_layers=1)).save_pretrained(folder)
    return folder


def image_model(path: Path) -> Path:
    """A ViT-B/16 as timm names its weights, in a checkpoint as MAE's are."""
    import timm

    torch.save({"model": timm.create_model("vit_base_patch16_224", num_classes=0).state_dict()}, path)
    return path


def at_hand(params: PretrainParams, folder: Path) -> PretrainParams:
    """The same training in one process, of one small batch, with small files in the places of those it names."""
    video, text = params.video, params.text
    if video.init is not None:
        video = video.model_copy(update={"init": str(image_model(folder / "image.pth"))})
    if isinstance(text, HuggingFaceText):
        text = text.model_copy(update={"name": str(language_model(folder / "language"))})
    engine = params.engine.model_copy(update={"processes": 1, "accumulate": 1, "loader_workers": 0})
    once = {"steps": 1, "batch": 2, "validate_every": 1, "validation_samples": 2, "checkpoint_every": 10}
    params = params.model_copy(update={**once, "video": video, "text": text, "engine": engine})
    corpus(folder, params)
    if params.start_from is not None:
        learned = [
            (source, Segments(folder / "segments", name, "train")) for name, source in params.collections.items()
        ]
        bundle.save(encoders.build(params, learned), folder / "first")
        params = params.model_copy(update={"start_from": str(folder / "first")})
    return params


@pytest.mark.parametrize(("page", "values"), trainings(), ids=lambda given: given if isinstance(given, str) else "")
def test_a_configuration_takes_a_training_step(page: str, values: dict[str, Any], tmp_path: Path) -> None:
    params = parameters.build(values, page).pretrain
    train(tmp_path, "model", at_hand(params, tmp_path))
    text = (tmp_path / "model" / "pretrain.json").read_text(encoding="utf-8")
    assert json.loads(text)["val"] and "NaN" not in text and "Infinity" not in text
    encoder = bundle.load(tmp_path / "model" / "last")
    assert (encoder.video.size, encoder.video.frames) == (params.image_size, params.frames)


def test_the_documentation_shows_trainings_of_several_sizes() -> None:
    sizes = {(values["pretrain"]["image_size"], values["pretrain"]["objective"]) for _, values in trainings()}
    assert (224, "tvts") in sizes and "cpd" in {objective for _, objective in sizes}
    assert len(trainings()) >= 6


def test_a_milestone_that_never_comes_is_refused() -> None:
    values = reading.read_yaml(small.PROJECT / "params.yaml")
    late = {"steps": 100, "schedule": {"kind": "milestones", "warmup_steps": 0, "at": [50, 100], "factor": 0.1}}
    with pytest.raises(InputError, match=r"schedule\.at 100 never comes in 100 steps"):
        parameters.build(reading.merge(values, {"pretrain": late}))
