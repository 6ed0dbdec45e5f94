"""What a report says of a set's captions."""

from types import SimpleNamespace
from typing import Any

from dalda.reporting.facts import MOST_CAPTIONS, caption_facts


def facts_of(prompts: list[str]) -> dict[str, str]:
    images = [SimpleNamespace(label="boat", prompt=prompt) for prompt in prompts]
    dataset: Any = SimpleNamespace(images=images, settings={"dataset": "photos"})
    return caption_facts(dataset)


def test_few_captions_are_compared_each_with_each() -> None:
    facts = facts_of(["a photo of a boat at sea", "a boat in the harbour", "a boat in the harbour"])
    assert facts["Different captions"] == "2 for 3 images; at least 2 per class"
    assert "Compared" not in facts
    assert facts["Problems"] == "none by the rules of dalda captions"


def test_of_many_captions_some_are_compared_and_all_are_counted() -> None:
    words = [f"a photo of a boat beside mark {number} and buoy {number * 7}" for number in range(5000)]
    facts = facts_of(words)
    assert facts["Different captions"] == "5000 for 5000 images; at least 5000 per class"
    assert facts["Compared"] == f"{MOST_CAPTIONS} of a class's captions, evenly chosen"
