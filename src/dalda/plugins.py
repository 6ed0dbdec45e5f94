"""Parts from other packages, found by entry point and loaded when they are used."""

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from dalda.errors import UserError, first_line


def plugins_of(group: str) -> Mapping[str, EntryPoint]:
    """The entry points of a group by name; nothing is imported."""
    return {point.name: point for point in entry_points(group=group)}


def load_plugin(group: str, name: str) -> Any:
    """The object of an entry point, None where there is none of that name.

    Raises UserError, naming the package, where it cannot be imported.
    """
    entry_point = plugins_of(group).get(name)
    if entry_point is None:
        return None
    try:
        return entry_point.load()
    except Exception as error:  # a stranger's module may raise anything as it is imported
        package = entry_point.dist.name if entry_point.dist else entry_point.module
        reason = first_line(error)
        raise UserError(
            f"'{name}' of the package '{package}' cannot be loaded ({type(error).__name__}: {reason}); "
            "update that package or remove it"
        ) from error
