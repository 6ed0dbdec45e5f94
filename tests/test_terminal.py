"""Text for a terminal: strangers' text cannot steer it, tables align, near names are suggested."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from dalda.terminal import did_you_mean, printable, table


@given(st.text(st.characters()))
def test_nothing_that_steers_a_terminal_is_printed(text: str) -> None:
    shown = printable(text)
    assert not [sign for sign in shown if unicodedata.category(sign) in {"Cc", "Cs", "Zl", "Zp"}]
    assert not set("\u202a\u202b\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c") & set(shown)
    assert printable(shown) == shown


def test_escapes_are_shown_and_scripts_stay() -> None:
    assert printable("\x1b[31mred\x07\r\n") == "\\x1b[31mred\\x07\\r\\n"
    assert printable("\u009b2J") == "\\x9b2J"
    assert printable("花 – é ∕ 👩‍👩‍👧") == "花 – é ∕ 👩‍👩‍👧"


def test_a_table_aligns_wide_characters_and_numbers() -> None:
    lines = table(
        [("class", "share", "file"), ("花花", "1.5", "a"), ("car\x1b", "10.25", "bb"), ("x", "-", "")]
    )
    assert lines == [
        "class    share  file",
        "花花       1.5  a",
        "car\\x1b  10.25  bb",
        "x            -",
    ]


def test_a_near_name_is_suggested_and_a_far_one_is_not() -> None:
    assert did_you_mean("Sd51", ["sd15", "sdxl"]) == "; did you mean 'sd15'?"
    assert did_you_mean("per_imag", ["steps", "per_image"]) == "; did you mean 'per_image'?"
    assert did_you_mean("zebra", ["sd15", "sdxl"]) == ""
