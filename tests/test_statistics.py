from itertools import product

import numpy as np
import pytest
from scipy.stats import bootstrap, norm

from scriptsight.statistics import compare, interval, numbered


def outcomes(hits: int, misses: int) -> np.ndarray:
    return np.array([1] * hits + [0] * misses)


@pytest.mark.parametrize(("hits", "misses"), [(30, 10), (7, 93), (500, 500)])
def test_interval_is_what_resampling_gives(hits: int, misses: int) -> None:
    values = outcomes(hits, misses).astype(float)
    drawn = bootstrap((values,), np.mean, method="percentile", n_resamples=40000, rng=0).confidence_interval
    low, high = interval(values)
    step = 1 / len(values)  # the mean of n outcomes moves in steps of 1 / n
    assert low == pytest.approx(drawn.low, abs=step) and high == pytest.approx(drawn.high, abs=step)


def test_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = [low <= 0.3 <= high for low, high in (interval(rng.random(400) < 0.3) for _ in range(500))]
    assert 0.92 <= np.mean(covered) <= 0.98


def test_groups_that_agree_are_one_outcome_each() -> None:
    rng = np.random.default_rng(1)
    of_videos = rng.random(200) < 0.4
    captions, owners = np.repeat(of_videos, 20), np.repeat(np.arange(200), 20)
    alone, grouped, videos = interval(captions), interval(captions, owners), interval(of_videos)
    assert grouped == pytest.approx(videos, abs=0.01)  # twenty copies are no more evidence
    assert grouped[1] - grouped[0] > 4 * (alone[1] - alone[0])  # sqrt(20) = 4.5
    assert interval(captions, owners) == grouped  # seeded


def test_groups_of_different_sizes_weigh_by_their_items() -> None:
    hits, owners = np.array([1] * 90 + [0] * 10), np.array([0] * 90 + list(range(1, 11)))
    low, high = interval(hits, owners)
    assert low == 0.0 and 0.9 < high <= 1.0  # the large group may be missing, or drawn many times


def test_outcomes_all_alike_have_no_width() -> None:
    assert interval(outcomes(9, 0)) == (1.0, 1.0)
    assert interval(outcomes(0, 9)) == (0.0, 0.0)


def test_mcnemar_against_known_values() -> None:
    # Agresti, Categorical Data Analysis, table 10.1 holds 150 and 86 voters who changed their mind.
    first = outcomes(150 + 794, 86 + 570)
    second = np.array([0] * 150 + [1] * 794 + [1] * 86 + [0] * 570)
    found = compare(first, second)
    assert (found.only_first, found.only_second, found.items) == (150, 86, 1600)
    assert found.p_value == pytest.approx(3.716e-05, rel=1e-3)  # exact two-sided binomial of 86 in 236
    assert found.difference == pytest.approx(-0.04)
    # Agresti's interval by Wald: -0.059 to -0.021.
    assert (found.low, found.high) == pytest.approx((-0.0587, -0.0213), abs=0.002)
    assert str(found).startswith("The second model is worse: 55.0% against 59.0% of 1,600 items: -4.0 points")


def test_a_difference_is_no_surer_for_copies_of_its_items() -> None:
    rng = np.random.default_rng(2)
    first, second = (rng.random(200) < share for share in (0.4, 0.5))
    owners = np.repeat(np.arange(200), 20)
    videos, alone = compare(first, second), compare(np.repeat(first, 20), np.repeat(second, 20))
    grouped = compare(np.repeat(first, 20), np.repeat(second, 20), owners)
    assert (grouped.low, grouped.high) == pytest.approx((videos.low, videos.high), abs=0.01)
    assert grouped.high - grouped.low > 4 * (alone.high - alone.low)  # sqrt(20) = 4.5
    assert (grouped.difference, grouped.p_value) == pytest.approx((alone.difference, videos.p_value))
    assert alone.p_value < grouped.p_value / 1000


def test_small_samples_decide_nothing() -> None:
    found = compare(np.array([0, 0, 0, 0, 1]), np.array([1, 1, 1, 1, 1]))
    assert found.p_value == pytest.approx(0.125)  # 2 x 0.5 ** 4
    assert str(found).startswith("No difference is established")


