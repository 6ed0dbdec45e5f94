import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    BitImageProcessorPil,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPTokenizer,
    ConvNextImageProcessorPil,
    Dinov2Config,
    Dinov2Model,
    ResNetConfig,
    ResNetModel,
    ViTConfig,
    ViTImageProcessorPil,
    ViTModel,
)

from dalda.errors import UserError
from dalda.evaluation.backbones.base import Backbone, ZeroShot
from dalda.evaluation.backbones.clip import ClipBackbone
from dalda.evaluation.backbones.load import from_transformers, load_backbone
from dalda.evaluation.backbones.table import ROWS, HeadRecipe, Row
from dalda.evaluation.backbones.vision import VisionBackbone
from dalda.evaluation.heads.linear import Heads
from dalda.evaluation.trial import Schedule


def drawn_images(count: int, side: int = 20) -> list[Image.Image]:
    generator = np.random.default_rng(0)
    return [
        Image.fromarray(generator.integers(0, 256, (side, side, 3), dtype=np.uint8)) for _ in range(count)
    ]


@pytest.fixture(scope="module")
def resnet_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("resnet")
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        ResNetModel(config).save_pretrained(folder)
    ConvNextImageProcessorPil(size={"shortest_edge": 32}, crop_pct=0.875).save_pretrained(folder)
    return folder


