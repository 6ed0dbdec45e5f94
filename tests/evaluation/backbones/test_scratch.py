"""The network that is trained from nothing: its start, its schedule, and that it learns."""

from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from dalda.config import TrainConfig
from dalda.datasets.image_io import open_image
from dalda.doodles.dataset import draw_dataset
from dalda.evaluation.backbones.load import load_backbone
from dalda.evaluation.baselines import baselines_of
from dalda.evaluation.features import FeatureStore
from dalda.evaluation.training import TrainingMethod, run_trials
from dalda.evaluation.trial import Schedule, Trial
from dalda.workflows.real_images import split_of


def test_every_start_is_the_same() -> None:
    first, again = load_backbone("scratch"), load_backbone("scratch")
    assert (first.name, first.size, first.dimensions) == ("scratch", 32, 128)
    assert first.fingerprint == again.fingerprint


def test_its_schedule_is_its_own_unless_another_is_asked_for() -> None:
    usual = TrainConfig(dataset="photos", backbone="scratch")
    assert (usual.finetune, usual.epochs, usual.iterations) == ("full", 10, 50)
    assert usual.stepwise
    assert TrainConfig(dataset="photos", backbone="scratch", epochs=3).epochs == 3
    assert TrainConfig(dataset="photos", backbone="clip").finetune == "head"


@pytest.mark.parametrize(
    "options", [{"finetune": "head"}, {"finetune": "lora"}, {"filter_by_classifier": True}]
)
def test_what_needs_features_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="scratch has no features yet"):
        TrainConfig(dataset="photos", backbone="scratch", **options)  # type: ignore[arg-type]


def test_it_learns_what_it_sees_and_the_same_each_time(tmp_path: Path) -> None:
    folder = draw_dataset(tmp_path / "doodles", "doodles")
    split = split_of(TrainConfig(dataset=str(folder), shots=1, hold_out=0))
    store = FeatureStore(load_backbone("scratch"), open_image)
    (real,) = baselines_of(Trial("real", 0, split), "linear", store.backbone)
    method = TrainingMethod(finetune="full")
    seen = replace(split, part="val")
    (learned,) = run_trials([real], seen, store, Schedule(1, 60, 12), method)
    assert learned.accuracy > 0.9
    assert run_trials([real], seen, store, Schedule(1, 60, 12), method) == [learned]
    (untrained,) = run_trials([real], seen, store, Schedule(0, 60, 12), method)
    assert untrained.accuracy < 0.5
