"""What is chosen of a model on the command line, is kept beside the images, and guarded."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner, Result
from PIL import Image
from pydantic import ValidationError

from dalda.cli import app
from dalda.config import AugmentConfig
from dalda.models.presets import PRESETS
from dalda.workflows.augment_plan import preset_of


@pytest.fixture(autouse=True, scope="module")
def _cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ.setdefault("DALDA_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, name in enumerate(("car", "tree")):
        (tmp_path / "set" / name).mkdir(parents=True)
        noise = np.random.default_rng(number).integers(0, 255, (40, 40, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / "set" / name / "0.png")
    return tmp_path / "set"


def generate(folder: Path, *more: object) -> Result:
    words = [
        "augment",
        folder,
        "-o",
        folder.parent / "out",
        "--per-image",
        1,
        "--ip-adapter-scale",
        0.5,
        *more,
    ]
    return CliRunner().invoke(app, [str(word) for word in words])


CHOSEN = ("--steps", 4, "--scheduler", "unipc", "--guidance-interval", "0.25:0.75", "--dtype", "bf16")


def test_all_that_is_chosen_is_recorded(folder: Path, tmp_path: Path) -> None:
    result = generate(folder, *CHOSEN, "--channels-last", "--model-option", "negative_prompt=dull")
    assert result.exit_code == 0, result.stderr
    settings = yaml.safe_load((tmp_path / "out/dalda.yaml").read_text())
    row = settings["preset"]
    assert (row["steps"], row["scheduler"], row["guidance_interval"]) == (4, "unipc", [0.25, 0.75])
    assert row["negative_prompt"] == "dull"
    assert settings["execution"]["dtype"] == "bf16"
    assert settings["execution"]["channels_last"] is True
    for text in (tmp_path / "out/train/metadata.jsonl").read_text().splitlines():
        line = json.loads(text)
        assert (line["steps"], line["scheduler"], line["guidance_interval"]) == (4, "unipc", [0.25, 0.75])
        assert (line["dtype"], line["channels_last"], line["compile"]) == ("bf16", True, False)
        assert line["adapter"].endswith(PRESETS["doodle"].adapter_file)
        assert (line["negative_prompt"], line["lora"], line["vae"]) == ("dull", None, None)


def test_what_changes_images_is_refused_and_what_only_rounds_is_not(folder: Path) -> None:
    assert generate(folder, *CHOSEN).exit_code == 0
    other = generate(folder, *CHOSEN, "--scheduler", "ddim")
    assert other.exit_code == 2
    assert "--scheduler unipc, now --scheduler ddim" in other.stderr
    assert generate(folder, *CHOSEN, "--guidance-interval", "0:1").exit_code == 2
    assert generate(folder, *CHOSEN, "--dtype", "fp32", "--batch-size", 1).exit_code == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--model-option", "size"], "write NAME=VALUE"),
        (["--model-option", "colour=red"], "no field 'colour'"),
        (["--model-option", "size=33"], "multiple of 2"),
        (["--guidance-interval", "0.8:0.2"], "from 0.8 to 0.2 of the steps"),
        (["--guidance-interval", "half"], "--guidance-interval cannot be"),
        (["--size", "tiny"], "--size cannot be 'tiny'; write a number, model or source"),
        (["--shots", "few"], "--shots cannot be 'few'; write a number or all"),
        (["--scheduler", "eule"], "--scheduler cannot be 'eule'"),
        (["--dtype", "int4"], "--dtype cannot be 'int4'"),
        (["--scheduler", "lcm", "--steps", "200"], "cannot take 200 steps"),
        (["--lora", "no such lora"], "fix --lora"),
        (["--vae", "no such vae"], "fix --vae"),
    ],
)
def test_every_mistake_is_one_sentence(folder: Path, words: list[str], sentence: str) -> None:
    result = generate(folder, *words)
    assert result.exit_code == 2, result.stderr
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("dalda: ")
    assert sentence in last
    made = [path.name for path in (folder.parent / "out").glob("train/**/*") if path.stat().st_size]
    assert made == []


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--model-option", "config=somewhere"], "config= is for a model in one file"),
        (["--model", "FLUX", "--lora", "somebody/lora"], "which has no use for --lora; leave it out"),
        (["--model", "flux-dev", "--lora", "somebody/lora"], "which has no use for --lora; leave it out"),
        (["--model", "FLUX", "--model-option", "noise_schedule={}"], "no use for --model-option noise_sch"),
        (
            ["--model", "FLUX", "--model-option", "second_adapter=a/b:c"],
            "no use for --model-option second_",
        ),
        (["--adapter", "no such adapter"], "fix --adapter"),
        (["--adapter", "nothing.safetensors"], "there is no file 'nothing.safetensors'"),
        (["--adapter", "shipped:doodles/weights/vision"], "it has no file"),
        (["--model-option", "second_adapter=nowhere"], "second_adapter= is FOLDER_OR_ID:FILE"),
        (["--model-option", "second_adapter_scale=0.5"], "is for a second adapter; name one"),
        (["--model", "VIDEO"], "is a WanPipeline; dalda generates with StableDiffusionPipeline, "),
        (["--device", "cuda"], "'cuda' is not on this machine"),
        (["--device", "gpu"], "there is no device 'gpu'"),
        (["--offload", "model", "--device", "cpu"], "--offload model frees a GPU's memory"),
    ],
)
@pytest.mark.skipif(torch.cuda.is_available(), reason="is about a machine without a GPU")
def test_what_does_not_fit_the_model_or_machine_begins_no_folder(
    folder: Path, words: list[str], sentence: str
) -> None:
    for name, kind in (("FLUX", "FluxPipeline"), ("VIDEO", "WanPipeline")):
        (folder.parent / name).mkdir()
        (folder.parent / name / "model_index.json").write_text(json.dumps({"_class_name": kind}))
    result = generate(folder, *(folder.parent / one if one in ("FLUX", "VIDEO") else one for one in words))
    assert result.exit_code == 2, result.stderr
    assert sentence in result.stderr.strip().splitlines()[-1]
    assert not (folder.parent / "out").exists()


def test_named_options_stand_for_fields_of_the_preset() -> None:
    config = AugmentConfig(
        dataset="x",
        out=Path("y"),
        model="sdxl",
        adapter="me/mine:models/a.bin",
        lora="latent-consistency/lcm-lora-sdxl",
        scheduler="lcm",
        steps=4,
        guidance_scale=1.0,
        vae="madebyollin/taesdxl",
        guidance_interval=(0.0, 0.5),
        model_option={"size": 768, "variant": None},
    )
    row = preset_of(config)
    assert (row.adapter, row.adapter_folder, row.adapter_file) == ("me/mine", "models", "a.bin")
    assert (row.lora, row.scheduler, row.steps) == ("latent-consistency/lcm-lora-sdxl", "lcm", 4)
    assert (row.vae, row.size, row.variant) == ("madebyollin/taesdxl", 768, None)
    assert row.model == PRESETS["sdxl"].model


@pytest.mark.parametrize("field", ["out", "root", "captions"])
def test_an_address_is_a_place_in_a_store(field: str) -> None:
    values: dict[str, Any] = {"dataset": "doodles", "out": "out", field: "s3://bucket/more"}
    assert str(getattr(AugmentConfig(**values), field)) == "s3://bucket/more"
    with pytest.raises(ValidationError, match="the address 'ftp://a/b' cannot be used"):
        AugmentConfig(**{**values, field: "ftp://a/b"})
