"""Text encoders: sentences -> vectors. Random or learned word vectors, a small transformer from scratch, or Hugging
Face."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor, nn

from scriptsight.errors import InputError
from scriptsight.params.models import HuggingFaceText, TextParams, VectorText, WordText

PAD, UNKNOWN, CLS, SEP = "[PAD]", "[UNK]", "[CLS]", "[SEP]"


class TextEncoder(nn.Module):
    """A tokenizer, a backbone and a pooling rule. S sentences, L tokens, D width.

    `config` says how to build the same encoder again without its weights; `frozen` encoders take no gradient
    and have no dropout. The parameters of `backbone` are those that may want a learning rate of their own.
    """

    # Groups by length that a batch is computed in. A matter of speed, so it is set from outside, not saved.
    buckets = 1

    def __init__(
        self,
        backbone: nn.Module,
        tokenizer: Tokenizer,
        config: dict[str, Any],
        *,
        width: int,
        frozen: bool = False,
    ) -> None:
        super().__init__()
        self.backbone, self.tokenizer, self.config = backbone, tokenizer, config
        self.width, self.frozen = width, frozen
        if frozen:
            backbone.requires_grad_(False)

    def tokenize(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Texts -> token ids int64 [S, L] and mask bool [S, L], cut and padded to the longest."""
        encoded = self.tokenizer.encode_batch(list(texts))
        # The type is said for texts without any token, whose empty rows would make it float.
        ids = torch.tensor([item.ids for item in encoded], dtype=torch.int64)
        mask = torch.tensor([item.attention_mask for item in encoded], dtype=torch.bool)
        if self.config["kind"] == "vectors":  # the mean is over the words that have a vector
            mask &= ids != self.tokenizer.token_to_id(UNKNOWN)
        return ids, mask

    def train(self, mode: bool = True) -> TextEncoder:
        super().train(mode)
        if self.frozen:  # a fixed function, in training as well
            self.backbone.eval()
        return self

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Token ids and mask [S, L] -> sentence embeddings [S, D].

        With `buckets`, sentences of like length are computed together and padded to the longest of their group
        only: the same embeddings, without most of the work on padding.
        """
        if self.buckets == 1 or len(ids) == 1 or not isinstance(self.backbone, _Transformer):
            return self._pooled(ids, mask)
        lengths, order = mask.sum(1).sort(stable=True)
        groups = order.chunk(self.buckets)
        ends = torch.tensor([len(group) for group in groups]).cumsum(0) - 1
        longest = lengths[ends.to(lengths.device)].clamp(min=1).tolist()  # one wait for the device
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            # [S, L, D], once: each time costs a gradient of the table's size
            embedded = self.backbone.embed(ids)
        parts = [
            self._pooled(embedded[group, :length], mask[group, :length])
            for group, length in zip(groups, longest, strict=True)
        ]
        return torch.cat(parts)[order.argsort()]

    def _pooled(self, tokens: Tensor, mask: Tensor) -> Tensor:
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            states = self.backbone(tokens, mask)  # [S, L, D]
        if self.config["pool"] == "cls":
            return states[:, 0]
        weights = mask[..., None].to(states.dtype)
        return (states * weights).sum(1) / weights.sum(1).clamp(min=1)


class _WordVectors(nn.Module):
    def __init__(self, words: int, width: int) -> None:
        super().__init__()
        self.table = nn.Embedding(words, width)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        return self.table(ids)


class _Transformer(nn.Module):
    """A transformers model of which only the last hidden state is used."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model: Any = model
        if getattr(model, "pooler", None) is not None:
            model.pooler.requires_grad_(False)  # never used, and ranks would wait for its gradient

    def freeze_first(self, layers: int) -> None:
        """Freeze the embeddings and the first so many layers.

        Raises:
            InputError: the model has fewer layers.
        """
        depth = self.model.config.num_hidden_layers
        stack = next(
            (part for part in self.model.modules() if isinstance(part, nn.ModuleList) and len(part) == depth), None
        )
        if stack is None or layers > depth:
            raise InputError(
                f"pretrain.text.freeze is {layers}, and the text encoder {self.model.config.model_type} has "
                f"{depth} layers: give a number up to that, 'none' or 'all'."
            )
        # Models register their parts in the order of use: what comes before the first layer are the embeddings.
        first = next(stack[0].parameters())
        for parameter in self.model.parameters():
            if parameter is first:
                break
            parameter.requires_grad_(False)
        for layer in stack[:layers]:
            layer.requires_grad_(False)

    def embed(self, ids: Tensor) -> Tensor:
        """Token ids [S, L] -> what `forward` takes in their place."""
        return self.model.get_input_embeddings()(ids)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Token ids [S, L], or their embeddings [S, L, D], and mask [S, L] -> states [S, L, D]."""
        name = "inputs_embeds" if tokens.is_floating_point() else "input_ids"
        return self.model(**{name: tokens}, attention_mask=mask.long()).last_hidden_state


def build(choice: TextParams, texts: Iterable[str], max_tokens: int) -> TextEncoder:
    """A new text encoder; vocabularies are learned from `texts` (the training split's transcripts).

    Raises:
        InputError: a Hugging Face name or folder that can't be loaded, takes fewer tokens than `max_tokens`, or
            has fewer layers than are to be frozen; a file that holds no word vectors, or none of a word of `texts`.
    """
    if isinstance(choice, HuggingFaceText):
        return _from_hugging_face(choice, max_tokens)
    if isinstance(choice, VectorText):
        return _of_vectors(choice, list(texts), max_tokens)
    if isinstance(choice, WordText):
        tokenizer = _word_tokenizer(texts, choice.vocabulary)
        config: dict[str, Any] = {"kind": "words", "width": choice.width, "pool": "mean"}
    else:
        tokenizer = _subword_tokenizer(texts, choice.vocabulary)
        bert = {
            "vocab_size": tokenizer.get_vocab_size(),
            "hidden_size": choice.width,
            "num_hidden_layers": choice.depth,
            "num_attention_heads": choice.heads,
            "intermediate_size": 4 * choice.width,
            "max_position_embeddings": max_tokens,
            "hidden_dropout_prob": 0.0,
            "attention_probs_dropout_prob": 0.0,
        }
        config = {"kind": "transformer", "model_type": "bert", "model": bert, "pool": "mean"}
    _pad_and_cut(tokenizer, PAD, max_tokens)
    return from_config(config, tokenizer)


def from_config(config: dict[str, Any], tokenizer: Tokenizer) -> TextEncoder:
    """An encoder of the shape that `config` says, with fresh weights."""
    if config["kind"] == "words":
        words = _WordVectors(tokenizer.get_vocab_size(), config["width"])
        return TextEncoder(words, tokenizer, config, width=config["width"], frozen=True)
    if config["kind"] == "vectors":
        words = _WordVectors(tokenizer.get_vocab_size(), config["width"])
        return TextEncoder(words, tokenizer, config, width=config["width"], frozen=config["frozen"])
    from transformers import AutoConfig, AutoModel  # seconds to import, and the default does not need it

    shape = AutoConfig.for_model(config["model_type"], **config["model"])
    return _of_transformer(AutoModel.from_config(shape), tokenizer, config)


def _of_transformer(model: Any, tokenizer: Tokenizer, config: dict[str, Any]) -> TextEncoder:
    """Around a transformers model, frozen as `config` says; a config that says nothing freezes nothing."""
    backbone, freeze = _Transformer(model), config.get("freeze", "none")
    if isinstance(freeze, int):
        backbone.freeze_first(freeze)
    return TextEncoder(backbone, tokenizer, config, width=model.config.hidden_size, frozen=freeze == "all")


def load_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a bundle, with its padding and cutting rules."""
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))


