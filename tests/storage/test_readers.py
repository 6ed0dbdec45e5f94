"""Damaged and hostile files end in one sentence, never in a traceback."""

import json
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from dalda import UserError
from dalda.storage import csv_text, jsonl, read_csv, read_json, read_text, read_yaml
from dalda.storage.yaml import parse_yaml, to_yaml

JSON = {"cat": ["a photo", "größe"], "n": 3, "nested": {"a": [1.5, None, True]}}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_text_with_a_mark_is_read(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(json.dumps(JSON, ensure_ascii=False).encode(encoding))
    assert read_json(path) == JSON


def test_text_in_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes("größe".encode("latin-1"))
    with pytest.raises(UserError, match="is not text in UTF-8; save it as such"):
        read_text(tmp_path / "a")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "line 1"),
        ('{"a": 1,\n}', "line 2"),
        ('{"a": 1, "a": 2}', "'a' is there twice"),
        ("9" * 5000, "a number of 5000 digits"),
        ("1e999", "too large"),
        ("[NaN]", "NaN is no number"),
        ("[" * 100_000, "nested too deeply"),
        ("[" * 100 + "]" * 100, "nested too deeply"),
        ('["\\ud800"]', "half of a character"),
        ('{"\\udfff": 1}', "half of a character"),
    ],
)
def test_json_that_is_damaged_or_hostile(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(UserError, match=rf"a\.json' is not captions \(.*{words}") as caught:
        read_json(tmp_path / "a.json", what="captions")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", 1, "empty"),
        ("- a", 1, "holds no settings"),
        ("a: 1\nb: [", 3, "not YAML"),
        ("a: 1\nb: 2\na: 3", 3, "'a' is set twice"),
        ("a: {b: 1,\n b: 2}", 2, "'b' is set twice"),
        ("a: &x [1]\nb: *x", 1, "aliases"),
        ("a: &a [x]\nb: &b [*a, *a]\nc: [*b, *b]", 1, "aliases"),
        ("a: " + "9" * 5000, 1, "4300 digits"),
        ("a: 1e500\n", 1, ""),
        ("a: .nan", 1, "nan is no number"),
        ("a: " + "[" * 5000, 2, "."),
        ("a: " + "[" * 100 + "]" * 100, 1, "nested too deeply"),
        ("a: !!python/object/apply:os.system [ls]", 1, "could not determine a constructor"),
        ("a: !!binary aGFsbG8=", 1, "a bytes"),
        ("a: !!set {b}", 1, "a set"),
        ("a: \x01", 1, "not YAML"),
        ("? [a, b]\n: c", 1, "not YAML"),
    ],
)
def test_yaml_that_is_damaged_or_hostile(tmp_path: Path, text: str, line: int, words: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    if not words:  # text to YAML 1.1
        assert read_yaml(tmp_path / "a.yaml") == {"a": "1e500"}
        return
    with pytest.raises(UserError, match=rf"a\.yaml', line {line}: .*{words}") as caught:
        read_yaml(tmp_path / "a.yaml")
    assert "\n" not in str(caught.value)


def test_dates_stay_text() -> None:
    text = "a: 2026-01-02\nb: 2026-99-99\nc: 2026-01-02 10:00:00\nd: 1\ne: 0.5\nf: true\n"
    values, _ = parse_yaml(text, "study")
    dates = {"a": "2026-01-02", "b": "2026-99-99", "c": "2026-01-02 10:00:00"}
    assert values == {**dates, "d": 1, "e": 0.5, "f": True}
    assert parse_yaml(to_yaml(values), "again")[0] == values


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no column 'label'"),
        ("a,b\n1,2\n", "no column 'label'"),
        ("label,label\n1,2\n", "two columns have the same name"),
        ("label,b\n1\n", "row 2 has 1 columns, not 2"),
        ("label,b\n1,2\n1,2,3\n", "row 3 has 3 columns"),
        ('label,b\n"1,2\n', "unexpected end of data"),
        ("label\n" + "x" * 2_000_000, "field larger than field limit"),
    ],
)
def test_tables_that_are_damaged(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(UserError, match=words):
        read_csv(tmp_path / "a.csv", needs=("label",))


def test_a_table_is_read_with_its_quotes_and_newlines(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes('\ufefflabel,b\r\n"a ""x"", y","two\nlines"\r\n\r\n'.encode())
    assert read_csv(tmp_path / "a.csv") == [{"label": 'a "x", y', "b": "two\nlines"}]


RECORD = {
    "request_id": "a" * 20,
    "label": "cat",
    "source": "a.png",
    "source_sha256": "b" * 64,
    "index": 0,
    "prompt": "a photo of a cat, größe",
    "ip_adapter_scale": 0.5,
    "source_clip_probability": None,
}


HOSTILE = [b"[" * 3000, b"{" * 3000, b"9" * 5000, b"\\ud800", b"&a *a", b"1e999"]


def damaged(data: bytes, random: Random) -> bytes:
    """The data with some bytes changed, cut, doubled, or nested."""
    changed = bytearray(data)
    kind = random.randrange(5)
    at = random.randrange(len(changed))
    if kind == 0:
        for _ in range(random.randrange(1, 8)):
            changed[random.randrange(len(changed))] = random.randrange(256)
    elif kind == 1:
        del changed[at:]
    elif kind == 2:
        changed[at:at] = changed[: random.randrange(len(changed))]
    elif kind == 3:
        changed[at:at] = random.choice(HOSTILE)
    else:
        changed[at : at + random.randrange(30)] = b""
    return bytes(changed)


@pytest.mark.parametrize("seed", range(100))
def test_damaged_files_give_one_sentence_or_a_value(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    path = tmp_path / "file"
    records = [json.dumps({**RECORD, "index": number}, ensure_ascii=False) for number in range(3)]
    lines = "".join(record + "\n" for record in records)
    table = 'label,accuracy\ncat,0.5\n"a, b",0.25\n'
    readers: list[tuple[str, Callable[[], object]]] = [
        (lines, lambda: list(jsonl.read(path))),
        (json.dumps(JSON, ensure_ascii=False, indent=1), lambda: read_json(path)),
        (to_yaml(JSON), lambda: read_yaml(path)),
        (table, lambda: read_csv(path)),
    ]
    sentences = []
    for text, read in readers:
        path.write_bytes(damaged(text.encode(), random))
        try:
            read()
        except UserError as error:
            sentences.append(str(error))
    assert not [one for one in sentences if "\n" in one or str(path) not in one]


def test_csv_text_is_read_back_as_it_was(tmp_path: Path) -> None:
    rows = [("name", "value"), ('a "b", c', 1.5), ("two\nlines", "")]
    assert csv_text([("a", "b"), ("x,y", 0.25)]) == 'a,b\n"x,y",0.25\n'
    assert (
        csv_text([("a", "b"), ("x", 0.25)], line_end="\r\n", quote_text=True) == '"a","b"\r\n"x",0.25\r\n'
    )
    (tmp_path / "table.csv").write_text(csv_text(rows), newline="")
    assert [tuple(row.values()) for row in read_csv(tmp_path / "table.csv")] == [
        ('a "b", c', "1.5"),
        ("two\nlines", ""),
    ]
