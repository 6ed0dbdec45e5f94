"""Strangers' text: what steers a display is replaced, everything else stays."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dalda.reporting.text import distinct_names, harmless, shortened


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Pekinese", "Pekinese"),
        ("\x1b[31mred\x07", "\ufffd[31mred\ufffd"),
        ("a\u202egnp.exe", "a\ufffdgnp.exe"),
        ("one\r\n two\tthree", "one two three"),
        ("\ud800", "\ufffd"),
        ("क्\u200dष", "क्\u200dष"),
        ("<b>", "<b>"),
    ],
)
def test_what_steers_a_display_is_replaced(text: str, shown: str) -> None:
    assert harmless(text) == shown


@given(st.text(alphabet=st.characters()))
def test_any_text_can_be_shown(text: str) -> None:
    shown = harmless(text)
    shown.encode()
    assert not [sign for sign in shown if not sign.isprintable() and sign not in "\u200c\u200d"]
    assert len(shortened(text, 20)) <= 20


@pytest.mark.parametrize(
    ("folders", "names"),
    [
        (["a/one", "b/two"], ["one", "two"]),
        (["pets/dalda", "cars/dalda"], ["pets", "cars"]),
        (["x/pets/1/dalda", "x/cars/1/dalda", "x/cars/2/dalda"], ["pets/1", "cars/1", "cars/2"]),
    ],
)
def test_folders_are_named_by_what_differs(folders: list[str], names: list[str]) -> None:
    assert distinct_names([Path(folder) for folder in folders]) == names
