"""YAML in and out: plain values only, bounded, with the lines of its keys."""

from collections.abc import Mapping
from typing import Any, NoReturn

import yaml

from dalda.errors import UserError, first_line
from dalda.storage.failures import Place
from dalda.storage.readers import MAX_DEPTH, MEGABYTE, fault_of, read_text


class _Plain(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Dates stay text, as they are in JSON."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [(tag, expression) for tag, expression in rules if not tag.endswith(":timestamp")]
        for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def read_yaml(place: Place) -> dict[str, Any]:
    """The mapping of a YAML file. Raises UserError, with the line, for anything else."""
    return parse_yaml(read_text(place, limit=MEGABYTE), f"'{place}'")[0]


def parse_yaml(text: str, name: str, what: str = "settings") -> tuple[dict[str, Any], yaml.Node]:
    """The same from text, with the tree that knows the lines."""

    def refuse(line: int, reason: str) -> NoReturn:
        raise UserError(f"{name}, line {line}: {reason}")

    loader = _Plain(text)
    try:
        tree = loader.get_single_node()
        if tree is None:
            refuse(1, f"it is empty, and holds no {what}")
        found = _fault(tree, set(), MAX_DEPTH)
        if found:
            refuse(*found)
        value = loader.construct_document(tree)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        what_is_wrong = getattr(error, "problem", None) or first_line(error)
        refuse(mark.line + 1 if mark else 1, f"this is not YAML ({what_is_wrong})")
    except (RecursionError, ValueError, TypeError) as error:
        refuse(1, f"this is not YAML ({first_line(error)})")
    finally:
        loader.dispose()
    reason = fault_of(value)
    if reason or not isinstance(value, dict):
        refuse(1, f"this holds no {what} ({reason or 'no `name: value`'})")
    return {str(key): one for key, one in value.items()}, tree


def _fault(node: yaml.Node, seen: set[int], depth: int) -> tuple[int, str] | None:
    """The first alias, equal key or too deep nesting, with its line."""
    line = node.start_mark.line + 1
    if id(node) in seen:
        return line, "aliases (*name) are not read; write the value out"
    seen.add(id(node))
    if depth == 0:
        return line, "this is nested too deeply"
    parts: list[yaml.Node] = []
    if isinstance(node, yaml.SequenceNode):
        parts = list(node.value)
    elif isinstance(node, yaml.MappingNode):
        keys: set[str] = set()
        for key, value in node.value:
            if str(key.value) in keys:
                return key.start_mark.line + 1, f"'{key.value}' is set twice"
            keys.add(str(key.value))
            parts += [key, value]
    return next(filter(None, (_fault(part, seen, depth - 1) for part in parts)), None)


def to_yaml(settings: Mapping[str, Any]) -> str:
    """Settings as YAML text, in their order."""
    text: str = yaml.safe_dump(dict(settings), allow_unicode=True, sort_keys=False)
    return text
