"""Numbers that are not finite, such as the accuracy of a class without images: JSON has none, but null."""

import math
from typing import Any


def nan_as_null(value: object) -> object:
    """The value with None for each number that is not finite."""
    if isinstance(value, dict):
        return {name: nan_as_null(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [nan_as_null(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def null_as_nan(value: Any) -> Any:
    """The value with NaN for each None."""
    if isinstance(value, dict):
        return {name: null_as_nan(item) for name, item in value.items()}
    if isinstance(value, list):
        return [null_as_nan(item) for item in value]
    return math.nan if value is None else value
