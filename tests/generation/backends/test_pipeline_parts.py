"""Parts that wait elsewhere until they are needed give the very same images."""

from pathlib import Path

import pytest
from tests.generation.stock import preset_of, request_of, source_of
from tests.generation.tiny_transformers import tiny_preset

from dalda.config import AugmentConfig
from dalda.errors import UserError
from dalda.generation.backends.base import GeneratorSpec
from dalda.workflows.augment_plan import load_generator
from dalda.workflows.augment_plan import preset_of as preset_of_config

REQUESTS = [request_of(number, 0.4 * number) for number in range(3)]
SOURCES = [source_of(number) for number in range(3)]


@pytest.mark.parametrize("offload", ["model", "sequential"])
@pytest.mark.parametrize("family", ["sd15", "sd3"])
def test_images_do_not_depend_on_offloading(tmp_path: Path, family: str, offload: str) -> None:
    preset = preset_of(tmp_path) if family == "sd15" else tiny_preset(tmp_path, family)
    images = GeneratorSpec(preset).load().generate(REQUESTS, SOURCES)
    offloaded = GeneratorSpec(preset, offload=offload).load().generate(REQUESTS, SOURCES)
    assert [one.tobytes() for one in images if one] == [one.tobytes() for one in offloaded if one]
    assert len([one for one in images if one]) == 3


def test_there_is_nothing_to_free_without_a_gpu(tmp_path: Path) -> None:
    config = AugmentConfig(dataset="doodles", out=tmp_path, offload="model", device="cpu")
    with pytest.raises(UserError, match="--offload model frees a GPU's memory, and 'cpu' is none"):
        load_generator(config, preset_of_config(config))
