"""Weights are loaded whole or refused, part by part and tensor by tensor."""

import ast
import json
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from tests.generation.stock import preset_of
from tests.source import tree_of
from torch import Tensor
from transformers import (
    CLIPTextModel,
    CLIPVisionModelWithProjection,
    GPT2Config,
    GPT2LMHeadModel,
    ResNetConfig,
    ResNetModel,
)

import dalda
from dalda.errors import UserError
from dalda.generation.backends.loader import load_pipeline
from dalda.models.clip import Clip
from dalda.models.presets import located, preset_named
from dalda.models.weights import load_module, read_tensors

Tensors = dict[str, Tensor]
DIFFUSERS, TRANSFORMERS = "diffusion_pytorch_model.safetensors", "model.safetensors"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny models with random weights, a folder each."""
    folder = tmp_path_factory.mktemp("models")
    preset_of(folder)
    GPT2LMHeadModel(
        GPT2Config(n_embd=8, n_layer=1, n_head=1, vocab_size=20, n_positions=8)
    ).save_pretrained(folder / "gpt")
    ResNetModel(ResNetConfig(embedding_size=4, hidden_sizes=[4], depths=[1])).save_pretrained(
        folder / "resnet"
    )
    return folder


PARTS: dict[str, tuple[Any, str, str]] = {
    "unet": (UNet2DConditionModel, "model/unet", DIFFUSERS),
    "autoencoder": (AutoencoderKL, "model/vae", DIFFUSERS),
    "text encoder": (CLIPTextModel, "model/text_encoder", TRANSFORMERS),
    "image encoder": (CLIPVisionModelWithProjection, "adapter/models/image_encoder", TRANSFORMERS),
    "language model": (GPT2LMHeadModel, "gpt", TRANSFORMERS),
    "backbone": (ResNetModel, "resnet", TRANSFORMERS),
}


SMALL = ("language model", "backbone")
"""Of these every single tensor is taken away, also in the quick tests."""


def changed(models: Path, tmp_path: Path, part: str, change: Callable[[Tensors], Tensors]) -> Path:
    """A copy of a part with other tensors."""
    _, folder, file = PARTS[part]
    copy = tmp_path / "changed"
    shutil.copytree(models / folder, copy, dirs_exist_ok=True)
    save_file(change(load_file(models / folder / file)), copy / file, {"format": "pt"})
    return copy


@pytest.mark.parametrize(
    ("part", "stride"),
    [
        *((part, 1 if part in SMALL else 8) for part in PARTS),
        *(pytest.param(part, 1, marks=pytest.mark.slow) for part in PARTS if part not in SMALL),
    ],
)
def test_every_missing_tensor_is_refused(models: Path, tmp_path: Path, part: str, stride: int) -> None:
    kind, folder, file = PARTS[part]
    load_module(kind, str(models / folder), f"the {part}")
    for name in sorted(load_file(models / folder / file))[::stride]:

        def change(tensors: Tensors, lost: str = name) -> Tensors:
            return {key: value for key, value in tensors.items() if key != lost}

        lacking = changed(models, tmp_path, part, change)
        with pytest.raises(UserError, match=f"the {part} in .* lacks tensors") as refused:
            load_module(kind, str(lacking), f"the {part}")
        assert name.removeprefix("transformer.") in str(refused.value)


FAULTS: dict[str, tuple[Callable[[str, Tensor], Tensors], str]] = {
    "misshapen": (lambda name, value: {name: torch.zeros(*value.shape, 3)}, "wrong shape"),
    "nan": (lambda name, value: {name: torch.full_like(value, float("nan"))}, "NaN or infinity"),
    "infinite": (lambda name, value: {name: torch.full_like(value, float("inf"))}, "NaN or infinity"),
    "unexpected": (
        lambda name, value: {name: value, "extra.weight": torch.zeros(2)},
        "does not use .extra.weight",
    ),
}


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("fault", FAULTS)
def test_every_other_fault_is_refused(models: Path, tmp_path: Path, part: str, fault: str) -> None:
    kind = PARTS[part][0]
    make, sentence = FAULTS[fault]

    def change(tensors: Tensors) -> Tensors:
        name = sorted(name for name, value in tensors.items() if value.is_floating_point())[-1]
        return {**tensors, **make(name, tensors[name])}

    with pytest.raises(UserError, match=f"the {part} in .*{sentence}"):
        load_module(kind, str(changed(models, tmp_path, part, change)), f"the {part}")


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize(
    ("prefix", "wrapper"), [("_orig_mod.", "torch.compile"), ("module.", "DataParallel")]
)
def test_wrapped_models_are_named(
    models: Path, tmp_path: Path, part: str, prefix: str, wrapper: str
) -> None:
    def change(tensors: Tensors) -> Tensors:
        return {prefix + name: value for name, value in tensors.items()}

    with pytest.raises(UserError, match=f"saved inside {wrapper}"):
        load_module(PARTS[part][0], str(changed(models, tmp_path, part, change)), f"the {part}")


def test_a_clip_without_its_text_half_is_refused(tmp_path: Path) -> None:
    clip = Path(located(preset_named("doodle").clip))
    shutil.copytree(clip, tmp_path / "clip")
    tensors = {k: v for k, v in load_file(clip / TRANSFORMERS).items() if "text_model" not in k}
    save_file(tensors, tmp_path / "clip" / TRANSFORMERS, {"format": "pt"})
    with pytest.raises(UserError, match=r"the CLIP in .* lacks tensors .*text_model"):
        Clip.load(tmp_path / "clip")


@pytest.mark.parametrize("stride", [3, pytest.param(1, marks=pytest.mark.slow)])
def test_every_missing_tensor_of_an_adapter_is_refused(tmp_path: Path, stride: int) -> None:
    preset = preset_of(tmp_path)
    path = tmp_path / "adapter/models/tiny.safetensors"
    tensors = load_file(path)
    load_pipeline(preset, torch.float32)
    for name in list(tensors)[::stride]:
        save_file({key: value for key, value in tensors.items() if key != name}, path)
        with pytest.raises(UserError, match=r"the adapter in .*tiny.safetensors' lacks tensors"):
            load_pipeline(preset, torch.float32)
    for extra in ("ip_adapter.99.to_k_ip.weight", "image_proj.extra"):
        save_file({**tensors, extra: torch.zeros(2)}, path)
        with pytest.raises(UserError, match=r"the adapter in .*tiny.safetensors'"):
            load_pipeline(preset, torch.float32)


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_a_pipelines_damaged_part_is_named(tmp_path: Path, part: str) -> None:
    preset = preset_of(tmp_path)
    (path,) = (tmp_path / "model" / part).glob("*.safetensors")
    tensors = load_file(path)
    tensors.pop(sorted(tensors)[0])
    save_file(tensors, path, {"format": "pt"})
    name = {"vae": "autoencoder"}.get(part, part)
    with pytest.raises(UserError, match=f"the {name} in '{tmp_path}/model' lacks tensors"):
        load_pipeline(preset, torch.float32)


@pytest.mark.parametrize("size", [None, [8, 8], "8"])
def test_a_model_without_one_image_size_is_one_sentence(tmp_path: Path, size: object) -> None:
    preset = preset_of(tmp_path)
    path = tmp_path / "model/unet/config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "sample_size": size}))
    with pytest.raises(UserError, match=r"how large its images are; .* --model-option size=512"):
        load_pipeline(preset, torch.float32)
    load_pipeline(replace(preset, size=16), torch.float32)


def test_a_model_without_a_tokenizer_is_one_sentence(tmp_path: Path) -> None:
    preset = preset_of(tmp_path)
    shutil.rmtree(tmp_path / "model/tokenizer")
    with pytest.raises(UserError, match=r"model' (has no tokenizer|cannot be loaded).* --model"):
        load_pipeline(preset, torch.float32)


def lora_tensors(preset: Any) -> Tensors:
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    unet = UNet2DConditionModel.from_pretrained(f"{preset.model}/unet")
    unet.add_adapter(LoraConfig(r=2, init_lora_weights=False, target_modules=["to_q", "to_v"]))
    return {f"unet.{name}": value.clone() for name, value in get_peft_model_state_dict(unet).items()}


@pytest.mark.parametrize("stride", [9, pytest.param(1, marks=pytest.mark.slow)])
def test_every_missing_tensor_of_a_lora_is_refused(tmp_path: Path, stride: int) -> None:
    preset = replace(preset_of(tmp_path), lora=str(tmp_path / "my-lora.safetensors"))
    tensors = lora_tensors(preset)
    path = tmp_path / "my-lora.safetensors"
    save_file(tensors, path)
    load_pipeline(preset, torch.float32)
    for name in list(tensors)[::stride]:
        save_file({key: value for key, value in tensors.items() if key != name}, path)
        with pytest.raises(UserError, match=r"my-lora.safetensors"):
            load_pipeline(preset, torch.float32)


@pytest.mark.parametrize(
    "content",
    [{"emb_params": torch.zeros(1, 16)}, {"unet.to_q.lora_A.weight": torch.full((2, 2), torch.nan)}],
)
def test_what_is_no_lora_is_named(tmp_path: Path, content: Tensors) -> None:
    path = tmp_path / "my-lora.safetensors"
    save_file(content, path)
    with pytest.raises(UserError, match=r"my-lora.safetensors"):
        load_pipeline(replace(preset_of(tmp_path), lora=str(path)), torch.float32)


class Hostile:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return exec, ("raise SystemExit('code of a pickle was run')",)


def test_pickled_files_are_read_as_weights_only(tmp_path: Path) -> None:
    torch.save(
        {"image_proj": {"a": torch.ones(2)}, "ip_adapter": {"b": torch.ones(1)}}, tmp_path / "fine.bin"
    )
    assert set(read_tensors(tmp_path / "fine.bin", "the adapter")) == {"image_proj.a", "ip_adapter.b"}
    (tmp_path / "hostile.bin").write_bytes(pickle.dumps(Hostile()))
    torch.save({"a": Hostile()}, tmp_path / "nested.bin")
    endless: dict[str, Any] = {"b": torch.ones(1)}
    endless["a"] = endless
    torch.save(endless, tmp_path / "endless.bin")
    for name in ("hostile.bin", "nested.bin", "endless.bin"):
        with pytest.raises(UserError, match="no readable file of weights"):
            read_tensors(tmp_path / name, "the adapter")


def test_a_models_own_code_is_never_asked_about(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`auto_map` names code of the folder; transformers would ask on stdin whether to run it."""
    from transformers import AutoModel

    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("a question was asked"))
    copy = tmp_path / "resnet"
    shutil.copytree(models / "resnet", copy)
    config = json.loads((copy / "config.json").read_text())
    code = {"AutoConfig": "code.Config", "AutoModel": "code.Model"}
    (copy / "code.py").write_text("raise SystemExit('code of a model was run')")
    (copy / "config.json").write_text(json.dumps({**config, "auto_map": code}))
    load_module(AutoModel, str(copy), "the backbone")
    (copy / "config.json").write_text(json.dumps({**config, "auto_map": code, "model_type": "unknown"}))
    with pytest.raises(ValueError, match="trust_remote_code"):
        load_module(AutoModel, str(copy), "the backbone")


def test_models_are_loaded_in_one_place_only() -> None:
    """So that every loader is strict, and none runs a model's own code."""
    package = Path(dalda.__file__).parent
    loaders = {"from_pretrained", "from_single_file", "load_file"}
    for file in package.rglob("*.py"):
        for node in ast.walk(tree_of(file)):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            if called.rpartition(".")[2] in loaders or called == "torch.load":
                where = f"{file.relative_to(package)}:{node.lineno} calls {called}"
                assert file.relative_to(package).as_posix() == "models/weights.py", where
                if called.endswith(".from_pretrained"):
                    assert any(ast.unparse(word) == "trust_remote_code=False" for word in node.keywords), (
                        where
                    )
