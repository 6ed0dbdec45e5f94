"""Shards: a plan divided by request id, so that several machines generate one set without talking."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from dalda.types import GenerationRequest

PART = re.compile(r"part-\d+-of-\d+")
"""Folders in train/ with the images and the metadata of one shard each."""


@dataclass(frozen=True)
class Shard:
    """One of `count` shards, by its number from 1."""

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Of `I/N`, which the configuration has checked."""
        number, _, count = text.partition("/")
        return cls(int(number), int(count))

    @property
    def part(self) -> str:
        """The name of its folder in train/; equal lengths, so that names sort as numbers do."""
        return f"part-{self.number:0{len(str(self.count))}}-of-{self.count}"

    def requests(self, requests: Sequence[GenerationRequest]) -> tuple[GenerationRequest, ...]:
        """Its share of a plan, in order. A request's shard depends on its id alone."""
        return tuple(x for x in requests if int(x.id[:12], 16) % self.count == self.number - 1)
