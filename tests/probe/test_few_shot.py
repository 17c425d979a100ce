"""Few-shot episodes against the plainest loop, and constructions with a known answer."""

import numpy as np
import pytest
from scipy.stats import norm

from scriptsight.errors import InputError
from scriptsight.probe import few_shot

FIVE = {"ways": 5, "shots": 2, "queries": 4, "episodes": 50, "seed": 0}


def data(spread: float, width: int = 8) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    classes = np.repeat(np.arange(7), 12)
    return rng.normal(size=(7, width))[classes] + rng.normal(0, spread, (84, width)), classes


def naive(features: np.ndarray, classes: np.ndarray, recipe: dict[str, int]) -> list[float]:
    rng = np.random.default_rng(recipe["seed"])
    found = []
    for _ in range(recipe["episodes"]):
        ways = rng.choice(7, recipe["ways"], replace=False)
        drawn = [
            rng.choice(np.flatnonzero(classes == way), recipe["shots"] + recipe["queries"], replace=False)
            for way in ways
        ]
        hits = []
        for way, rows in enumerate(drawn):
            for query in rows[recipe["shots"] :]:
                closeness = []
                for others in drawn:
                    prototype = sum(
                        features[row] / np.linalg.norm(features[row]) for row in others[: recipe["shots"]]
                    )
                    closeness.append(
                        features[query] @ prototype / np.linalg.norm(features[query]) / np.linalg.norm(prototype)
                    )
                hits.append(all(closeness[way] > value for other, value in enumerate(closeness) if other != way))
        found.append(float(np.mean(hits)))
    return found


def test_equals_a_naive_loop() -> None:
    features, classes = data(1.0)
    found = few_shot.episodes(features, classes, **FIVE)
    assert 0.3 < found.mean() < 0.95 and len(set(found)) > 5
    np.testing.assert_allclose(found, naive(features, classes, FIVE))


def test_tight_classes_are_distinguished_and_a_tie_is_a_miss() -> None:
    features, classes = data(0.01)
    assert (few_shot.episodes(features, classes, **FIVE) == 1).all()
    assert (few_shot.episodes(np.ones_like(features), classes, **FIVE) == 0).all()


def test_permuted_labels_are_at_chance() -> None:
    features, classes = data(0.5)
    permuted = np.random.default_rng(0).permutation(classes)
    found = few_shot.episodes(features, permuted, **{**FIVE, "episodes": 400})
    assert abs(found.mean() - 1 / 5) < 0.06


def test_episodes_are_those_of_the_seed_and_the_classes_alone() -> None:
    features, classes = data(1.0)
    first = few_shot.episodes(features, classes, **FIVE)
    assert first.tobytes() == few_shot.episodes(features, classes, **FIVE).tobytes()
    assert first.tolist() != few_shot.episodes(features, classes, **{**FIVE, "seed": 1}).tolist()
    longer = few_shot.episodes(features, classes, **{**FIVE, "episodes": 60})
    assert first.tolist() == longer[:50].tolist()


def test_views_are_pooled_to_the_direction_of_their_mean() -> None:
    features, classes = data(1.0)
    views = np.stack([features, 3 * features[:, ::-1]], axis=1)
    units = [view / np.linalg.norm(view, axis=1, keepdims=True) for view in (features, features[:, ::-1])]
    np.testing.assert_array_equal(
        few_shot.episodes(views, classes, **FIVE), few_shot.episodes(units[0] + units[1], classes, **FIVE)
    )


def test_classes_with_too_few_items_are_never_drawn() -> None:
    features, classes = data(0.01)
    rare = np.full((3, 8), np.nan)  # would make a prototype that nothing can be closer to or further from
    found = few_shot.episodes(np.concatenate([features, rare]), np.concatenate([classes, [7, 7, 7]]), **FIVE)
    assert (found == 1).all()
    with pytest.raises(InputError, match=r"need 8 classes with 2 \+ 4 items .* 7 of 8 classes have them"):
        few_shot.episodes(
            np.concatenate([features, rare]), np.concatenate([classes, [7, 7, 7]]), **{**FIVE, "ways": 8}
        )


def test_interval_covers_the_mean_19_times_of_20() -> None:
    rng = np.random.default_rng(0)
    covered = [
        low < 0.6 < high for low, high in (few_shot.interval(rng.binomial(75, 0.6, 600) / 75) for _ in range(400))
    ]
    assert abs(np.mean(covered) - 0.95) < 0.035
    values = rng.random(50)
    expected = norm.interval(0.95, values.mean(), values.std(ddof=1) / 50**0.5)
    assert few_shot.interval(values) == pytest.approx(expected, abs=1e-4)
