"""Text encoders: sentences -> vectors. Random or learned word vectors, a small transformer from scratch, or Hugging
Face."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor, nn

from scriptsight.errors import ArgumentError, needs

PAD, UNKNOWN, CLS, SEP = "[PAD]", "[UNK]", "[CLS]", "[SEP]"


class TextEncoder(nn.Module):
    """A tokenizer, a backbone and a pooling rule. S sentences, L tokens, D width.

    Build one with `words`, `vectors`, `transformer` or `huggingface`: the first three learn their vocabulary from
    texts, best those that training sees. `max_tokens` is where a text is cut.

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

    @classmethod
    def words(cls, texts: Iterable[str], *, width: int, vocabulary: int = 8000, max_tokens: int = 50) -> TextEncoder:
        """The mean of frozen random word vectors [width] of the most frequent `vocabulary` words of `texts`."""
        tokenizer = _word_tokenizer(texts, vocabulary)
        _pad_and_cut(tokenizer, PAD, max_tokens)
        return from_config({"kind": "words", "width": width, "pool": "mean"}, tokenizer)

    @classmethod
    def vectors(
        cls,
        texts: Iterable[str],
        *,
        path: str | None = None,
        width: int | None = None,
        vocabulary: int = 8000,
        frozen: bool = True,
        epochs: int = 10,
        seed: int = 0,
        max_tokens: int = 50,
    ) -> TextEncoder:
        """CPD's other text encoder: the mean of word vectors, of those words of `texts` that have one.

        Args:
            path: a word2vec file (.bin, .bin.gz, or text) or one of GloVe. Without it, word2vec is trained on
                `texts`, with vectors [width], for so many `epochs`.
            vocabulary: most entries; the most frequent words stay.

        Raises:
            ArgumentError: neither `path` nor `width` or both; a file that holds no word vectors, or none of a word
                of `texts`; texts without words.
            MissingExtra: gensim is not installed.
        """
        if (path is None) == (width is None):
            raise ArgumentError(
                "path",
                "or width is needed: give a file of word vectors, or how wide those trained here are, not both",
            )
        counts, sentences = Counter[str](), []
        plain = _of_most_frequent({}, 0)
        for text in texts:
            sentences.append(_words(plain, text))
            counts.update(sentences[-1])
        found = _trained_vectors(sentences, width, epochs, seed) if path is None else _stored_vectors(path)
        known = {word: count for word, count in counts.items() if word in found}
        if not known:
            raise ArgumentError("path", f"{path} has a vector of no word of the training texts.")
        tokenizer = _of_most_frequent(known, vocabulary)
        _pad_and_cut(tokenizer, PAD, max_tokens)
        size = found.vector_size
        encoder = from_config({"kind": "vectors", "width": size, "pool": "mean", "frozen": frozen}, tokenizer)
        names = [tokenizer.id_to_token(index) for index in range(2, tokenizer.get_vocab_size())]
        rows = torch.stack([torch.zeros(size)] * 2 + [torch.tensor(found[name]) for name in names])
        if len(broken := (~torch.isfinite(rows)).any(1).nonzero()):
            word = names[int(broken[0]) - 2]
            raise ArgumentError(
                "path",
                f"{path} has vectors that are not finite: {len(broken)}, the first is that of {word!r}. Get the file "
                "again, or take another.",
            )
        with torch.no_grad():
            encoder.backbone.table.weight.copy_(rows)  # type: ignore[union-attr, operator]
        return encoder

    @classmethod
    def transformer(
        cls,
        texts: Iterable[str],
        *,
        width: int,
        depth: int,
        heads: int,
        vocabulary: int = 8000,
        max_tokens: int = 50,
    ) -> TextEncoder:
        """A small BERT from scratch, mean of its last states, with at most `vocabulary` subwords of `texts` (BPE).

        Raises:
            ArgumentError: `width` is no multiple of `heads`.
        """
        if width % heads:
            raise ArgumentError("width", f"{width} is no multiple of heads {heads}")
        tokenizer = _subword_tokenizer(texts, vocabulary)
        bert = {
            "vocab_size": tokenizer.get_vocab_size(),
            "hidden_size": width,
            "num_hidden_layers": depth,
            "num_attention_heads": heads,
            "intermediate_size": 4 * width,
            "max_position_embeddings": max_tokens,
            "hidden_dropout_prob": 0.0,
            "attention_probs_dropout_prob": 0.0,
        }
        _pad_and_cut(tokenizer, PAD, max_tokens)
        return from_config({"kind": "transformer", "model_type": "bert", "model": bert, "pool": "mean"}, tokenizer)

    @classmethod
    def huggingface(
        cls,
        name: str,
        *,
        pool: Literal["cls", "mean"] = "mean",
        freeze: int | Literal["none", "all"] = "none",
        buckets: int = 1,
        max_tokens: int = 50,
    ) -> TextEncoder:
        """An encoder of Hugging Face with its own weights and vocabulary, by name or local folder.

        Args:
            pool: a sentence is the first state or the mean of all.
            freeze: a number freezes the embeddings and so many first layers.
            buckets: groups by length that a batch of sentences is computed in; more than 1 pays for long ones.

        Raises:
            ArgumentError: it can't be loaded, takes fewer tokens than `max_tokens`, or has fewer layers than are to
                be frozen.
        """
        from transformers import AutoModel, AutoTokenizer  # seconds to import, and the default does not need it

        try:
            model = AutoModel.from_pretrained(name)
            fast = AutoTokenizer.from_pretrained(name, use_fast=True)
        except (OSError, ValueError) as error:
            raise ArgumentError(
                "name",
                f"{name!r} can't be loaded as a text encoder: {error}. Give a local folder with config.json, weights "
                "and tokenizer.json, or a Hugging Face name that this machine can reach.",
            ) from error
        if max_tokens > fast.model_max_length:
            raise ArgumentError("max_tokens", f"{max_tokens} is over the {fast.model_max_length} of {name!r}.")
        tokenizer = fast.backend_tokenizer
        _pad_and_cut(tokenizer, fast.pad_token, max_tokens)
        shape = model.config.to_diff_dict()
        config = {
            "kind": "huggingface",
            "model_type": shape.pop("model_type"),
            "model": shape,
            "pool": pool,
            "freeze": freeze,
        }
        encoder = _of_transformer(model, tokenizer, config)
        encoder.buckets = buckets
        return encoder

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
            ArgumentError: the model has fewer layers.
        """
        depth = self.model.config.num_hidden_layers
        stack = next(
            (part for part in self.model.modules() if isinstance(part, nn.ModuleList) and len(part) == depth), None
        )
        if stack is None or layers > depth:
            raise ArgumentError(
                "freeze",
                f"{layers} is over the {depth} layers of the text encoder {self.model.config.model_type}: give a "
                "number up to that, 'none' or 'all'.",
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


def from_config(config: dict[str, Any], tokenizer: Tokenizer) -> TextEncoder:
    """An encoder of the shape that `config` says, with fresh weights."""
    if config["kind"] == "words":
        words = _WordVectors(tokenizer.get_vocab_size(), config["width"])
        return TextEncoder(words, tokenizer, config, width=config["width"], frozen=True)
    if config["kind"] == "vectors":
        words = _WordVectors(tokenizer.get_vocab_size(), config["width"])
        return TextEncoder(words, tokenizer, config, width=config["width"], frozen=config["frozen"])
    if config["kind"] not in ("transformer", "huggingface"):
        raise ValueError(f"there is no text encoder of kind {config['kind']!r}")
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


def _trained_vectors(sentences: Sequence[Sequence[str]], width: int | None, epochs: int, seed: int) -> Any:
    """word2vec (skip-gram) on texts. One worker: with more, the order of updates is the scheduler's."""
    with needs("vectors", "Training word vectors"):
        from gensim.models import Word2Vec

    if not any(sentences):
        raise ArgumentError("texts", "have no words to learn vectors from.")
    model = Word2Vec(sentences, vector_size=width, min_count=1, sg=1, epochs=epochs, seed=seed, workers=1)
    return model.wv


def _stored_vectors(path: str) -> Any:
    """Vectors of a file in word2vec's binary form (.bin, .bin.gz) or as text, word2vec's or GloVe's. Neither form
    can hold code."""
    with needs("vectors", "Reading word vectors"):
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
        raise ArgumentError("path", f"{path} is missing: there is no file of this name.") from None
    except (ValueError, EOFError, OSError, KeyError, IndexError, MemoryError) as error:
        raise ArgumentError(
            "path",
            f"{path} can't be read as word vectors: {error}. Give a word2vec file (.bin, or text) or a GloVe file.",
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
