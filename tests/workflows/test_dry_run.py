"""The dry run before a model is there: nothing is asked of the network, and the time is computed."""

from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants
from tests.workflows.drawn_set import drawn_set

from dalda.cli.output.numbers import in_seconds
from dalda.cli.output.synthetic import augment_dry_run_lines
from dalda.config import AugmentConfig
from dalda.errors import UserError
from dalda.models import catalogue
from dalda.workflows import dry_run as module
from dalda.workflows.dry_run import dry_run


@pytest.fixture
def photos(tmp_path: Path, no_network: list[str], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three classes of two images, a machine of 8 TFLOP/s, and a Hub's cache with nothing in it."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(module, "machine_teraflops", lambda: ("a card", 8.0))
    drawn_set(tmp_path)
    return tmp_path / "real"


def test_a_model_that_is_not_on_disk_is_not_downloaded(
    photos: Path, no_network: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    config = AugmentConfig(
        dataset=str(photos), out=photos.parent / "o", model="sd15", per_image=3, steps=10, hold_out=0
    )
    report = dry_run(config)
    assert (report.planned, report.images, report.classes) == (18, 6, 3)
    # 18 images, 10 steps, twice for the guidance, 0.68 TFLOP a pass, 0.4 of 8 TFLOP/s.
    assert report.seconds == pytest.approx(18 * 10 * 2 * 0.68 / (0.4 * 8), abs=0.1)
    assert report.download_gigabytes == round(catalogue.PUBLISHED["sd15"].download_gigabytes, 1)
    assert "'sd15' is not on disk; the time is computed" in capsys.readouterr().err
    assert any("dalda models get" in line for line in augment_dry_run_lines(report))
    assert not no_network
    assert not (photos.parent / "o").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"only_classes": ("boaat",)}, "no class 'boaat'; did you mean 'boat'"),
        ({"only_classes": ("boat",), "hardest": 1}, "leave --only-classes out"),
        ({"captions": Path("none.json")}, "there is no caption file"),
        ({"ip_adapter_scale": "7"}, "must lie between 0 and 1"),
        ({"method_option": {"nothing": "1"}}, "has no option 'nothing'"),
    ],
)
def test_what_the_run_would_refuse_is_refused_without_the_model(
    photos: Path, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        dry_run(AugmentConfig(dataset=str(photos), out=photos.parent / "o", model="sd15", **options))
    with pytest.raises(UserError, match="lies among the classes"):
        dry_run(AugmentConfig(dataset=str(photos), out=photos / "o", model="sd15"))


def test_only_what_is_asked_for_is_counted(photos: Path) -> None:
    def planned(**options: Any) -> tuple[int, int]:
        every: dict[str, Any] = {"model": "sd15", "per_image": 3, "hold_out": 0, **options}
        report = dry_run(AugmentConfig(dataset=str(photos), out=photos.parent / "o", **every))
        return report.planned, report.images

    assert planned(hardest=2) == (12, 4)
    assert planned(only_classes=("boat",)) == (6, 2)
    assert planned(shard="2/4") == (5, 6)
    shards = [planned(model="doodle", steps=1, shard=f"{number}/9") for number in range(1, 10)]
    assert sum(count for count, _ in shards) == 18


def test_of_an_unknown_model_the_time_is_unknown(photos: Path, no_network: list[str]) -> None:
    report = dry_run(AugmentConfig(dataset=str(photos), out=photos.parent / "o", model="some/model"))
    assert (report.seconds, report.download_gigabytes) == (None, None)
    assert not no_network


def test_a_card_of_the_table_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "memory_gigabytes", lambda: ("NVIDIA A100-SXM4-80GB", 80.0))
    assert catalogue.machine_teraflops() == ("NVIDIA A100-SXM4-80GB", 312)
    monkeypatch.setattr(catalogue, "memory_gigabytes", lambda: ("cpu", 8.0))
    name, teraflops = catalogue.machine_teraflops()
    assert name == "cpu"
    assert 1e-4 < teraflops < 100


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "about 0 s"),
        (179, "about 179 s"),
        (200, "about 3.3 min"),
        (9000, "about 150 min"),
        (90000, "about 25 h"),
    ],
)
def test_times_have_few_digits(seconds: float, text: str) -> None:
    assert in_seconds(seconds) == text
