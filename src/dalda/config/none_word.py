"""The word that stands for None where a user writes text."""

from dataclasses import dataclass
from typing import Any

from pydantic import BeforeValidator, GetCoreSchemaHandler


@dataclass(frozen=True)
class NoneWord:
    """Annotation of a field: on the command line and in files, this word is read as None."""

    word: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> Any:
        return BeforeValidator(self.read).__get_pydantic_core_schema__(source, handler)

    def read(self, value: object) -> object:
        return None if value == self.word else value
