"""What a raw answer says: captions by class name, from JSON, from broken JSON, or from plain lines."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import zip_longest

from dalda.captions.caption_file import loose_name
from dalda.captions.class_matching import forms_of, words_of

_KEY = re.compile(r'"((?:[^"\\]|\\.)*)"\s*:\s*')
_BULLET = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s+")
_DRESS = "\"'*_`#“”‘’ \t"


@dataclass
class Parsed:
    """Captions as they came, whatever their type, by class; and those under names nobody asked for."""

    captions: dict[str, list[object]] = field(default_factory=dict)
    unknown: list[tuple[str, object]] = field(default_factory=list)


@dataclass(frozen=True)
class Known:
    """The classes that were asked about, by the names that an answer may use for them."""

    exact: Mapping[str, str]
    loose: Mapping[str, str]

    @classmethod
    def of(cls, classes: Iterable[str], wording: Mapping[str, str]) -> "Known":
        exact = {wording.get(name, name): name for name in classes} | {name: name for name in classes}
        plurals = {form: name for said, name in exact.items() for form in forms_of(said)}
        return cls(exact, plurals | {_bare(said): name for said, name in exact.items()})

    def label(self, name: str) -> str | None:
        return self.exact.get(name) or self.loose.get(_bare(name))

    def __contains__(self, name: str) -> bool:
        return self.label(name) is not None


def _bare(name: str) -> str:
    """A name without case, spaces, hyphens and apostrophes, as captions are searched for it."""
    return "".join(words_of(name)) or loose_name(name)


def parse_answer(text: str, classes: Iterable[str], wording: Mapping[str, str]) -> Parsed:
    """Match by class name, never by position; case, spaces, hyphens and the like may differ."""
    known = Known.of(list(classes), wording)
    pairs = _json_pairs(text, known) or list(_line_pairs(text, known))
    parsed = Parsed()
    for name, value in pairs:
        label = known.label(name)
        if label is None:
            parsed.unknown += [(name, caption) for caption in _flat(value)]
        else:
            parsed.captions.setdefault(label, []).extend(_flat(value))
    return parsed


def _json_pairs(text: str, known: Known) -> list[tuple[str, object]]:
    """The pairs of every JSON value in the text, and what can be read of one that is cut or malformed."""
    decoder = json.JSONDecoder(strict=False, object_pairs_hook=_Pairs)
    position = 0
    pairs: list[tuple[str, object]] = []
    while (start := _next_opening(text, position)) is not None:
        try:
            value, position = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            # Its inner parts are found one by one instead, and those of all that follows.
            return pairs + list(_broken_pairs(text[start:], known))
        pairs += _walk(value, known, depth=0)
    return pairs


class _Pairs(list[tuple[str, object]]):
    """A JSON object that keeps the order and the repetition of its keys."""


def _next_opening(text: str, position: int) -> int | None:
    found = re.compile(r"[{\[]").search(text, position)
    return found.start() if found else None


def _walk(value: object, known: Known, depth: int) -> Iterator[tuple[str, object]]:
    if depth > 20:
        return
    if isinstance(value, _Pairs):
        if _is_entry(value):
            fields = dict(value)
            yield str(fields.get("class", fields.get("name"))), _texts(value)
            return
        for key, inner in value:
            if not _holds_objects(inner):
                yield key, inner
            elif key in known and not any(map(_is_entry, _objects(inner))):
                yield key, _texts(inner)
            else:
                yield from _walk(inner, known, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            if isinstance(inner, str):
                yield from _line_pairs(inner, known)
            else:
                yield from _walk(inner, known, depth + 1)


def _is_entry(value: _Pairs) -> bool:
    """Whether an object names its class and holds captions."""
    fields = dict(value)
    return isinstance(fields.get("class", fields.get("name")), str) and (
        "captions" in fields or "caption" in fields
    )


def _objects(value: object) -> list[_Pairs]:
    inner = [value] if isinstance(value, _Pairs) else value if isinstance(value, list) else []
    return [one for one in inner if isinstance(one, _Pairs)]


def _holds_objects(value: object) -> bool:
    return bool(_objects(value))


def _texts(value: object) -> object:
    """What stands for captions in an object, or in each object of a list: those fields, else all."""
    if isinstance(value, _Pairs):
        fields = dict(value)
        return fields.get("captions", fields.get("caption", list(fields.values())))
    return [_texts(inner) for inner in value] if isinstance(value, list) else value


def _broken_pairs(text: str, known: Known) -> Iterator[tuple[str, object]]:
    """From JSON that is cut or malformed: every string that can be read whole after a known name."""
    name: str | None = None
    keys = list(_KEY.finditer(text))
    for found, following in zip_longest(keys, keys[1:]):
        key = _string(found.group(1))
        body = text[found.end() : following.start() if following else len(text)]
        strings = [_string(inner) for inner in re.findall(r'"((?:[^"\\]|\\.)*)"', body)]
        if loose_name(key) in ("class", "name") and len(strings) >= 1:
            name = strings[0]
        elif key in known:
            yield key, strings
            name = key  # whose captions may stand in objects of their own
        elif loose_name(key) in ("captions", "caption") and name is not None:
            yield name, strings


def _string(escaped: str) -> str:
    try:
        return str(json.loads(f'"{escaped}"', strict=False))
    except ValueError:
        return escaped


def _line_pairs(text: str, known: Known) -> Iterator[tuple[str, object]]:
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


def _split(line: str, known: Known) -> tuple[str | None, str]:
    for colon in re.finditer(r":", line):
        name = line[: colon.start()].strip(_DRESS)
        if name in known:
            return name, line[colon.end() :].strip(_DRESS)
    name = line.strip(_DRESS)
    return (name, "") if name in known else (None, "")


def _flat(value: object, depth: int = 0) -> Iterator[object]:
    if isinstance(value, list) and not isinstance(value, _Pairs) and depth < 20:
        for inner in value:
            yield from _flat(inner, depth + 1)
    elif isinstance(value, str):
        yield value.strip().strip('"“”').strip()
    elif value is not None:
        yield dict(value) if isinstance(value, _Pairs) else value
