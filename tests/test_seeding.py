from hypothesis import given
from hypothesis import strategies as st

from dalda.seeding import generator_of, generators_of, seed_of, seeds_of

labels = st.lists(st.one_of(st.text(), st.integers(0, 2**40)), max_size=4)


@given(st.integers(0, 2**40), labels)
def test_a_seed_is_a_function_of_its_labels(root: int, names: list[str | int]) -> None:
    assert seed_of(root, *names) == seed_of(root, *names)
    assert 0 <= seed_of(root, *names) < 2**63


@given(st.integers(0, 2**40), labels, labels)
def test_other_labels_give_another_seed(root: int, one: list[str | int], other: list[str | int]) -> None:
    if one != other:
        assert seed_of(root, *one) != seed_of(root, *other)


def test_a_number_and_its_text_differ_and_the_value_is_pinned() -> None:
    assert seed_of(0, "1") != seed_of(0, 1)
    assert seed_of(0, "noise", 3) == 3767753541995857652
    assert generator_of(0, "x").integers(100) == generator_of(0, "x").integers(100)


@given(st.integers(0, 2**40), labels, st.integers(-5, 2**70))
def test_seeds_with_common_labels_are_those_of_all_labels(
    root: int, names: list[str | int], number: int
) -> None:
    assert seeds_of(root, *names)(number) == seed_of(root, *names, number)
    first, same = generators_of(root, *names)(number), generator_of(root, *names, number)
    assert first.bit_generator.state == same.bit_generator.state
