"""What behaviour.json pins: the same images, captions, scales, noise, pixels and accuracies as ever.

After an intended change of behaviour, record.py writes the file again.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.golden import record

LEVELS = 2
"""Of 255, by which a reduced image's colours may differ from one CPU to the next."""
IMAGES = 2
"""Tested images on which a trial may differ."""


@pytest.fixture(scope="module")
def golden() -> Any:
    return json.loads(record.FIXTURES.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("golden") / "generated"
    record.generate(place)
    return place


def test_the_same_images_are_drawn_from_the_world(golden: Any) -> None:
    assert record.splits() == golden["splits"]


def test_the_same_captions_scales_and_noise_are_planned(golden: Any) -> None:
    found, wanted = record.plans(), golden["plans"]
    assert found.keys() == wanted.keys()
    rough = ("scale", "mean", "score")
    for one, same in zip(found["default"], wanted["default"], strict=True):
        assert {key: one[key] for key in one if key not in rough} == {
            key: same[key] for key in same if key not in rough
        }
        assert [one[key] for key in rough] == pytest.approx([same[key] for key in rough], abs=5e-4)
    for kind in sorted(found.keys() - {"default"}):
        assert found[kind]["scales"] == pytest.approx(wanted[kind]["scales"], abs=5e-4), kind
        assert found[kind]["else as by default"] == wanted[kind]["else as by default"], kind


def test_the_same_scales_are_drawn(golden: Any) -> None:
    for one, same in zip(record.scales(), golden["scales"], strict=True):
        assert one[:4] == same[:4]
        assert one[4:] == pytest.approx(same[4:], abs=1e-5), one[:4]


def test_the_same_pixels_are_generated(golden: Any, out: Path) -> None:
    for one, same in zip(record.pixels(out), golden["pixels"], strict=True):
        assert one[:2] == same[:2]
        found, wanted = bytes.fromhex(one[2]), bytes.fromhex(same[2])
        assert list(found) == pytest.approx(list(wanted), abs=LEVELS), one[:2]


def test_the_same_accuracies_are_reached(golden: Any, out: Path) -> None:
    found, wanted = record.accuracies(out), golden["accuracies"]
    assert found.keys() == wanted.keys()
    for name in found:
        _same_trial(name, found[name], wanted[name])


def _same_trial(name: str, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    assert (found["made_of"], found["tested_on"]) == (wanted["made_of"], wanted["tested_on"]), name
    near = (IMAGES + 0.5) / wanted["tested_on"]
    for arm in ("real", "mixed"):
        assert found[arm] == pytest.approx(wanted[arm], abs=near), f"{name}, {arm}"
