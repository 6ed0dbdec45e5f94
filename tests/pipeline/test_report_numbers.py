"""The report's answer: what it says of gains, losses and of what cannot be told."""

import math
from collections.abc import Sequence

import pytest

from dalda.pipeline.report.numbers import (
    GAINED,
    LEVEL,
    LOST,
    ONE_SEED,
    answer,
    arm_table,
    class_gains,
    class_tables,
    groups_of,
    shots_charts,
    word_for,
)
from dalda.records import Outcome
from dalda.trials.metrics import Interval

CLASSES = ("boat", "car")
IMAGES = 200


def outcome(
    arm: str, seed: int, share: float, *, shots: int | None = 2, dataset: str = "doodles"
) -> Outcome:
    """Right on that share of the images, and a little more for higher seeds; class 1 takes the misses."""
    right = round(share * IMAGES) + seed
    return Outcome(
        dataset=dataset,
        arm=arm,
        seed=seed,
        shots=shots,
        classes=CLASSES,
        accuracy=right / IMAGES,
        class_accuracy=(1.0, 2 * right / IMAGES - 1),
        loss=1.0,
        real_images=4,
        synthetic_images=0 if arm == "real" else 40,
        right=tuple(place < right for place in range(IMAGES)),
    )


def arms(seeds: Sequence[int] = (0, 1, 2), **shares: float) -> list[Outcome]:
    return [outcome(arm, seed, share) for arm, share in shares.items() for seed in seeds]


@pytest.mark.parametrize(
    ("gain", "word"),
    [
        (None, ""),
        (Interval(0.1, 0.05, 0.15), GAINED),
        (Interval(-0.1, -0.15, -0.05), LOST),
        (Interval(0.1, -0.05, 0.25), LEVEL),
        (Interval(0.1, -math.inf, math.inf), ONE_SEED),
    ],
)
def test_a_gain_is_called_one_only_when_its_interval_leaves_out_zero(
    gain: Interval | None, word: str
) -> None:
    assert word_for(gain) == word


def test_one_arm_is_answered_in_one_sentence() -> None:
    headline, sentences = answer(groups_of(arms(real=0.5, dalda=0.8)))
    assert headline.startswith("Synthetic pictures (dalda) gained 30.0 points of accuracy")
    assert sentences == ()


def test_no_difference_is_said_so() -> None:
    headline, _ = answer(groups_of(arms(real=0.5, dalda=0.5)))
    assert headline.startswith("No measurable difference")


def test_several_arms_are_counted_and_the_biggest_gain_comes_first() -> None:
    headline, sentences = answer(groups_of(arms(real=0.5, small=0.7, big=0.9, none=0.5, bad=0.3)))
    assert headline == (
        "2 of 4 ways to add synthetic pictures gained accuracy, 1 lost, 1 made no measurable difference."
    )
    assert ["big" in sentences[0], "small" in sentences[1], "bad" in sentences[-1]] == [True] * 3


def test_all_that_gain_and_all_that_lose() -> None:
    assert answer(groups_of(arms(real=0.5, a=0.7, b=0.8)))[0].startswith("All 2 ways")
    assert answer(groups_of(arms(real=0.5, a=0.2, b=0.3)))[0].startswith("2 of 2 ways to add")


def test_one_seed_tells_no_interval() -> None:
    assert "One seed" in answer(groups_of(arms((0,), real=0.5, dalda=0.8)))[0]
    assert "one seed" in answer(groups_of(arms((0,), real=0.5, a=0.8, b=0.7)))[0]


def test_without_real_pictures_alone_no_gain_is_told() -> None:
    headline, sentences = answer(groups_of(arms(dalda=0.8)))
    assert "no gain can be told" in headline
    assert sentences == ()


def test_arms_are_compared_over_the_seeds_they_share() -> None:
    found = groups_of([*arms((0, 1, 2), real=0.5), *arms((1, 2), dalda=0.8)])
    (group,) = found.values()
    table = arm_table(0, ("doodles", 2), group)
    assert table.arms[1].seeds == 2
    assert table.arms[1].gain is not None
    assert table.arms[1].gain.mean == pytest.approx(0.3)
    assert table.arms[1].verdict == GAINED


def test_shots_rise_and_all_of_them_come_last() -> None:
    every = [outcome("real", 0, 0.5, shots=shots) for shots in (None, 16, 2)]
    assert [shots for _, shots in groups_of(every)] == [2, 16, None]


def test_accuracy_over_shots_is_drawn_where_there_are_several() -> None:
    one = [outcome("real", 0, 0.5, shots=2)]
    assert shots_charts(groups_of(one)) == ()
    (chart,) = shots_charts(groups_of([*one, outcome("real", 0, 0.7, shots=8)]))
    assert "real 50.0 % at 2, 70.0 % at 8" in chart


def test_the_gain_of_a_class_is_its_own() -> None:
    gains = class_gains(arms(dalda=0.8), arms(real=0.6))
    assert gains["boat"].mean == 0
    assert gains["car"].mean == pytest.approx(0.4)


def test_classes_are_shown_at_the_most_shots_of_each_data_set() -> None:
    every = [
        outcome(arm, seed, share, shots=shots)
        for arm, share in (("real", 0.5), ("dalda", 0.7))
        for seed in (0, 1)
        for shots in (1, 4)
    ]
    (table,) = class_tables(groups_of(every))
    assert table.title == "doodles, 4 shots"
    assert [label for label, _, _ in table.rows] == list(CLASSES)
    assert len(table.charts) == 1
