"""Learned concepts in generation: LoRAs as diffusers applies them, each image with its own."""

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tests.generation.stock import (
    latents_of,
    load,
    pipeline_of,
    preset_of,
    request_of,
    source_of,
    stock_model,
)
from torch import Tensor

from dalda.errors import UserError
from dalda.generation.backends.diffusion import DiffusionGenerator
from dalda.models.adaptation import A, B, embed_prompts
from dalda.models.concepts import PLACEHOLDER, Concept, Token
from dalda.types import GenerationRequest

LORAS = {"one": Concept(loras=(("one", 1.0),)), "two": Concept(loras=(("two", 1.0),))}


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> DiffusionGenerator:
    found = load(preset_of(tmp_path_factory.mktemp("tiny")))
    concepts = found.conditioner.concepts  # type: ignore[attr-defined]
    concepts.folder = tmp_path_factory.mktemp("concepts")
    for number, name in enumerate(("one", "two")):
        noise = torch.Generator().manual_seed(number)
        tensors: dict[str, Tensor] = {"token.0": torch.randn(2, 16, generator=noise)}
        for layer, linear in concepts.layers.layers.items():
            tensors[layer + A] = torch.randn(2, linear.in_features, generator=noise) * 0.3
            tensors[layer + B] = torch.randn(linear.out_features, 2, generator=noise) * 0.3
        save_file(tensors, concepts.folder / f"{name}.safetensors")
    return found


def requests_of(*concepts: Concept | None, **more: object) -> list[GenerationRequest]:
    return [
        replace(request_of(number, 0.4), concept=None if concept is None else str(concept), **more)  # type: ignore[arg-type]
        for number, concept in enumerate(concepts)
    ]


def test_each_image_of_a_batch_has_its_own_loras(generator: DiffusionGenerator) -> None:
    requests = requests_of(LORAS["one"], None, LORAS["two"], LORAS["one"])
    requests[3] = replace(requests[3], strength=0.5)
    sources = [source_of(number) for number in range(4)]
    together = latents_of(generator, requests, sources)
    alone = [latents_of(generator, [x], [s]) for x, s in zip(requests, sources, strict=True)]
    assert (together - torch.cat(alone)).abs().max() < 1e-4
    plain = latents_of(generator, [replace(requests[0], concept=None)], sources[:1])
    assert (plain - together[:1]).abs().max() > 1e-2


def test_a_lora_is_applied_as_diffusers_does(generator: DiffusionGenerator, tmp_path: Path) -> None:
    """`load_lora_weights` of the same file, on a pipeline of its own."""
    pytest.importorskip("peft")
    (request,) = requests_of(LORAS["one"])
    ours = latents_of(generator, [request], [source_of(0)])
    concepts = generator.conditioner.concepts  # type: ignore[attr-defined]
    tensors = {name: value for name, value in concepts.read("one").items() if not name.startswith("token")}
    save_file(tensors, tmp_path / "lora.safetensors")
    other = load(preset_of(tmp_path / "other"))
    with stock_model(other):
        pipeline_of(other).load_lora_weights(str(tmp_path), weight_name="lora.safetensors")
        pipeline_of(other).fuse_lora()
        pipeline_of(other).unload_lora_weights()
    expected = latents_of(other, [replace(request, concept=None)], [source_of(0)])
    assert (ours - expected).abs().max() < 1e-3


def test_two_loras_at_1_and_0_are_the_first(generator: DiffusionGenerator) -> None:
    both = Concept(loras=(("one", 1.0), ("two", 0.0)))
    half = Concept(loras=(("one", 0.5), ("two", 0.5)))
    first, same, mixed = (
        latents_of(generator, requests_of(concept), [source_of(0)])
        for concept in (LORAS["one"], both, half)
    )
    assert torch.equal(first, same)
    assert (first - mixed).abs().max() > 1e-3


def test_a_token_stands_in_the_prompt_with_its_noise(generator: DiffusionGenerator) -> None:
    def text_of(token: Token) -> Tensor:
        prompt = f"a photo of a {PLACEHOLDER} on wet grass"
        found: Tensor = generator.conditioner.text(prompt, str(Concept(token)))[0]  # type: ignore[attr-defined]
        return found

    clean = text_of(Token("one", 0))
    assert torch.equal(clean, text_of(Token("one", 0, noise=0.0, noise_seed=3)))
    assert (clean - text_of(Token("two", 0))).abs().max() > 1e-2
    noisy = text_of(Token("one", 0, noise=0.025, noise_seed=3))
    assert 0 < (clean - noisy).abs().max() < (clean - text_of(Token("two", 0))).abs().max()
    assert torch.equal(noisy, text_of(Token("one", 0, noise=0.025, noise_seed=3)))


def test_a_token_that_is_a_word_already_is_learned_all_the_same(generator: DiffusionGenerator) -> None:
    """A learned token has no name among the words, so that none of them can be taken."""
    pipeline = pipeline_of(generator)
    token = torch.randn(1, 16, generator=torch.Generator().manual_seed(0))
    prompt = f"a photo of a {PLACEHOLDER} on wet grass"
    knows = copy.deepcopy(pipeline.tokenizer)
    assert knows.add_tokens([PLACEHOLDER]) == 1
    plain, knowing = (
        embed_prompts(tokenizer, pipeline.text_encoder, [prompt], [token])
        for tokenizer in (pipeline.tokenizer, knows)
    )
    assert torch.equal(plain, knowing)


@pytest.mark.parametrize(
    ("token", "message"),
    [(Token("one", 7), "has no token for class 7"), (Token("three", 0), r"three\.safetensors' is missing")],
)
def test_what_is_missing_is_one_sentence(generator: DiffusionGenerator, token: Token, message: str) -> None:
    with pytest.raises(UserError, match=message):
        latents_of(generator, requests_of(Concept(token)), [source_of(0)])


def test_every_missing_or_misshapen_tensor_of_a_learned_lora_is_refused(
    generator: DiffusionGenerator,
) -> None:
    layers = generator.conditioner.concepts.layers  # type: ignore[attr-defined]
    tensors = {**generator.conditioner.concepts.read("one")}  # type: ignore[attr-defined]
    unet = {name: value for name, value in tensors.items() if not name.startswith("text_encoder.")}
    for accepted in (tensors, unet, {"token.0": tensors["token.0"]}):
        layers.check(accepted, "it")
    for name in tensors.keys() - {"token.0"}:
        with pytest.raises(UserError, match="it lacks tensors"):
            layers.check({other: value for other, value in tensors.items() if other != name}, "it")
        with pytest.raises(UserError, match="wrong shape"):
            layers.check({**tensors, name: torch.zeros(3, 3)}, "it")
    with pytest.raises(UserError, match="does not use"):
        layers.check({**tensors, "unet.other.lora_A.weight": torch.zeros(1)}, "it")


def test_a_concept_is_written_and_read() -> None:
    both: list[Callable[[], Concept]] = [
        lambda: Concept(Token("a", 3, 0.01, 7), (("b", 0.5), ("c", 0.5))),
        lambda: Concept(Token("a", 3)),
        lambda: Concept(),
    ]
    assert all(Concept.read(str(make())) == make() for make in both)
