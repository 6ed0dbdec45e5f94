"""What a trial is made of, before anything is trained."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from dalda.config import TrainConfig
from dalda.types import FewShotSplit, SyntheticImage
from dalda.workflows.runner import TrialRunner
from dalda.workflows.synthetic_sets import SyntheticSet


def test_a_replayed_real_image_has_its_own_class(
    make_split: Callable[..., FewShotSplit], make_synthetic: Callable[..., tuple[SyntheticImage, ...]]
) -> None:
    split = make_split("train", 1)
    red = next(image for image in split.images if image.label == "red")
    led = next(image for image in make_synthetic(split, 1) if image.label == "red")
    soft = (("red", 0.25), ("blue", 0.75))
    mixed = replace(led, label="blue", source_label="red", soft_label=soft)
    config = TrainConfig(dataset="photos", real_replay=True)
    trial, _ = TrialRunner(config).trial("mix", config, split, SyntheticSet(Path("set"), (mixed,)))
    assert [(image.path, image.label) for image in trial.items[-1:]] == [(red.path, "red")]
    numbers, shares = trial.targets
    assert split.classes[numbers[-1, 0]] == "red"
    assert shares.tolist() == [[1.0]] * 4
