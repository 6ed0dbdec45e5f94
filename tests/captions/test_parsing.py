"""What a model thought before it answered is no caption, however it marks its thoughts."""

import pytest

from dalda.captions.parsing import parse_answer, without_thoughts

THOUGHTS = 'I need a form first: {"captions": [{"class": "dog", "captions": ["a draft of a dog"]}]}'
ANSWER = '{"captions": [{"class": "dog", "captions": ["a dog on a beach"]}]}'
MARKS = [
    *[(f"<{word}>", f"</{word}>") for word in ("think", "thinking", "Thought", "reasoning", "reflection")],
    *[
        (f"<{word}>", f"</{word}>")
        for word in ("scratchpad", "antThinking", "inner_monologue", "seed:think")
    ],
    ('<think time="3">', "</think >"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|thinking|>", "<|/thinking|>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
    ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
]


@pytest.mark.parametrize(("opening", "closing"), MARKS)
def test_thoughts_are_left_out_with_both_marks_or_one(opening: str, closing: str) -> None:
    for text in (f"{opening}\n{THOUGHTS}\n{closing}\n{ANSWER}", f"{THOUGHTS}{closing}{ANSWER}"):
        assert parse_answer(text, ["dog"], {}).captions == {"dog": ["a dog on a beach"]}
    assert parse_answer(f"{opening}{THOUGHTS}", ["dog"], {}).captions == {}
    assert parse_answer(f"{ANSWER}\n{opening}\n{THOUGHTS}", ["dog"], {}).captions == {
        "dog": ["a dog on a beach"]
    }


@pytest.mark.parametrize("text", ["a dog thinks <of> a bone", "a <b>thinking</b> dog", "reason | thought"])
def test_words_about_thoughts_are_kept(text: str) -> None:
    assert without_thoughts(text) == text
