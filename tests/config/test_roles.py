"""Roles: every option says what it decides, and a new option changes no old id."""

import importlib
import pkgutil
from collections.abc import Iterator
from dataclasses import make_dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel, create_model

import dalda.config
from dalda.config import AugmentConfig, TrainConfig, UsageConfig
from dalda.config.experiment import Study, of_study
from dalda.config.roles import (
    Content,
    Execution,
    Location,
    content_of,
    defaults_of,
    difference,
    digest_of,
    names_of,
    role_of,
)
from dalda.config.study_file import parse_study
from dalda.models.presets import PRESETS, Preset
from dalda.workflows import augment as workflow
from dalda.workflows import trials


def models() -> Iterator[type[BaseModel]]:
    for module in pkgutil.iter_modules(dalda.config.__path__, "dalda.config."):
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, type) and issubclass(value, BaseModel) and value is not BaseModel:
                yield value


def test_every_field_of_every_model_has_a_role() -> None:
    found = {model: [role_of(model, name) for name in model.model_fields] for model in models()}
    assert len(found) >= 10
    assert {role.kind for roles in found.values() for role in roles} == {"content", "execution", "location"}


def test_a_field_without_a_role_is_named() -> None:
    plain = create_model("Plain", steps=(int, 3))
    with pytest.raises(KeyError, match=r"Plain\.steps declares no role"):
        content_of(plain())


def test_the_canonical_form_leaves_out_defaults_places_and_devices(tmp_path: Path) -> None:
    config = AugmentConfig(dataset="doodles", out=tmp_path, root=tmp_path, device="cuda", batch_size=4)
    assert content_of(config) == {}
    config = config.model_copy(update={"per_image": 3, "steps": 4, "ip_adapter_scale": "0.5"})
    assert content_of(config) == {"ip_adapter_scale": "0.5", "per_image": 3}
    assert content_of(config, extents=False) == {"ip_adapter_scale": "0.5"}


def test_nested_models_are_canonical_too() -> None:
    class Inner(BaseModel):
        folder: Path = Location()
        size: tuple[int, int] = Content((1, 2))
        rate: float = Content(0.5)

    class Outer(BaseModel):
        inner: Inner = Content()
        many: tuple[Inner, ...] = Content(())
        workers: int = Execution(2)

    one, two = Inner(folder=Path("a")), Inner(folder=Path("b"), size=(3, 4))
    assert content_of(Outer(inner=one, many=(one, two))) == {"inner": {}, "many": [{}, {"size": [3, 4]}]}


def test_a_dataclass_is_content() -> None:
    assert content_of(Preset(**{**vars(PRESETS["doodle"])}))["guidance_scale"] == 3.0
    assert "lora_scale" not in content_of(PRESETS["doodle"])


def test_a_digest_is_of_content_not_of_order() -> None:
    assert digest_of({"a": 1, "b": (2, Path("x/y"))}) == digest_of({"b": [2, "x/y"], "a": 1})
    assert digest_of({"a": 1}) != digest_of({"a": 2})
    assert len(digest_of("\ud800")) == 20


@pytest.mark.parametrize(
    ("recorded", "wanted", "words"),
    [
        ({"steps": 12}, {"steps": 12}, None),
        ({"per_image": 2}, {"per_image": 3}, "--per-image 2, now --per-image 3"),
        ({"preset": {"vae": None}}, {"preset": {"vae": "x"}}, "--vae none, now --vae x"),
        ({}, {"dtype": "fp32"}, None),
        ({}, {"dtype": "fp16"}, "--dtype fp32, now --dtype fp16"),
        ({"real": "a"}, {}, "--real a, now --real none"),
        (
            {"images_sha256": {"made": "x"}},
            {"images_sha256": {"made": "y"}},
            "images with hash.made x, now images with hash.made y",
        ),
        ({"size": [1, 2]}, {"size": (1, 2)}, None),
    ],
)
def test_the_first_difference_is_named_as_the_option(
    recorded: dict[str, Any], wanted: dict[str, Any], words: str | None
) -> None:
    assert difference(recorded, wanted, {"dtype": "fp32"}) == words


def test_options_of_an_arm_are_those_of_the_usage() -> None:
    shared = of_study()
    assert {"dataset", "root", "seed", "seeds", "shots", "out", "device", "synthetic"} <= shared
    assert not shared & UsageConfig.model_fields.keys()
    assert "captions" not in shared
    assert set(names_of(AugmentConfig, within="preset")) >= {"steps", "model", "adapter"}


STUDY = """
dataset: doodles
shots: 2
seeds: 1
augment: {model: doodle, per_image: 1}
arms:
  - {name: real, method: real}
  - {name: adaptive}
"""


def study_ids(out: Path) -> list[tuple[str, str | None]]:
    study = parse_study(STUDY).model_copy(update={"out": out})
    return [(task.id, task.set_id) for task in trials.tasks_of(study)]


def test_a_new_option_changes_no_id_and_an_old_folder_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An option that did not exist when the study and the folder were begun."""
    config = AugmentConfig(dataset="doodles", shots=1, per_image=1, out=tmp_path / "set", steps=2)
    before = study_ids(tmp_path / "run")
    assert workflow.augment(config).generated == 12

    class LaterAugment(AugmentConfig):
        sharpness: float = Content(1.0)

    class LaterTrain(TrainConfig):
        label_noise: float = Content(0.0)

    later_preset = make_dataclass("later_preset", [("clip_skip", int, 0)], bases=(Preset,), frozen=True)
    monkeypatch.setattr("dalda.config.experiment.AugmentConfig", LaterAugment)
    monkeypatch.setattr("dalda.config.experiment.TrainConfig", LaterTrain)
    monkeypatch.setattr(
        workflow, "SETTING_DEFAULTS", {**defaults_of(LaterAugment), "preset": defaults_of(later_preset)}
    )
    # A preset's new field, too.
    monkeypatch.setattr(
        "dalda.workflows.augment_plan.preset_named", lambda name: later_preset(**vars(PRESETS[name]))
    )
    monkeypatch.setattr("dalda.workflows.augment_plan.overridden", lambda preset, options: preset)
    assert study_ids(tmp_path / "run") == before
    later = LaterAugment(**dict(config))
    assert workflow.augment(later).already_there == 12
    with pytest.raises(dalda.UserError, match=r"made with --sharpness 1\.0, now --sharpness 2\.0"):
        workflow.augment(later.model_copy(update={"sharpness": 2.0}))
    assert "sharpness" not in yaml.safe_load((tmp_path / "set/dalda.yaml").read_text())


def test_a_study_has_other_ids_for_other_content(tmp_path: Path) -> None:
    study = parse_study(STUDY).model_copy(update={"out": tmp_path})
    other = Study(**{**study.model_dump(), "train": {"epochs": 3}})
    moved = study.model_copy(update={"out": tmp_path / "b", "device": "cpu"})
    ids = [[task.id for task in trials.tasks_of(one)] for one in (study, other, moved)]
    assert ids[0] == ids[2]
    assert not set(ids[0]) & set(ids[1])
