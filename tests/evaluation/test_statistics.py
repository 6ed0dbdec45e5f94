import numpy as np
import pytest
from scipy import stats

from dalda.evaluation.statistics import (
    accuracy_interval,
    calibration_error,
    confusion,
    interval,
)
from dalda.types import Interval


def test_the_interval_is_students() -> None:
    values = [0.7, 0.8, 0.75, 0.9]
    low, high = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    found = interval(values)
    assert (found.mean, found.low, found.high) == pytest.approx((np.mean(values), low, high))


def test_one_seed_gives_no_interval() -> None:
    assert interval([0.4]) == Interval(0.4, None, None)


def test_an_accuracys_interval_stays_a_share() -> None:
    high = interval([0.5, 1.0]).high
    assert high is not None
    assert high > 1
    found = accuracy_interval([0.5, 1.0])
    assert (found.mean, found.low, found.high) == (0.75, 0.0, 1.0)
    assert accuracy_interval([0.7, 0.8, 0.75, 0.9]) == interval([0.7, 0.8, 0.75, 0.9])


def test_confusion_counts_true_by_predicted() -> None:
    assert confusion([0, 1, 1, 2], [0, 0, 1, 1], 3).tolist() == [[1, 1, 0], [0, 1, 1], [0, 0, 0]]


def test_calibration_error() -> None:
    # Always 80 % sure and right in 3 of 4: off by 5 points. In two cells: the gaps add up.
    probabilities = np.array([[0.8, 0.2]] * 4)
    assert calibration_error(probabilities, [0, 0, 0, 1]) == pytest.approx(0.05)
    mixed = np.array([[0.8, 0.2]] * 2 + [[0.4, 0.6]] * 2)
    assert calibration_error(mixed, [0, 0, 0, 0]) == pytest.approx((0.2 + 0.6) / 2)
