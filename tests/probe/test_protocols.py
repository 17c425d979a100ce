"""Each protocol against the plainest possible loop."""

import math

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from scriptsight.probe import knn, linear, video_to_video
from scriptsight.probe.cosine import pooled
from scriptsight.probe.predictions import Predictions, agreement


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))


def naive_recall(features: np.ndarray, classes: np.ndarray, k: int) -> float:
    hits = 0
    for query in range(len(features)):
        others = [i for i in range(len(features)) if i != query]
        # Best first; of equals the wrong classes first.
        right = {i: classes[i] == classes[query] for i in others}
        key = {i: (-round(cosine(features[query], features[i]), 6), right[i]) for i in others}
        nearest = sorted(others, key=key.__getitem__)[:k]
        hits += any(classes[i] == classes[query] for i in nearest)
    return hits / len(features)


def naive_votes(train: np.ndarray, classes: np.ndarray, test: np.ndarray, k: int, temperature: float) -> np.ndarray:
    votes = np.zeros((len(test), classes.max() + 1))
    for query in range(len(test)):
        similarities = [cosine(test[query], other) for other in train]
        order = sorted(range(len(train)), key=lambda i: (-round(similarities[i], 6), i))
        for i in order[:k]:
            votes[query, classes[i]] += math.exp(similarities[i] / temperature)
    return votes


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("k", [1, 2, 5, 10])
def test_recall_equals_a_naive_loop(rng: np.random.Generator, k: int, tied: bool) -> None:
    # Small integers give many equal cosines; a few hundred queries cross the border of a chunk.
    features = rng.integers(-1, 2, (300, 3)) if tied else rng.normal(size=(300, 6))
    features[(features == 0).all(axis=1)] = 1
    classes = rng.integers(0, 40, 300)
    features = features.astype(np.float64)
    ranks = video_to_video.first_hits(features, classes)
    assert video_to_video.recall(ranks, k) == naive_recall(features, classes, k)


def test_recall_counts_ties_against_the_model_and_a_lonely_class_as_a_miss() -> None:
    same = np.ones((6, 4))
    assert video_to_video.first_hits(same, np.array([0, 0, 0, 1, 1, 2])).tolist() == [4, 4, 4, 5, 5, np.inf]


@pytest.mark.parametrize("k", [1, 3, 10, 50])
def test_chance_is_the_mean_recall_of_random_orders(rng: np.random.Generator, k: int) -> None:
    classes = np.array([0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 3])
    found = [
        video_to_video.recall(video_to_video.first_hits(rng.normal(size=(11, 60)), classes), k) for _ in range(400)
    ]
    assert abs(np.mean(found) - video_to_video.chance(classes, k)) < 0.02


def test_a_query_is_not_its_own_answer() -> None:
    features = np.eye(4)
    classes = np.array([0, 1, 2, 3])
    assert video_to_video.recall(video_to_video.first_hits(features, classes), 10) == 0


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("k", [1, 3, 20, 1000])
def test_knn_equals_a_naive_loop(rng: np.random.Generator, k: int, tied: bool) -> None:
    train, test = (
        (rng.integers(1, 4, (n, 3)) if tied else rng.normal(size=(n, 5))).astype(np.float64) for n in (80, 300)
    )
    classes = rng.integers(0, 4, 80)
    classes[0] = 3
    votes = knn.votes(train, classes, test, k, 0.2)
    naive = naive_votes(train, classes, test, k, 0.2)
    np.testing.assert_allclose(
        votes / votes.sum(axis=1, keepdims=True), naive / naive.sum(axis=1, keepdims=True), atol=1e-5
    )


def test_knn_stands_a_temperature_close_to_zero(rng: np.random.Generator) -> None:
    train = rng.normal(size=(30, 4))
    classes = np.arange(30) % 3
    found = knn.predict(train, classes, train, 5, 1e-5)  # a video's nearest is itself
    assert np.isfinite(found.scores).all() and found.accuracy(classes) == 1


@pytest.mark.parametrize(("k", "temperature"), [(1, 0.07), (20, 0.07), (20, 1.0)])
def test_knn_equals_scikit_learn_with_the_same_weights(rng: np.random.Generator, k: int, temperature: float) -> None:
    classes = np.arange(1000) % 5
    centres = rng.normal(size=(5, 16))
    train, test = (centres[classes] + rng.normal(0, 1.5, (1000, 16)) for _ in range(2))
    model = KNeighborsClassifier(
        k, metric="cosine", algorithm="brute", weights=lambda distances: np.exp((1 - distances) / temperature)
    )
    expected = model.fit(train, classes).predict(test)
    found = knn.predict(train, classes, test, k, temperature)
    assert 0.5 < found.accuracy(classes) < 0.95
    assert abs(found.accuracy(classes) - (expected == classes).mean()) <= 0.002
    assert (found.classes == expected).mean() >= 0.998


