"""The original code's configuration files are Python: they are read here, and never executed.

Read are assignments of literals, of f-strings of earlier names and of concatenated strings. Anything else
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


@dataclass(frozen=True)
class Assigned:
    """What a name was given last, and where."""

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
    """Name to value and line; a name that is assigned twice keeps its last value.

    Raises UserError, with the line, for whatever is not an assignment of a plain value.
    """
    found: dict[str, Assigned] = {}
    try:
        with warnings.catch_warnings():
            # A doubtful escape is the author's affair, and no reason to be noisy.
            warnings.simplefilter("ignore")
            statements = ast.parse(text).body
        for statement in statements:
            _take(statement, found)
    except _Refused as refused:
        raise UserError(
            f"{name}, line {refused.line}: {refused}; only plain values, f-strings of earlier names and "
            "concatenated strings are read, nothing is executed"
        ) from None
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or _odd_line(text)
        what = getattr(error, "msg", None) or error
        raise UserError(f"{name}, line {line}: this is not Python ({what})") from None
    except (RecursionError, MemoryError):
        # The parser does not say where; so much nesting takes a long line.
        lines = text.splitlines()
        line = 1 + lines.index(max(lines, key=len))
        raise UserError(f"{name}, line {line}: this is nested too deeply to be a configuration") from None
    return found


def _odd_line(text: str) -> int:
    """The line of a null or of half a character, which the parser does not tell."""
    lines = enumerate(text.splitlines(), 1)
    return next((number for number, line in lines if re.search("[\0\ud800-\udfff]", line)), 1)


def _take(statement: ast.stmt, found: dict[str, Assigned]) -> None:
    if isinstance(statement, ast.Expr) and isinstance(getattr(statement.value, "value", None), str):
        return  # a comment, written as a string
    if not isinstance(statement, ast.Assign):
        raise _Refused(statement, f"{_named(statement)} is not an assignment")
    if len(statement.targets) != 1 or not isinstance(statement.targets[0], ast.Name):
        raise _Refused(statement, "an assignment sets one plain name")
    value = _value(statement.value, found, 0)
    found[statement.targets[0].id] = Assigned(value, statement.lineno)


def _value(node: ast.expr, names: Mapping[str, Assigned], depth: int) -> Value:
    if depth > MAX_DEPTH:
        raise _Refused(node, "this is nested too deeply")
    if isinstance(node, ast.Constant):
        return _constant(node)
    if isinstance(node, ast.Name):
        earlier = _earlier(node, names)
        if depth and isinstance(earlier, list):
            raise _Refused(node, "a list cannot stand in another one by name")
        return earlier
    if isinstance(node, ast.List | ast.Tuple):
        if len(node.elts) > MAX_ITEMS:
            raise _Refused(node, f"a list of more than {MAX_ITEMS} values is too long")
        return [_value(item, names, depth + 1) for item in node.elts]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        number = _value(node.operand, names, depth + 1)
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise _Refused(node, "a sign stands before what is no number")
        return -number if isinstance(node.op, ast.USub) else number
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _joined(node, names, depth)
    if isinstance(node, ast.JoinedStr):
        return _short(node, "".join(_piece(piece, names) for piece in node.values))
    raise _Refused(node, f"{_named(node)} is not a plain value")


def _constant(node: ast.Constant) -> Value:
    value = node.value
    if isinstance(value, str):
        return _short(node, value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        if not math.isfinite(value) or abs(value) > MAX_NUMBER:
            raise _Refused(node, "this number is too large")
        return value
    raise _Refused(node, f"a value of type {type(value).__name__} is not read")


def _earlier(node: ast.Name, names: Mapping[str, Assigned]) -> Value:
    if node.id not in names:
        raise _Refused(node, f"the name '{node.id[:40]}' is not set in an earlier line")
    return names[node.id].value


def _joined(node: ast.BinOp, names: Mapping[str, Assigned], depth: int) -> str:
    """A sum of strings; it may be long, so its left side is walked instead of descended."""
    parts: list[ast.expr] = []
    left: ast.expr = node
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
    """Of an f-string: its text, or an earlier name in braces, without format or conversion."""
    if isinstance(piece, ast.Constant) and isinstance(piece.value, str):
        return piece.value
    if not isinstance(piece, ast.FormattedValue) or not isinstance(piece.value, ast.Name):
        raise _Refused(piece, "an f-string may hold earlier names only")
    if piece.conversion != -1 or piece.format_spec is not None:
        raise _Refused(piece, "an f-string may hold names only, without a format")
    value = _earlier(piece.value, names)
    if isinstance(value, list):
        raise _Refused(piece, "a list cannot stand in an f-string")
    return str(value)


def _short(node: ast.AST, text: str) -> str:
    if len(text) > MAX_TEXT:
        raise _Refused(node, f"a string of more than {MAX_TEXT} characters is too long")
    return text


def _named(node: ast.AST) -> str:
    """What a piece of Python is called by people."""
    names = {
        "Import": "an import",
        "ImportFrom": "an import",
        "Call": "a call",
        "Attribute": "an attribute",
        "Lambda": "a function",
        "FunctionDef": "a function",
        "ClassDef": "a class",
        "Subscript": "an index",
    }
    kind = type(node).__name__
    if kind.endswith("Comp") or kind == "GeneratorExp":
        return "a comprehension"
    if isinstance(node, ast.Expr):
        return _named(node.value)
    return names.get(kind, f"this ({kind})")