def test_clip_features_are_the_projected_image_embeddings(
    backbone: ClipBackbone, clip_folder: Path
) -> None:
    images = drawn_images(3)
    model = CLIPModel.from_pretrained(clip_folder).eval()
    side = {"height": 16, "width": 16}
    processor = CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size=side)
    pixels = processor(images=images, return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        wanted = model.visual_projection(model.vision_model(pixels).pooler_output)
    torch.testing.assert_close(backbone.extract(images), wanted)
    assert (backbone.size, backbone.dimensions) == (16, 24)


def test_the_head_starts_from_the_texts(backbone: ClipBackbone, clip_folder: Path) -> None:
    start = backbone.text_features(["red", "blue"])
    tokens = CLIPTokenizer.from_pretrained(clip_folder)(["a photo of a blue"], return_tensors="pt")
    with torch.no_grad():
        wanted = CLIPModel.from_pretrained(clip_folder).get_text_features(**tokens).pooler_output
    torch.testing.assert_close(start[1:], wanted)


def test_any_image_model_of_transformers(resnet_folder: Path) -> None:
    found = load_backbone(str(resnet_folder))
    assert isinstance(found, VisionBackbone)
    before = {key: value.clone() for key, value in found.model.state_dict().items()}
    assert found.extract(drawn_images(70)).shape == (70, 16)
    assert not isinstance(found, ZeroShot)
    assert (found.size, found.dimensions, found.recipe.learning_rate) == (32, 16, 2e-4)
    # Batch-norm statistics of a frozen backbone stay.
    assert all(torch.equal(value, before[key]) for key, value in found.model.state_dict().items())


def test_features_do_not_depend_on_the_batch(resnet_folder: Path) -> None:
    found, images = load_backbone(str(resnet_folder)), drawn_images(5)
    alone = torch.cat([found.extract([image]) for image in images])
    torch.testing.assert_close(found.extract(images), alone, rtol=1e-4, atol=1e-5)


def test_no_images_no_features(backbone: ClipBackbone) -> None:
    assert backbone.extract([]).shape == (0, 24)


def copied(folder: Path, to: Path, **settings: object) -> Path:
    """The same model in another place, its config with other settings."""
    shutil.copytree(folder, to)
    config = json.loads((to / "config.json").read_text())
    config |= settings
    (to / "config.json").write_text(json.dumps(config))
    return to


def test_the_fingerprint_is_of_the_weights(
    backbone: ClipBackbone, clip_folder: Path, tmp_path: Path
) -> None:
    elsewhere = copied(clip_folder, tmp_path / "copy", transformers_version="4.0.0", dtype="float64")
    assert load_backbone(str(elsewhere)).fingerprint == backbone.fingerprint
    other = CLIPModel.from_pretrained(clip_folder)
    with torch.no_grad():
        other.visual_projection.weight[0, 0] += 1
    other.save_pretrained(tmp_path / "other")
    CLIPTokenizer.from_pretrained(clip_folder).save_pretrained(tmp_path / "other")
    assert load_backbone(str(tmp_path / "other")).fingerprint != backbone.fingerprint


def test_the_fingerprint_is_of_the_models_settings(
    backbone: ClipBackbone, clip_folder: Path, resnet_folder: Path, tmp_path: Path
) -> None:
    """What no weight shows changes features all the same."""
    vision = json.loads((clip_folder / "config.json").read_text())["vision_config"]
    changes: list[dict[str, object]] = [
        {"num_attention_heads": 4},
        {"hidden_act": "gelu"},
        {"layer_norm_eps": 1e-2},
    ]
    seen = {backbone.fingerprint}
    for number, change in enumerate(changes):
        folder = copied(clip_folder, tmp_path / str(number), vision_config={**vision, **change})
        other = load_backbone(str(folder))
        assert not torch.equal(other.extract(drawn_images(1)), backbone.extract(drawn_images(1)))
        seen.add(other.fingerprint)
    assert len(seen) == 1 + len(changes)
    resnet = copied(resnet_folder, tmp_path / "resnet", hidden_act="gelu")
    assert load_backbone(str(resnet)).fingerprint != load_backbone(str(resnet_folder)).fingerprint


def test_the_row_of_resnet50(resnet_folder: Path) -> None:
    """Pooled over positions, Adam without decay, and the model's own preprocessing."""
    found = from_transformers("resnet50", str(resnet_folder), ROWS["resnet50"], "cpu")
    assert ROWS["resnet50"] == Row("microsoft/resnet-50", HeadRecipe("adam", 1e-4, 0.0))
    assert isinstance(found, Backbone)
    assert found.recipe == ROWS["resnet50"].recipe
    optimizer = Heads([(torch.zeros(2, 16), torch.zeros(2))], Schedule(), found.recipe).optimizer
    assert type(optimizer) is torch.optim.Adam
    assert (optimizer.defaults["lr"], optimizer.defaults["weight_decay"]) == (1e-4, 0.0)
    processor = ConvNextImageProcessorPil.from_pretrained(resnet_folder)
    pixels = processor(images=drawn_images(2, 50), return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        hidden = ResNetModel.from_pretrained(resnet_folder).eval()(pixels).last_hidden_state
    assert hidden.shape[2:] != (1, 1)
    torch.testing.assert_close(found.extract(drawn_images(2, 50)), hidden.mean((2, 3)))


def test_the_row_of_dinov2(tmp_path: Path) -> None:
    """The class token, AdamW, and resize and crop as the model wants them."""
    config = Dinov2Config(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        Dinov2Model(config).save_pretrained(tmp_path)
    processor = BitImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 28, "width": 28})
    processor.save_pretrained(tmp_path)
    found = from_transformers("dinov2", str(tmp_path), ROWS["dinov2"], "cpu")
    assert ROWS["dinov2"] == Row("facebook/dinov2-base", HeadRecipe("adamw", 2e-4, 0.1))
    assert isinstance(found, Backbone)
    assert found.recipe == ROWS["dinov2"].recipe
    assert (found.size, found.dimensions) == (28, 16)
    pixels = processor(images=drawn_images(2, 50), return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        hidden = Dinov2Model.from_pretrained(tmp_path).eval()(pixels).last_hidden_state
    torch.testing.assert_close(found.extract(drawn_images(2, 50)), hidden[:, 0])


def test_the_row_of_clip(clip_folder: Path, backbone: ClipBackbone) -> None:
    found = from_transformers("clip", str(clip_folder), ROWS["clip"], "cpu")
    assert ROWS["clip"] == Row(
        "openai/clip-vit-base-patch16", HeadRecipe("adamw", 2e-4, 0.1), reads_text=True
    )
    assert isinstance(found, Backbone)
    assert found.recipe == ROWS["clip"].recipe
    assert isinstance(found, ZeroShot)
    torch.testing.assert_close(found.extract(drawn_images(2)), backbone.extract(drawn_images(2)))


def test_a_checkpoint_with_holes_is_refused(resnet_folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    for file in resnet_folder.glob("*.json"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(resnet_folder / "model.safetensors")
    weights.pop(next(key for key in weights if "convolution" in key))
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match="lacks tensors"):
        load_backbone(str(tmp_path))


def test_a_model_saved_without_its_pooler_gets_no_random_one(tmp_path: Path) -> None:
    vit = ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, image_size=32
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        ViTModel(vit, add_pooling_layer=False).save_pretrained(tmp_path)
    ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    first, second = load_backbone(str(tmp_path)), load_backbone(str(tmp_path))
    torch.testing.assert_close(first.extract(drawn_images(2)), second.extract(drawn_images(2)))
    assert first.fingerprint == second.fingerprint