def _from_hugging_face(choice: HuggingFaceText, max_tokens: int) -> TextEncoder:
    from transformers import AutoModel, AutoTokenizer

    try:
        model = AutoModel.from_pretrained(choice.name)
        fast = AutoTokenizer.from_pretrained(choice.name, use_fast=True)
    except (OSError, ValueError) as error:
        raise InputError(
            f"pretrain.text.name: the text encoder {choice.name!r} can't be loaded: {error}. Give a local folder "
            "with config.json, weights and tokenizer.json, or a Hugging Face name that this machine can reach."
        ) from error
    if max_tokens > fast.model_max_length:
        raise InputError(
            f"pretrain.max_text_tokens is {max_tokens}, and {choice.name!r} takes at most {fast.model_max_length}."
        )
    tokenizer = fast.backend_tokenizer
    _pad_and_cut(tokenizer, fast.pad_token, max_tokens)
    shape = model.config.to_diff_dict()
    config = {
        "kind": "huggingface",
        "model_type": shape.pop("model_type"),
        "model": shape,
        "pool": choice.pool,
        "freeze": choice.freeze,
    }
    encoder = _of_transformer(model, tokenizer, config)
    encoder.buckets = choice.buckets
    return encoder


def _of_vectors(choice: VectorText, texts: Sequence[str], max_tokens: int) -> TextEncoder:
    """CPD's other text encoder: the words of `texts`, the most frequent first, as far as they have a vector."""
    counts, sentences = Counter[str](), []
    plain = _of_most_frequent({}, 0)
    for text in texts:
        sentences.append(_words(plain, text))
        counts.update(sentences[-1])
    found = _trained_vectors(choice, sentences) if choice.path is None else _stored_vectors(choice.path)
    known = {word: count for word, count in counts.items() if word in found}
    if not known:
        raise InputError(f"pretrain.text.path: {choice.path} has a vector of no word of the training texts.")
    tokenizer = _of_most_frequent(known, choice.vocabulary)
    _pad_and_cut(tokenizer, PAD, max_tokens)
    width = found.vector_size
    config = {"kind": "vectors", "width": width, "pool": "mean", "frozen": choice.frozen}
    encoder = from_config(config, tokenizer)
    names = [tokenizer.id_to_token(index) for index in range(2, tokenizer.get_vocab_size())]
    rows = torch.stack([torch.zeros(width)] * 2 + [torch.tensor(found[name]) for name in names])
    with torch.no_grad():
        encoder.backbone.table.weight.copy_(rows)  # type: ignore[union-attr, operator]
    return encoder


