"""The original code's fields become a study; errors use its own field names."""

from pathlib import Path

import pytest
from tests.compat.tiny_pets import CONFIGS, write_reference_config

from dalda.config.experiment import Study, trials_of
from dalda.config.study_file import parse_study, read_study, study_as_yaml
from dalda.errors import UserError

LLM = "cfg_dalda_pets_llm_prompt_adaptive_scaling_clip"


def test_every_field_arrives(tmp_path: Path) -> None:
    path = write_reference_config(tmp_path, LLM, shots="[1, 2, 4, 8, 16]", trials=3)
    study = read_study(path)
    assert (study.dataset, study.shots, study.seeds) == ("pets", (1, 2, 4, 8, 16), (0, 1, 2))
    assert study.out == Path("logs/dalda_pets_llm_prompt_adaptive_scaling_clip")
    assert study.synthetic_dir is not None
    assert study.synthetic_dir.endswith("scaling_clip/pets-{seed}-{shots}")
    assert (study.original, study.original_csv, study.resume, study.device) == (False, True, None, "auto")
    first = trials_of(study)[0]
    assert first.captions == "prompts/pets_llm.json"
    assert first.synthetic is not None
    assert (first.synthetic.model, first.synthetic.ip_adapter_scale, first.synthetic.per_image) == (
        "doodle",
        "adaptive",
        1,
    )
    assert (first.synthetic.guidance_scale, first.synthetic.steps) == (7.5, 1)
    assert (first.train.epochs, first.train.iterations, first.train.batch_size) == (2, 3, 4)
    assert first.train.backbone == "doodle"
    assert parse_study(study_as_yaml(study)) == study


def test_the_four_ways_of_the_papers_grid(tmp_path: Path) -> None:
    settings_of = {}
    for name in CONFIGS:
        trial = trials_of(read_study(write_reference_config(tmp_path, name)))[0]
        settings_of[name] = trial.synthetic and (trial.captions[:7], trial.synthetic.ip_adapter_scale)
    assert list(settings_of.values()) == [
        None,
        ("base", "uniform"),
        ("base", "0.5"),
        ("prompts", "adaptive"),
    ]


def test_what_is_left_out_is_the_papers(tmp_path: Path) -> None:
    path = tmp_path / "short.py"
    path.write_text('dataset = "flowers"\naug = "dalda"\n')
    study = read_study(path)
    assert (study.dataset, study.shots, study.out) == ("flowers102", (1, 2, 4, 8, 16), Path("runs/short"))
    first = trials_of(study)[0]
    assert first.synthetic is not None
    assert (first.arm, first.captions, first.synthetic.model) == ("short", "base", "sd14")
    assert (first.train.backbone, first.train.epochs, first.train.iterations) == ("clip", 50, 200)


def test_a_numbered_device_and_a_resume_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "cfg.py"
    path.write_text('dataset = "caltech"\naug = None\ndevice = "cuda:1"\nresume = [0, 4, 3, 2]\n')
    study = read_study(path)
    assert (study.dataset, study.device, study.resume) == ("caltech101", "cuda:1", (0, 4, 3, 2))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('dataset = "dogs"', "line 3: dataset cannot be 'dogs': write one of pets, flowers"),
        ("num_trials = 0", "line 3: num_trials cannot be 0"),
        ("examples_per_class = [1, 1]", "line 3: examples_per_class cannot be .*twice"),
        ("num_synthetic = 'ten'", "line 3: num_synthetic cannot be 'ten': .*valid integer"),
        ("synthetic_probability = 1.5", "line 3: synthetic_probability cannot be 1.5"),
        (
            "scale = 'adaptiv'",
            "line 3: scale cannot be 'adaptiv': write 'adaptive', 'all_random' or a number",
        ),
        ("scale = 2", "line 3: scale cannot be 2"),
        ("aug = 'cutout'", "line 3: aug cannot be 'cutout': write 'dalda' or None"),
        ("prompt_mode = 'llama'", "line 3: prompt_mode"),
        ("prompt_mode = 'llm'", "llm_prompt_path cannot be"),
        ("classifier_backbone = 'vgg'", "line 3: classifier_backbone"),
        ("resume = [1, 2]", "line 3: resume cannot be"),
        ("num_trails = 3", "line 3: there is no field 'num_trails'; is it 'num_trials'"),
    ],
)
def test_a_mistake_is_named_by_the_original_field(tmp_path: Path, line: str, words: str) -> None:
    path = tmp_path / "cfg.py"
    path.write_text(f'dataset = "pets"\naug = "dalda"\n{line}\n')
    with pytest.raises(UserError, match=words):
        read_study(path)


def test_a_field_that_is_missing_is_named(tmp_path: Path) -> None:
    path = tmp_path / "cfg.py"
    path.write_text('dataset = "pets"\nmine = "a name of my own"\n')
    with pytest.raises(UserError, match="'aug' is not set"):
        read_study(path)


def test_a_random_name_with_an_adaptive_scale_is_remarked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "cfg_random_scaling.py"
    path.write_text('dataset = "pets"\naug = "dalda"\nscale = "adaptive"\n')
    read_study(path)
    assert "called random" in capsys.readouterr().err


def study_from(path: Path, text: str) -> Study:
    path.write_text(f'dataset = "pets"\naug = "dalda"\n{text}\n')
    return read_study(path)


def test_the_published_device_is_this_machines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert study_from(tmp_path / "cfg.py", 'device = "cuda:0"').device == "auto"
    assert "read as the device that this machine has" in capsys.readouterr().err


def test_every_field_is_filled_into_the_synthetic_folder(tmp_path: Path) -> None:
    template = "out/{dataset}-{aug}-{scale}-{num_synthetic}/{seed}-{examples_per_class}"
    study = study_from(tmp_path / "cfg.py", f'scale = 0.5\nsynthetic_dir = "{template}"')
    assert study.synthetic_dir == "out/pets-dalda-0.5-10/{seed}-{shots}"
    with pytest.raises(UserError, match=r"line 3: synthetic_dir cannot be .*no field 'nothing'"):
        study_from(tmp_path / "cfg.py", 'synthetic_dir = "{nothing}"')


def test_no_synthetic_images_is_real_images_alone(tmp_path: Path) -> None:
    assert trials_of(study_from(tmp_path / "cfg.py", "num_synthetic = 0"))[0].synthetic is None


def test_another_model_gets_the_papers_autoencoder_and_noise_schedule(tmp_path: Path) -> None:
    other = trials_of(study_from(tmp_path / "cfg.py", 'model_path = "someone/model"'))[0].synthetic
    assert other is not None
    assert (other.vae, other.model_option["size"]) == ("stabilityai/sd-vae-ft-mse", 512)
    assert other.model_option["noise_schedule"]["beta_end"] == 0.012
    paper = trials_of(study_from(tmp_path / "cfg.py", ""))[0].synthetic
    assert paper is not None
    assert (paper.model, paper.vae) == ("sd14", None)


def test_the_folders_of_the_original_readme_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("configs", "models"):
        Path(folder).mkdir(parents=True)
    Path("models/ip-adapter_sd15.bin").write_bytes(b"")
    study = study_from(Path("configs/cfg_mine.py"), "")
    assert study.root is None  # the data set is found there by its name
    assert trials_of(study)[0].synthetic.adapter == "."  # type: ignore[union-attr]
    assert read_study(Path("cfg_mine")) == read_study(Path("configs/cfg_mine")) == study
