"""The report's section on a synthetic set: what it says of its chart is what the chart shows."""

from pathlib import Path

import pytest

from dalda.reporting.image_set import ReportedSet, scales_section
from dalda.types import SyntheticImage


def image(number: int) -> SyntheticImage:
    scale = number % 100 / 100
    return SyntheticImage(Path(), "boat", Path(), "0", number, str(number), "a boat", scale, scale)


@pytest.mark.parametrize(
    ("images", "words"), [(300, "300 images."), (2600, "2000 images, evenly chosen of")]
)
def test_as_many_dots_are_drawn_as_the_text_says(images: int, words: str) -> None:
    settings = {"ip_adapter_scale": "uniform"}
    dataset = ReportedSet([image(number) for number in range(images)], 0, settings, ["boat"], [], {})
    chart, text = scales_section(dataset, "scales")
    assert f"Each dot is one of {words}" in text
    assert chart.count("fill-arm1") == min(images, 2000)
