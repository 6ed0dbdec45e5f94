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
_TAG = r"(?:think|thinking|thought|thoughts|reasoning|reflection|analysis|seed:think)"
_THOUGHTS_END = re.compile(
    rf"</{_TAG}>|\[/THINK\]|◁/think▷|<\|end_of_thought\|>|<\|channel\|>final\s*<\|message\|>", re.IGNORECASE
)
_THOUGHTS_BEGIN = re.compile(
    rf"<{_TAG}>|\[THINK\]|◁think▷|<\|begin_of_thought\|>|<\|channel\|>(?:analysis|commentary)",
    re.IGNORECASE,
)


@dataclass
class Parsed:
    """Captions as they came, whatever their type, by class; and those under unknown names."""

    captions: dict[str, list[object]] = field(default_factory=dict)
    unknown: list[tuple[str, object]] = field(default_factory=list)


class _Pairs(list[tuple[str, object]]):
    """A JSON object that keeps the order and the repetition of its keys."""


class _Known:
    """The classes that were asked about, by the names that an answer may use for them."""

    def __init__(self, classes: Iterable[str], wording: Mapping[str, str]) -> None:
        classes = list(classes)
        self.exact = {wording.get(name, name): name for name in classes} | {name: name for name in classes}
        self.loose = {form: name for called, name in self.exact.items() for form in forms_of(called)}
        self.loose |= {_bare(called): name for called, name in self.exact.items()}
        self.names = Names.of(classes, wording)

    def label(self, name: str) -> str | None:
        return self.exact.get(name) or self.loose.get(_bare(name))

    def label_in(self, caption: str) -> str | None:
        """The only class that a caption names, or None."""
        named = {label for labels in self.names.named_in(caption) for label in labels}
        return named.pop() if len(named) == 1 else None


def parse_answer(text: str, classes: Iterable[str], wording: Mapping[str, str]) -> Parsed:
    """Match by class name, never by position; case, spaces, hyphens and the like may differ."""
    known = _Known(classes, wording)
    text = _unquoted(without_thoughts(text[:MAX_CHARACTERS]).translate(_ZERO_WIDTH))
    pairs = _json_pairs(text, known) or list(_line_pairs(text, known))
    parsed = Parsed()
    for name, value in pairs:
        label = known.label(name)
        if label is None:
            parsed.unknown += [(name, caption) for caption in _flat(value)]
        else:
            parsed.captions.setdefault(label, []).extend(_flat(value))
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


def _json_pairs(text: str, known: _Known) -> list[tuple[str, object]]:
    """The pairs of the JSON values in a text; those of a damaged value as far as it can be repaired."""
    if len(_OPENING.findall(text)) > MAX_BRACKETS:
        return []
    decoder = json.JSONDecoder(strict=False, object_pairs_hook=_Pairs)
    whole: list[tuple[str, object]] = []
    repaired: list[tuple[str, object]] = []
    inner: list[tuple[str, object]] = []
    position, is_damaged = 0, False
    while (opening := _OPENING.search(text, position)) is not None:
        try:
            value, position = decoder.raw_decode(text, opening.start())
            (inner if is_damaged else whole).extend(_walk(value, known))
        except (ValueError, RecursionError):
            if not is_damaged:
                repaired = list(_walk(_repair(text[opening.start() :]), known))
            position, is_damaged = opening.end(), True
    return whole + max(inner, repaired, key=lambda pairs: _count(pairs, known))


def _count(pairs: Iterable[tuple[str, object]], known: _Known) -> int:
    return sum(len(list(_flat(value))) for name, value in pairs if known.label(name))


def _repair(text: str) -> object:
    """What can be read of JSON that is cut or malformed; a string that is cut off is omitted."""
    from json_repair import loads

    bare = text.rstrip("` \n\t")
    if '"' not in bare:
        bare = re.sub("[“”]", '"', bare)
    if not bare.endswith(("}", "]")):
        bare = bare[: bare.rfind('"') + 1] or bare
    try:
        repaired = loads(bare)
    except (ValueError, RecursionError):
        return None
    return json.loads(json.dumps(repaired), object_pairs_hook=_Pairs)


def _walk(value: object, known: _Known, depth: int = 0) -> Iterator[tuple[str, object]]:
    """Pairs of a name and what stands for captions, from objects and lists in any nesting."""
    if depth > MAX_DEPTH:
        return
    if isinstance(value, _Pairs):
        if _is_entry(value):
            fields = dict(value)
            yield str(fields.get("class", fields.get("name"))), _texts(value)
            return
        for key, inner in value:
            objects = _objects(inner)
            if not objects and (known.label(key) or loose_name(key) not in ("captions", "caption")):
                yield key, inner
            elif known.label(key) and not any(map(_is_entry, objects)):
                yield key, _texts(inner)
            else:
                yield from _walk(inner, known, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            yield from _walk(inner, known, depth + 1)
    elif isinstance(value, str):
        yield from _line_pairs(value, known, is_caption=True)


def _is_entry(value: _Pairs) -> bool:
    """Whether an object names its class and holds captions."""
    fields = dict(value)
    return isinstance(fields.get("class", fields.get("name")), str) and (
        "captions" in fields or "caption" in fields
    )


def _objects(value: object) -> list[_Pairs]:
    inner = [value] if isinstance(value, _Pairs) else value if isinstance(value, list) else []
    return [entry for entry in inner if isinstance(entry, _Pairs)]


def _texts(value: object, depth: int = 0) -> object:
    """What stands for captions in an object, or in each object of a list: those fields, else all."""
    if isinstance(value, _Pairs):
        fields = dict(value)
        return fields.get("captions", fields.get("caption", list(fields.values())))
    if isinstance(value, list) and depth < MAX_DEPTH:
        return [_texts(inner, depth + 1) for inner in value]
    return value


def _line_pairs(text: str, known: _Known, is_caption: bool = False) -> Iterator[tuple[str, object]]:
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
            yield label, bare.strip(_DRESS)
        elif line.strip():
            heading = None


def _split(line: str, known: _Known) -> tuple[str | None, str]:
    line = line.strip(_DRESS)
    for separator in _AFTER_NAME.finditer(line):
        name = line[: separator.start()].strip(_DRESS)
        if len(name) > MAX_NAME:
            break
        if known.label(name):
            return name, line[separator.end() :].strip(_DRESS)
    return (line, "") if known.label(line) else (None, "")


def _flat(value: object, depth: int = 0) -> Iterator[object]:
    if isinstance(value, list) and not isinstance(value, _Pairs) and depth < MAX_DEPTH:
        for inner in value:
            yield from _flat(inner, depth + 1)
    elif isinstance(value, str):
        if plain := value.translate(_ZERO_WIDTH).strip().strip('"“”').strip():
            yield plain
    elif value is not None:
        yield dict(value) if isinstance(value, _Pairs) else value


def _bare(name: str) -> str:
    """A name without case, spaces, hyphens and apostrophes, as captions are searched for it."""
    return "".join(words_of(name)) or loose_name(name)
