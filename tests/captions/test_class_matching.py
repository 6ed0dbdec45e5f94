"""Which classes a caption names, with the flower names as the hard case."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dalda.captions.class_matching import Names, words_of
from dalda.captions.templates import article
from dalda.datasets.class_names import published_classes

FLOWERS = published_classes("flowers102")
NAMES = Names.of(FLOWERS, {})


def named(text: str, names: Names = NAMES) -> set[str]:
    return {name for form in names.forms_in(text) for name in names.owners[form]}


def test_there_are_all_the_flowers() -> None:
    assert len(set(FLOWERS)) == 102


@given(st.sampled_from(FLOWERS))
def test_every_flower_is_found_and_no_other(name: str) -> None:
    for text in (
        name,
        name.upper(),
        name.replace(" ", "-"),
        name.replace("-", " "),
        name.replace(" ", "_"),
    ):
        assert named(f"a close view of {text}, in soft light") == {name}
    assert named(f"two {name}s beside a wall") == {name}


@given(st.sampled_from(FLOWERS), st.sampled_from(FLOWERS))
def test_two_flowers_are_both_found(one: str, other: str) -> None:
    assert named(f"a {one}, and behind it stands the {other}.") == {one, other}


@given(st.sampled_from(FLOWERS), st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=4))
def test_a_name_inside_a_longer_word_is_not_found(name: str, more: str) -> None:
    longer = "".join(words_of(name)) + "q" + more
    assert name not in named(f"a {longer} in the sun")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a primrose by a wall", set()),
        ("a pink primrose by a wall", {"pink primrose"}),
        ("a lenten rose in snow", {"lenten rose"}),
        ("a rose near a lenten rose", {"rose", "lenten rose"}),
        ("desert roses at noon", {"desert-rose"}),
        ("a Mexican petunia in a pot", {"mexican petunia"}),
        ("birds of paradise in a vase", {"bird of paradise"}),
        ("Colt’s-foot beside a road", {"colt's foot"}),
        ("wild pansies in grass", {"wild pansy"}),
        ("a bunch of sun flowers", {"sunflower"}),
        ("globeflowers in a meadow", {"globe-flower"}),
        ("tiger lilies at dusk", {"tiger lily"}),
        ("many hibiscuses", {"hibiscus"}),
        ("the rosewood table", set()),
        ("a rose against an old brick wall, flowers wide open", {"rose"}),
        ("a rose in the evening sun, flowers glowing", {"rose"}),
        ("still water; lilies far behind", set()),
        ("a rose in the sun. Flowers behind", {"rose"}),
        ("a rose by a wall (flowers behind)", {"rose"}),
        ("a rose by a wall — flowers behind", {"rose"}),
        ("under a tall tree, mallow blossoms", {"mallow"}),
        ("a tree mallow in the wind", {"tree mallow"}),
    ],
)
def test_hard_cases(text: str, expected: set[str]) -> None:
    assert named(text) == expected


def test_names_without_spaces_between_words_and_with_signs() -> None:
    names = Names.of(
        ["猫", "英国短毛猫", "C++", "C#", "고양이", "and/or", "🐶", "faces"], {"faces": "closed-up face"}
    )
    assert named("一只英国短毛猫在草地上", names) == {"英国短毛猫"}
    assert named("一只猫在草地上", names) == {"猫"}
    assert named("고양이가 앉아 있다", names) == {"고양이"}
    assert named("a book on C++ on a desk", names) == {"C++"}
    assert named("a 🐶 on a sofa", names) == {"🐶"}
    assert named("a sign with and/or on it", names) == {"and/or"}
    assert named("a closed up face in the rain", names) == {"faces"}


def test_a_name_reaches_across_a_sign_only_where_it_holds_one() -> None:
    names = Names.of(["St Bernard", "lighthouse", "rose, red", "mallow"], {})
    assert named("a St. Bernard in snow", names) == {"St Bernard"}
    assert named("soft evening light, houses behind", names) == set()
    assert named("a rose, red in the sun", names) == {"rose, red"}
    assert named("under a tall tree, mallow blossoms", names) == {"mallow"}


def test_a_class_with_a_wording_of_its_own_is_named_by_it_alone() -> None:
    names = Names.of(["bass", "mandolin"], {"bass": "bass fish"})
    assert names.forms_in("a bass fish in a net") == ["bassfish"]
    assert "bassfish" in names.forms["bass"]
    assert "bass" not in names.forms["bass"]
    assert named("a mandolin beside a bass guitar", names) == {"mandolin", "bass"}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("buses", "a red bus"),
        ("dresses", "a red dress"),
        ("cacti", "a cactus"),
        ("taxis", "a yellow taxi"),
        ("A380", "two A380s"),
        ("A380", "an A380's nose"),
        ("F-16", "two F-16s"),
        ("jalapeño", "two jalapeños"),
        ("jalapeños", "one jalapeño"),
        ("snowman", "three snowmen"),
        ("snowmen", "a snowman"),
        ("coltsfoot", "many coltsfeet"),
        ("lens", "two lenses"),
        ("fox", "two foxes"),
        ("glass", "two glasses"),
    ],
)
def test_the_other_number_of_a_name_is_found(name: str, words: str) -> None:
    assert named(f"{words} in a street", Names.of([name], {})) == {name}


@pytest.mark.parametrize(
    ("name", "words"),
    [("shorts", "a short dress"), ("news", "a new dress"), ("glasses", "a glass table"), ("dress", "dres")],
)
def test_what_only_looks_like_the_other_number_is_not(name: str, words: str) -> None:
    assert not named(f"{words} in a street", Names.of([name], {}))


def test_classes_written_alike_do_not_exclude_each_other() -> None:
    names = Names.of(["Rose", "rose"], {})
    (form,) = names.forms_in("a rose in a vase")
    assert names.owners[form] == {"Rose", "rose"}


@pytest.mark.parametrize("many", ["airplanes", "scissors", "leopards", "faces", "motorbikes"])
def test_a_plural_name_is_found_in_the_singular(many: str) -> None:
    names = Names.of([many], {})
    assert named(f"one {many[:-1]} in a street", names) == {many}


@given(st.text(max_size=40))
def test_any_text_has_words_that_stay_themselves(text: str) -> None:
    words = words_of(text)
    assert all(word and not word.isspace() for word in words)


@pytest.mark.parametrize(
    ("expected", "words"),
    [
        (
            "an",
            [
                "iris",
                "umbrella",
                "unimpressed cat",
                "F-16",
                "MRI",
                "hour",
                "8-ball",
                "18",
                "Abyssinian",
                "x-ray",
            ],
        ),
        ("a", ["unicycle", "European", "180", "one-way", "Siamese", "ukulele", "rose", "", "猫"]),
    ],
)
def test_articles(expected: str, words: list[str]) -> None:
    assert [article(word) for word in words] == [expected] * len(words)
