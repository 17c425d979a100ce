"""The tests and intervals of two samples, against naive loops, all permutations, and made-up data without a
difference."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from scriptsight.drift import samples

ALARMS = 9  # of 40 tests at 5%: 99.9% of all series of 40 have fewer


def test_the_p_value_of_means_is_that_of_all_ways_to_part_them() -> None:
    first, second = np.array([1.0, 2.0, 2.5, 4.0, 1.5]), np.array([3.0, 5.0, 3.5, 4.5])
    values = np.concatenate([first, second])
    apart = [
        abs(values[list(inside)].mean() - np.delete(values, inside).mean())
        for inside in combinations(range(len(values)), len(second))
    ]
    exact = np.mean(np.array(apart) >= abs(second.mean() - first.mean()) - 1e-12)
    found = samples.means(first, second)
    assert found.p_value == pytest.approx(exact, abs=0.02)
    assert (found.first.value, found.second.value, found.difference.value) == pytest.approx((2.2, 4.0, 1.8))
    assert found.difference.low < 1.8 < found.difference.high


def test_the_energy_distance_is_that_of_a_naive_loop() -> None:
    rng = np.random.default_rng(0)
    owners = (np.repeat(np.arange(6), 2), np.repeat(np.arange(5), 3))
    first, second = rng.normal(size=(12, 4)), rng.normal(1.0, 1.0, size=(15, 4))

    def mean(one: np.ndarray, of_one: np.ndarray, other: np.ndarray, of_other: np.ndarray, same: bool) -> float:
        """Of the mean distances of each two recordings; of one sample without those within a recording."""
        found = [
            np.mean([np.linalg.norm(x - y) for x in one[of_one == i] for y in other[of_other == j]])
            for i in np.unique(of_one)
            for j in np.unique(of_other)
            if not (same and i == j)
        ]
        return float(np.mean(found))

    across = 2 * mean(first, owners[0], second, owners[1], False)
    within = mean(first, owners[0], first, owners[0], True) + mean(second, owners[1], second, owners[1], True)
    found = samples.distance(first, second, owners)
    assert found.second.value == pytest.approx((across - within) / across)
    assert found.second.low < found.second.value < found.second.high


def test_recall_is_the_mean_over_all_galleries() -> None:
    """Of a text's own sample, without other clips of its recording."""
    rng = np.random.default_rng(1)
    owners = np.repeat(np.arange(10), 2)
    is_second = np.arange(10) >= 5
    texts, videos = (one / np.linalg.norm(one, axis=1, keepdims=True) for one in rng.normal(size=(2, 20, 3)))
    scores = texts @ videos.T
    found = samples.recall(texts, videos, owners, is_second, (50, 5))
    assert found is not None
    gallery, contrast = found
    assert gallery == 5
    hits: dict[bool, list[float]] = {False: [], True: []}
    for text in range(20):
        second = bool(is_second[owners[text]])
        others = [i for i in range(20) if is_second[owners[i]] == second and owners[i] != owners[text]]
        drawn = [max(scores[text, list(some)]) < scores[text, text] for some in combinations(others, 4)]
        hits[second].append(float(np.mean(drawn)))
    assert contrast.first.value == pytest.approx(np.mean(hits[False]))
    assert contrast.second.value == pytest.approx(np.mean(hits[True]))
    assert samples.recall(texts, videos, owners, is_second, (50,)) is None  # no fifty clips are there


def test_no_difference_is_rarely_taken_for_one() -> None:
    """Segments of a recording are alike, which is no evidence; and the new ones are fewer."""
    alarms = {"means": 0, "distance": 0, "shares": 0, "recall": 0}
    owners = (np.repeat(np.arange(20), 4), np.repeat(np.arange(8), 4))
    for seed in range(40):
        rng = np.random.default_rng(seed)
        first, second = (
            np.repeat(rng.normal(size=(count, 3)), 4, axis=0) + 0.1 * rng.normal(size=(4 * count, 3))
            for count in (20, 8)
        )
        alarms["means"] += samples.means(rng.exponential(size=20), rng.exponential(size=8)).p_value < 0.05
        alarms["distance"] += samples.distance(first, second, owners).p_value < 0.05
        languages = rng.choice(["en", "de", "fr"], 28, p=[0.6, 0.3, 0.1]).tolist()
        alarms["shares"] += samples.shares(languages[:20], languages[20:])[1].p_value < 0.05
        videos = np.concatenate([first, second])
        texts = videos + rng.normal(size=videos.shape)
        of_all = np.concatenate([owners[0], owners[1] + 20])
        found = samples.recall(texts, videos, of_all, np.arange(28) >= 20, (20,))
        assert found is not None
        alarms["recall"] += found[1].p_value < 0.05
    assert max(alarms.values()) < ALARMS, alarms


def test_a_difference_is_seen_and_lies_in_its_interval() -> None:
    rng = np.random.default_rng(2)
    found = samples.means(rng.normal(0, 1, 60), rng.normal(2, 1, 30))
    assert found.p_value < 0.001
    assert found.difference.low < 2 < found.difference.high
    kind, shares = samples.shares(["en"] * 30, ["en"] * 6 + ["de"] * 9)
    assert kind in ("de", "en") and shares.p_value < 0.001
    owners = (np.repeat(np.arange(30), 2), np.repeat(np.arange(15), 2))
    apart = samples.distance(rng.normal(0, 1, (60, 3)), rng.normal(2, 1, (30, 3)), owners)
    assert apart.p_value < 0.001 and apart.second.low > apart.first.high
