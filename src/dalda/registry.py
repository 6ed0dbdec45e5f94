"""Tables of what can be named (data sets, models, formats), filled by the packages that bring the rows."""

import importlib
from collections.abc import Callable, Iterator, Mapping
from pkgutil import resolve_name
from typing import Any, TypeVar

BUILT_IN = ("dalda.doodles.register", "dalda.compat.register")
"""Modules that add their rows when a table is first read; nothing else in the package names them."""
DEFAULT_MODEL = "doodle"
"""The model that is used unless another is named: it needs no download."""
Value = TypeVar("Value")
_loaded: set[str] = set()


def lazy(place: str) -> Callable[..., Any]:
    """The function at `module:name`, imported when it is first called."""

    return lambda *arguments: resolve_name(place)(*arguments)


class Registry(Mapping[str, Value]):
    """Name to value; the rows of BUILT_IN are loaded at the first reading."""

    def __init__(self, rows: Mapping[str, Value] | None = None) -> None:
        self._rows = dict(rows or {})

    def register(self, name: str, value: Value) -> None:
        """Adds a row. Raises ValueError where the name is taken by another value."""
        if name in self._rows and self._rows[name] != value:
            raise ValueError(f"'{name}' is registered twice")
        self._rows[name] = value

    def __getitem__(self, name: str) -> Value:
        _load_built_in()
        return self._rows[name]

    def __iter__(self) -> Iterator[str]:
        _load_built_in()
        return iter(self._rows)

    def __len__(self) -> int:
        _load_built_in()
        return len(self._rows)


def _load_built_in() -> None:
    for module in BUILT_IN:
        if module not in _loaded:
            _loaded.add(module)  # first, for the module may read a table itself
            try:
                importlib.import_module(module)
            except BaseException:
                _loaded.discard(module)
                raise
