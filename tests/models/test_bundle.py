"""The saved encoder, its video side and its text side."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from scriptsight.errors import InputError
from scriptsight.models import bundle
from scriptsight.models.text import TextEncoder
from scriptsight.models.video import (
    MEAN,
    STD,
    Block,
    LayerNorm,
    VideoViT,
    sample_patches,
    use_explicit_attention,
)
from scriptsight.params.models import HuggingFaceText, TextParams, TransformerText, WordText
from scriptsight.pretrain import encoders
from tests import small

TEXTS = [
    "the red circle moves to the left",
    "blue",
    "then the green square shrinks and grows up, up and down!",
]


@pytest.fixture(scope="module")
def local_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Hugging Face BERT with its tokenizer, as `save_pretrained` leaves them."""
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("bert")
    words = TextEncoder.transformer([small.WORDS], width=16, depth=1, heads=2, vocabulary=80, max_tokens=32)
    tokenizer = words.tokenizer
    tokenizer.no_padding()
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
    shape = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=40,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        BertModel(shape).save_pretrained(folder)
    return folder


@pytest.fixture(params=["words", "transformer", "huggingface cls", "huggingface mean"])
def encoder(request: pytest.FixtureRequest) -> bundle.Encoder:
    kind, _, pool = request.param.partition(" ")
    choice: TextParams
    if kind == "words":
        choice = WordText(kind="words", width=16, vocabulary=100)
    elif kind == "transformer":
        choice = TransformerText(kind="transformer", width=16, depth=2, heads=2, vocabulary=80)
    else:
        folder = request.getfixturevalue("local_bert")
        choice = HuggingFaceText.model_validate({"kind": "huggingface", "name": str(folder), "pool": pool})
    return small.tiny_encoder(choice, max_tokens=12)


def clip(count: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 4, 16, 16, 3), dtype=torch.uint8, generator=generator)


# ------------------------------------------------------------------------------------------- the bundle


def test_a_loaded_bundle_gives_identical_outputs(encoder: bundle.Encoder, tmp_path: Path) -> None:
    bundle.save(encoder, tmp_path / "model")
    loaded = bundle.load(tmp_path / "model")
    assert not loaded.training
    assert torch.equal(loaded.encode_video(clip()), encoder.encode_video(clip()))
    assert torch.equal(loaded.encode_text(TEXTS), encoder.encode_text(TEXTS))
    scripts = [TEXTS, TEXTS[:1]]
    assert torch.equal(loaded.encode_scripts(scripts), encoder.encode_scripts(scripts))
    for name, values in encoder.features(clip()).items():
        assert torch.equal(loaded.features(clip())[name], values)
    trainable = [name for name, value in encoder.named_parameters() if value.requires_grad]
    assert [name for name, value in loaded.named_parameters() if value.requires_grad] == trainable


def test_saving_twice_gives_the_same_bytes(encoder: bundle.Encoder, tmp_path: Path) -> None:
    for name in ("one", "two"):
        bundle.save(encoder, tmp_path / name)
    bundle.save(bundle.load(tmp_path / "one"), tmp_path / "three")
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.*"))
    assert sorted(map(str, files)) == [
        "config.json",
        "model.safetensors",
        "preprocessing.json",
        "tokenizer/tokenizer.json",
    ]
    for file in files:
        assert len({(tmp_path / name / file).read_bytes() for name in ("one", "two", "three")}) == 1, file


def test_a_bundle_does_not_need_the_folder_it_was_made_from(tmp_path: Path, local_bert: Path) -> None:
    encoder = small.tiny_encoder(HuggingFaceText(kind="huggingface", name=str(local_bert), pool="cls"))
    assert str(local_bert) not in json.dumps(encoder.config())


def test_vectors_are_unit_length_and_a_script_is_the_mean_of_its_transcripts(encoder: bundle.Encoder) -> None:
    for vectors in (encoder.encode_video(clip()), encoder.encode_text(TEXTS)):
        torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(len(vectors)))
    with torch.inference_mode():
        mean = encoder.project_text(encoder.text(*encoder.text.tokenize(TEXTS))).mean(0)
    torch.testing.assert_close(encoder.encode_scripts([TEXTS])[0], mean / mean.norm())
    with pytest.raises(ValueError, match="script 1 has no transcript"):
        encoder.encode_scripts([TEXTS, []])


