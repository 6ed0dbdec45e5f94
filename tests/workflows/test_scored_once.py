"""Class names are read once per list, and each distinct image is looked at once."""

import hashlib
import weakref
from collections import Counter
from pathlib import Path

import pytest
import torch
from PIL import Image

from dalda.errors import UserError
from dalda.models.clip import BATCH, READERS, Clip
from dalda.models.presets import located, preset_named
from dalda.types import FewShotSplit, RealImage
from dalda.workflows.real_images import score_examples


def test_few_images_are_there_in_full_at_a_time() -> None:
    """They may be photographs of any size; what CLIP sees of them is small."""
    opened: list[weakref.ref[Image.Image]] = []
    at_once: list[int] = []

    def open_image(path: Path) -> Image.Image:
        image = Image.new("RGB", (90, 60), (int(path.stem), 0, 0))
        opened.append(weakref.ref(image))
        at_once.append(sum(one() is not None for one in list(opened)))
        return image

    scorer = Clip.load(located(preset_named("doodle").clip))
    items = [(Path(f"{number}.png"), 0) for number in range(BATCH + 20)]
    assert len(list(scorer.scores(items, ("car", "cat"), open_image))) == len(items)
    assert len(opened) == len(items)
    assert max(at_once) <= READERS + 1


def test_too_little_memory_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Clip, pixels: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Clip, "image_features", full)
    path = tmp_path / "0.png"
    Image.new("RGB", (32, 32)).save(path)
    image = RealImage(path, "car", hashlib.sha256(path.read_bytes()).hexdigest())
    split = FewShotSplit("folder", tmp_path, "train", 0, None, ("car", "cat"), (image,))
    with pytest.raises(UserError, match="not enough memory for CLIP"):
        score_examples(split, Clip.load(located(preset_named("doodle").clip)))


def test_nothing_is_scored_twice(tmp_path: Path) -> None:
    examples = []
    for number, colour in enumerate(("red", "blue", "red", "green")):
        path = tmp_path / f"{number}.png"
        Image.new("RGB", (32, 32), colour).save(path)
        examples.append(RealImage(path, "car", hashlib.sha256(path.read_bytes()).hexdigest()))
    split = FewShotSplit("folder", tmp_path, "train", 0, None, ("car", "cat"), tuple(examples))
    scorer = Clip.load(located(preset_named("doodle").clip))
    seen: Counter[str] = Counter()
    for name in ("text_model", "vision_model"):
        getattr(scorer.model, name).register_forward_hook(
            lambda module, inputs, output, name=name: seen.update({name: len(output.pooler_output)})
        )
    scores = score_examples(split, scorer)
    assert seen == {"text_model": 2, "vision_model": 3}
    assert scores[0] == scores[2]
