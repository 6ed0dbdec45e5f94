"""Roles of options: each field declares what it decides.

`Content` decides pixels or numbers: it is in ids and compared on resume. `Execution` (device, workers) is
recorded and may change from run to run. `Location` is where things are: neither.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, GetCoreSchemaHandler

Kind = Literal["content", "execution", "location"]


@dataclass(frozen=True)
class Role:
    """What a field decides."""

    kind: Kind
    within: str | None = None
    """What a content field resolves to, such as `preset`: that enters ids in the field's place."""
    extent: bool = False
    """Whether the field says how many, not which: a folder may grow to more of the same."""


@dataclass(frozen=True)
class NoneWord:
    """Annotation of a field: on the command line and in files, this word is read as None."""

    word: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> Any:
        return BeforeValidator(self.read).__get_pydantic_core_schema__(source, handler)

    def read(self, value: object) -> object:
        return None if value == self.word else value


def Content(default: Any = ..., *, within: str | None = None, extent: bool = False, **field: Any) -> Any:
    """A field that decides pixels or numbers. The other words are those of pydantic's `Field`."""
    return _field(default, Role("content", within, extent), field)


def Execution(default: Any = ..., **field: Any) -> Any:
    """A field that changes nothing beyond rounding."""
    return _field(default, Role("execution"), field)


def Location(default: Any = ..., **field: Any) -> Any:
    """A field that says where something is."""
    return _field(default, Role("location"), field)


def _field(default: Any, role: Role, field: dict[str, Any]) -> Any:
    if "default_factory" not in field:
        field["default"] = default
    extra: dict[str, Any] = {"role": role}
    return Field(**field, json_schema_extra=extra)


def role_of(model: type[BaseModel], name: str) -> Role:
    """A field's role. Raises KeyError for a field that declares none."""
    extra = model.model_fields[name].json_schema_extra
    if not isinstance(extra, dict) or "role" not in extra:
        raise KeyError(f"{model.__name__}.{name} declares no role")
    return extra["role"]  # type: ignore[return-value]


def names_of(model: type[BaseModel], *kinds: Kind, within: str | None = None) -> tuple[str, ...]:
    """The fields of these kinds, or those that resolve to `within`, in their order."""
    roles = {name: role_of(model, name) for name in model.model_fields}
    return tuple(
        name
        for name, role in roles.items()
        if role.kind in kinds or (within is not None and role.within == within)
    )


def content_of(config: object, *, extents: bool = True) -> dict[str, Any]:
    """Canonical form of a configuration: its content fields as plain JSON values, without defaults.

    A new option changes no old id, since it is omitted where it has its default. Fields that resolve to
    something else (`within`) are omitted too: the caller puts in what they resolve to. Of a dataclass, all
    fields are content.
    """
    content = {}
    for name, default in _defaults(config, extents):
        value = getattr(config, name)
        if default is MISSING or value != default:
            content[name] = plain(value)
    if isinstance(config, BaseModel):
        content |= {name: plain(value) for name, value in (config.model_extra or {}).items()}
    return content


def _defaults(config: object, extents: bool) -> Iterator[tuple[str, Any]]:
    """The names of a configuration's content fields with their defaults, MISSING where there is none."""
    model = config if isinstance(config, type) else type(config)
    if issubclass(model, BaseModel):
        for name, field in model.model_fields.items():
            role = role_of(model, name)
            if role.kind == "content" and role.within is None and (extents or not role.extent):
                required = field.is_required()
                yield name, MISSING if required else field.get_default(call_default_factory=True)
    elif is_dataclass(model):
        for attribute in fields(model):
            factory = attribute.default_factory
            yield attribute.name, attribute.default if factory is MISSING else factory()
    else:
        raise TypeError(f"{model.__name__} is no configuration")


def defaults_of(config: object, *, extents: bool = True) -> dict[str, Any]:
    """The defaults of a configuration's (or its class's) content fields, as plain JSON values."""
    return {name: plain(value) for name, value in _defaults(config, extents) if value is not MISSING}


def plain(value: object) -> Any:
    """A value as JSON holds it: nested configurations in their canonical form, paths as POSIX text."""
    if isinstance(value, BaseModel) or (is_dataclass(value) and not isinstance(value, type)):
        return content_of(value)
    if isinstance(value, Path):
        return value.as_posix()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def digest_of(value: object) -> str:
    """A hash of 20 digits of what decides something, the same for any order of its names."""
    text = json.dumps(plain(value), ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:20]


def difference(
    recorded: Mapping[str, Any], wanted: Mapping[str, Any], defaults: Mapping[str, Any] | None = None
) -> str | None:
    """The first setting in which two differ, as `--steps 12, now --steps 30`; None where there is none.

    A setting that `recorded` lacks is compared by its default: it is newer than what was recorded.
    """
    was, now, usual = _flat(recorded), _flat(plain(wanted)), _flat(plain(defaults or {}))
    for name in {**now, **was}:
        before, after = was.get(name, usual.get(name)), now.get(name)
        if before != after:
            words = _words(name)
            return f"{words} {_short(before)}, now {words} {_short(after)}"
    return None


def _flat(settings: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Nested settings under dotted names, so that a difference is named by itself."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{above}{key}.")
        else:
            flat[f"{above}{key}"] = value
    return flat


def _words(name: str) -> str:
    """A setting as its user knows it: options with dashes, all else without."""
    if "_sha256" in name:
        return name.replace("_sha256", " with hash").replace("_", " ")
    return "--" + name.removeprefix("preset.").replace("_", "-")


def _short(value: object) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 80 else text[:77] + "..."