def test_random_like_has_the_shape_but_not_the_weights_and_is_repeatable(
    encoder: bundle.Encoder, tmp_path: Path
) -> None:
    bundle.save(encoder, tmp_path / "model")
    before = torch.random.get_rng_state()
    one, same, other = (bundle.random_like(tmp_path / "model", seed) for seed in (5, 5, 6))
    assert torch.equal(before, torch.random.get_rng_state())
    assert {name: value.shape for name, value in one.state_dict().items()} == {
        name: value.shape for name, value in encoder.state_dict().items()
    }
    assert torch.equal(one.encode_video(clip()), same.encode_video(clip()))
    assert not torch.allclose(one.encode_video(clip()), other.encode_video(clip()))
    assert not torch.allclose(one.encode_video(clip()), encoder.encode_video(clip()))


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _flip_shape(path: Path) -> None:
    config = json.loads(path.read_text())
    config["video"]["width"] = 64
    path.write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("model.safetensors", _truncate),
        ("model.safetensors", Path.unlink),
        ("config.json", _truncate),
        ("config.json", _flip_shape),
        ("tokenizer/tokenizer.json", _truncate),
        ("tokenizer/tokenizer.json", Path.unlink),
    ],
)
def test_a_damaged_bundle_names_folder_and_remedy(tmp_path: Path, file: str, damage: Callable[[Path], None]) -> None:
    folder = small.tiny_bundle(tmp_path / "model")
    damage(folder / file)
    with pytest.raises(InputError, match=r"(?s)model in .* is damaged: .*pretrain stage"):
        bundle.load(folder)


def test_no_bundle_and_a_newer_bundle(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no scriptsight model"):
        bundle.load(tmp_path)
    folder = small.tiny_bundle(tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"format": 99}))
    with pytest.raises(InputError, match="format 99"):
        bundle.load(folder)


def test_a_text_encoder_that_is_not_there(tmp_path: Path) -> None:
    choice = HuggingFaceText(kind="huggingface", name=str(tmp_path / "nothing"), pool="cls")
    with pytest.raises(InputError, match=r"^pretrain\.text\.name .* can't be loaded as a text encoder"):
        encoders.text(choice, [], 10)


# ----------------------------------------------------------------------------------------- the text side


def test_a_sentence_does_not_depend_on_its_companions(encoder: bundle.Encoder) -> None:
    together = encoder.encode_text(TEXTS)
    for text, vector in zip(TEXTS, together, strict=True):
        torch.testing.assert_close(encoder.encode_text([text])[0], vector, atol=1e-6, rtol=0)
    assert (together[0] - together[1]).abs().max() > 1e-3


def test_texts_are_cut_to_the_token_limit(encoder: bundle.Encoder) -> None:
    ids, mask = encoder.text.tokenize(["red " * 100, "blue"])
    assert ids.shape == mask.shape == (2, 12)
    assert mask.dtype == torch.bool and mask[1].sum() < 12


def test_a_text_without_words_has_a_finite_vector(encoder: bundle.Encoder) -> None:
    assert encoder.encode_text([""]).isfinite().all()
    assert encoder.encode_text(["", "red"]).isfinite().all()


def test_words_are_frozen_means_of_word_vectors_without_the_padding() -> None:
    encoder = small.tiny_encoder().text
    ids, mask = encoder.tokenize(["red circle", "red circle left green up"])
    table = encoder.backbone.table.weight  # type: ignore[union-attr]
    torch.testing.assert_close(encoder(ids, mask)[0], table[ids[0, :2]].mean(0))  # type: ignore[index]
    assert not encoder(ids, mask).requires_grad


def test_the_vocabulary_keeps_the_most_frequent_words_and_breaks_ties_by_the_alphabet() -> None:
    tokenizer = TextEncoder.words(["b a d", "c a", "D"], width=4, vocabulary=5).tokenizer
    assert tokenizer.get_vocab() == {"[PAD]": 0, "[UNK]": 1, "a": 2, "d": 3, "b": 4}


# ---------------------------------------------------------------------------------------- the video side


def test_gathering_before_the_embedding_equals_embedding_all_and_gathering() -> None:
    encoder: Any = small.tiny_encoder().video.double()
    frames = clip(3)
    keep = sample_patches(torch.rand(3, 2, 4, generator=torch.Generator().manual_seed(1)), 0.5)  # [B, T, kept]
    # Plainly: cut every tubelet out by its indices, embed them all, add positions, then choose.
    tokens = torch.empty(3, 2, 4, 32, dtype=torch.float64)  # [B, T, P, D]
    for step in range(2):
        for patch in range(4):
            y, x = 8 * (patch // 2), 8 * (patch % 2)
            cube = frames[:, 2 * step : 2 * step + 2, y : y + 8, x : x + 8]  # [B, 2, 8, 8, 3]
            pixels = ((cube / 255 - torch.tensor(MEAN).double()) / torch.tensor(STD).double()).flatten(1)
            tokens[:, step, patch] = (
                encoder.patch_embed(pixels) + encoder.space[0, 0, patch] + encoder.time[0, step, 0]
            )
    chosen = torch.stack([torch.stack([tokens[b, t, keep[b, t]] for t in range(2)]) for b in range(3)])
    states = torch.cat([encoder.cls_token.expand(3, -1, -1), chosen.flatten(1, 2)], dim=1)
    for block in encoder.blocks:
        states = block(states)
    found = encoder(frames, keep)
    assert found.shape == (3, 1 + 2 * 2, 32)
    # The encoder's constants for normalising pixels are float32.
    torch.testing.assert_close(found, encoder.norm(states), atol=1e-5, rtol=0)


def test_keeping_every_patch_is_keeping_nothing_back() -> None:
    encoder = small.tiny_encoder().video
    everything = torch.arange(4).expand(2, 2, 4)
    assert torch.equal(encoder(clip(), everything), encoder(clip()))


def test_clips_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"clips must be \[B, 4, 16, 16, 3\], .* got \[2, 3, 16, 16, 3\]"):
        small.tiny_encoder().video(clip()[:, :3])


