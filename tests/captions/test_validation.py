"""The acceptance rules: what is let through, what is not, and the reason that is given."""

import json
import time
from string import ascii_lowercase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dalda.captions.parsing import parse_answer
from dalda.captions.quality import summary_of
from dalda.captions.templates import template_captions
from dalda.captions.validation import Rules, estimate_tokens, overlap
from dalda.captions.vocabulary import photos
from dalda.datasets.class_names import published_classes, wordings_of
from dalda.datasets.published import PUBLISHED

SPLIT_STRATEGIES = Rules(["rose", "lenten rose", "猫", "{x}", "***"], prefix="best quality, high quality, ")
FLOWERS = published_classes("flowers102")
GARDEN = Rules(FLOWERS)
WORDS = st.lists(st.text(ascii_lowercase, min_size=1, max_size=6), min_size=3, max_size=20)


def reason(caption: object, label: str = "rose", *accepted: str) -> str | None:
    return SPLIT_STRATEGIES.reason_against(caption, label, accepted)


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("a rose in a quiet garden, seen from above", None),
        ("A Rose's petals lie on wet stone", None),
        (None, "not text"),
        (["a rose in a garden"], "not text"),
        ("a rose in a garden\nsecond line", "not one line"),
        ("a rose in a garden\u2028second line", "not one line"),
        ("a rose in a garden\x00", "control characters"),
        ("a rose in a garden \ud800", "control characters"),
        ("a {rose} in a garden", "markup, braces or an address"),
        ("a rose <b>in</b> a garden", "markup, braces or an address"),
        ("a **rose** in a garden", "markup, braces or an address"),
        ("1. a rose in a garden", "markup, braces or an address"),
        ("a rose from www.example.com in a vase", "markup, braces or an address"),
        ("a *rose* in a garden", "markup, braces or an address"),
        ("a `rose` in a garden", "markup, braces or an address"),
        ("a _rose_ in a garden", "markup, braces or an address"),
        ("a rose from ftp://host in a vase", "markup, braces or an address"),
        ("a rose from bit.ly/abc in a vase", "markup, braces or an address"),
        ("a rose in a \u202egarden at noon", "control characters"),
        ("a rose , . - ! ?", "not of 4 to 60 words"),
        ("a rose in a garden with …", "breaks off"),
        ("a rose blooms", "not of 4 to 60 words"),
        ("a rose " + "in " * 60, "not of 4 to 60 words"),
        ("a daffodil in a garden", "does not name its class"),
        ("a primrose in a garden", "does not name its class"),
        ("a lenten rose in a garden", "does not name its class"),
        ("a rose beside a lenten rose", "names another class: lenten rose"),
        ("a rose " + "incomprehensibilities " * 30, "too long for the text encoder"),
    ],
)
def test_reasons(caption: object, expected: str | None) -> None:
    assert reason(caption) == expected


def test_the_tokenizer_at_hand_decides_over_the_estimate() -> None:
    strict = Rules(
        ["rose"], prefix="p ", count_tokens=lambda text: 77 if text == "p a rose in a vase" else 78
    )
    assert strict.reason_against("a rose in a vase", "rose", ()) is None
    assert strict.reason_against("a rose in the vase", "rose", ()) == "too long for the text encoder"


def test_a_bass_guitar_is_no_bass() -> None:
    rules = Rules(["bass", "mandolin"], {"bass": "bass fish"})
    assert rules.reason_against("a bass fish leaping from a lake", "bass", ()) is None
    assert rules.reason_against("two bass fishes in a green lake", "bass", ()) is None
    assert rules.reason_against("a bass guitar on a stage", "bass", ()) == "does not name its class"
    fish = rules.reason_against("a mandolin beside a bass fish", "mandolin", ())
    assert fish == "names another class: bass"


def test_a_wall_and_flowers_are_no_wallflower() -> None:
    caption = "an old brick wall, flowers of many kinds"
    assert GARDEN.reason_against(caption, "wallflower", ()) == "does not name its class"


def test_repeats_are_distinguished_from_new_captions() -> None:
    first = "a rose in a quiet garden, seen from above"
    assert reason("A rose in a quiet garden; seen from above!", "rose", first) == "duplicate"
    assert reason("a rose in the quiet garden, seen from above", "rose", first) == "near-duplicate"
    assert reason("a rose on a busy street at night", "rose", first) is None


