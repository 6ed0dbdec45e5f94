"""Prints the table of model families of docs/generators.md, from what each family declares."""

from collections.abc import Iterator

from dalda.generation.backends.families import FAMILIES
from dalda.models.tokenizer import CLIP_LIMIT, TEXT_LIMITS

COLUMNS = (
    "pipeline class",
    "the IP-Adapter scale is",
    "reference and scale per image",
    "image prompts",
    "strength per image",
    "reads, tokens",
    "pixels",
    "steps",
    "licence of the published weights",
)


def table() -> Iterator[str]:
    yield "| " + " | ".join(COLUMNS) + " |"
    yield "| " + " | ".join("---" for _ in COLUMNS) + " |"
    for name, family in FAMILIES.items():
        cells = (
            f"`{name}`",
            family.scale,
            "yes",
            family.image_prompts,
            "yes" if family.image_to_image else "no",
            str(TEXT_LIMITS.get(name, CLIP_LIMIT).tokens),
            str(family.size),
            family.steps,
            family.licence,
        )
        yield "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    print("\n".join(table()))