def test_positions_tell_steps_and_places_apart() -> None:
    encoder = VideoViT(width=96, depth=1, heads=3, patch=8, tubelet=2, size=32, frames=8)
    assert encoder.space.shape == (1, 1, 16, 96) and encoder.time.shape == (1, 4, 1, 96)
    table = (encoder.space + encoder.time).detach().reshape(64, 96)
    distances = torch.cdist(table, table) + 100 * torch.eye(64)
    assert distances.min() > 0.3
    assert encoder.space.abs().max() <= 0.5


@pytest.mark.parametrize("width", [30, 32, 50, 96])
def test_positions_fit_any_width(width: int) -> None:
    encoder = VideoViT(width=width, depth=1, heads=2, patch=4, tubelet=1, size=12, frames=3)
    assert encoder.space.shape == (1, 1, 9, width) and encoder.time.shape == (1, 3, 1, width)
    assert encoder.space.isfinite().all()


@pytest.mark.parametrize(("share", "kept"), [(0.25, 49), (1.0, 196), (0.001, 1)])
def test_sample_patches_keeps_so_many_without_repetition_in_order(share: float, kept: int) -> None:
    keep = sample_patches(torch.rand(3, 8, 196, generator=torch.Generator().manual_seed(0)), share)
    assert keep.shape == (3, 8, kept) and keep.dtype == torch.int64
    assert (keep.diff(dim=-1) > 0).all() and keep.min() >= 0 and keep.max() < 196


def test_sample_patches_is_uniform_and_independent_between_steps() -> None:
    keep = sample_patches(torch.rand(20_000, 2, 8, generator=torch.Generator().manual_seed(0)), 0.25)  # 2 of 8
    seen = torch.zeros(20_000, 2, 8).scatter_(2, keep, 1.0)
    # Each patch is kept with probability 1/4: a standard deviation of 0.003 at 20,000 draws.
    assert (seen.mean(0) - 0.25).abs().max() < 0.015
    # Both steps keep patch p with probability 1/16; a pair of patches within a step with 1/28.
    assert ((seen[:, 0] * seen[:, 1]).mean(0) - 1 / 16).abs().max() < 0.01
    pairs = torch.einsum("bi,bj->ij", seen[:, 0], seen[:, 0]) / 20_000
    assert (pairs[~torch.eye(8, dtype=torch.bool)] - 1 / 28).abs().max() < 0.01


def test_a_block_is_timms_block_with_its_names_and_can_compute_its_last_rows_alone() -> None:
    from timm.models.vision_transformer import Block as TimmBlock

    torch.manual_seed(0)
    ours = Block(32, 4).double()
    theirs = TimmBlock(32, 4, qkv_bias=True, norm_layer=LayerNorm).double()
    theirs.load_state_dict(ours.state_dict())
    tokens = torch.randn(2, 7, 32, dtype=torch.float64)
    for explicit in (False, True):
        use_explicit_attention(ours, explicit)
        torch.testing.assert_close(ours(tokens), theirs(tokens))
        torch.testing.assert_close(ours(tokens, queries=3), theirs(tokens)[:, -3:])


def test_activation_checkpointing_computes_each_block_again_and_changes_no_gradient() -> None:
    torch.manual_seed(0)
    encoder = VideoViT(width=32, depth=3, heads=2, patch=8, tubelet=2, size=16, frames=4)
    calls: list[int] = []
    blocks: Any = encoder.blocks
    for index, block in enumerate(blocks):
        block.attn.register_forward_hook(lambda *_, index=index: calls.append(index))
    found = []
    for encoder.checkpoint_blocks in (False, True):
        encoder.zero_grad()
        calls.clear()
        with torch.autocast("cpu", torch.bfloat16):
            encoder(clip())[:, 0].float().square().sum().backward()
        found.append([parameter.grad for parameter in encoder.parameters()])
    assert calls == [0, 1, 2, 2, 1, 0]
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))
    with torch.no_grad():
        calls.clear()
        encoder(clip())
    assert calls == [0, 1, 2]