def test_names_of_other_scripts_and_of_signs_alone() -> None:
    assert reason("一只猫坐在窗边看雨", "猫") is None
    assert reason("a photo of *** on a table", "***") is None
    assert reason("a photo of {x} on a table", "{x}") is None
    assert reason("a photo of a table by night", "***") == "does not name its class"


@given(WORDS)
def test_plain_words_about_the_class_are_accepted(words: list[str]) -> None:
    if not {"rose", "roses", "lenten", "x", "xs"} & set(words) and "rose" not in "".join(words):
        assert reason(f"a rose {' '.join(words)}") is None


@given(
    st.one_of(st.text(max_size=120), st.none(), st.integers(), st.lists(st.text(max_size=5), max_size=3))
)
def test_anything_at_all_gets_a_verdict(caption: object) -> None:
    verdict = reason(caption)
    assert verdict is None or verdict
    if verdict is None:
        assert isinstance(caption, str)
        assert "rose" in caption.casefold()


@given(st.frozensets(st.text(max_size=3)), st.frozensets(st.text(max_size=3)))
def test_overlap_is_a_share_and_has_no_direction(one: frozenset[str], other: frozenset[str]) -> None:
    assert 0 <= overlap(one, other) == overlap(other, one) <= 1
    assert overlap(one, one) == 1


PLURALS = {"y": "ies", "o": "oes"}


def as_written(name: str, how: str) -> str:
    """A flower's name in one of the ways that people write it."""
    plural = name[:-1] + PLURALS[name[-1]] if name[-1] in PLURALS else f"{name}s"
    return {
        "as it is": name,
        "capitals": name.upper(),
        "title": name.title(),
        "hyphens": name.replace(" ", "-"),
        "spaces": name.replace("-", " "),
        "plural": plural,
        "possessive": f"{name}'s",
    }[how]


HOW = st.sampled_from(["as it is", "capitals", "title", "hyphens", "spaces", "plural", "possessive"])


@given(st.sampled_from(FLOWERS), HOW, st.sampled_from(FLOWERS))
def test_a_caption_of_a_flower_is_accepted_for_it_and_for_no_other(name: str, how: str, other: str) -> None:
    caption = f"a close view of {as_written(name, how)} after rain, seen from above"
    expected = None if other == name else "does not name its class"
    assert GARDEN.reason_against(caption, name, ()) is None
    assert GARDEN.reason_against(caption, other, ()) == expected


@given(st.sampled_from(FLOWERS), st.sampled_from(FLOWERS), HOW, HOW)
def test_a_caption_of_two_flowers_is_accepted_for_neither(
    one: str, other: str, how: str, how_other: str
) -> None:
    caption = f"a {as_written(one, how)} in a vase, with {as_written(other, how_other)} behind it"
    expected = None if one == other else f"names another class: {other}"
    assert GARDEN.reason_against(caption, one, ()) == expected


@pytest.mark.parametrize("dataset", PUBLISHED)
def test_the_grammar_s_captions_of_the_published_sets_are_accepted(dataset: str) -> None:
    classes = published_classes(dataset)
    names = wordings_of(dataset, classes)
    rules = Rules(classes, names, "best quality, high quality, ")
    for name, captions in template_captions(Rules(classes, names), 2, 0, photos())[0].items():
        assert [rules.reason_against(caption, name, ()) for caption in captions] == [None, None]


# Counted with CLIP's own tokenizer (OpenAI's vocabulary of 49,408 entries), begin and end included.
ENGLISH = {
    "a photo of a golden retriever running along a wet sandy beach at sunset, seen from the side": 21,
    "a pug standing by a window, in the evening light, in a busy street, seen from above": 20,
    "a beagle lying down with her head down in the kitchen, with her head up in the kitchen window": 20,
    "a Maine Coon sitting on a warm windowsill, with wet grass and weeds in front, in soft grey light": 23,
    "a samoyed sledding down a snow-covered slope, with its head tilted back": 18,
    "an American pit bull terrier resting on a weathered wooden porch, overgrown with honeysuckle, "
    "in hazy afternoon light": 25,
    "a hard-leaved pocket orchid blooming between mossy boulders in a misty rainforest clearing, "
    "photographed from slightly below": 23,
    "a ruby-lipped cattleya in a terracotta pot on a crowded windowsill, its petals translucent against "
    "bright morning sun, with condensation on the glass and a blurred street behind": 37,
    "a cougar face half hidden by tall dry grass, amber eyes looking straight at the camera, in the last "
    "light of a dusty evening, with low hills far behind and a thin line of trees along the horizon": 41,
}
OTHERS = {
    "ein Hund schläft auf einer Fensterbank im Morgenlicht": 20,
    "un perro descansa sobre la alfombra azul junto a la ventana": 19,
    "一只猫坐在窗边看雨": 25,
    "кошка сидит на подоконнике и смотрит на дождь": 45,
}


