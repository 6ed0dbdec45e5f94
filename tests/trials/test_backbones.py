from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPTokenizer,
    ResNetConfig,
    ResNetModel,
    ViTImageProcessorPil,
)

from dalda.errors import UserError
from dalda.trials.backbones import Backbone, load_backbone


def pictures(count: int, side: int = 20) -> list[Image.Image]:
    generator = np.random.default_rng(0)
    return [
        Image.fromarray(generator.integers(0, 256, (side, side, 3), dtype=np.uint8)) for _ in range(count)
    ]


@pytest.fixture(scope="module")
def resnet_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("resnet")
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
    ResNetModel(config).save_pretrained(folder)
    processor = ViTImageProcessorPil(size={"height": 32, "width": 32})
    processor.save_pretrained(folder)
    return folder


def test_clip_features_are_the_projected_image_embeddings(backbone: Backbone, clip_folder: Path) -> None:
    images = pictures(3)
    model = CLIPModel.from_pretrained(clip_folder).eval()
    side = {"height": 16, "width": 16}
    processor = CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size=side)
    pixels = processor(images=images, return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        wanted = model.visual_projection(model.vision_model(pixels).pooler_output)
    torch.testing.assert_close(backbone.features(images), wanted)
    assert (backbone.size, backbone.dimensions) == (16, 24)


def test_the_head_starts_from_the_texts(backbone: Backbone, clip_folder: Path) -> None:
    start = backbone.head_start(["red", "blue"])
    tokens = CLIPTokenizer.from_pretrained(clip_folder)(["a photo of a blue"], return_tensors="pt")
    with torch.no_grad():
        wanted = CLIPModel.from_pretrained(clip_folder).get_text_features(**tokens).pooler_output
    assert start is not None
    torch.testing.assert_close(start[1:], wanted)


def test_any_image_model_of_transformers(resnet_folder: Path) -> None:
    found = load_backbone(str(resnet_folder))
    before = {key: value.clone() for key, value in found.model.state_dict().items()}
    assert found.features(pictures(70)).shape == (70, 16)
    assert found.head_start(["red"]) is None
    assert (found.size, found.dimensions, found.row.learning_rate) == (32, 16, 2e-4)
    # Batch-norm statistics of a frozen backbone stay.
    assert all(torch.equal(value, before[key]) for key, value in found.model.state_dict().items())


def test_features_do_not_depend_on_the_batch(resnet_folder: Path) -> None:
    found, images = load_backbone(str(resnet_folder)), pictures(5)
    alone = torch.cat([found.features([image]) for image in images])
    torch.testing.assert_close(found.features(images), alone, rtol=1e-4, atol=1e-5)


def test_no_images_no_features(backbone: Backbone) -> None:
    assert backbone.features([]).shape == (0, 24)


def test_the_fingerprint_is_of_the_weights(backbone: Backbone, clip_folder: Path, tmp_path: Path) -> None:
    assert load_backbone(str(clip_folder)).fingerprint == backbone.fingerprint
    other = CLIPModel.from_pretrained(clip_folder)
    with torch.no_grad():
        other.visual_projection.weight[0, 0] += 1
    other.save_pretrained(tmp_path)
    CLIPTokenizer.from_pretrained(clip_folder).save_pretrained(tmp_path)
    assert load_backbone("doodle", folder=tmp_path).fingerprint != backbone.fingerprint


def test_what_cannot_be_loaded_is_one_sentence(tmp_path: Path, clip_folder: Path) -> None:
    with pytest.raises(UserError, match="no weights of its own"):
        load_backbone("doodle")
    with pytest.raises(UserError, match="cannot be loaded"):
        load_backbone(str(tmp_path / "nothing"), local_files_only=True)
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="no CUDA device"):
            load_backbone("doodle", folder=clip_folder, device="cuda")


def test_torn_weights_are_one_sentence(resnet_folder: Path, tmp_path: Path) -> None:
    for file in resnet_folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes()[: 3000 if file.suffix != ".json" else None])
    with pytest.raises(UserError, match="cannot be loaded"):
        load_backbone(str(tmp_path))


def test_a_checkpoint_with_holes_is_refused(resnet_folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    for file in resnet_folder.glob("*.json"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(resnet_folder / "model.safetensors")
    weights.pop(next(key for key in weights if "convolution" in key))
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match="misses 1 weights"):
        load_backbone(str(tmp_path))
