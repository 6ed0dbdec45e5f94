"""The JSON form of a result."""

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any


def json_of(value: Any) -> Any:
    """Plain JSON values: a dataclass is an object of its fields and properties, a path is a string.

    A number that is not finite is null, since JSON has none.
    """
    if is_dataclass(value):
        properties = [name for name, kind in vars(type(value)).items() if isinstance(kind, property)]
        names = [field.name for field in fields(value)] + properties
        return {name: json_of(getattr(value, name)) for name in names}
    if isinstance(value, Mapping):
        return {str(key): json_of(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_of(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