def _trained_vectors(choice: VectorText, sentences: Sequence[Sequence[str]]) -> Any:
    """word2vec (skip-gram) on the training texts. One worker: with more, the order of updates is the scheduler's."""
    from gensim.models import Word2Vec

    if not any(sentences):
        raise InputError("pretrain.text: the training texts have no words to learn vectors from.")
    model = Word2Vec(
        sentences,
        vector_size=choice.width,
        min_count=1,
        sg=1,
        epochs=choice.epochs,
        seed=choice.seed,
        workers=1,
    )
    return model.wv


def _stored_vectors(path: str) -> Any:
    """Vectors of a file in word2vec's binary form (.bin, .bin.gz) or as text, word2vec's or GloVe's. Neither form
    can hold code."""
    from gensim.models import KeyedVectors
    from gensim.utils import open as gensim_open  # through .gz as well

    binary = path.endswith((".bin", ".bin.gz"))
    try:
        with gensim_open(path, "rb") as file:
            first = file.readline(1 << 16).split()
        headless = not binary and len(first) != 2  # GloVe's files begin with the first word
        # Some published files have words cut inside a character.
        return KeyedVectors.load_word2vec_format(path, binary=binary, no_header=headless, unicode_errors="replace")
    except FileNotFoundError:
        raise InputError(f"pretrain.text.path: there is no file {path}.") from None
    except (ValueError, EOFError, OSError, KeyError, IndexError, MemoryError) as error:
        raise InputError(
            f"pretrain.text.path: {path} can't be read as word vectors: {error}. Give a word2vec file (.bin, or "
            "text) or a GloVe file."
        ) from error


def _pad_and_cut(tokenizer: Tokenizer, pad: str, max_tokens: int) -> None:
    tokenizer.enable_padding(pad_id=tokenizer.token_to_id(pad), pad_token=pad)
    tokenizer.enable_truncation(max_tokens)


def _lower_case_words(tokenizer: Tokenizer) -> None:
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()  # words, and punctuation apart


def _word_tokenizer(texts: Iterable[str], vocabulary: int) -> Tokenizer:
    """Whole words of `texts`, the most frequent first."""
    counts: Counter[str] = Counter()
    tokenizer = _of_most_frequent({}, 0)
    for text in texts:
        counts.update(_words(tokenizer, text))
    return _of_most_frequent(counts, vocabulary)


def _words(tokenizer: Tokenizer, text: str) -> list[str]:
    pieces = tokenizer.pre_tokenizer.pre_tokenize_str(tokenizer.normalizer.normalize_str(text))
    return [word for word, _ in pieces]


def _of_most_frequent(counts: Mapping[str, int], vocabulary: int) -> Tokenizer:
    """Whole words, the most frequent first; the order of equals is the alphabet's, so two runs agree."""
    ranked = sorted(counts, key=lambda word: (-counts[word], word))[: max(0, vocabulary - 2)]
    entries = {PAD: 0, UNKNOWN: 1} | {word: index for index, word in enumerate(ranked, start=2)}
    tokenizer = Tokenizer(models.WordLevel(entries, unk_token=UNKNOWN))
    _lower_case_words(tokenizer)
    return tokenizer


def _subword_tokenizer(texts: Iterable[str], vocabulary: int) -> Tokenizer:
    """Subwords by byte-pair encoding; a word's first one is marked.

    Not WordPiece, nor marks inside or at the end of words: the trainer then breaks ties by the order of a hash table,
    and two runs, or two processes of one, would disagree on the vocabulary.
    """
    tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN))
    _lower_case_words(tokenizer)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Metaspace(), pre_tokenizers.Punctuation()])
    trainer = trainers.BpeTrainer(vocab_size=vocabulary, special_tokens=[PAD, UNKNOWN, CLS, SEP], show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    ends = [(token, tokenizer.token_to_id(token)) for token in (CLS, SEP)]
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{CLS} $A {SEP}", special_tokens=ends)
    return tokenizer
