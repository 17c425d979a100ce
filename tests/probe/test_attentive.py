"""The attentive probe against torch's own attention, and what it finds that a mean of tokens can't."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from scriptsight.probe import attentive, linear

RECIPE: dict[str, Any] = {"heads": 2, "lr": 3e-3, "epochs": 20, "batch": 32, "weight_decay": 0.01, "seed": 0}
SHORT = {**RECIPE, "epochs": 2}


def hidden_word(items: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Tokens [items, 12, 16], and classes of 4. One token, at a random place, is marked and shows the class; all
    others show classes at random, so that every class is shown 3 times and the mean tells nothing."""
    rng = np.random.default_rng(seed)
    classes = np.arange(items) % 4
    shown = np.array([rng.permutation(np.repeat(np.arange(4), 3)) for _ in range(items)])  # [items, 12]
    tokens = rng.normal(0, 0.2, (items, 12, 16))
    tokens[..., :4] += 2 * np.eye(4)[shown]
    for item, name in enumerate(classes):
        tokens[item, rng.choice(np.flatnonzero(shown[item] == name)), 5] += 3
    return tokens.astype(np.float32), classes


def test_equals_torchs_attention_over_normalised_tokens() -> None:
    torch.manual_seed(0)
    model = attentive.AttentiveClassifier(width=12, heads=3, classes=5).double()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5)  # far from the start, where attention is almost uniform
    reference = nn.MultiheadAttention(12, 3, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        # The query is what attends: torch projects it, V-JEPA too, which a learned vector has no need of.
        reference.in_proj_weight.copy_(torch.cat([torch.eye(12), model.key.weight, model.value.weight]))
        reference.in_proj_bias.copy_(torch.cat([torch.zeros(24), model.value.bias]))
        reference.out_proj.load_state_dict(model.proj.state_dict())
    tokens = torch.randn(7, 9, 12, dtype=torch.float64)
    normal = F.layer_norm(tokens, (12,), eps=1e-6)
    query = model.query.expand(7, 1, 12)
    attended = query + reference(query, normal, normal, need_weights=False)[0]
    expected = model.head(attended + model.mlp(model.norm(attended)))[:, 0]
    torch.testing.assert_close(model(tokens), expected)


def test_finds_the_marked_token_that_the_mean_of_all_does_not_show() -> None:
    train, classes = hidden_word(800, 0)
    test, truth = hidden_word(400, 1)
    found = attentive.fit_predict(train, classes, test, **RECIPE)
    assert found.accuracy(truth) > 0.9
    assert linear.fit_predict(train.mean(1), classes, test.mean(1), 1.0).accuracy(truth) < 0.4
    np.testing.assert_allclose(found.scores.sum(axis=1), 1)


def test_is_at_chance_on_permuted_labels() -> None:
    train, classes = hidden_word(400, 0)
    test, truth = hidden_word(400, 1)
    rng = np.random.default_rng(0)
    shares = [
        attentive.fit_predict(train, rng.permutation(classes), test, **{**RECIPE, "epochs": 4}).accuracy(truth)
        for _ in range(5)
    ]
    assert abs(np.mean(shares) - 0.25) < 0.1


def test_memory_map_and_array_give_the_same_bytes_whatever_the_global_generator_is_at(tmp_path: Path) -> None:
    train, classes = hidden_word(100, 0)
    np.save(tmp_path / "tokens.npy", train)
    mapped = np.load(tmp_path / "tokens.npy", mmap_mode="r")
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = attentive.fit_predict(train, classes, train, **SHORT)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(2)
    second = attentive.fit_predict(mapped, classes, mapped, **SHORT)
    assert first.scores.tobytes() == second.scores.tobytes()
    other = attentive.fit_predict(train, classes, train, **{**SHORT, "seed": 1})
    assert first.scores.tobytes() != other.scores.tobytes()


def test_each_view_is_trained_on_and_scores_are_averaged_over_views() -> None:
    rng = np.random.default_rng(0)
    classes = np.arange(200) % 4
    says = np.eye(4, 16)[classes][:, None] + rng.normal(0, 0.3, (200, 5, 16))
    noise = rng.normal(size=says.shape)
    recipe = {**RECIPE, "epochs": 5}
    for train in (np.stack([says, noise], axis=1), np.stack([noise, says], axis=1)):  # [200, 2, 5, 16]
        found = attentive.fit_predict(train, classes, train, **recipe)
        single = [attentive.fit_predict(train, classes, train[:, view], **recipe) for view in range(2)]
        assert max(one.accuracy(classes) for one in single) > 0.9
        np.testing.assert_allclose(found.scores, (single[0].scores + single[1].scores) / 2, atol=1e-6)


def test_width_must_be_a_multiple_of_the_heads() -> None:
    tokens, classes = hidden_word(8, 0)
    with pytest.raises(ValueError, match="width 16 can't be split among 3 heads"):
        attentive.fit_predict(tokens, classes, tokens, **{**SHORT, "heads": 3})
