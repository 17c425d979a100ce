"""What needs order, class by class and pair by pair, against counting by hand."""

import numpy as np
import pytest

from scriptsight.probe import controls
from scriptsight.statistics import compare, interval

NAMES = ("forward", "shuffled", "first_frame", "on_shuffled", "on_reversed", "on_first_frame")


def outcomes(**hits: int) -> dict[str, list[np.ndarray]]:
    """Of one fold of 100 segments the first so many are right."""
    return {name: [np.arange(100) < hits.get(name, 0)] for name in NAMES}


def test_the_gain_is_over_the_better_probe_without_order() -> None:
    right = outcomes(forward=80, shuffled=30, first_frame=45, on_shuffled=20, on_reversed=10)
    found = controls.order(right, 0.2, None)
    assert found["gain"] == pytest.approx(0.35)
    assert found["needs_order"] == pytest.approx(0.35 / 0.6)
    paired = compare(right["first_frame"][0], right["forward"][0])
    assert (found["gain_low"], found["gain_high"]) == (paired.low, paired.high)
    assert found["disturbed"]["reversed_top1"] == 0.1


def test_the_interval_of_the_gain_redraws_whole_videos() -> None:
    right = outcomes(forward=80, shuffled=30, first_frame=45)
    found = controls.order(right, 0.2, np.arange(100) // 10)  # ten segments a video, which are mostly all alike
    alone = controls.order(right, 0.2, None)
    assert found["gain"] == alone["gain"]
    assert found["gain_high"] - found["gain_low"] > 2 * (alone["gain_high"] - alone["gain_low"])


def test_nothing_above_chance_has_no_share_that_needs_order() -> None:
    assert controls.order(outcomes(forward=20, shuffled=25), 0.2, None)["needs_order"] is None


def test_folds_count_alike_however_large() -> None:
    large, small = np.arange(300) < 30, np.arange(100) < 50
    found = controls.share("top1", [large, small], None)
    assert found["top1"] == pytest.approx((0.1 + 0.5) / 2)
    assert found["top1_low"] < 80 / 400 < found["top1_high"]  # of all segments together


def test_classes_are_ordered_by_what_order_adds() -> None:
    labels = np.array(["a"] * 4 + ["b"] * 4)
    predicted = {
        "forward": np.array(list("aaabbbbb")),
        "shuffled": np.array(list("aabbaaab")),
        "first_frame": np.array(list("bbbbbaaa")),
    }
    first, second = controls.by_class(labels, predicted)
    assert (first.name, first.n, first.forward, first.shuffled, first.first_frame) == ("b", 4, 1.0, 0.25, 0.25)
    assert (first.gain, second.gain) == (0.75, 0.25)


def test_a_pair_is_counted_both_ways() -> None:
    labels = np.array(["up"] * 5 + ["down"] * 5 + ["still"] * 2)
    predicted = {
        "forward": np.array(["up", "up", "up", "down", "still", "down", "up", "up", "up", "still", "up", "down"]),
        "on_reversed": np.array(["down"] * 4 + ["still"] + ["down"] * 5 + ["up", "down"]),
    }
    up, down = controls.reverses(labels, predicted, [("up", "down")])
    assert (up.n, up.right, up.reversed, up.backwards, up.direction) == (5, 3, 1, 4, 0.75)
    assert (down.n, down.right, down.reversed, down.backwards, down.direction) == (5, 1, 3, 0, 0.25)
    told = controls.directions(labels, predicted, [("up", "down")])
    found = controls.of_pairs([up, down], told)
    assert found["taken_for_reverse"] == 0.4
    assert found["direction_top1"] == 0.5
    assert found["played_backwards"] == 0.4
    assert (len(told[0]), told[1].sum()) == (8, 4)
    films = np.arange(10) // 2
    of_films = controls.of_pairs([up, down], told, films)
    assert (of_films["direction_top1_low"], of_films["direction_top1_high"]) == interval(told[1], films[told[0]])


def test_classes_that_are_never_found_have_no_direction() -> None:
    labels = np.array(["up", "down"])
    predicted = {"forward": np.array(["still", "still"]), "on_reversed": np.array(["still", "still"])}
    rows = controls.reverses(labels, predicted, [("up", "down")])
    assert rows[0].direction is None
    told = controls.directions(labels, predicted, [("up", "down")])
    assert controls.of_pairs(rows, told)["direction_top1"] is None
    assert controls.of_pairs([], told) == {}
