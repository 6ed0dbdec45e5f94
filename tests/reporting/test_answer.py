"""The report's answer: what it says of gains, losses and of what is not known."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from dalda.reporting.answer import (
    MOST_SENTENCES,
    ResultGroup,
    answer,
    arm_tables,
    class_tables,
    group_results,
    shots_charts,
    shown_warnings,
)
from dalda.types import TrialResult

CLASSES = ("boat", "car")
IMAGES = 200


def result(
    arm: str, seed: int, share: float, *, shots: int | None = 2, dataset: str = "doodles"
) -> TrialResult:
    """Right on that share of the images, and a little more for higher seeds; class 1 takes the misses."""
    right = round(share * IMAGES) + seed
    return TrialResult(
        dataset=dataset,
        arm=arm,
        seed=seed,
        shots=shots,
        classes=CLASSES,
        accuracy=right / IMAGES,
        class_accuracy=(min(1.0, 2 * right / IMAGES), max(0.0, 2 * right / IMAGES - 1)),
        loss=1.0,
        real_images=4,
        synthetic_images=0 if arm == "real" else 40,
        right=tuple(place < right for place in range(IMAGES)),
    )


def arms(seeds: Sequence[int] = (0, 1, 2), **shares: float) -> list[TrialResult]:
    return [result(arm, seed, share) for arm, share in shares.items() for seed in seeds]


def grouped(results: Sequence[TrialResult]) -> list[ResultGroup]:
    return group_results({"run": results})


def test_one_arm_is_answered_in_one_sentence() -> None:
    headline, sentences = answer(grouped(arms(real=0.5, dalda=0.8)))
    assert headline.startswith("'dalda' helps: +30.0 points of accuracy against the strongest baseline")
    assert sentences == []


def test_no_difference_is_reported() -> None:
    headline, _ = answer(grouped(arms(real=0.5, dalda=0.5)))
    assert headline.startswith("No evidence that 'dalda' helps or hurts")


def test_several_arms_are_counted_and_the_biggest_gain_comes_first() -> None:
    headline, sentences = answer(grouped(arms(real=0.5, small=0.7, big=0.9, none=0.5, bad=0.3)))
    assert headline == (
        "2 of 4 ways to add synthetic images gained accuracy against the strongest baseline, "
        "1 lost accuracy, 1 showed no evidence of a gain or a loss."
    )
    assert ["big" in sentences[0], "small" in sentences[1], "bad" in sentences[-1]] == [True] * 3


def test_all_that_gain_and_all_that_lose() -> None:
    assert answer(grouped(arms(real=0.5, a=0.7, b=0.8)))[0].startswith("All 2 ways")
    assert answer(grouped(arms(real=0.5, a=0.2, b=0.3)))[0].startswith("2 of 2 ways to add")


def test_one_seed_tells_no_interval() -> None:
    assert "One seed" in answer(grouped(arms((0,), real=0.5, dalda=0.8)))[0]
    assert "one seed" in answer(grouped(arms((0,), real=0.5, a=0.8, b=0.7)))[0]


def test_where_nothing_gained_or_lost_comes_first() -> None:
    found = grouped([*arms(real=0.5, level=0.5), *arms((0,), once=0.8)])
    assert answer(found)[0] == (
        "1 of 2 ways to add synthetic images showed no evidence of a gain or a loss against the strongest "
        "baseline, 1 had one seed only."
    )


def test_of_many_comparisons_the_first_are_listed_and_the_rest_counted() -> None:
    many = {f"a{number}": 0.6 + number / 100 for number in range(MOST_SENTENCES + 3)}
    headline, sentences = answer(grouped(arms((0, 1, 2), real=0.5, **many)))
    assert headline.startswith("All 11 ways")
    assert len(sentences) == MOST_SENTENCES + 1
    assert "a10" in sentences[0]
    assert sentences[-1].startswith("The tables below have 3 more")


def test_runs_are_never_pooled() -> None:
    """Two backbones: in each run the arm gains 10 points; their `real` arms are 40 points apart."""
    runs = {"weak": arms(real=0.3, dalda=0.4), "strong": arms(real=0.7, dalda=0.8)}
    found = group_results(runs)
    assert [group.title for group in found] == ["weak, doodles", "strong, doodles"]
    for table, run in zip(arm_tables(found), runs, strict=True):
        assert table.title == f"{run}, doodles, 2 shots"
        assert [len(summary.accuracy_by_seed) for _, summary, _ in table.arms] == [3, 3]
        _, _, gain = table.arms[1]
        assert gain is not None
        assert gain.gain.mean == pytest.approx(0.1)
    headline, sentences = answer(found)
    assert headline.startswith("All 2 comparisons gained")
    assert {sentence.partition(",")[0] for sentence in sentences} == {"weak", "strong"}
    assert [table.title for table in class_tables(found)] == [
        "weak, doodles, 2 shots",
        "strong, doodles, 2 shots",
    ]
    wide = {name: [*ones, result("real", 0, 0.9, shots=8)] for name, ones in runs.items()}
    assert [title for title, _ in shots_charts(group_results(wide))] == ["weak, doodles", "strong, doodles"]


def test_without_real_images_alone_no_gain_is_given() -> None:
    headline, sentences = answer(grouped(arms(dalda=0.8)))
    assert "no gain is known" in headline
    assert sentences == []


def test_arms_are_compared_over_the_seeds_they_share() -> None:
    found = grouped([*arms((0, 1, 2), real=0.5), *arms((1, 2), dalda=0.8)])
    (table,) = arm_tables(found)
    _, summary, gain = table.arms[1]
    assert len(summary.accuracy_by_seed) == 2
    assert gain is not None
    assert gain.gain.mean == pytest.approx(0.3)
    assert gain.outcome == "gained"


def test_shots_rise_and_all_of_them_come_last() -> None:
    every = [result("real", 0, 0.5, shots=shots) for shots in (None, 16, 2)]
    (group,) = grouped(every)
    assert group.shots() == ["2", "16", "all"]


def test_accuracy_over_shots_is_drawn_where_there_are_several() -> None:
    one = [result("real", 0, 0.5, shots=2)]
    assert shots_charts(grouped(one)) == []
    ((title, chart),) = shots_charts(grouped([*one, result("real", 0, 0.7, shots=8)]))
    assert "real 50.0 % at 2, 70.0 % at 8" in chart
    assert title == ""


def test_classes_are_shown_at_the_most_shots_of_each_data_set() -> None:
    every = [
        result(arm, seed, share, shots=shots)
        for arm, share in (("real", 0.5), ("dalda", 0.7))
        for seed in (0, 1)
        for shots in (1, 4)
    ]
    (table,) = class_tables(grouped(every))
    assert table.title == "doodles, 4 shots"
    assert [label for label, _, _ in table.rows] == list(CLASSES)
    assert len(table.charts) == 1


def test_of_many_classes_those_at_the_ends_are_drawn() -> None:
    classes = tuple(f"class {number:02}" for number in range(40))
    every = [
        replace(
            result(arm, seed, 0.5),
            classes=classes,
            class_accuracy=tuple(0.5 + number * more for number in range(40)),
        )
        for arm, more in (("real", 0.0), ("dalda", 0.01))
        for seed in (0, 1)
    ]
    (table,) = class_tables(grouped(every))
    assert len(table.rows) == 40
    ((title, chart),) = table.charts
    assert title == "dalda against real, the 24 classes that gain and lose most"
    assert ["class 00 " in chart, "class 20 " in chart, "class 39 " in chart] == [True, False, True]


def test_the_baseline_to_beat_is_the_strongest_and_a_warning_is_no_answer() -> None:
    results = [*arms(real=0.5, dalda=0.8), *(replace(one, arm="zero-shot") for one in arms(real=0.9))]
    groups = grouped(results)
    assert shown_warnings(groups)[0].startswith(
        "Warning: every trained classifier lies below zero-shot (90"
    )
    assert answer(groups)[0].startswith(
        "'dalda' hurts: -10.0 points of accuracy against the strongest baseline, 'zero"
    )
