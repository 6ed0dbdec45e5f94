"""Command line options from the fields of a configuration model: name, type, default, choices, help."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

import click
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from dalda.cli.commands import PANELS, CommandSpec
from dalda.config.roles import NoneWord, role_of
from dalda.errors import UserError
from dalda.terminal import did_you_mean

TYPE_NAMES = {int: "INTEGER", float: "NUMBER", Path: "PATH", dict: "NAME=VALUE", tuple: "FROM:TO"}
"""How a value is called; any other is a text."""


class FieldArgument(click.Argument):
    """A positional argument made of a model's field."""

    panel = PANELS["argument"]

    def __init__(self, name: str, metavar: str, field: FieldInfo) -> None:
        super().__init__([name], required=False, nargs=-1 if _is_list(field) else 1, metavar=metavar)
        self.about = help_of(field)

    def get_help_record(self, ctx: click.Context) -> tuple[str, str]:
        return self.make_metavar(ctx), self.about


class FieldOption(click.Option):
    """An option made of a model's field."""

    def __init__(self, names: list[str], panel: str, field: FieldInfo) -> None:
        settings: dict[str, Any] = {"multiple": _is_list(field), "metavar": _type_name(field)}
        if field.annotation is bool:
            settings = {"is_flag": True, "flag_value": ""}
        default = "[required]" if field.is_required() else _default(field)
        about = "  ".join(filter(None, [help_of(field), default]))
        super().__init__(names, default=None, help=about, **settings)
        self.panel = panel


def parameters_of(spec: CommandSpec, model: type[BaseModel]) -> Iterator[click.Parameter]:
    """A positional argument or an option for each field; values stay text, the model checks them."""
    for name, field in model.model_fields.items():
        if name in spec.arguments:
            yield FieldArgument(name, _metavar(spec, name, field), field)
    for name, field in model.model_fields.items():
        if name not in spec.arguments:
            names = [*(["-o"] if name == "out" else []), option_name(spec, name, field), name]
            yield FieldOption(names, PANELS[role_of(model, name).kind], field)


def help_of(field: FieldInfo) -> str:
    return " ".join((field.description or "").split())


def config_of(spec: CommandSpec, model: type[BaseModel], values: Mapping[str, Any]) -> BaseModel:
    """The checked configuration of a command line. Raises UserError for the first wrong value."""
    given: dict[str, Any] = {}
    for name, value in values.items():
        field = model.model_fields[name]
        if value is None or value == ():
            continue
        if field.annotation is bool:
            value = not field.default
        elif get_origin(field.annotation) is dict:
            value = _pairs(option_name(spec, name, field), value)
        given[name] = value
    try:
        return model(**given)
    except ValidationError as error:
        raise UserError(_sentence(spec, model, error)) from None


def _sentence(spec: CommandSpec, model: type[BaseModel], error: ValidationError) -> str:
    """The first mistake, in the words of the command line."""
    first = error.errors()[0]
    if not first["loc"]:
        return str(first["msg"]).removeprefix("Value error, ")
    name = str(first["loc"][0])
    field = model.model_fields[name]
    option = _metavar(spec, name, field) if name in spec.arguments else option_name(spec, name, field)
    if first["type"] == "missing":
        about = help_of(field)
        return f"{option} is missing" + (f": {about[:1].lower()}{about[1:].rstrip('.')}" if about else "")
    value = first["input"]
    value = ",".join(map(str, value)) if isinstance(value, tuple) else value
    choices = choices_of(field.annotation)
    if choices:
        return f"{option} cannot be '{value}'; choose {_listed(choices)}{did_you_mean(str(value), choices)}"
    words = [leaf for leaf in (*_leaves(field.annotation), _none_word(field)) if isinstance(leaf, str)]
    if words and first["type"] in ("int_parsing", "float_parsing"):
        return f"{option} cannot be '{value}'; write {_listed(('a number', *words))}"
    message = str(first["msg"]).removeprefix("Value error, ")
    return f"{option} cannot be '{value}': {message[:1].lower()}{message[1:]}"


def option_name(spec: CommandSpec, name: str, field: FieldInfo) -> str:
    """`--no-NAME` where the default is on."""
    written = spec.renamed.get(name, name).replace("_", "-")
    return f"--no-{written}" if field.annotation is bool and field.default is True else f"--{written}"


def choices_of(annotation: Any) -> tuple[str, ...]:
    """The words of a Literal, alone or beside None; nothing for any other type."""
    leaves = _leaves(annotation)
    return () if any(isinstance(leaf, type) for leaf in leaves) else tuple(map(str, leaves))


def _is_list(field: FieldInfo) -> bool:
    origin, parts = get_origin(field.annotation), get_args(field.annotation)
    return origin is dict or (origin is tuple and parts[-1] is Ellipsis)


def _metavar(spec: CommandSpec, name: str, field: FieldInfo) -> str:
    written = spec.arguments[name]
    written = f"{written}..." if _is_list(field) else written
    return written if field.is_required() else f"[{written}]"


def _type_name(field: FieldInfo) -> str:
    leaves = _leaves(field.annotation)
    names = [TYPE_NAMES.get(leaf, "TEXT") if isinstance(leaf, type) else str(leaf) for leaf in leaves]
    return "|".join(dict.fromkeys(filter(None, [*names, _none_word(field)])))


def _leaves(annotation: Any) -> list[Any]:
    """The types and words that an annotation is made of, without None."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin in (None, dict) or (origin is tuple and parts[-1] is not Ellipsis):
        return [] if annotation is NoneType else [origin or annotation]
    if origin is Literal:
        return list(parts)
    inner = parts[:1] if origin in (tuple, Annotated) else parts
    return [leaf for part in inner for leaf in _leaves(part)]


def _none_word(field: FieldInfo) -> str | None:
    return next((item.word for item in field.metadata if isinstance(item, NoneWord)), None)


def _default(field: FieldInfo) -> str:
    """`[default: ...]` as the default is written on the command line, or nothing."""
    value = field.get_default(call_default_factory=True)
    value = _none_word(field) if value is None else value
    value = ",".join(map(str, value)) if isinstance(value, tuple) else value
    return f"[default: {value}]" if value not in (None, {}, "") and field.annotation is not bool else ""


def _pairs(option: str, written: tuple[str, ...]) -> dict[str, str]:
    """NAME=VALUE, as often as the user writes it."""
    wrong = [text for text in written if "=" not in text]
    if wrong:
        raise UserError(f"{option} cannot be '{wrong[0]}'; write NAME=VALUE, such as size=768")
    return {name: value for name, _, value in (text.partition("=") for text in written)}


def _listed(words: tuple[str, ...]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}" if len(words) > 1 else words[0]
