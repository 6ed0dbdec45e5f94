"""Fitting: the loss of diffusers' own scripts, nothing else moves, and kills leave the same bytes."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save_file
from tests.generation.stock import load as load_generator
from tests.generation.stock import pipeline_of, preset_of, source_of

from dalda.errors import UserError
from dalda.generation.backends.diffusion import DiffusionGenerator
from dalda.generation.backends.trainable import trainable_model
from dalda.methods.fitting import trainer
from dalda.methods.fitting.recipe import FitJob, Recipe, job_for
from dalda.methods.fitting.trainer import Training, fit
from dalda.models.concepts import PLACEHOLDER
from dalda.types import RealImage

BOTH = Recipe(
    12, 2, ("a photo of a {}", "a red {}"), vectors=2, token_rate=0.05, rank=2, lora_rate=0.01, flip=0.5
)
TOKEN = replace(BOTH, rank=0, steps=40)
IMAGES = [
    RealImage(Path(f"{number}.png"), ["car", "tree"][number % 2], f"hash{number}") for number in range(4)
]
WORDINGS = {"car": "car", "tree": "tree"}


def source(image: RealImage) -> object:
    return source_of(int(image.sha256[-1]))


def job_of(recipe: Recipe, seed: int = 0) -> FitJob:
    return job_for(recipe, IMAGES, WORDINGS, "tiny", seed)


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> DiffusionGenerator:
    return load_generator(preset_of(tmp_path_factory.mktemp("tiny")))


def test_the_loss_is_that_of_diffusers_scripts(generator: DiffusionGenerator) -> None:
    """Written again with a token that is really added to tokenizer and text encoder."""
    model = trainable_model(generator)
    recipe = replace(TOKEN, vectors=1, templates=("a photo of a {}",), batch_size=1, flip=0.0)
    training = Training.begin(job_of(recipe), model)
    for _ in range(3):
        training.advance(source)  # type: ignore[arg-type]
    learned = {name: value.detach().clone() for name, value in training.parameters.items()}
    (image,) = training._batch()
    seen: list[torch.Tensor] = []
    predict = model.predict

    def watch(noisy: torch.Tensor, times: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        seen.extend([noisy, times, text.detach()])
        return predict(noisy, times, text)

    training.model = replace(model, predict=watch)
    loss = training.advance(source)  # type: ignore[arg-type]
    noisy, times, text = seen
    noise = _noise_of(training)
    pipeline = pipeline_of(generator)
    tokenizer, encoder = pipeline.tokenizer, pipeline.text_encoder
    number = next(place for place, (name, _) in enumerate(training.job.wordings) if name == image.label)
    table = encoder.get_input_embeddings().weight
    place = tokenizer("car", add_special_tokens=False).input_ids[0]
    kept = table[place].clone()
    with torch.no_grad():
        table[place] = learned[f"token.{number}"][0]
        ids = tokenizer("a photo of a car", padding="max_length", return_tensors="pt").input_ids
        expected = encoder(ids)[0]
        table[place] = kept
        assert (text - expected).abs().max() < 1e-5
        prediction = predict(noisy, times, expected)
    assert loss == pytest.approx(float(((prediction - noise) ** 2).mean()), rel=1e-4)


def _noise_of(training: Training) -> torch.Tensor:
    """The noise of the step before, drawn again by the documented labels."""
    from dalda.seeding import seed_of

    generator = torch.Generator().manual_seed(seed_of(training.job.seed, "fit", training.step - 1))
    torch.randn((1, 4, 8, 8), generator=generator)  # of the autoencoder's posterior
    torch.randint(1000, (1,), generator=generator)
    return torch.randn((1, 4, 8, 8), generator=generator)


def test_only_the_token_moves_and_the_loss_falls(generator: DiffusionGenerator) -> None:
    pipeline = pipeline_of(generator)
    before = {
        name: value.clone()
        for part in (pipeline.unet, pipeline.text_encoder)
        for name, value in part.state_dict().items()
    }
    training = Training.begin(job_of(TOKEN), trainable_model(generator))
    start = {name: value.detach().clone() for name, value in training.parameters.items()}
    first = training.advance(source)  # type: ignore[arg-type]
    for _ in range(TOKEN.steps - 1):
        training.advance(source)  # type: ignore[arg-type]
    training.step = 0  # the same draws
    assert training.advance(source) < first  # type: ignore[arg-type]
    assert all((training.parameters[name] != value).any() for name, value in start.items())
    after = {
        name: value
        for part in (pipeline.unet, pipeline.text_encoder)
        for name, value in part.state_dict().items()
    }
    assert all(torch.equal(after[name], value) for name, value in before.items())


@pytest.mark.parametrize("recipe", [replace(BOTH, vectors=0), replace(BOTH, rank=0)], ids=["lora", "token"])
def test_twenty_kills_leave_the_bytes_of_an_unbroken_training(
    generator: DiffusionGenerator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recipe: Recipe
) -> None:
    monkeypatch.setattr(trainer, "CHECKPOINT_SECONDS", 0.0)
    model, job = trainable_model(generator), job_of(replace(recipe, steps=24, text_encoder=True))
    whole = fit(job, model, source, tmp_path / "whole.safetensors")  # type: ignore[arg-type]
    state = tmp_path / "state.safetensors"
    kills = 0

    def die(loss: float) -> None:
        raise KeyboardInterrupt

    for _ in range(20):
        with pytest.raises(KeyboardInterrupt):
            fit(job, model, source, state, die)  # type: ignore[arg-type]
        kills += 1
    assert (kills, state.is_file()) == (20, True)
    assert fit(job, model, source, state) == whole  # type: ignore[arg-type]
    assert not state.exists()
    assert fit(job_of(recipe, seed=1), model, source, state) != whole  # type: ignore[arg-type]


def test_the_artefact_has_a_token_a_class_and_loras_under_the_usual_names(
    generator: DiffusionGenerator, tmp_path: Path
) -> None:
    data = fit(job_of(replace(BOTH, steps=2)), trainable_model(generator), source, tmp_path / "x")  # type: ignore[arg-type]
    tensors = load(data)
    assert tensors["token.0"].shape == tensors["token.1"].shape == (2, 16)
    loras = [name for name in tensors if name.startswith("unet.")]
    assert loras
    assert all(name.endswith((".lora_A.weight", ".lora_B.weight")) for name in loras)
    assert not [name for name in tensors if name.startswith("text_encoder.")]
    assert PLACEHOLDER not in "".join(tensors)


def test_a_state_of_another_training_is_one_sentence(
    generator: DiffusionGenerator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training, state = (
        Training.begin(job_of(TOKEN), trainable_model(generator)),
        tmp_path / "state.safetensors",
    )
    whole = {
        "step": torch.tensor([3]),
        **{f"value.{k}": v.detach() for k, v in training.parameters.items()},
    }
    misshapen = {**whole, "value.token.0": torch.zeros(2, 3)}
    for tensors in ({"other": torch.zeros(1)}, {k: v for k, v in whole.items() if k != "step"}, misshapen):
        save_file(tensors, state)
        with pytest.raises(UserError, match=r"state\.safetensors' does not fit; remove it"):
            training.read_state(state)
    save_file(whole, state)
    training.read_state(state)
    assert training.step == 3


def test_few_pixels_of_sources_stay_open(
    generator: DiffusionGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    training, whole = (Training.begin(job_of(TOKEN), trainable_model(generator)) for _ in range(2))
    size = source_of(0).width * source_of(0).height
    monkeypatch.setattr(trainer, "MAX_PIXELS", 2 * size)
    losses = []
    for _ in range(6):
        losses.append(training.advance(source))  # type: ignore[arg-type]
        assert len(training.images) <= 2
    monkeypatch.setattr(trainer, "MAX_PIXELS", 100 * size)
    assert losses == [whole.advance(source) for _ in range(6)]  # type: ignore[arg-type]


def test_the_rate_warms_up_and_falls_by_a_cosine() -> None:
    recipe = replace(BOTH, steps=110, warmup=10, schedule="cosine")
    assert recipe.rate(0) == pytest.approx(0.1)
    assert recipe.rate(10) == pytest.approx(1.0)
    assert recipe.rate(60) == pytest.approx(0.5)
    assert BOTH.rate(0) == BOTH.rate(11) == 1.0


def test_a_job_is_named_by_its_content_alone() -> None:
    backwards = job_for(BOTH, IMAGES[::-1], WORDINGS, "tiny", 0)
    assert backwards.key == job_of(BOTH).key
    assert len({job_of(BOTH).key, job_of(TOKEN).key, job_of(BOTH, 1).key}) == 3
