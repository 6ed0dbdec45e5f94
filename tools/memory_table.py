"""Prints the table of docs/models.md of what fits into a GPU, from the published models' sizes."""

from collections.abc import Iterator
from typing import get_args

from dalda.models.catalogue import PUBLISHED, Offload
from dalda.models.presets import PRESETS

CARDS = (8, 12, 24)
"""Gigabytes."""


def table() -> Iterator[str]:
    offloads: tuple[Offload, ...] = get_args(Offload)
    needs = [f"`--offload {offload}`" if offload != "none" else "as it is" for offload in offloads]
    cards = [f"{card} GB" for card in CARDS]
    yield f"| `--model` | {' | '.join([*needs, *cards])} |"
    yield "| " + " | ".join(["---"] * (1 + len(needs) + len(cards))) + " |"
    for name in PRESETS:
        if name in PUBLISHED:
            memory = {offload: PUBLISHED[name].memory_gigabytes(offload) for offload in offloads}
            least = [next((one for one in offloads if memory[one] <= card), "no") for card in CARDS]
            cells = [f"{memory[offload]:.1f}" for offload in offloads]
            cells += ["yes" if one == "none" else one for one in least]
            yield f"| `{name}` | {' | '.join(cells)} |"


if __name__ == "__main__":
    print("\n".join(table()))
