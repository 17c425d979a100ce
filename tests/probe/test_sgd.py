"""The SGD probe against torch's own optimizer, against scikit-learn where it converges, and what it must not do."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.nn import functional as F

from scriptsight.errors import InputError
from scriptsight.probe import linear, sgd
from scriptsight.probe.predictions import agreement

PAPER: dict[str, Any] = {
    "epochs": 100,
    "warmup_epochs": 10,
    "batch": 256,
    "momentum": 0.9,
    "weight_decay": 1e-9,
    "seed": 0,
}
SHORT = {**PAPER, "epochs": 8, "warmup_epochs": 2, "batch": 64}


def blobs(items: int, spread: float, views: int = 1, width: int = 6) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Four clouds, far from the origin: train and test [items, views, width], and the classes of both."""
    rng = np.random.default_rng(3)
    classes = np.arange(items) % 4
    centres = rng.normal(size=(4, 1, width))
    train, test = (40 * (centres[classes] + rng.normal(0, spread, (items, views, width))) + 7 for _ in range(2))
    return train.astype(np.float32), classes, test.astype(np.float32)


def test_equals_torch_sgd_on_the_same_batches() -> None:
    train, classes, test = blobs(101, 0.8, views=3)
    recipe: dict[str, Any] = {
        "epochs": 5,
        "warmup_epochs": 2,
        "batch": 32,
        "momentum": 0.8,
        "weight_decay": 0.01,
        "seed": 4,
    }
    found = sgd.fit_predict(train, classes, test, lrs=[0.5], **recipe)

    flat = train.reshape(-1, 6).astype(np.float64)
    seen, unseen = (torch.from_numpy((part - flat.mean(0)) / flat.std(0)) for part in (train, test))
    layer = nn.Linear(6, 4, dtype=torch.float64)
    nn.init.zeros_(layer.weight), nn.init.zeros_(layer.bias)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.5 * 32 / 256, momentum=0.8, weight_decay=0.01)

    def rate(step: int) -> float:  # 4 batches an epoch
        return (step + 1) / 8 if step < 8 else (1 + math.cos(math.pi * (step - 8) / 12)) / 2

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    generator = torch.Generator().manual_seed(4)
    for _ in range(5):
        order, views = torch.randperm(101, generator=generator), torch.randint(3, (101,), generator=generator)
        for rows in torch.arange(101).tensor_split(4):
            inputs, labels = seen[order[rows], views[rows]], torch.from_numpy(classes)[order[rows]]
            optimizer.zero_grad()
            F.cross_entropy(layer(inputs), labels).backward()
            optimizer.step()
            schedule.step()
    expected = layer(unseen).softmax(-1).mean(1).detach().numpy()
    assert 0.3 < expected.max(axis=1).mean() < 0.95  # something was learned, and nothing is saturated
    np.testing.assert_allclose(found.scores, expected, atol=1e-5)


def test_converges_to_the_regression_without_penalty() -> None:
    train, classes, test = blobs(1000, 1.2)
    long = {**PAPER, "batch": 1000, "epochs": 1500}
    found = sgd.fit_predict(train, classes, test, lrs=[0.5], **long)
    flat = train[:, 0].astype(np.float64)
    mean, spread = flat.mean(0), flat.std(0)
    model = LogisticRegression(C=np.inf, max_iter=5000, tol=1e-8).fit((flat - mean) / spread, classes)
    expected = model.predict_proba((test[:, 0] - mean) / spread)
    assert 0.5 < found.accuracy(classes) < 0.95
    np.testing.assert_allclose(found.scores, expected, atol=1e-3)
    assert abs(found.accuracy(classes) - (expected.argmax(1) == classes).mean()) <= 0.002


