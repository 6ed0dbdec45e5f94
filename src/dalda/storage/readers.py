"""Bounded readers of text, JSON and CSV: a damaged or hostile file ends in one sentence; and CSV text."""

import codecs
import csv
import io
import json
import math
from collections.abc import Iterable
from typing import Any, NoReturn

from dalda.errors import UserError
from dalda.storage.failures import Place, explained
from dalda.storage.files import open_binary

MEGABYTE = 1 << 20
LIMIT = 64 * MEGABYTE
MAX_DEPTH = 64
MAX_DIGITS = 40
MAX_FIELD = 1 * MEGABYTE


def read_bytes(place: Place, *, limit: int | None = LIMIT) -> bytes:
    """A whole file. Raises StorageError, and UserError for one of more than `limit` bytes."""
    with open_binary(place) as file, explained(place, "read"):
        data = file.read(-1 if limit is None else limit + 1)
    if limit is not None and len(data) > limit:
        size = f"{limit // MEGABYTE} MB" if limit >= MEGABYTE else f"{limit // 1024} kB"
        raise UserError(f"'{place}' is larger than {size}, which is too much; name another file")
    return data


def read_text(place: Place, *, limit: int = LIMIT) -> str:
    """Text in UTF-8, or in UTF-16 with its mark. Raises UserError for what is neither."""
    data = read_bytes(place, limit=limit)
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"'{place}' is not text in UTF-8; save it as such") from None


def read_json(place: Place, *, what: str = "JSON", limit: int = LIMIT) -> Any:
    """The value of a JSON file. Raises UserError for one that is damaged, or not `what`."""
    return parse_json(read_text(place, limit=limit), f"'{place}'", what)


def parse_json(text: str, name: str, what: str = "JSON") -> Any:
    """A value from text; equal keys, huge numbers, deep nesting and half characters are refused."""

    def refuse(reason: str) -> NoReturn:
        raise UserError(f"{name} is not {what} ({reason}); correct it or name another file")

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(items)
        if len(found) < len(items):
            keys = [key for key, _ in items]
            refuse(f"'{next(key for key in keys if keys.count(key) > 1)[:80]}' is there twice")
        return found

    def whole(digits: str) -> int:
        return int(digits) if len(digits) <= MAX_DIGITS else refuse(f"a number of {len(digits)} digits")

    def fraction(digits: str) -> float:
        value = float(digits)
        return value if math.isfinite(value) else refuse("a number that is too large")

    try:
        value = json.loads(
            text,
            object_pairs_hook=pairs,
            parse_int=whole,
            parse_float=fraction,
            parse_constant=lambda word: refuse(f"{word} is no number"),
        )
    except json.JSONDecodeError as error:
        refuse(f"{error.msg.lower()} in line {error.lineno}")
    except RecursionError:
        refuse("it is nested too deeply")
    reason = fault_of(value)
    if reason:
        refuse(reason)
    return value


def fault_of(value: object, depth: int = MAX_DEPTH) -> str | None:
    """What a parsed value holds that JSON should not: deep nesting, half characters, odd numbers."""
    if isinstance(value, dict | list):
        if depth == 0:
            return "it is nested too deeply"
        parts = [*value.keys(), *value.values()] if isinstance(value, dict) else value
        return next(filter(None, (fault_of(part, depth - 1) for part in parts)), None)
    if isinstance(value, str):
        half = not value.isascii() and any("\ud800" <= sign <= "\udfff" for sign in value)
        return "half of a character" if half else None
    if isinstance(value, float):
        return None if math.isfinite(value) else f"{value} is no number"
    if isinstance(value, int):
        return None if abs(value) < 10**MAX_DIGITS else "a number that is too large"
    return None if value is None else f"a {type(value).__name__}, which is neither text nor number"


def read_csv(
    place: Place, *, what: str = "a table", needs: tuple[str, ...] = (), limit: int = LIMIT
) -> list[dict[str, str]]:
    """The rows of a CSV file by its header. Raises UserError for what is no table, or lacks a column."""

    def refuse(reason: str) -> NoReturn:
        raise UserError(f"'{place}' is not {what} ({reason}); correct it or name another file")

    text = read_text(place, limit=limit)
    before = csv.field_size_limit(MAX_FIELD)
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        refuse(str(error))
    finally:
        csv.field_size_limit(before)
    header, *lines = rows or [[]]
    if len(set(header)) < len(header):
        refuse("two columns have the same name")
    missing = [name for name in needs if name not in header]
    if missing:
        refuse(f"it has no column '{missing[0]}'")
    for number, line in enumerate(lines, 2):
        if line and len(line) != len(header):
            refuse(f"row {number} has {len(line)} columns, not {len(header)}")
    return [dict(zip(header, line, strict=True)) for line in lines if line]


def csv_text(rows: Iterable[Iterable[object]], *, line_end: str = "\n", quote_text: bool = False) -> str:
    """Rows, the header among them, as the text of a CSV file; `quote_text` quotes all that is no number."""
    text = io.StringIO(newline="")
    writer = csv.writer(
        text, lineterminator=line_end, quoting=csv.QUOTE_NONNUMERIC if quote_text else csv.QUOTE_MINIMAL
    )
    writer.writerows(rows)
    return text.getvalue()
