"""A preset with what the user writes in place of its fields."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from dalda.errors import UserError
from dalda.models.presets import SHIPPED, Preset


def overridden(preset: Preset, fields: Mapping[str, Any]) -> Preset:
    """The row with other values, by field; texts are read as the field's kind.

    Raises UserError for a field that there is not, or a value that cannot be meant.
    """
    import yaml
    from pydantic import TypeAdapter, ValidationError

    row = asdict(preset)
    for name, value in fields.items():
        if name not in row:
            raise UserError(f"a preset has no field '{name}'; its fields are {', '.join(row)}")
        kind = Preset.__annotations__[name]
        if value == "none" and kind is not str:
            value = None
        elif isinstance(value, str) and kind not in (str, str | None):
            try:
                value = yaml.safe_load(value)
            except yaml.YAMLError:
                raise UserError(f"--model-option {name} cannot be read from '{value}'") from None
        try:
            row[name] = TypeAdapter(kind).validate_python(value)
        except ValidationError as error:
            reason = error.errors()[0]["msg"].lower()
            raise UserError(f"--model-option {name} cannot be {value!r}: {reason}") from None
    return Preset(**row)


def with_adapter(preset: Preset, adapter: str) -> Preset:
    """The row with another adapter: a file, FOLDER_OR_ID or FOLDER_OR_ID:FILE.

    FILE may hold folders; a file of a local folder may also lie at its top.
    """
    name, file = split_file(adapter)
    if file is None:
        return replace(preset, adapter=name)
    folder, _, last = file.rpartition("/")
    if not folder:
        folder = "." if (Path(name) / last).is_file() else preset.adapter_folder
    return replace(preset, adapter=name, adapter_folder=folder, adapter_file=last)


def split_file(named: str) -> tuple[str, str | None]:
    """A file's path, or FOLDER_OR_ID:FILE, in two; a folder whose name holds a colon is a folder."""
    if "://" in named:
        raise UserError(f"'{named}' is no file of a disk; copy it to one, and name that")
    path = Path(named)
    if path.is_file():
        return str(path.parent), path.name
    name, _, file = named.rpartition(":")
    if not name or path.is_dir() or named.startswith(SHIPPED):
        return named, None
    return name, file
