"""Prints the table of docs/models.md of what fits into a GPU, from the published models' sizes."""

from collections.abc import Iterator
from typing import get_args

from dalda.models.catalogue import PUBLISHED, Offload
from dalda.models.presets import PRESETS

CARDS = (8, 12, 24)
"""Gigabytes."""


def table() -> Iterator[str]:
    offloads: tuple[Offload, ...] = get_args(Offload)
    needs = ["as it is", "`--dtype int8`", *(f"`--offload {offload}`" for offload in offloads[1:])]
    cards = [f"{card} GB" for card in CARDS]
    yield f"| `--model` | {' | '.join([*needs, *cards])} |"
    yield "| " + " | ".join(["---"] * (1 + len(needs) + len(cards))) + " |"
    for name in PRESETS:
        if name in PUBLISHED:
            model = PUBLISHED[name]
            memory = {"yes": model.memory_gigabytes(), "int8": model.memory_gigabytes_in_eight_bits()}
            memory |= {offload: model.memory_gigabytes(offload) for offload in offloads[1:]}
            cells = [f"{gigabytes:.1f}" for gigabytes in memory.values()]
            cells += [next((one for one in memory if memory[one] <= card), "no") for card in CARDS]
            yield f"| `{name}` | {' | '.join(cells)} |"


if __name__ == "__main__":
    print("\n".join(table()))
