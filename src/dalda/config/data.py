"""The choice of real images."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from dalda.config.roles import Content, Location, NoneWord
from dalda.errors import UserError
from dalda.storage import path_of

Shots = Annotated[Annotated[int, Field(ge=1)] | None, NoneWord("all")]


def _path_of(value: object) -> object:
    if not isinstance(value, str) or ":/" not in value:
        return value
    try:
        return path_of(value)
    except UserError as error:
        raise ValueError(str(error)) from None


class Strict(BaseModel):
    """A configuration: unknown names are refused, and it is immutable.

    The docstring below a field is its help text on the command line.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    @field_validator("*", mode="before")
    @classmethod
    def _as_written(cls, value: object, info: ValidationInfo) -> object:
        field = cls.model_fields[str(info.field_name)]
        values = value if isinstance(value, list | tuple) else (value,)
        # A variable of a shell that is not set would name the folder that one is in.
        if field.default != "" and any(isinstance(one, str) and not one.strip() for one in values):
            raise ValueError("it is empty; is a variable not set?")
        # `s3://bucket` as a plain path would be a folder called `s3:`.
        if "Path" not in str(field.annotation):
            return value
        return tuple(map(_path_of, values)) if values is value else _path_of(value)


class DataConfig(Strict):
    """A few-shot split of a data set."""

    dataset: str = Content(within="split")
    """A folder of class folders, or a data set by name (docs/trials.md); hf:NAME is one of the Hub."""
    root: Path | None = Location(None)
    """The folder of a data set that is given by name."""
    shots: Shots = Content(None)
    """Real images per class; all (None in Python) is no limit."""
    seed: int = Content(0, ge=0)
    """The seed of all randomness."""
    hold_out: float = Content(0.5, ge=0, lt=1)
    """The share of a data set without a validation part that is held out for validation, the same by every
    command; 0 uses all for training."""
    split_strategy: Literal["original", "stratified"] = Content("original")
    """How a split chooses images: as in the published experiments, or stratified."""
