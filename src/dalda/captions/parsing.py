"""Captions by class name from a raw answer: JSON, broken JSON, or lines of text."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from dalda.captions.caption_file import loose_name
from dalda.captions.class_matching import Names, forms_of, words_of

MAX_CHARACTERS, MAX_BRACKETS = 1 << 17, 500
"""No answer to our questions is larger; repairing takes long for some texts with many brackets."""
MAX_LINE, MAX_NAME, MAX_DEPTH = 2_000, 200, 20
_OPENING = re.compile(r"[{\[]")
_BULLET = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s+")
_AFTER_NAME = re.compile(r":|\||,(?=\s*\")")
_ZERO_WIDTH = dict.fromkeys(map(ord, "\u00ad\u200b\u2060\ufeff"))
_DRESS = "\"'*_`#“”‘’| \t"
# Reasoning models close their thoughts with one of these; the opening is not always there.
_TAG = (
    r"(?:(?:ant|seed:)?think|(?:ant|start_|begin_|end_)?thinking|thoughts?|reasoning|reason|reflection|analysis"
    r"|scratchpad|(?:inner|internal)_monologue|(?:begin|end)_of_thought)"
)
_THOUGHTS_END = re.compile(
    rf"</{_TAG}\s*>|<\|(?:/|(?=end)){_TAG}\|>|\[/THINK(?:ING)?\]|◁/think▷"
    r"|<\|channel\|>final\s*<\|message\|>",
    re.IGNORECASE,
)
_THOUGHTS_BEGIN = re.compile(
    rf"<{_TAG}(?:\s[^<>]{{0,80}})?>|<\|{_TAG}\|>|\[THINK(?:ING)?\]|◁think▷"
    r"|<\|channel\|>(?:analysis|commentary)",
    re.IGNORECASE,
)
Pair = tuple[str, object]
"""A name and a caption below it, as the answer has them."""


@dataclass
class Parsed:
    """Captions as they came, whatever their type, by class; and those under unknown names."""

    captions: dict[str, list[object]] = field(default_factory=dict)
    unknown: list[Pair] = field(default_factory=list)


class _Object(list[Pair]):
    """A JSON object that keeps the order and the repetition of its keys."""


class _Classes:
    """The classes that were asked about, by the names that an answer may use for them."""

    def __init__(self, classes: Iterable[str], wording: Mapping[str, str]) -> None:
        classes = list(classes)
        self.exact = {wording.get(name, name): name for name in classes} | {name: name for name in classes}
        self.loose = {form: name for written, name in self.exact.items() for form in forms_of(written)}
        self.loose |= {_bare(written): name for written, name in self.exact.items()}
        self.names = Names.of(classes, wording)

    def label(self, name: str) -> str | None:
        return self.exact.get(name) or self.loose.get(_bare(name))

    def label_in(self, caption: str) -> str | None:
        """The only class that a caption names, or None."""
        labels = {label for form in self.names.forms_in(caption) for label in self.names.owners[form]}
        return labels.pop() if len(labels) == 1 else None


def parse_answer(text: str, classes: Iterable[str], wording: Mapping[str, str]) -> Parsed:
    """Match by class name, never by position; case, spaces, hyphens and the like may differ."""
    known = _Classes(classes, wording)
    text = _unquoted(without_thoughts(text[:MAX_CHARACTERS]).translate(_ZERO_WIDTH))
    parsed = Parsed()
    for name, caption in _json_pairs(text, known) or _line_pairs(text, known):
        label = known.label(name)
        if label is None:
            parsed.unknown.append((name, caption))
        else:
            parsed.captions.setdefault(label, []).append(caption)
    return parsed


def without_thoughts(text: str) -> str:
    """The text after a model's last closing think tag, up to a tag that is opened and never closed."""
    *_, rest = _THOUGHTS_END.split(text)
    return _THOUGHTS_BEGIN.split(rest, maxsplit=1)[0]


def _unquoted(text: str) -> str:
    """The text in a JSON string, where an answer is one."""
    try:
        inner = json.loads(text) if text.lstrip().startswith('"') else text
    except ValueError:
        return text
    return inner if isinstance(inner, str) else text


