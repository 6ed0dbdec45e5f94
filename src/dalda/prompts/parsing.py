"""What a raw answer says: captions by class name, from JSON, from broken JSON, or from plain lines."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import zip_longest

from dalda.prompts.book import loose_name

_KEY = re.compile(r'"((?:[^"\\]|\\.)*)"\s*:\s*')
_BULLET = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s+")
_DRESS = "\"'*_`#“”‘’ \t"


@dataclass
class Parsed:
    """Captions as they came, whatever their type, by class; and those under names nobody asked for."""

    captions: dict[str, list[object]] = field(default_factory=dict)
    unknown: list[tuple[str, object]] = field(default_factory=list)


def parse_answer(text: str, classes: Iterable[str], wording: Mapping[str, str]) -> Parsed:
    """Match by class name, never by position; case, hyphens and underscores of the names may differ."""
    known = {}
    for name in classes:
        known[loose_name(wording.get(name, name))] = name
        known[loose_name(name)] = name
    pairs = _json_pairs(text, known)
    if pairs is None:
        pairs = list(_broken_pairs(text, known)) or list(_line_pairs(text, known))
    parsed = Parsed()
    for name, value in pairs:
        label = known.get(loose_name(name))
        if label is None:
            parsed.unknown += [(name, caption) for caption in _flat(value)]
        else:
            parsed.captions.setdefault(label, []).extend(_flat(value))
    return parsed


def _json_pairs(text: str, known: Mapping[str, str]) -> list[tuple[str, object]] | None:
    """The pairs of the first whole JSON value in the text that has any, or None."""
    decoder = json.JSONDecoder(strict=False, object_pairs_hook=_Pairs)
    position = 0
    while (start := _next_opening(text, position)) is not None:
        try:
            value, position = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            # Cut or malformed: its inner parts are found one by one instead.
            return None
        if pairs := list(_walk(value, known, depth=0)):
            return pairs
    return None


class _Pairs(list[tuple[str, object]]):
    """A JSON object that keeps the order and the repetition of its keys."""


def _next_opening(text: str, position: int) -> int | None:
    found = re.compile(r"[{\[]").search(text, position)
    return found.start() if found else None


def _walk(value: object, known: Mapping[str, str], depth: int) -> Iterator[tuple[str, object]]:
    if depth > 20:
        return
    if isinstance(value, _Pairs):
        fields = dict(value)
        name = fields.get("class", fields.get("name"))
        if isinstance(name, str) and ("captions" in fields or "caption" in fields):
            yield name, fields.get("captions", fields.get("caption"))
            return
        for key, inner in value:
            if _holds_objects(inner):
                yield from _walk(inner, known, depth + 1)
            else:
                yield key, inner
    elif isinstance(value, list):
        for inner in value:
            if isinstance(inner, str):
                yield from _line_pairs(inner, known)
            else:
                yield from _walk(inner, known, depth + 1)


def _holds_objects(value: object) -> bool:
    return isinstance(value, _Pairs) or (
        isinstance(value, list) and any(isinstance(inner, _Pairs) for inner in value)
    )


def _broken_pairs(text: str, known: Mapping[str, str]) -> Iterator[tuple[str, object]]:
    """From JSON that is cut or malformed: every string that can be read whole after a known name."""
    name: str | None = None
    keys = list(_KEY.finditer(text))
    for found, following in zip_longest(keys, keys[1:]):
        key = _string(found.group(1))
        body = text[found.end() : following.start() if following else len(text)]
        strings = [_string(inner) for inner in re.findall(r'"((?:[^"\\]|\\.)*)"', body)]
        if loose_name(key) in ("class", "name") and len(strings) >= 1:
            name = strings[0]
        elif loose_name(key) in known:
            yield key, strings
        elif loose_name(key) in ("captions", "caption") and name is not None:
            yield name, strings
            name = None


def _string(escaped: str) -> str:
    try:
        return str(json.loads(f'"{escaped}"', strict=False))
    except ValueError:
        return escaped


def _line_pairs(text: str, known: Mapping[str, str]) -> Iterator[tuple[str, object]]:
    """Lines `name: caption`, and bulleted lines below a line that is a name alone."""
    heading: str | None = None
    for line in text.splitlines():
        bare = _BULLET.sub("", line)
        name, caption = _split(bare, known)
        if name is not None and caption:
            yield name, caption
        elif name is not None:
            heading = name
        elif heading is not None and bare != line and bare.strip(_DRESS):
            yield heading, bare.strip(_DRESS)
        elif line.strip():
            heading = None


def _split(line: str, known: Mapping[str, str]) -> tuple[str | None, str]:
    for colon in re.finditer(r":", line):
        name = line[: colon.start()].strip(_DRESS)
        if loose_name(name) in known:
            return name, line[colon.end() :].strip(_DRESS)
    name = line.strip(_DRESS)
    return (name, "") if loose_name(name) in known else (None, "")


def _flat(value: object, depth: int = 0) -> Iterator[object]:
    if isinstance(value, list) and not isinstance(value, _Pairs) and depth < 20:
        for inner in value:
            yield from _flat(inner, depth + 1)
    elif isinstance(value, str):
        yield value.strip().strip('"“”').strip()
    elif value is not None:
        yield dict(value) if isinstance(value, _Pairs) else value