def test_recipe_of_the_paper_agrees_with_lbfgs() -> None:
    train, classes, test = blobs(1000, 1.2)
    found = sgd.fit_predict(train, classes, test, lrs=[0.03, 0.1, 0.3], **PAPER)
    fast = linear.fit_predict(train, classes, test, 1.0)
    assert agreement(found.classes, fast.classes) > 0.95
    assert abs(found.accuracy(classes) - fast.accuracy(classes)) <= 0.015


def test_learning_rate_is_chosen_on_held_out_training_and_fitted_again_on_all() -> None:
    train, classes, test = blobs(400, 1.0)
    lrs = [1e-9, 0.3]
    found = sgd.fit_predict(train, classes, test, lrs=lrs, **SHORT)
    assert found.lr == 0.3 and list(found.held_out) == lrs and found.held_out[0.3] > found.held_out[1e-9]
    alone = sgd.fit_predict(train, classes, test, lrs=[0.3], **SHORT)
    assert alone.held_out == {} and alone.lr == 0.3
    np.testing.assert_array_equal(found.scores, alone.scores)
    # The choice knows nothing of the test split: another one, same choice.
    assert sgd.fit_predict(train, classes, -test, lrs=lrs, **SHORT).held_out == found.held_out


def test_held_out_share_is_of_each_class_and_leaves_every_class_in_training() -> None:
    classes = np.repeat([0, 1, 2, 3], [50, 10, 2, 1])
    fitted, held = sgd.hold_out(classes, 0)
    assert sorted([*fitted, *held]) == list(range(63))
    assert np.bincount(classes[held], minlength=4).tolist() == [10, 2, 1, 0]
    assert set(classes[fitted]) == {0, 1, 2, 3}


def test_choice_among_rates_needs_a_class_with_two_items() -> None:
    train, classes, test = blobs(4, 0.1)
    with pytest.raises(InputError, match="one learning rate, or more labelled items"):
        sgd.fit_predict(train, classes, test, lrs=[0.1, 0.3], **SHORT)
    assert sgd.fit_predict(train, classes, test, lrs=[0.1], **SHORT).scores.shape == (4, 4)


def test_scores_are_averaged_over_the_views_of_the_test() -> None:
    train, classes, test = blobs(200, 1.0, views=3)
    whole = sgd.fit_predict(train, classes, test, lrs=[0.3], **SHORT).scores
    single = [sgd.fit_predict(train, classes, test[:, view], lrs=[0.3], **SHORT).scores for view in range(3)]
    assert np.abs(single[0] - single[1]).max() > 0.1
    np.testing.assert_allclose(whole, np.mean(single, axis=0), atol=1e-6)
    np.testing.assert_allclose(whole.sum(axis=1), 1)


def test_same_bytes_whatever_the_global_generators_are_at_and_they_stay_there() -> None:
    train, classes, test = blobs(300, 1.0, views=2)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = sgd.fit_predict(train, classes, test, lrs=[0.1, 0.3], **SHORT)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(2)
    second = sgd.fit_predict(train, classes, test, lrs=[0.1, 0.3], **SHORT)
    assert first.scores.tobytes() == second.scores.tobytes() and first.held_out == second.held_out
    other = sgd.fit_predict(train, classes, test, lrs=[0.1, 0.3], **{**SHORT, "seed": 1})
    assert first.scores.tobytes() != other.scores.tobytes()


def test_constant_feature_does_no_harm() -> None:
    train, classes, test = blobs(200, 0.3)
    train[..., 2] = test[..., 2] = 5
    found = sgd.fit_predict(train, classes, test, lrs=[0.3], **PAPER)
    assert np.isfinite(found.scores).all() and found.accuracy(classes) > 0.9


def test_is_at_chance_on_permuted_labels() -> None:
    train, classes, test = blobs(400, 0.3)
    rng = np.random.default_rng(0)
    shares = [
        sgd.fit_predict(train, rng.permutation(classes), test, lrs=[0.3], **SHORT).accuracy(classes)
        for _ in range(40)
    ]
    assert abs(np.mean(shares) - 0.25) < 0.1