def _json_pairs(text: str, known: _Classes) -> list[Pair]:
    """The pairs of the JSON values in a text; those of a damaged value as far as it can be repaired."""
    if len(_OPENING.findall(text)) > MAX_BRACKETS:
        return []
    decoder = json.JSONDecoder(strict=False, object_pairs_hook=_Object)
    whole: list[Pair] = []
    repaired: list[Pair] = []
    inner: list[Pair] = []
    position, is_damaged = 0, False
    while (opening := _OPENING.search(text, position)) is not None:
        try:
            value, position = decoder.raw_decode(text, opening.start())
            (inner if is_damaged else whole).extend(_walk(value, known))
        except (ValueError, RecursionError):
            if not is_damaged:
                repaired = list(_walk(_repair(text[opening.start() :]), known))
            position, is_damaged = opening.end(), True
    return whole + max(
        inner, repaired, key=lambda pairs: sum(known.label(name) is not None for name, _ in pairs)
    )


def _repair(text: str) -> object:
    """What can be read of JSON that is cut or malformed; a string that is cut off is omitted."""
    from json_repair import loads

    bare = text.rstrip("` \n\t")
    if '"' not in bare:
        bare = re.sub("[“”]", '"', bare)
    if not bare.endswith(("}", "]")):
        bare = bare[: bare.rfind('"') + 1] or bare
    try:
        return json.loads(json.dumps(loads(bare)), object_pairs_hook=_Object)
    except (ValueError, RecursionError):
        return None


def _walk(value: object, known: _Classes, name: str | None = None, depth: int = 0) -> Iterator[Pair]:
    """Pairs from objects and lists in any nesting; `name` is the class's as far as it is known above."""
    if depth > MAX_DEPTH:
        return
    if isinstance(value, _Object):
        for key, inner in _entries(value, known, name):
            yield from _walk(inner, known, key, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            yield from _walk(inner, known, name, depth + 1)
    elif isinstance(value, str):
        plain = value.translate(_ZERO_WIDTH).strip().strip('"“”').strip()
        if name is None:
            yield from _line_pairs(value, known, is_caption=True)
        elif plain:
            yield name, plain
    elif value is not None and name is not None:
        yield name, value


def _entries(value: _Object, known: _Classes, name: str | None) -> Iterator[tuple[str | None, object]]:
    """What stands for captions in an object, each part with the name that it is below."""
    fields = dict(value)
    own_name = fields.get("class", fields.get("name"))
    captions = fields.get("captions", fields.get("caption"))
    has_captions = "captions" in fields or "caption" in fields
    if has_captions and isinstance(own_name, str):
        yield own_name, captions
    elif name is not None:
        yield name, captions if has_captions else list(fields.values())
    else:
        for key, inner in value:
            parts = inner if isinstance(inner, list) and not isinstance(inner, _Object) else [inner]
            is_group = loose_name(key) in ("captions", "caption") or any(
                isinstance(part, _Object) for part in parts
            )
            yield (key if known.label(key) or not is_group else None), inner


def _line_pairs(text: str, known: _Classes, is_caption: bool = False) -> Iterator[Pair]:
    """Lines `name: caption`, table rows, bulleted lines below a name, captions that name a class."""
    heading: str | None = None
    for line in text.splitlines():
        bare = _BULLET.sub("", line[:MAX_LINE])
        name, caption = _split(bare, known)
        if name is not None and caption:
            yield name, caption
        elif name is not None:
            heading = name
        elif (is_caption or bare != line) and (label := heading or known.label_in(bare)):
            if plain := bare.strip(_DRESS):
                yield label, plain
        elif line.strip():
            heading = None


def _split(line: str, known: _Classes) -> tuple[str | None, str]:
    """The class's name at the head of a line, None where there is none, and what follows."""
    line = line.strip(_DRESS)
    for separator in _AFTER_NAME.finditer(line):
        name = line[: separator.start()].strip(_DRESS)
        if len(name) > MAX_NAME:
            break
        if known.label(name):
            return name, line[separator.end() :].strip(_DRESS)
    return (line, "") if known.label(line) else (None, "")


def _bare(name: str) -> str:
    """A name without case, spaces, hyphens and apostrophes, as captions are searched for it."""
    return "".join(words_of(name)) or loose_name(name)
