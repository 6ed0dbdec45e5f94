"""The grammar's captions: seeded, different within a class, and within the doodle world's words."""

import string
from collections.abc import Mapping, Sequence
from itertools import product

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import doodle_training.captions
from dalda.captions.templates import article, base_caption, template_captions
from dalda.captions.validation import Rules
from dalda.captions.vocabulary import Vocabulary, photos
from dalda.doodles import vocabulary as doodle_words
from dalda.doodles.register import VOCABULARY as DOODLES
from dalda.errors import UserError

NAMES = ["hour glass", "Abyssinian", "unicorn", "英国短毛猫", "and/or", "golden_retriever", "a{b}c"]


def captions_of(
    classes: Sequence[str],
    count: int,
    seed: int,
    words: Vocabulary | None = None,
    names: Mapping[str, str] | None = None,
) -> dict[str, list[str]]:
    return template_captions(Rules(classes, names or {}), count, seed, words or photos())[0]


def test_base_caption_is_the_paper_s_and_the_reference_s() -> None:
    assert base_caption("pink primrose") == "a photo of a pink primrose"
    assert base_caption("pink primrose", underscores=True) == "a photo of a pink_primrose"


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [
        ("hourglass", "an"),
        ("red hourglass", "a"),
        ("orange car", "an"),
        ("unicorn", "a"),
        ("英国短毛猫", "a"),
    ],
)
def test_article_follows_the_sound(phrase: str, expected: str) -> None:
    assert article(phrase) == expected


@pytest.mark.parametrize("words", [photos(), DOODLES])
def test_captions_name_their_class_and_differ(words: Vocabulary) -> None:
    book = captions_of(NAMES, 40, seed=3, words=words)
    assert list(book) == NAMES
    for name, captions in book.items():
        assert len(set(captions)) == len(captions) == 40
        assert all(name.replace("_", " ") in caption for caption in captions)
        assert all(caption.startswith(("a photo of a ", "a photo of an ")) for caption in captions)


def test_captions_depend_on_seed_class_and_index_alone() -> None:
    few = captions_of(["car", "boat"], 4, seed=0)
    many = captions_of(["boat", "tree", "car"], 9, seed=0)
    assert many["car"][:4] == few["car"]
    assert many["boat"][:4] == few["boat"]
    assert captions_of(["car"], 4, seed=1)["car"] != few["car"]


def test_wording_replaces_a_name_that_reads_badly() -> None:
    book = captions_of(["faces", "bass"], 3, seed=0, names={"faces": "face"})
    assert all(" face " in caption for caption in book["faces"])
    assert all(" bass " in caption for caption in book["bass"])


def test_doodle_captions_use_the_doodle_world_s_own_phrases() -> None:
    assert set(DOODLES.colours) == set(doodle_words.COLOURS)
    assert set(DOODLES.backgrounds) == set(doodle_words.BACKGROUNDS.values())
    assert {view for view in DOODLES.views if view} == {
        f"seen from the {side}" for side in doodle_words.FACINGS
    }
    known = set(doodle_training.captions.vocabulary())
    for name, captions in captions_of(doodle_words.CLASSES, 30, seed=0, words=DOODLES).items():
        things = [
            f" {colour} {name} {place}" for colour, place in product(DOODLES.colours, DOODLES.backgrounds)
        ]
        for caption in captions:
            assert set(caption.replace(",", "").split()) <= known
            assert any(thing in caption for thing in things)


def test_every_background_comes_once_before_any_comes_again() -> None:
    captions = captions_of(["car"], 8, seed=5, words=DOODLES)["car"]
    assert {place for place in DOODLES.backgrounds for caption in captions if place in caption} == set(
        DOODLES.backgrounds
    )


def test_all_combinations_can_be_had_and_no_more() -> None:
    possible = 6 * 8 * 3
    assert len(captions_of(["car"], possible, seed=0, words=DOODLES)["car"]) == possible
    with pytest.raises(UserError, match="only 144"):
        captions_of(["car"], possible + 1, seed=0, words=DOODLES)


@settings(max_examples=30, deadline=None)
@given(st.text(alphabet=string.printable + "äé猫ß", max_size=20), st.integers(0, 2**31))
def test_any_name_at_all_gives_one_line(name: str, seed: int) -> None:
    assume(name.replace("_", " ").strip())
    for caption in captions_of([name], 3, seed)[name]:
        assert caption == " ".join(caption.split())
        assert " ".join(name.replace("_", " ").split()) in caption


def test_no_caption_stands_under_the_wrong_class() -> None:
    """The word lists name forests, lakes and people, which are classes to some."""
    classes = ["River", "Forest", "lake", "person"]
    rules = Rules(classes)
    book, rejected = template_captions(rules, 40, 0, photos(nature=True))
    assert [len(set(captions)) for captions in book.values()] == [40] * 4
    for name, captions in book.items():
        assert not any(rules.reason_against(caption, name, ()) for caption in captions)
    assert "names another class: Forest" in {entry["reason"] for entry in rejected}
    assert {entry["label"] for entry in rejected} == set(classes)
    assert captions_of(classes, 40, 0, words=photos(nature=True)) == book
    assert not template_captions(Rules(["pug"]), 40, 0, photos())[1]


def test_places_suit_the_kind_of_thing() -> None:
    captions = captions_of(["computer mouse", "pug"], 24, seed=0)
    wild = {phrase for phrase in photos(nature=True).backgrounds if phrase not in photos().backgrounds}
    assert "on a stone path" in wild
    assert not [text for text in captions["computer mouse"] if any(place in text for place in wild)]
    assert any(place in text for text in captions["pug"] for place in wild)


def test_words_that_cannot_do_are_a_clear_sentence() -> None:
    with pytest.raises(UserError, match="no caption for 'rose'"):
        captions_of(["rose", "photo"], 2, 0)
