"""A small world for trials: coloured squares, and a random CLIP that sees their colours well enough."""

import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from hypothesis import settings
from PIL import Image
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from dalda.doodles.dataset import default_root, draw_dataset
from dalda.evaluation.backbones.clip import ClipBackbone
from dalda.evaluation.backbones.load import load_backbone
from dalda.evaluation.features import OpenImage
from dalda.progress import note
from dalda.types import FewShotSplit, RealImage, SyntheticImage

settings.register_profile("dalda", deadline=None)  # a busy machine is no fault
settings.load_profile("dalda")

COLOURS = {"red": (200, 40, 40), "green": (40, 180, 60), "blue": (40, 60, 200)}


@pytest.fixture(autouse=True)
def _new_process() -> None:
    """Remarks are made once in a process: each test is a new one."""
    note.cache_clear()


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip")
    words = ["a", "photo", "of", "red", "green", "blue"]
    letters = sorted({letter for word in words for letter in word})
    pieces = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    tokenizer = CLIPTokenizer(
        vocab={piece: number for number, piece in enumerate(pieces)}, merges=[], model_max_length=32
    )
    tokenizer.save_pretrained(folder)
    tower = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "projection_dim": 24,
    }
    ends = {
        "bos_token_id": len(pieces) - 2,
        "eos_token_id": len(pieces) - 1,
        "pad_token_id": len(pieces) - 1,
    }
    text = {**tower, **ends, "vocab_size": len(pieces), "max_position_embeddings": 32}
    vision = {**tower, "image_size": 16, "patch_size": 8}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=24)
        CLIPModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def backbone(clip_folder: Path) -> ClipBackbone:
    found = load_backbone(str(clip_folder))
    assert isinstance(found, ClipBackbone)
    return found


@pytest.fixture(scope="session")
def open_image() -> OpenImage:
    def read(path: Path, *, sha256: str = "", shorter: int = 0) -> Image.Image:
        assert sha256 in ("", hashlib.sha256(path.read_bytes()).hexdigest())
        with Image.open(path) as image:
            return image.convert("RGB")

    return read


Shape = tuple[int, int]
SQUARE = ((16, 16),)
"""As the random CLIP sees them: nothing to resize, nothing to crop."""


def generated(
    path: Path, colour: str, seed: int, shapes: Sequence[Shape] = SQUARE, noise: int = 40
) -> Path:
    """A noisy image of one colour, written as PNG; its shape (height, width) goes round with the seed."""
    generator = np.random.default_rng(seed)
    shape = shapes[seed % len(shapes)]
    pixels = np.array(COLOURS[colour]) + generator.integers(-noise, noise + 1, (*shape, 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
    return path


@pytest.fixture(scope="session")
def make_split(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., FewShotSplit]:
    root = tmp_path_factory.mktemp("colours")

    def make(part: str, per_class: int, seed: int = 0, shapes: Sequence[Shape] = SQUARE) -> FewShotSplit:
        examples = []
        for place, colour in enumerate(COLOURS):
            for number in range(per_class):
                name = f"{seed}-{number}.png"
                path = generated(
                    root / part / colour / name, colour, 10_000 * seed + 100 * place + number, shapes
                )
                sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
                examples.append(RealImage(path, colour, sha256))
        return FewShotSplit("colours", root, part, seed, per_class, tuple(COLOURS), tuple(examples))

    return make


@pytest.fixture(scope="session")
def make_synthetic(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[SyntheticImage, ...]]:
    root = tmp_path_factory.mktemp("synthetic")

    def make(
        split: FewShotSplit, copies: int, shapes: Sequence[Shape] = SQUARE
    ) -> tuple[SyntheticImage, ...]:
        synthetic = []
        for place, example in enumerate(split.images):
            for repeat in range(copies):
                name = f"{split.seed}-{place}-{repeat}"
                path = generated(
                    root / example.label / f"{name}.png", example.label, 7000 + 10 * place + repeat, shapes
                )
                synthetic.append(
                    SyntheticImage(
                        path, example.label, example.path, example.sha256, repeat, name, "a photo", 0.5, 0.9
                    )
                )
        return tuple(synthetic)

    return make


@pytest.fixture(scope="session")
def drawn_doodles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data set `doodles`, drawn once for all test processes; nobody writes to it."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    with FileLock(folder / "doodles.lock"):
        return draw_dataset(folder / default_root().name)


@pytest.fixture
def doodle_cache(drawn_doodles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own, empty but for the drawn doodles."""
    folder = tmp_path / "cache"
    shutil.copytree(drawn_doodles, folder / drawn_doodles.name, copy_function=os.link)
    monkeypatch.setenv("DALDA_CACHE", str(folder))
    return folder