@pytest.mark.parametrize("text", ENGLISH)
def test_the_estimate_is_a_little_high_for_english(text: str) -> None:
    assert ENGLISH[text] <= estimate_tokens(text) <= 1.3 * ENGLISH[text]


@pytest.mark.parametrize("text", OTHERS)
def test_the_estimate_is_rough_for_other_languages(text: str) -> None:
    assert 0.75 * OTHERS[text] <= estimate_tokens(text) <= 1.75 * OTHERS[text]


def test_the_summary_counts_what_is_there() -> None:
    rules = Rules(["rose", "lotus"])
    book = {"rose": ["a rose in red light", "a rose in blue light"]}
    summary = summary_of(book, rules, ["duplicate", "names another class: lotus", "duplicate"])
    assert (summary.classes, summary.captions, summary.fewest) == (2, 2, 0)
    assert summary.rejected == {"duplicate": 2, "names another class": 1}
    assert summary.distinct_2 == 6 / 8
    assert summary.similarity == 3 / 5
    assert summary_of({}, rules, []).distinct_2 is None


@given(st.text(max_size=200))
def test_any_answer_at_all_is_parsed(text: str) -> None:
    for whole in (text, f'{{"rose": {text}}}', f'{{"class": "rose", "captions": ["{text}"'):
        parsed = parse_answer(whole, ["rose", "captions"], {})
        assert set(parsed.captions) <= {"rose", "captions"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["rose", "class", "captions", "name", "x"]), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(JSON)
def test_any_json_at_all_is_parsed(value: object) -> None:
    assert set(parse_answer(json.dumps(value), ["rose"], {}).captions) <= {"rose"}


@given(st.permutations(["rose", "lotus", "tiger lily", "class", "captions"]))
def test_names_decide_and_not_positions(order: list[str]) -> None:
    answer = {name: [f"the {name}"] for name in order}
    forms = [answer, {"captions": [{"class": name, "captions": answer[name]} for name in order]}]
    for form in forms[1:] if "captions" in order else forms:
        parsed = parse_answer(json.dumps(form), sorted(order), {})
        assert parsed.captions == answer
        assert not parsed.unknown


def test_headings_and_bullets_are_understood() -> None:
    text = "Hi:\n\n## Tiger Lily\n- one caption here\n- another caption\n\n**rose**:\n1. third\n\nBye!"
    parsed = parse_answer(text, ["rose", "tiger lily"], {})
    assert parsed.captions == {"tiger lily": ["one caption here", "another caption"], "rose": ["third"]}


def test_the_wording_of_a_class_is_understood_as_the_class() -> None:
    text = '{"closed-up face": ["a"], "Faces Easy": ["b"]}'
    parsed = parse_answer(text, ["faces easy"], {"faces easy": "closed-up face"})
    assert parsed.captions == {"faces easy": ["a", "b"]}


GARDEN_WORDS = {"pug": ["a pug asleep"], "colt's foot": ["a colt's foot by a road"]}
PUG, FOOT = GARDEN_WORDS["pug"][0], GARDEN_WORDS["colt's foot"][0]


@pytest.mark.parametrize(
    "answer",
    [
        f'{{"pug": ["{PUG}"]}}\n{{"colt\'s foot": ["{FOOT}"]}}',
        f'```json\n{{"pug": "{PUG}"}}\n```\nand\n```json\n{{"colt\'s foot": "{FOOT}"}}\n```',
        '{"captions": [{"class": "NAME", "captions": ["CAPTION"]}]}\n'
        f'{{"captions": [{{"class": "pug", "captions": ["{PUG}"]}}, '
        f'{{"class": "colt\'s foot", "captions": ["{FOOT}"]}}]}}',
        f'{{"pug": {{"captions": ["{PUG}"]}}, "colt\'s foot": {{"caption": "{FOOT}"}}}}',
        f'{{"pug": [{{"caption": "{PUG}"}}], "colt\'s foot": [{{"caption": "{FOOT}", "view": "near"}}]}}',
        f'{{"pug": [{{"caption": "{PUG}"}}], "colt\'s foot": [{{"caption": "{FOOT}", "vi',
        f'{{"pug": ["{PUG}"]}}\n{{"colt\'s foot": ["{FOOT}", "a colt\'s fo',
        f'{{"PUG": ["{PUG}"], "Colt’s-foot": ["{FOOT}"]}}',
        f"pug: {PUG}\nColt’s foot: {FOOT}",
    ],
)
def test_every_form_of_answer_is_parsed_completely(answer: str) -> None:
    assert parse_answer(answer, list(GARDEN_WORDS), {}).captions == GARDEN_WORDS