def test_knn_is_at_chance_on_permuted_labels(rng: np.random.Generator) -> None:
    classes = np.arange(400) % 4
    train, test = (5 * np.eye(4, 8)[classes] + rng.normal(0, 0.5, (400, 8)) for _ in range(2))
    assert knn.predict(train, classes, test, 20, 0.07).accuracy(classes) == 1
    permuted = [knn.predict(train, rng.permutation(classes), test, 20, 0.07).accuracy(classes) for _ in range(40)]
    assert abs(np.mean(permuted) - 0.25) < 0.1


def test_a_tie_is_a_miss() -> None:
    scores = np.array([[2.0, 1.0], [1.0, 1.0], [0.0, 0.0], [1.0, 2.0]])
    classes = np.array([0, 0, 1, 0])
    assert Predictions(scores).hits(classes).tolist() == [True, False, False, False]
    assert Predictions(scores).accuracy(classes) == 0.25


def test_agreement_is_the_share_of_equal_predictions() -> None:
    first, second = Predictions(np.eye(3)[[0, 1, 2, 2]]), Predictions(np.eye(3)[[0, 2, 2, 1]])
    assert agreement(first.classes, second.classes) == 0.5 and agreement(first.classes, first.classes) == 1


def test_views_are_pooled_for_neighbours(rng: np.random.Generator) -> None:
    classes = rng.integers(0, 4, 60)
    views = rng.normal(size=(60, 3, 5)) * rng.uniform(0.1, 9, (60, 3, 1))
    mean = np.stack([sum(view / np.linalg.norm(view) for view in clip) for clip in views])
    np.testing.assert_allclose(pooled(views), mean / np.linalg.norm(mean, axis=1, keepdims=True))
    assert video_to_video.first_hits(views, classes).tolist() == video_to_video.first_hits(mean, classes).tolist()
    np.testing.assert_allclose(
        knn.predict(views, classes, views, 5, 0.2).scores, knn.predict(mean, classes, mean, 5, 0.2).scores, rtol=1e-5
    )


def test_linear_takes_views_as_samples_of_a_share_and_averages_their_probabilities(rng: np.random.Generator) -> None:
    classes = np.arange(120) % 3
    train, test = (rng.normal(size=(3, 1, 6))[classes] + rng.normal(size=(120, 4, 6)) for _ in range(2))
    found = linear.fit_predict(train, classes, test, 0.3)
    flat = train.reshape(-1, 6)
    mean, spread = flat.mean(axis=0), flat.std(axis=0)
    # Four views, each of weight 1/4: the penalty is that of a C four times as small.
    model = LogisticRegression(C=0.3 / 4, max_iter=2000).fit((flat - mean) / spread, np.repeat(classes, 4))
    expected = np.mean([model.predict_proba((test[:, view] - mean) / spread) for view in range(4)], axis=0)
    np.testing.assert_allclose(found.scores, expected, atol=1e-3)
    same = linear.fit_predict(train[:, :1].repeat(4, axis=1), classes, test[:, 0], 0.3)
    np.testing.assert_allclose(
        same.scores, linear.fit_predict(train[:, 0], classes, test[:, 0], 0.3).scores, atol=1e-3
    )


def test_a_class_that_training_lacks_is_never_predicted(rng: np.random.Generator) -> None:
    classes = np.array([0, 2, 3] * 20)
    train = rng.normal(size=(60, 4))
    found = linear.fit_predict(train, classes, train, 1.0)
    assert found.scores.shape == (60, 4) and (found.scores[:, 1] == 0).all() and found.accuracy(classes) > 0.4


def test_linear_equals_scikit_learn_on_features_standardised_by_hand(rng: np.random.Generator) -> None:
    classes = np.arange(200) % 4
    centres = rng.normal(size=(4, 6))
    train, test = (centres[classes] + rng.normal(0, 0.8, (200, 6)) for _ in range(2))
    train, test = train * 100 + 7, test * 100 + 7
    mean, spread = train.mean(axis=0), train.std(axis=0)
    model = LogisticRegression(C=0.3, max_iter=2000).fit((train - mean) / spread, classes)
    expected = model.predict((test - mean) / spread)
    assert 0.5 < (expected == classes).mean() < 1  # neither trivial nor chance, so agreement says something
    np.testing.assert_array_equal(linear.fit_predict(train, classes, test, 0.3).classes, expected)


def test_linear_separates_clusters_and_is_at_chance_on_permuted_labels(
    rng: np.random.Generator,
) -> None:
    classes = np.arange(400) % 4
    centres = 5 * np.eye(4, 8)
    train, test = (centres[classes] + rng.normal(0, 0.5, (400, 8)) for _ in range(2))
    assert linear.fit_predict(train, classes, test, 1.0).accuracy(classes) == 1
    permuted = [linear.fit_predict(train, rng.permutation(classes), test, 1.0).accuracy(classes) for _ in range(40)]
    assert abs(np.mean(permuted) - 0.25) < 0.1
