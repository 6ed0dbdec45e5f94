"""How many images are rendered together, from one run to the next."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dalda.config import AugmentConfig
from dalda.datasets.image_io import sha256_of
from dalda.errors import UserError
from dalda.generation.executors.local import seconds_per_image
from dalda.generation.executors.ray import RayExecutor
from dalda.generation.plan import make_plan
from dalda.generation.synthetic_dataset import SyntheticDataset
from dalda.methods.base import Common, Prepared, method_named
from dalda.models.presets import preset_named
from dalda.storage import path_of
from dalda.types import Capability, FewShotSplit, GenerationRequest, RealImage
from dalda.workflows.augment import generate_plan, open_dataset
from dalda.workflows.augment_plan import AugmentPlan, GeneratorLoader
from dalda.workflows.reports import AugmentReport

COUNT = 11


@dataclass
class Noise:
    """A generator without a model."""

    device: str = "cpu"
    image_size: int = 8
    size: int = 0
    calls: list[int] = field(default_factory=list)
    capabilities: frozenset[Capability] = frozenset()
    fingerprint: Mapping[str, object] = field(default_factory=dict)

    @property
    def execution(self) -> Mapping[str, object]:
        return {"device": self.device, "dtype": "fp32"}

    def choose_batch_size(self, request: GenerationRequest, image: Image.Image) -> int:
        return 32

    def expect_batches_of(self, size: int) -> None:
        self.size = size

    def generate(
        self, requests: Sequence[GenerationRequest], images: Sequence[Image.Image]
    ) -> list[Image.Image | None]:
        self.calls.append(len(requests))
        return [
            Image.fromarray(np.random.default_rng(request.seed).integers(0, 255, (8, 8, 3), np.uint8))
            for request in requests
        ]


@pytest.fixture
def decided(tmp_path: Path) -> AugmentPlan:
    images = []
    for number in range(COUNT):
        path = tmp_path / f"{number}.png"
        Image.effect_noise((8, 8), 80).save(path)
        images.append(RealImage(path, "car", sha256_of(path)))
    split = FewShotSplit("folder", tmp_path, "train", 0, None, ("car",), tuple(images))
    captions = {"car": ["a car"]}
    method = method_named("text")
    prepared = Prepared(Common("text", "digest", 1, "", "", 2.0, 20), None)
    plan = make_plan(method.requests(split, captions, prepared, 0), "digest")
    return AugmentPlan(split, preset_named("doodle"), captions, plan, method, loader_of(Noise()))


def loader_of(model: Noise) -> GeneratorLoader:
    return GeneratorLoader(lambda: model)


def generated(
    decided: AugmentPlan, out: Path, model: Noise, batch_size: int | None = None
) -> AugmentReport:
    config = AugmentConfig(dataset="folder", out=out, batch_size=batch_size)
    dataset = SyntheticDataset.open(out, {"execution": {"batch_size": batch_size or "auto"}})
    return generate_plan(config, decided, dataset, loader_of(model))


def lose(out: Path, count: int) -> None:
    for path in sorted(out.glob("train/*/*.png"))[:count]:
        path.unlink()


def test_the_size_that_was_chosen_is_kept_for_the_next_run(decided: AugmentPlan, tmp_path: Path) -> None:
    out, first, again = tmp_path / "out", Noise(), Noise()
    assert generated(decided, out, first, batch_size=4).batch_size == 4
    assert first.calls == [4, 4, 3]
    assert SyntheticDataset.existing(out).execution() == {"batch_size": 4, "device": "cpu", "dtype": "fp32"}
    lose(out, COUNT)
    assert generated(decided, out, again).batch_size == 4
    assert again.calls == [4, 4, 3]
    assert again.size == 4


def test_another_device_chooses_again(decided: AugmentPlan, tmp_path: Path) -> None:
    out, model = tmp_path / "out", Noise(device="mps")
    generated(decided, out, Noise(), batch_size=4)
    lose(out, COUNT)
    assert generated(decided, out, model).batch_size == 32
    assert model.calls == [COUNT]


def test_the_report_of_an_augment_run(decided: AugmentPlan, tmp_path: Path) -> None:
    first = generated(decided, tmp_path / "out", Noise())
    assert (first.planned, first.generated, first.already_there, first.batch_size) == (COUNT, COUNT, 0, 32)
    lose(tmp_path / "out", 2)
    again = generated(decided, tmp_path / "out", Noise())
    assert (again.generated, again.already_there, again.dropped) == (2, COUNT - 2, 0)
    last = generated(decided, tmp_path / "out", Noise())
    assert (last.generated, last.already_there, last.batch_size) == (0, COUNT, None)


def test_what_another_process_finished_meanwhile_is_left_alone(
    decided: AugmentPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one begins and ends between this one's first look at the folder and its hold on it."""
    out, late = tmp_path / "out", Noise()
    held = SyntheticDataset.held

    @contextmanager
    def after_another(store: SyntheticDataset) -> Iterator[None]:
        with monkeypatch.context() as patch:
            patch.setattr(SyntheticDataset, "held", held)
            generated(decided, out, Noise())
        with held(store):
            yield

    monkeypatch.setattr(SyntheticDataset, "held", after_another)
    report = generated(decided, out, late)
    assert late.calls == []
    assert (report.generated, report.already_there, report.batch_size) == (0, COUNT, None)