def test_names_are_matched_as_loosely_as_in_captions_but_exactly_where_they_can_be() -> None:
    assert parse_answer('{"globeflower": "a"}', ["globe-flower"], {}).captions == {"globe-flower": ["a"]}
    assert parse_answer("Roses: a\nrose: b", ["rose"], {}).captions == {"rose": ["a", "b"]}
    both = parse_answer('{"hot dog": "a", "hotdog": "b"}', ["hotdog", "hot dog"], {})
    assert both.captions == {"hot dog": ["a"], "hotdog": ["b"]}


@pytest.mark.parametrize(
    "text",
    [
        piece * 30_000
        for piece in (
            '"a\\',
            '"',
            "{",
            "[",
            '{"a":',
            '{"a\\',
            '{"class": "pug", "captions": ["',
            "pug: ",
            "<think>",
        )
    ],
)
def test_no_answer_takes_long_to_read(text: str) -> None:
    started = time.process_time()
    parse_answer(text, ["pug", "rose"], {})
    assert time.process_time() - started < 3  # milliseconds, on a machine that does nothing else


CAPTION = "a pug asleep on a red rug"
THOUGHT = "pug: a pug would be a good class to begin with, so let us plan"


@pytest.mark.parametrize(
    "text",
    [
        f"<think>\n{THOUGHT}\n</think>\npug: {CAPTION}",
        f"{THOUGHT}\n</think>\npug: {CAPTION}",
        f"<think>{THOUGHT}</think>\n<think>{THOUGHT}</think>\npug: {CAPTION}",
        f"[THINK]{THOUGHT}[/THINK]pug: {CAPTION}",
        f"<reasoning>{THOUGHT}</reasoning>\npug: {CAPTION}",
        f"<|channel|>analysis<|message|>{THOUGHT}<|end|><|channel|>final<|message|>pug: {CAPTION}",
        f"pug: {CAPTION}\n<think>\n{THOUGHT}",
    ],
)
def test_thoughts_are_no_captions(text: str) -> None:
    assert parse_answer(text, ["pug"], {}).captions == {"pug": [CAPTION]}
    assert not parse_answer(f"<think>{THOUGHT}", ["pug"], {}).captions


@pytest.mark.parametrize(
    "thought",
    [
        "okay so the user wants me to say rose in every sentence",
        "I should mention the rose in every one of them",
        "placeholder caption one about a rose goes here",
        "let me think of a rose in another light",
    ],
)
def test_thoughts_without_a_tag_are_rejected(thought: str) -> None:
    assert reason(thought) == "speaks of the task"


LETTERS = Rules(["A", "B", "I", "a", "the", "in"])


@pytest.mark.parametrize(
    ("caption", "label", "expected"),
    [
        ("a photo of an A on a wooden wall", "A", None),
        ("A photo of an A on a wooden wall", "A", None),
        ("A wooden toy on a white table", "A", "does not name its class"),
        ("a wooden toy on a white table", "A", "does not name its class"),
        ("a photo of a B on the grass in snow", "B", None),
        ("A photo of a B on the grass in snow", "B", None),
        ("a photo of a B beside an A on grass", "B", "names another class: A"),
        ("a photo of a B that I saw", "B", "names another class: I"),
        ("a photo of a a in chalk", "a", None),
        ("a photo of the sign for in by night", "in", None),
    ],
)
def test_letters_and_function_words_as_classes(caption: str, label: str, expected: str | None) -> None:
    assert LETTERS.reason_against(caption, label, ()) == expected


def test_templates_write_captions_for_every_letter() -> None:
    letters = [*ascii_lowercase, *ascii_lowercase.upper()]
    captions, _ = template_captions(Rules(letters), 5, 0, photos())
    assert {name: len(set(texts)) for name, texts in captions.items()} == dict.fromkeys(letters, 5)
