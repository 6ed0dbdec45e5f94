"""Backbones by the names that users give them: from the disk first, and every mistake in one sentence."""

from pathlib import Path

import huggingface_hub.constants as constants
import pytest
import torch
from PIL import Image
from transformers import BertConfig, BertModel, ConvNextImageProcessorPil, ResNetConfig, ResNetModel

from dalda.errors import UserError
from dalda.evaluation.backbones.base import Backbone
from dalda.evaluation.features import load_features
from dalda.models.presets import located, preset_named


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a Hub at an address where nobody answers."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("DALDA_CACHE", str(tmp_path / "features"))
    return tmp_path / "cache"


@pytest.fixture
def resnet(tmp_path: Path) -> Path:
    folder = tmp_path / "resnet"
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
    ResNetModel(config).save_pretrained(folder)
    ConvNextImageProcessorPil(size={"shortest_edge": 32}).save_pretrained(folder)
    return folder


def put(cache: Path, name: str, revision: str, folder: Path) -> None:
    """A model into the cache, as huggingface_hub lays it out."""
    place = cache / f"models--{name.replace('/', '--')}"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / revision).write_text("a" * 40)
    (place / "snapshots").mkdir()
    (place / "snapshots" / ("a" * 40)).symlink_to(folder, target_is_directory=True)


def test_a_backbone_in_the_cache_needs_no_network(cache: Path, resnet: Path) -> None:
    put(cache, "somebody/tiny", "v2", resnet)
    put(cache, "microsoft/resnet-50", "main", resnet)
    image = Image.new("RGB", (40, 40), "red")
    wanted = load_features(str(resnet), "cpu").backbone.extract([image])
    revised, row = load_features("somebody/tiny@v2", "cpu"), load_features("resnet50", "cpu")
    torch.testing.assert_close(revised.backbone.extract([image]), wanted)
    torch.testing.assert_close(row.backbone.extract([image]), wanted)
    found = (revised.backbone, row.backbone)
    assert [one.recipe.optimizer for one in found if isinstance(one, Backbone)] == ["adamw", "adam"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nobody/nothing", "the Hub cannot be reached"),
        ("nobody/nothing@v2", "--revision v2"),
        ("clip", "the model 'openai/clip-vit-base-patch16' is not complete on this disk"),
        ("no such name", "there is no backbone 'no such name'; name one of clip, resnet50, .* a Hub id"),
        ("scrtch", "there is no backbone 'scrtch'; did you mean 'scratch'"),
        ("Dinov2", "there is no backbone 'Dinov2'; did you mean 'dinov2'"),
    ],
)
def test_a_backbone_that_cannot_be_loaded_is_one_sentence(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_features(name, "cpu")


def test_torn_weights_are_one_sentence(resnet: Path) -> None:
    weights = resnet / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:3000])
    with pytest.raises(UserError, match=r"resnet' cannot be loaded .* Name another with --backbone"):
        load_features(str(resnet), "cpu")


def test_a_model_that_sees_no_images_is_one_sentence(resnet: Path, tmp_path: Path) -> None:
    config = BertConfig(
        vocab_size=10, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8
    )
    BertModel(config).save_pretrained(tmp_path / "bert")
    with pytest.raises(UserError, match="bert' cannot be loaded"):
        load_features(str(tmp_path / "bert"), "cpu")
    # With a preprocessing for images, it is only found out when it is to look at one.
    ConvNextImageProcessorPil(size={"shortest_edge": 32}).save_pretrained(tmp_path / "bert")
    with pytest.raises(UserError, match="bert' cannot be loaded"):
        load_features(str(tmp_path / "bert"), "cpu")


def test_a_clip_of_which_the_cache_holds_a_part_is_asked_for(cache: Path) -> None:
    """Without its preprocessing it would see other images than the whole model does."""
    clip = Path(located(preset_named("doodle").clip))
    put(cache, "somebody/clip", "main", clip)
    assert not (clip / "preprocessor_config.json").exists()
    assert load_features(str(clip), "cpu").backbone.size == 32
    with pytest.raises(UserError, match="is not complete on this disk"):
        load_features("somebody/clip", "cpu")
