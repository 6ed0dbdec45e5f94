"""dalda compare: an arm a method, equal images and steps, a table that is sorted, a folder that grows."""

from pathlib import Path

import pytest
from PIL import Image

from dalda.config import CompareConfig
from dalda.config.compare import arms_of_methods
from dalda.config.experiment import trials_of
from dalda.errors import UserError
from dalda.evaluation.verdict import Answer
from dalda.types import BASELINES, Interval
from dalda.workflows import dry_run
from dalda.workflows.compare import ComparedArm, CompareReport, compare_methods, comparison_study


def config_of(out: Path, **settings: object) -> CompareConfig:
    return CompareConfig(**{"dataset": "doodles", "out": out, "shots": "1", **settings})  # type: ignore[arg-type]


def test_every_arm_has_equal_images_and_equal_optimiser_steps(tmp_path: Path) -> None:
    study = comparison_study(config_of(tmp_path, methods="all", shots="1,4", seeds=2, per_image=3))
    names = [arm.name for arm in study.arms]
    assert names == ["real", *arms_of_methods()]
    assert study == comparison_study(config_of(tmp_path, shots="1,4", seeds=2, per_image=3))
    assert {"dalda", "dalda-uniform", "dipsy-adaptive"} <= set(names)
    trials = trials_of(study)
    assert len(trials) == len(names) * 2 * 2
    assert {(trial.train.head, trial.train.epochs) for trial in trials} == {("auto", 50)}
    assert {trial.synthetic.per_image for trial in trials if trial.synthetic} == {3}


def test_guidance_is_an_axis_and_options_reach_their_method(tmp_path: Path) -> None:
    options = {"real-guidance.strength": "0.3"}
    config = config_of(
        tmp_path, methods="text,real-guidance", guidance_scales="2,7.5", method_option=options, steps=4
    )
    arms = {arm.name: arm for arm in comparison_study(config).arms}
    assert list(arms) == ["real", "text @ 2", "text @ 7.5", "real-guidance @ 2", "real-guidance @ 7.5"]
    assert arms["real-guidance @ 2"].settings == {
        "method_option": {"strength": "0.3"},
        "guidance_scale": 2.0,
    }


def test_fit_steps_reach_the_methods_that_learn_alone(tmp_path: Path) -> None:
    study = comparison_study(config_of(tmp_path, methods="text,da-fusion,datadream", fit_steps=7))
    assert [arm.settings for arm in study.arms[1:]] == [
        {},
        {"method_option": {"fit_steps": 7}},
        {"method_option": {"fit_steps": 7}},
    ]


def test_mistakes_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no method 'dald'; did you mean 'dalda'"):
        config_of(tmp_path, methods="dald")
    with pytest.raises(
        UserError, match=r"METHOD\.NAME=VALUE with a method that is compared; 'dipsy' is none"
    ):
        comparison_study(config_of(tmp_path, methods="text", method_option={"dipsy.steps": "3"}))
    with pytest.raises(UserError, match="text has no option 'strength'"):
        comparison_study(config_of(tmp_path, methods="text", method_option={"text.strength": "3"}))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"model": "doodel"}, "there is no model 'doodel'; did you mean 'doodle'"),
        ({"backbone": "scrtch"}, "there is no backbone 'scrtch'; did you mean 'scratch'"),
    ],
)
def test_a_mistyped_model_or_backbone_begins_no_run(
    tmp_path: Path, settings: dict[str, str], sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        compare_methods(config_of(tmp_path / "out", methods="text", seeds=1, **settings))
    assert not (tmp_path / "out").exists()


def test_a_dry_run_counts_trainings_once_and_steps_by_strength(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Per step of an image and of a training one second; da-fusion and diagen share their tokens."""
    monkeypatch.setattr(
        dry_run, "_measured", lambda config, planned: (12.0 * len(planned.plan.requests), 32)
    )
    monkeypatch.setattr(dry_run, "seconds_per_step", lambda job, generator: 1.0)
    monkeypatch.setattr(dry_run, "is_fitted", lambda job: False)
    monkeypatch.setattr(dry_run, "_training", lambda study, missing: 0.0)

    def seconds(methods: str, **options: object) -> tuple[float | None, float | None]:
        config = config_of(
            tmp_path / "out", methods=methods, seeds=1, per_image=1, steps=12, method_option=options
        )
        found = dry_run.dry_run_experiment(comparison_study(config))
        return found.generating_seconds, found.fitting_seconds

    assert seconds("text") == (12 * 12, 0)
    assert seconds("real-guidance", **{"real-guidance.strength": 0.25}) == (12 * 3, 0)
    short = {"da-fusion.fit_steps": 5, "diagen.fit_steps": 5}
    assert seconds("da-fusion,diagen", **short)[1] == 12 * 5


def test_the_table_is_in_markdown() -> None:
    arm = ComparedArm("a | b", Interval(0.1, 0.05, 0.15), {"1": Interval(0.5, None, None)}, 12, 3.4, 5.6)
    place = Path("x")
    report = CompareReport(place, (arm,), Answer({}, ()), 2, 2, 12, 1.0, {}, place, place, place)
    assert report.markdown.splitlines() == [
        "| method | gain, points | 1 shot | images | fitting, s | generating, s |",
        "| --- | --- | --- | --- | --- | --- |",
        "| a   b | +10.0 (+5.0 to +15.0) | 50.0 | 12 | 3 | 6 |",
    ]


@pytest.mark.slow
def test_a_comparison_is_sorted_by_gain_and_grows(tmp_path: Path) -> None:
    few = {"per_image": 1, "steps": 2, "epochs": 1}
    out = tmp_path / "run"
    first = compare_methods(config_of(out, methods="text", seeds=2, **few))
    # Of each seed: real images, real images under classical augmentation, and text.
    assert (first.trained, first.generated) == (6, 24)
    again = compare_methods(config_of(out, methods="text", seeds=2, **few))
    assert (again.trained, again.generated, again.arms) == (0, 0, first.arms)
    more = compare_methods(config_of(out, methods="text,real-guidance", seeds=2, **few))
    assert (more.trained, more.generated) == (2, 24)
    gains = [0.0 if arm.gain is None else arm.gain.mean for arm in more.arms]
    assert gains == sorted(gains, reverse=True)
    assert all(arm.generating_seconds > 0 for arm in more.arms if arm.name not in BASELINES)
    assert (out / "comparison.md").read_text() == more.markdown + "\n"
    with Image.open(out / "sheet.png") as sheet:
        assert sheet.size[1] > 6 * 160
