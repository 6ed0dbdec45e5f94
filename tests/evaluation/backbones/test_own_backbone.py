"""docs/backbones.md: a module of one's own, from Python and by entry point, and what is no backbone."""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from tests.test_train_command import CLASSES, doodle, synthetic

import dalda
from dalda.errors import UserError
from dalda.evaluation.backbones.base import Backbone
from dalda.evaluation.backbones.load import as_backbone, load_backbone
from dalda.evaluation.features import FeatureStore, OpenImage
from dalda.evaluation.training import TrainingMethod, run_trials
from dalda.evaluation.trial import Schedule, Trial
from dalda.types import FewShotSplit

PAGE = (Path(__file__).parents[3] / "docs" / "backbones.md").read_text(encoding="utf-8")
(EXAMPLE,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
DEFINITION = EXAMPLE[: EXAMPLE.index("config = ")]


@pytest.fixture
def drawn_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the data set `photos` and the synthetic folder `made`."""
    monkeypatch.setenv("DALDA_CACHE", str(tmp_path / "cache"))
    for name in CLASSES:
        for number in range(5):
            part = "train" if number < 2 else "val"
            doodle(tmp_path / "photos" / part / name / f"{number}.png", name, number)
    synthetic(tmp_path / "made", tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    return tmp_path


class MeanColour:
    """An extractor without torch modules."""

    name, fingerprint, size, dimensions = "mean colour", "1", 16, 3

    def extract(self, images: list[Image.Image]) -> torch.Tensor:
        small = [image.convert("RGB").resize((1, 1), Image.Resampling.BOX) for image in images]
        return torch.tensor([image.getpixel((0, 0)) for image in small], dtype=torch.float32) / 255


def colours() -> torch.nn.Module:
    names: dict[str, type[torch.nn.Module]] = {"__name__": "my_package"}  # type: ignore[dict-item]
    exec(DEFINITION, names)
    return names["Colours"]()


def test_the_example_of_the_page_runs(drawn_world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exec(EXAMPLE, {"__name__": "example"})
    real, made = map(float, capsys.readouterr().out.split())
    assert 0 <= real <= 1
    assert 0 <= made <= 1


def test_a_run_knows_its_own_backbone_by_content(drawn_world: Path) -> None:
    config = dalda.TrainConfig(
        dataset="photos", epochs=1, iterations=2, seeds=1, device="cpu", out=drawn_world / "run"
    )
    first = dalda.train(config, backbone=colours())
    assert dalda.train(config, backbone=colours()).arms == first.arms
    other = colours()
    with torch.no_grad():
        next(other.parameters()).add_(1)
    with pytest.raises(UserError, match="--backbone-fingerprint"):
        dalda.train(config, backbone=other)


def test_an_entry_point_brings_a_backbone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "my_package.py"
    package.write_text(DEFINITION + "\n\ndef colours(device):\n    return Colours().to(device)\n")
    info = tmp_path / "my_package-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my_package\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[dalda.backbones]\nmy-colours = my_package:colours\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "modules", {**sys.modules})
    found = load_backbone("my-colours")
    assert isinstance(found, Backbone)
    assert (found.size, found.dimensions, found.name) == (32, 48, "my_package.Colours")
    assert found.extract([Image.new("RGB", (90, 60), "red")]).shape == (1, 48)


def test_any_extractor_trains_and_says_what_it_cannot(
    open_image: OpenImage, make_split: Callable[..., FewShotSplit]
) -> None:
    store = FeatureStore(as_backbone(MeanColour(), "cpu"), open_image, views=2)
    trial, validation = Trial("real", 0, make_split("train", 2)), make_split("val", 5)
    schedule = Schedule(2, 50, 8, learning_rate=0.1)
    for method in (TrainingMethod(), TrainingMethod(online=True)):
        (result,) = run_trials([trial], validation, store, schedule, method)
        assert result.accuracy > 0.8
    with pytest.raises(UserError, match="--finetune full needs a torch model"):
        run_trials([trial], validation, store, schedule, TrainingMethod(finetune="full"))
    with pytest.raises(UserError, match="--batch-augment mixup needs a torch model"):
        run_trials([trial], validation, store, schedule, TrainingMethod(batch_augment="mixup"))


def test_what_is_no_backbone_is_one_sentence() -> None:
    with pytest.raises(UserError, match="A str2 is no backbone"):
        as_backbone(type("str2", (), {})(), "cpu")
    with pytest.raises(UserError, match=r"must map a float tensor \[n, 3, h, w\]"):
        as_backbone(torch.nn.Linear(7, 7), "cpu")
