"""Parts of a plan, divided by request id: shards of several machines, and the metadata of a large set."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from dalda.types import GenerationRequest

PART = re.compile(r"part-\d+-of-\d+")
"""Folders in train/ with the images and the metadata of one part each."""
PART_ROWS = 10_000
"""Images in the metadata of one part."""


@dataclass(frozen=True)
class Shard:
    """One of `count` shards, by its number from 1. A request's shard depends on its id alone."""

    number: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Of `I/N`, which the configuration has checked."""
        number, _, count = text.partition("/")
        return cls(int(number), int(count))

    @classmethod
    def of_part(cls, part: str) -> "Shard":
        """Of the name of a part; an empty one is that of the whole plan."""
        return cls(*map(int, re.findall(r"\d+", part)))

    @property
    def part(self) -> str:
        """The name of its folder in train/; equal lengths, so that names sort as numbers do."""
        return f"part-{self.number:0{len(str(self.count))}}-of-{self.count}"

    def requests(self, requests: Sequence[GenerationRequest]) -> tuple[GenerationRequest, ...]:
        """Its share of a plan, in order."""
        return tuple(x for x in requests if _place(x.id, self.count) == self.number)

    def includes(self, other: "Shard") -> bool:
        """Whether all requests of another shard, of a finer division, are its own."""
        return other.count % self.count == 0 and (other.number - self.number) % self.count == 0

    def divided(self, division: int) -> list["Shard"]:
        """The shards of a division that is so many times as fine, which are this one together."""
        return [
            Shard(number, self.count * division)
            for number in range(self.number, self.count * division + 1, self.count)
        ]


def division_for(requests: int) -> int:
    """Into how many parts so many requests are divided; their sizes differ by chance, hence the reserve."""
    return 1 if requests <= PART_ROWS else math.ceil(requests / (0.9 * PART_ROWS))


def part_for(request_id: str, part: str, division: int) -> str:
    """The part of a request in a part that is divided so often."""
    count = Shard.of_part(part).count * division
    return part if division == 1 else Shard(_place(request_id, count), count).part


def _place(request_id: str, count: int) -> int:
    return int(request_id[:12], 16) % count + 1
