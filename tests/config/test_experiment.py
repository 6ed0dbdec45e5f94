"""A study in YAML: what it expands to, and mistakes named by line and field."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dalda.config.experiment import ArmConfig, Study, trials_of, with_baselines
from dalda.config.study_file import parse_study, read_study, study_as_yaml
from dalda.errors import UserError
from dalda.workflows.experiment import resolved

STUDY = """dataset: doodles
shots: [1, 4, all]
seeds: 2
augment: {per_image: 2, captions: base}
train: {epochs: 3}
arms:
  - {name: real, method: real}
  - {name: random, ip_adapter_scale: uniform, synthetic_probability: 0.3}
  - name: adaptive
    captions: mine.json
"""


def test_a_study_is_arms_times_shots_times_seeds() -> None:
    trials = trials_of(parse_study(STUDY))
    assert [(one.arm, one.train.seed, one.train.shots) for one in trials] == [
        (arm, seed, shots)
        for seed in (0, 1)
        for shots in (1, 4, None)
        for arm in ("real", "random", "adaptive")
    ]
    assert all(one.train.epochs == 3 for one in trials)
    real, random, adaptive = trials[:3]
    assert real.synthetic is None
    assert random.synthetic is not None
    assert adaptive.synthetic is not None
    assert (random.train.synthetic_probability, adaptive.train.synthetic_probability) == (0.3, 0.5)
    assert (random.captions, adaptive.captions) == ("base", "mine.json")
    assert (random.synthetic.ip_adapter_scale, adaptive.synthetic.ip_adapter_scale) == (
        "uniform",
        "adaptive",
    )
    assert adaptive.synthetic.per_image == 2


def test_sets_are_shared_where_lambda_does_not_depend_on_the_shots() -> None:
    trials = trials_of(parse_study(STUDY.replace("all", "8")))
    sets: dict[str, set[int | None]] = {"random": set(), "adaptive": set()}
    for one in trials:
        if one.synthetic is not None and one.train.seed == 0:
            sets[one.arm].add(one.synthetic.shots)
    assert sets == {"random": {8}, "adaptive": {1, 4, 8}}


def test_the_reference_draws_clipped() -> None:
    for original, sampling in ((True, "clipped"), (False, "truncated")):
        study = parse_study(STUDY).model_copy(update={"original": original})
        assert {one.synthetic.scale_sampling for one in trials_of(study) if one.synthetic} == {sampling}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "epochs: 3",
            "finetune: lora",
            "line 6: train.finetune: the original DALDA code has no finetune lora; leave it out",
        ),
        ("epochs: 3", "batch_augment: mixup", "train.batch_augment: "),
        ("epochs: 3", "transforms: jitter", "train.transforms: "),
        ("epochs: 3", "head_init: random", "train.head_init: "),
        ("epochs: 3", "head: lp++", "train.head: "),
        ("per_image: 2", "scale_sampling: truncated", "line 5: augment.scale_sampling: "),
        ("synthetic_probability: 0.3", "mixing: two-term-loss", "line 9: arms.1.mixing: "),
        ("synthetic_probability: 0.3", "clip_weighting: true", "line 9: arms.1.clip_weighting: "),
    ],
)
def test_the_reference_has_not_all_that_we_have(old: str, new: str, message: str) -> None:
    text = STUDY.replace(old, new)
    with pytest.raises(UserError, match=re.escape(message)):
        parse_study("original: true\n" + text)
    study = parse_study(text)
    with pytest.raises(UserError, match="the original DALDA code has no"):
        resolved(study, out=None, root=None, original=True)
    assert not resolved(study, out=None, root=None, original=False).original


def test_what_the_reference_has_is_taken() -> None:
    text = STUDY.replace(
        "epochs: 3", "mixing: concatenation, finetune: head, feature_views: 4, batch_augment: none"
    )
    assert parse_study("original: true\n" + text).original


def test_what_is_converted_reads_back() -> None:
    study = parse_study(STUDY)
    assert parse_study(study_as_yaml(study)) == study


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("shots: [1, 4, all]", "shots: [1, 0]", r"line 2: shots\.1: .*greater than or equal to 1"),
        ("shots: [1, 4, all]", "shots: [1, 1]", r"line 2: shots: 1 is there twice"),
        ("seeds: 2", "seeds: 0", "line 3: seeds: .*at least 1"),
        ("seeds: 2", "seeds: 1001", "line 3: seeds: at most 1000 seeds"),
        ("seeds: 2", "seedz: 2", "line 3: seedz: there is no such setting"),
        ("seeds: 2", "dataset: pets", "line 3: 'dataset' is set twice"),
        ("per_image: 2", "per_image: 0", r"line 4: augment\.per_image: .*greater"),
        ("per_image: 2", "seed: 2", r"line 4: augment\.seed: set this once"),
        ("per_image: 2", "shard: 1/2", r"line 4: augment\.shard: a study needs whole sets"),
        ("epochs: 3", "epochs: x", r"line 5: train\.epochs: .*valid integer"),
        (
            "method: real",
            "method: real, ip_adapter_scale: 1",
            r"line 7: arms\.0\.ip_adapter_scale: an arm of real",
        ),
        (
            "name: random",
            "name: random, method: magic",
            r"line 8: arms\.1\.method: there is no method 'magic'",
        ),
        ("name: adaptive", "name: real", "line 6: arms: 'real' is there twice"),
        ("method: real", "method: text", "line 6: arms: 'real' is the name of a baseline"),
        ("name: adaptive", "nam: adaptive", r"line 9: arms\.2\.name: field required"),
        ("captions: mine.json", "epochs: 4", r"line 10: arms\.2\.epochs: there is no such setting"),
        ("captions: mine.json", "captions: [", "line 1[01]: this is not YAML"),
        ("seeds: 2\naugment", "seeds: &a 2\naugment: {steps: *a}\nx", "line 3: aliases"),
        ("seeds: 2", "seeds: !!python/object:os.system x", "line 3: this is not YAML"),
    ],
)
def test_a_mistake_is_named_by_line_and_field(old: str, new: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        parse_study(STUDY.replace(old, new, 1))


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    with pytest.raises(UserError):
        parse_study(text)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    for name in ("study.json", "study"):
        with pytest.raises(UserError, match="is no study"):
            read_study(tmp_path / name)
    with pytest.raises(UserError, match="cannot be read"):
        read_study(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize("name", ["pets", "flowers102", "caltech101"])
def test_the_papers_grid(name: str) -> None:
    study = read_study(Path(__file__).parents[2] / "experiments" / f"{name}.yaml")
    assert study.dataset == name
    assert len(trials_of(study)) == 5 * 3 * 5
    sets = [one.synthetic for one in trials_of(study) if one.synthetic]
    assert {(one.model, one.per_image) for one in sets} == {("sd14", 10)}
    assert {one.ip_adapter_scale for one in sets} == {"uniform", "adaptive"}


def test_the_held_out_share_is_that_of_the_whole_study() -> None:
    (trial, *_) = trials_of(parse_study(STUDY.replace("seeds: 2", "seeds: 2\nhold_out: 0.25")))
    assert trial.train.hold_out == 0.25
    with pytest.raises(UserError, match=r"line 5: train\.hold_out: set this once"):
        parse_study(STUDY.replace("epochs: 3", "hold_out: 0.25"))


def test_a_study_can_be_written_in_python() -> None:
    study = Study(dataset="doodles", shots=(1,), arms=(ArmConfig(name="real", method="real"),))
    assert study.seeds == (0, 1, 2)


def test_a_study_gets_the_baselines_that_it_lacks() -> None:
    study = Study.model_validate(
        {
            "dataset": "doodles",
            "shots": [1],
            "arms": [{"name": "mine", "method": "real"}, {"name": "dalda"}],
        }
    )
    names = [arm.name for arm in with_baselines(study, reads_text=True).arms]
    assert names == ["zero-shot", "real-linear", "real-augmented", "mine", "dalda"]
    names = [arm.name for arm in with_baselines(study, reads_text=False).arms]
    assert names == ["real-linear", "real-augmented", "mine", "dalda"]
    paper = study.model_copy(update={"train": {"epochs": 3}})
    assert [arm.name for arm in with_baselines(paper, reads_text=False).arms][:1] == ["real-augmented"]
    for same in ({"baselines": False}, {"original": True}):
        asked = study.model_copy(update=same)
        assert with_baselines(asked, reads_text=True) == asked