def test_models_that_agree_everywhere_do_not_differ() -> None:
    found = compare(outcomes(3, 2), outcomes(3, 2))
    assert (found.p_value, found.difference, found.low, found.high) == (1.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize("bad", [np.array([]), np.array([1.5]), np.array([[1, 0]]), np.array([0, np.nan])])
def test_only_zeros_ones_and_shares(bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match="zeros and ones"):
        interval(bad)


def test_models_need_the_same_items() -> None:
    with pytest.raises(ValueError, match="same items"):
        compare(outcomes(1, 1), outcomes(2, 1))


def test_shares_are_compared_by_flipping_signs_and_redrawing() -> None:
    rng = np.random.default_rng(9)
    first = rng.random(9)
    second = (first + rng.normal(0.1, 0.15, 9)).clip(0, 1)
    differences = second - first
    ways = [abs((np.array(signs) * differences).sum()) for signs in product((-1, 1), repeat=9)]
    exact = np.mean(np.array(ways) >= abs(differences.sum()) - 1e-12)
    found = compare(first, second)
    assert found.p_value == pytest.approx(exact, abs=0.01)
    assert found.difference == pytest.approx(differences.mean())
    assert (found.only_first, found.only_second) == ((first > second).sum(), (second > first).sum())
    means = np.random.default_rng(1).choice(differences, (20_000, 9)).mean(1)
    assert (found.low, found.high) == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=0.01)
    assert interval(first) == pytest.approx(
        np.quantile(np.random.default_rng(2).choice(first, (20_000, 9)).mean(1), [0.025, 0.975]), abs=0.02
    )


def test_shares_that_are_alike_decide_nothing() -> None:
    same = np.array([0.3, 0.7, 0.5])
    assert (compare(same, same).p_value, compare(same, same).difference) == (1.0, 0.0)
    copied = compare(np.repeat(same, 4), np.repeat(same + 0.2, 4), np.repeat(np.arange(3), 4))
    assert copied.groups == 3 and copied.p_value == pytest.approx(0.25, abs=0.02)  # 2 of 8 ways are as far from zero


def test_items_of_groups_are_tested_by_flipping_the_signs_of_groups() -> None:
    rng = np.random.default_rng(4)
    owners = np.array([0, 0, 0, 1, 1, 2, 3, 3, 3, 3, 4, 5, 5, 6, 6, 7])
    for _ in range(20):
        first, second = rng.integers(0, 2, (2, len(owners)))
        sums = np.array([(second - first)[owners == group].sum() for group in range(8)])
        ways = [abs((np.array(signs) * sums).sum()) >= abs(sums.sum()) for signs in product((-1, 1), repeat=8)]
        found = compare(first, second, owners)
        assert found.p_value == pytest.approx(np.mean(ways), abs=1e-12)
        assert (found.items, found.groups) == (16, 8)


def test_groups_of_one_item_change_nothing() -> None:
    rng = np.random.default_rng(5)
    first, second, alone = rng.random(300) < 0.5, rng.random(300) < 0.6, rng.permutation(300)
    assert compare(first, second, alone) == compare(first, second)
    assert interval(first, alone) == interval(first)


def test_copies_of_items_make_no_difference_surer_and_no_test_sharper() -> None:
    rng = np.random.default_rng(6)
    first, second = rng.random(60) < 0.45, rng.random(60) < 0.6
    single = compare(first, second)
    owners = np.repeat(np.arange(60), 8)
    copied = compare(np.repeat(first, 8), np.repeat(second, 8), owners)
    assert copied.p_value == pytest.approx(single.p_value, rel=1e-9)
    assert (copied.low, copied.high) == pytest.approx((single.low, single.high), abs=0.02)
    assert compare(np.repeat(first, 8), np.repeat(second, 8)).p_value < single.p_value / 5
    assert "480 items of 60 recordings" in str(copied) and "McNemar" not in str(copied)


def test_the_test_of_groups_is_wrong_no_more_often_than_it_says() -> None:
    rng = np.random.default_rng(7)
    owners = np.repeat(np.arange(40), 10)
    wrong = {"groups": 0, "items": 0}
    for _ in range(200):  # each model is good at some recordings, and neither is better
        skills = rng.beta(0.5, 0.5, (2, 40))
        first, second = (rng.random(400) < skill[owners] for skill in skills)
        wrong["groups"] += compare(first, second, owners).p_value < 0.05
        wrong["items"] += compare(first, second).p_value < 0.05
    assert wrong["groups"] <= 18  # 10 are expected, 18 are 2.6 standard deviations above
    assert wrong["items"] > 60


def test_a_long_test_of_groups_is_counted_too() -> None:
    rng = np.random.default_rng(8)
    owners = np.repeat(np.arange(20_000), 3)
    first, second = rng.random(60_000) < 0.5, rng.random(60_000) < 0.5
    sums = np.bincount(owners, weights=second.astype(float) - first)
    normal = 2 * norm.sf(abs(sums.sum()) / np.sqrt((sums**2).sum()))
    assert compare(first, second, owners).p_value == pytest.approx(normal, abs=0.01)


def test_names_of_recordings_are_numbered_unless_they_say_nothing() -> None:
    assert numbered(["a", "b", "c", "d", "e", "a"]).tolist() == [0, 1, 2, 3, 4, 0]  # type: ignore[union-attr]
    assert numbered(["a", "b", "c", "d", "e", "f"]) is None  # each alone
    assert numbered(["a", "b", "c", "d", "a", "b"]) is None  # four recordings say nothing of how they differ
    assert numbered([]) is None
