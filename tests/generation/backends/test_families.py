"""Every family at once: the table of the docs, bad input, and the same bytes again.

Each family is a tiny random model of its real classes, on disk.
"""

import subprocess
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import diffusers
import pytest
from safetensors.torch import load_file, save_file
from tests.generation.stock import preset_of, request_of, source_of
from tests.generation.tiny_kolors import save_kolors
from tests.generation.tiny_transformers import SAVERS, tiny_preset

from dalda.errors import UserError
from dalda.generation.backends.base import GeneratorSpec
from dalda.generation.backends.families import FAMILIES
from dalda.generation.backends.image_to_image import IMAGE_TO_IMAGE
from dalda.models.presets import PRESETS, ROWS_OF_CLASSES, Preset
from dalda.models.tokenizer import text_limit, token_counter
from dalda.types import Capability

ROOT = Path(__file__).parents[3]
SIZES = {"klein": 64, "sana-sprint": 32}
"""Pixels of a tiny model, where 16 are too few."""
TINY = ("sd", "xl", "kolors", *SAVERS)
FOREIGN = [
    ("sd", "flux"),
    ("xl", "sd"),
    ("kolors", "sd"),
    ("sd3", "flux"),
    ("flux", "sd"),
    ("chroma", "sd3"),
]
"""A family, and one whose adapter does not fit it; FLUX and Chroma share theirs."""


def saved(folder: Path, family: str) -> Preset:
    if family in ("sd", "xl"):
        return preset_of(folder, xl=family == "xl")
    if family == "kolors":
        return save_kolors(folder)
    return replace(tiny_preset(folder, family), size=SIZES.get(family, 16))


@pytest.fixture(scope="module", params=TINY)
def preset(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Preset:
    return saved(tmp_path_factory.mktemp(request.param), request.param)


def denoiser_file(preset: Preset) -> Path:
    (file,) = (
        file
        for part in ("unet", "transformer")
        for file in (Path(preset.model) / part).glob("*.safetensors")
    )
    return file


def test_the_table_of_the_docs_is_what_the_families_declare() -> None:
    tool = ROOT / "tools/model_families.py"
    done = subprocess.run([sys.executable, tool], capture_output=True, text=True, check=True)
    assert done.stdout in (ROOT / "docs/generators.md").read_text(encoding="utf-8")
    assert len(done.stdout.splitlines()) == len(FAMILIES) + 2


@pytest.mark.parametrize("name", FAMILIES)
def test_each_family_is_a_class_of_diffusers_with_a_loader(name: str) -> None:
    assert hasattr(diffusers, name)
    module, _, loader = FAMILIES[name].loader.partition(":")
    assert callable(getattr(import_module(module), loader))
    assert hasattr(diffusers, IMAGE_TO_IMAGE.get(name, name))


def test_each_class_of_a_folder_starts_from_a_row() -> None:
    assert set(ROWS_OF_CLASSES) <= set(FAMILIES)
    assert set(ROWS_OF_CLASSES.values()) <= set(PRESETS)


def test_a_generator_does_what_its_family_declares_and_the_same_batch_again(preset: Preset) -> None:
    generator = GeneratorSpec(preset).load()
    family = FAMILIES[diffusers.DiffusionPipeline.load_config(preset.model)["_class_name"]]
    assert (Capability.INIT_IMAGE in generator.capabilities) == family.image_to_image
    assert (Capability.SEVERAL_IMAGE_PROMPTS in generator.capabilities) == (
        "tokens" in family.image_prompts
    )
    assert (Capability.AVERAGED_IMAGE_PROMPTS in generator.capabilities) == ("mean" in family.image_prompts)
    requests = [request_of(number, 0.4 * number) for number in range(3)]
    sources = [source_of(number).resize((generator.image_size,) * 2) for number in range(3)]
    first, again = generator.generate(requests, sources), generator.generate(requests, sources)
    assert None not in first
    assert [one and one.tobytes() for one in first] == [one and one.tobytes() for one in again]


def test_half_of_the_weights_is_refused(preset: Preset) -> None:
    """Every missing tensor is refused, and never filled with chance; so is a file that was cut."""
    file = denoiser_file(preset)
    whole = file.read_bytes()
    try:
        save_file(dict(list(load_file(file).items())[::2]), file)
        with pytest.raises(UserError, match=r"the (unet|transformer) in .* lacks tensors") as refused:
            GeneratorSpec(preset).load()
        assert "\n" not in str(refused.value)
        file.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(UserError, match="--model") as refused:
            GeneratorSpec(preset).load()
        assert "\n" not in str(refused.value)
    finally:
        file.write_bytes(whole)


def test_weights_that_are_not_numbers_are_refused(preset: Preset) -> None:
    file = denoiser_file(preset)
    whole, weights = file.read_bytes(), load_file(file)
    next(iter(weights.values())).view(-1)[0] = float("nan")
    try:
        save_file(weights, file)
        with pytest.raises(UserError, match=r"the (unet|transformer) in .* has tensors with NaN"):
            GeneratorSpec(preset).load()
    finally:
        file.write_bytes(whole)


def test_a_prompt_is_cut_where_the_encoder_stops_reading(preset: Preset) -> None:
    """Two prompts that differ behind the limit make one image; the counter says that they are longer."""
    limit, count = text_limit(preset), token_counter(preset)
    begin = "a car " * (2 * limit.tokens)
    assert count is not None
    assert count(begin) > limit.tokens
    generator = GeneratorSpec(preset).load()
    requests = [replace(request_of(0, 0.0), prompt=begin + end, steps=2) for end in ("in snow", "at sea")]
    source = source_of(0).resize((generator.image_size,) * 2)
    one, other = (generator.generate([request], [source])[0] for request in requests)
    assert one is not None
    assert other is not None
    assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize(("family", "other"), FOREIGN)
def test_an_adapter_of_another_family_is_refused(
    family: str, other: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    ours, theirs = (saved(tmp_path_factory.mktemp(name), name) for name in (family, other))
    with pytest.raises(UserError, match=r"adapter") as refused:
        GeneratorSpec(
            replace(
                ours,
                adapter=theirs.adapter,
                adapter_folder=theirs.adapter_folder,
                image_encoder=theirs.image_encoder,
            )
        ).load()
    assert "\n" not in str(refused.value)