def test_prompts_are_counted_once_the_model_is_there(
    decided: AugmentPlan,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Before it was loaded for the first time, a model of the Hub has no tokenizer on this disk."""
    there: list[Noise] = []

    def load() -> Noise:
        there.append(Noise())
        return there[0]

    monkeypatch.setattr(
        "dalda.workflows.augment.token_counter", lambda preset: (lambda text: 78) if there else None
    )
    store = SyntheticDataset.open(tmp_path / "out", {})
    config = AugmentConfig(dataset="folder", out=tmp_path / "out")
    generate_plan(config, decided, store, GeneratorLoader(load))
    assert "1 prompts are longer than 77 tokens" in capsys.readouterr().err


def test_the_records_name_device_and_batch_size(decided: AugmentPlan, tmp_path: Path) -> None:
    """Runs that differ in these alone go on with the same set."""
    out = tmp_path / "out"
    generated(decided, out, Noise(device="cuda"), batch_size=4)
    lose(out, COUNT)
    generated(decided, out, Noise(device="cpu"), batch_size=3)
    lines = list(SyntheticDataset.existing(out).lines())
    assert {(line["device"], line["batch_size"]) for line in lines} == {("cpu", 3)}
    assert len(lines) == COUNT


def test_a_dry_run_takes_half_a_batch_where_the_whole_does_not_fit(decided: AugmentPlan) -> None:
    calls: list[int] = []

    def generator_up_to(most: int) -> Any:
        def generate(requests: Sequence[GenerationRequest], images: Sequence[Image.Image]) -> list[None]:
            calls.append(len(requests))
            if len(requests) > most:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return [None] * len(requests)

        return SimpleNamespace(generate=generate)

    assert seconds_per_image(generator_up_to(3), decided.plan.requests, 8) > 0
    assert calls == [8, 4, 2]
    with pytest.raises(UserError, match="memory for a single image"):
        seconds_per_image(generator_up_to(0), decided.plan.requests, 2)


@pytest.mark.parametrize("out", ["memory://tests/augment/ray", "disk"])
def test_rays_actors_store_images_in_a_bucket_alone(
    decided: AugmentPlan, out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk may not be the same on all machines."""
    stored = []

    def run(self: RayExecutor, *work: object) -> None:
        stored.append(self.worker.store is not None)
        raise UserError("seen")

    monkeypatch.setattr(RayExecutor, "run", run)
    folder = path_of(out) if ":" in out else tmp_path / out
    config = AugmentConfig(dataset="folder", out=folder, executor="ray", batch_size=4)
    with pytest.raises(UserError, match="seen"):
        generate_plan(config, decided, open_dataset(config, decided))
    assert stored == [folder != tmp_path / out]
