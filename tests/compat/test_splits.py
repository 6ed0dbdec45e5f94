"""The original code's permutations."""

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dalda.compat.splits import original_orders


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(counts=st.lists(st.integers(0, 12), min_size=1, max_size=6), seed=st.integers(0, 2**32))
def test_all_classes_are_drawn_from_one_generator(counts: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    expected = [rng.permutation(count).tolist() for count in counts]
    assert [order.tolist() for order in original_orders((), counts, seed)] == expected


def test_the_order_of_one_seed_as_it_was_written_down() -> None:
    assert [order.tolist() for order in original_orders((), [4, 3], 0)] == [[2, 0, 1, 3], [2, 1, 0]]
