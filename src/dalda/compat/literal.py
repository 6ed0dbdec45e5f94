"""Configurations of the original DALDA code are Python: they are read here and never executed.

Assignments of literals, of f-strings of earlier names and of concatenated strings are read; anything else
is refused with its line.
"""

import ast
import math
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dalda.errors import UserError
from dalda.storage import read_text

Value = str | int | float | bool | None | list["Value"]

MAX_BYTES = 64 * 1024
MAX_TEXT = 4096
MAX_ITEMS = 1000
MAX_DEPTH = 16
MAX_NUMBER = 10**15
KINDS = {
    **dict.fromkeys(("Import", "ImportFrom"), "an import"),
    **dict.fromkeys(("Lambda", "FunctionDef"), "a function"),
    **dict.fromkeys(("ListComp", "SetComp", "DictComp", "GeneratorExp"), "a comprehension"),
    "Call": "a call",
    "Attribute": "an attribute",
    "ClassDef": "a class",
    "Subscript": "an index",
}
"""Pieces of Python by the names that people use."""


@dataclass(frozen=True)
class Assigned:
    """The last value of a name, and its line."""

    value: Value
    line: int


class _Refused(Exception):
    def __init__(self, node: ast.AST, what: str) -> None:
        super().__init__(what)
        self.line = getattr(node, "lineno", 1)


def read_config(path: Path) -> dict[str, Assigned]:
    """The assignments of a file, in order. Raises UserError for one that cannot be read or is refused."""
    return read_assignments(read_text(path, limit=MAX_BYTES), str(path))


def read_assignments(text: str, name: str = "config") -> dict[str, Assigned]:
    """Name to value and line. Raises UserError, with the line, for anything but an assigned plain value."""
    assigned: dict[str, Assigned] = {}
    lines = text.splitlines()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a doubtful escape in a string changes nothing here
            statements = ast.parse(text).body
        for statement in statements:
            _assign(statement, assigned)
    except _Refused as refused:
        raise UserError(
            f"{name}, line {refused.line}: {refused}; only plain values, f-strings of earlier names and "
            "concatenated strings are read, nothing is executed"
        ) from None
    except (SyntaxError, ValueError) as error:
        # The parser gives no line for a null or half a character.
        odd = next(
            (number for number, line in enumerate(lines, 1) if re.search("[\0\ud800-\udfff]", line)), 1
        )
        line = getattr(error, "lineno", None) or odd
        what = getattr(error, "msg", None) or error
        raise UserError(f"{name}, line {line}: this is not Python ({what})") from None
    except (RecursionError, MemoryError):
        line = 1 + lines.index(
            max(lines, key=len)
        )  # the parser gives none, and deep nesting takes a long line
        raise UserError(f"{name}, line {line}: this is nested too deeply to be a configuration") from None
    return assigned


def _assign(statement: ast.stmt, found: dict[str, Assigned]) -> None:
    if isinstance(statement, ast.Expr) and isinstance(getattr(statement.value, "value", None), str):
        return  # a comment, written as a string
    if not isinstance(statement, ast.Assign):
        raise _Refused(statement, f"{_kind(statement)} is not an assignment")
    if len(statement.targets) != 1 or not isinstance(statement.targets[0], ast.Name):
        raise _Refused(statement, "an assignment sets one plain name")
    found[statement.targets[0].id] = Assigned(_value(statement.value, found, 0), statement.lineno)


def _value(node: ast.expr, names: Mapping[str, Assigned], depth: int) -> Value:
    if depth > MAX_DEPTH:
        raise _Refused(node, "this is nested too deeply")
    match node:
        case ast.Constant(value=bool() | None as plain):
            return plain
        case ast.Constant(value=str(text)):
            return _short(node, text)
        case ast.Constant(value=int() | float() as number):
            if not math.isfinite(number) or abs(number) > MAX_NUMBER:
                raise _Refused(node, "this number is too large")
            return number
        case ast.Constant(value=other):
            raise _Refused(node, f"a value of type {type(other).__name__} is not read")
        case ast.Name(id=name):
            if name not in names:
                raise _Refused(node, f"the name '{name[:40]}' is not set in an earlier line")
            if depth and isinstance(names[name].value, list):
                raise _Refused(node, "a list cannot be part of another value by name")
            return names[name].value
        case ast.List(elts=items) | ast.Tuple(elts=items):
            if len(items) > MAX_ITEMS:
                raise _Refused(node, f"a list of more than {MAX_ITEMS} values is too long")
            return [_value(item, names, depth + 1) for item in items]
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=operand):
            value = _value(operand, names, depth + 1)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise _Refused(node, "a sign stands before a value that is no number")
            return -value if isinstance(sign, ast.USub) else value
        case ast.BinOp(op=ast.Add()):
            return _sum(node, names, depth)
        case ast.JoinedStr(values=pieces):
            return _short(node, "".join(_piece(piece, names) for piece in pieces))
    raise _Refused(node, f"{_kind(node)} is not a plain value")


def _sum(node: ast.expr, names: Mapping[str, Assigned], depth: int) -> str:
    """A sum of strings; its left side is walked in a loop, because it may be long."""
    parts: list[ast.expr] = []
    left = node
    while isinstance(left, ast.BinOp) and isinstance(left.op, ast.Add):
        parts.append(left.right)
        left = left.left
    if len(parts) > MAX_ITEMS:
        raise _Refused(node, "this sum is too long")
    texts = [_value(part, names, depth + 1) for part in [left, *reversed(parts)]]
    if not all(isinstance(text, str) for text in texts):
        raise _Refused(node, "only strings are added")
    return _short(node, "".join(map(str, texts)))


def _piece(piece: ast.expr, names: Mapping[str, Assigned]) -> str:
    """A piece of an f-string: text, or an earlier name in braces without format or conversion."""
    if isinstance(piece, ast.Constant) and isinstance(piece.value, str):
        return piece.value
    if not isinstance(piece, ast.FormattedValue) or not isinstance(piece.value, ast.Name):
        raise _Refused(piece, "an f-string may hold earlier names only")
    if piece.conversion != -1 or piece.format_spec is not None:
        raise _Refused(piece, "an f-string may hold names only, without a format")
    return str(_value(piece.value, names, 1))


def _short(node: ast.AST, text: str) -> str:
    if len(text) > MAX_TEXT:
        raise _Refused(node, f"a string of more than {MAX_TEXT} characters is too long")
    return text


def _kind(node: ast.AST) -> str:
    if isinstance(node, ast.Expr):
        return _kind(node.value)
    name = type(node).__name__
    return KINDS.get(name, f"this ({name})")
