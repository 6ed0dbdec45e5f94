"""What is decided before the first image: targeting, and a method's own sampling."""

from pathlib import Path
from typing import Any

import pytest

from dalda.config import AugmentConfig
from dalda.errors import UserError
from dalda.methods.fitting.recipe import MOST_STEPS
from dalda.types import GenerationRequest
from dalda.workflows.augment_plan import plan_augment


def planned(tmp_path: Path, **settings: Any) -> tuple[GenerationRequest, ...]:
    settings = {"dataset": "doodles", "shots": 1, "per_image": 2, "method": "text", **settings}
    return plan_augment(AugmentConfig(out=tmp_path / "out", **settings)).plan.requests


def test_only_the_chosen_classes_get_images_and_these_are_the_same(tmp_path: Path) -> None:
    every = {request.id: request for request in planned(tmp_path)}
    some = planned(tmp_path, only_classes=("car", "fish"))
    assert len(some) == 4
    assert {request.label for request in some} == {"car", "fish"}
    assert all(every[request.id] == request for request in some)
    with pytest.raises(UserError, match="no class 'carr'; did you mean 'car'"):
        planned(tmp_path, only_classes=("carr",))


def test_the_hardest_classes_get_images_and_these_are_the_same(tmp_path: Path) -> None:
    every = {request.id: request for request in planned(tmp_path, shots=2)}
    some = planned(tmp_path, shots=2, hardest=3)
    hardest = {request.label for request in some}
    assert (len(some), len(hardest)) == (12, 3)
    assert all(every[request.id] == request for request in some)
    assert hardest < {request.label for request in planned(tmp_path, shots=2, hardest=4)}
    with pytest.raises(UserError, match="leave --only-classes out"):
        planned(tmp_path, hardest=3, only_classes=("car",))


def test_a_methods_own_guidance_and_steps_hold_unless_the_user_chose(tmp_path: Path) -> None:
    def sampling(**settings: Any) -> set[tuple[float, int]]:
        return {(request.guidance_scale, request.steps) for request in planned(tmp_path, **settings)}

    assert sampling() == {(3.0, 12)}
    assert sampling(method="datadream") == {(2.0, 50)}
    assert sampling(method="datadream", guidance_scale=7.5, steps=4) == {(7.5, 4)}
    assert sampling(method="datadream", method_option={"guidance_scale": 5}) == {(5.0, 50)}


def test_trainings_on_doodles_are_short_unless_the_user_says_how_long(tmp_path: Path) -> None:
    def steps(method: str, **options: Any) -> set[tuple[int, bool]]:
        settings: Any = {"dataset": "doodles", "shots": 1, "per_image": 1, "method_option": options}
        jobs = plan_augment(AugmentConfig(out=tmp_path / "out", method=method, **settings)).jobs
        return {(job.recipe.steps, job.recipe.token_rate > 2e-3) for job in jobs}

    assert steps("da-fusion") == {(MOST_STEPS["doodle"], True)}
    assert steps("da-fusion", fit_steps=1000) == {(1000, False)}
    assert steps("datadream", epochs=150) == {(150, False)}


def test_weights_in_eight_bits_are_not_trained(tmp_path: Path) -> None:
    config = AugmentConfig(dataset="doodles", out=tmp_path / "out", method="da-fusion", dtype="int8")
    with pytest.raises(UserError, match="'da-fusion' trains the model, and weights in eight bits do not"):
        plan_augment(config)
    assert not config.out.exists()
