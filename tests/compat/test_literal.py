"""Configuration files are read and never executed: what is read, and what is refused with its line."""

import string
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dalda.compat.literal import MAX_BYTES, Assigned, read_assignments, read_config
from dalda.errors import UserError

HOSTILE = {
    "import os": "an import",
    "from os import system": "an import",
    "x = __import__('os').system('id')": "a call",
    "x = open('/etc/passwd').read()": "a call",
    "print(1)": "a call",
    "x = ().__class__": "an attribute",
    "x = [n for n in (1, 2)]": "a comprehension",
    "x = {n for n in (1, 2)}": "a comprehension",
    "x = lambda: 1": "a function",
    "def f(): return 1": "a function",
    "class A: pass": "a class",
    "x = [1, 2][0]": "an index",
    "x = 'a' * 10 ** 9": "BinOp",
    "x = 2 ** 99999": "BinOp",
    "x = 1 + 1": "only strings are added",
    "x = 1 if True else 2": "IfExp",
    "x = unknown": "not set in an earlier line",
    "x = f'{y}'": "not set in an earlier line",
    "a = 'a'\nx = f'{a.upper()}'": "earlier names only",
    "a = 'a'\nx = f'{a!r}'": "without a format",
    "a = 'a'\nx = f'{a:>99999999}'": "without a format",
    "x: int = 1": "AnnAssign",
    "x += 1": "AugAssign",
    "x = y = 1": "one plain name",
    "x, y = 1, 2": "one plain name",
    "x.y = 1": "one plain name",
    "x = (y := 1)": "NamedExpr",
    "if True:\n    x = 1": "If",
    "while True: pass": "While",
    "x = 9" + "9" * 30: "too large",
    "x = 9" + "9" * 5000: "not Python",
    "x = 1e999": "too large",
    "x = '" + "a" * 5000 + "'": "too long",
    "x = b'a'": "bytes",
    "x = ...": "ellipsis",
    "x = -'a'": "no number",
    "x = " + "[" * 50 + "]" * 50: "nested too deeply",
    "x = " + "-" * 50_000 + "1": "nested too deeply",
    "x = " + "(" * 500 + ")" * 500: "not Python",
    "x = 1\0": "not Python",
    "x = '\ud800'": "not Python",
    "x = [" + "1," * 1001 + "]": "too long",
    "a = [1, 1]\nx = [a, a]": "part of another value by name",
    "a = 'b' * 3": "BinOp",
}


def test_literals_names_and_strings_are_read() -> None:
    found = read_assignments(
        '"""What this is."""\n'
        "a = 'x'  # a comment\n"
        "b = f'{a}-{{seed}}' + '/' + ('y' 'z')\n"
        "c = [1, -2.5, None, True, ('d', a)]\n"
        "a = b\n"
    )
    assert {name: one.value for name, one in found.items()} == {
        "a": "x-{seed}/yz",
        "b": "x-{seed}/yz",
        "c": [1, -2.5, None, True, ["d", "x"]],
    }
    assert {name: one.line for name, one in found.items()} == {"a": 5, "b": 3, "c": 4}


@pytest.mark.parametrize("text", HOSTILE)
def test_anything_else_is_refused_with_its_line(text: str) -> None:
    line = 3 if "\nx = " in text else 2
    with pytest.raises(UserError, match=rf"cfg\.py, line {line}: .*{HOSTILE[text]}"):
        read_assignments("first = 1\n" + text, "cfg.py")


def test_nothing_is_executed(tmp_path: Path) -> None:
    path = tmp_path / "cfg.py"
    for code in ("open({0!r}, 'w')", "[open({0!r}, 'w') for _ in (1,)]", "f\"{{open({0!r}, 'w')}}\""):
        mark = tmp_path / "executed"
        path.write_text("x = " + code.format(str(mark)))
        with pytest.raises(UserError, match="line 1"):
            read_config(path)
        assert not mark.exists()


def test_a_string_that_doubles_ends() -> None:
    text = "a = 'aaaaaaaa'\n" + "a = a + a\n" * 60
    with pytest.raises(UserError, match="too long"):
        read_assignments(text)


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cfg.py"
    for content, words in ((b"x = '\xff'", "UTF-8"), (b"#" * (MAX_BYTES + 1), "larger than 64 kB")):
        path.write_bytes(content)
        with pytest.raises(UserError, match=words):
            read_config(path)
    with pytest.raises(UserError, match="cannot be read"):
        read_config(tmp_path / "nowhere.py")


WORDS = ["a", "x", "import", "os", "for", "in", "lambda", "=", "==", ":=", "(", ")", "[", "]", "{", "}"]
WORDS += [
    "'",
    '"',
    "f'",
    "f'{a}'",
    "+",
    "-",
    "*",
    "**",
    ",",
    ":",
    ".",
    "\n",
    " ",
    "\t",
    "#",
    "\\",
    "1",
    "9e9",
    "0x",
]
WORDS += [
    "None",
    "__import__",
    "eval(",
    "open('executed','w')",
    "\0",
    "é",
    "'''",
    "not ",
    "await ",
    "yield ",
]


def read_or_refusal(text: str) -> dict[str, Assigned] | str:
    """What was read, or the refusal; any other error is the test's."""
    try:
        return read_assignments(text)
    except UserError as error:
        return str(error)


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.lists(st.sampled_from(WORDS), max_size=40).map("".join), st.text(string.printable, max_size=80)
    )
)
def test_whatever_is_written_is_read_or_refused(text: str) -> None:
    """No other error, no hang, and no effect: `open` above would leave a file behind."""
    answer = read_or_refusal(text)
    if isinstance(answer, str):
        assert ", line " in answer
    else:
        kinds = {type(one.value) for one in answer.values()}
        assert kinds <= {str, int, float, bool, list, type(None)}
    assert not Path("executed").exists()


DEEP = ["(", "[", "{", "-", "+", "~", "not ", "a.", "f(", "'a'+", "a[", "lambda:", "*", "x=", "f'{"]


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(DEEP), st.integers(1, 20_000))
def test_deep_nesting_never_hangs(piece: str, times: int) -> None:
    answer = read_or_refusal("a = " + piece * times + "1")
    assert not isinstance(answer, str) or ", line 1: " in answer
