import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import dalda.doodles
from dalda.doodles.dataset import SIZES, doodle_of, draw_dataset
from dalda.doodles.draw import SIZE, draw_doodle, random_doodle
from dalda.doodles.shapes import SHAPES
from dalda.doodles.vocabulary import BACKGROUNDS, CLASSES, COLOURS, FAMILIAR, UNFAMILIAR, Doodle
from doodle_training import vision
from doodle_training.captions import VAGUE, caption, vocabulary
from doodle_training.denoiser import Batches, Stage, adapter_file, add_adapter, load_adapter, new_unet
from doodle_training.images import DRAWN, NAMELESS, NAMES
from doodle_training.other_things import OTHER_THINGS
from doodle_training.vision import measure_vision

WEIGHTS = Path(dalda.doodles.__file__).parent / "weights"
SHIPPED_ADAPTER = WEIGHTS / "ip_adapter/models/ip-adapter_doodle.safetensors"


def test_eight_classes_are_known_and_four_are_not() -> None:
    assert (len(FAMILIAR), len(UNFAMILIAR), len(CLASSES)) == (8, 4, 12)
    assert set(SHAPES) == set(CLASSES)
    assert len(OTHER_THINGS) >= 24
    assert not OTHER_THINGS.keys() & DRAWN.keys()


@pytest.mark.parametrize("name", [*DRAWN, *OTHER_THINGS])
def test_every_thing_is_drawn_the_same_from_the_same_seed(name: str) -> None:
    shapes = {**DRAWN, **OTHER_THINGS}
    doodle = random_doodle(np.random.default_rng(1), name)
    first = draw_doodle(doodle, np.random.default_rng(2), shapes)
    assert first.shape == (SIZE, SIZE, 3)
    assert np.array_equal(first, draw_doodle(doodle, np.random.default_rng(2), shapes))
    assert not np.array_equal(first, draw_doodle(doodle, np.random.default_rng(3), shapes))


@pytest.mark.parametrize("name", [*SHAPES, *OTHER_THINGS])
def test_outlines_stay_near_the_unit_square(name: str) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        corners = np.vstack([outline for _, outline in {**SHAPES, **OTHER_THINGS}[name](rng)])
        assert np.abs(corners).max() < 1.3
        assert np.ptp(corners, axis=0).min() > 0.55


@pytest.fixture(scope="module")
def training_images(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Thirty images of ten things; an image's number is its latent, its thing is in its embedding."""
    folder = tmp_path_factory.mktemp("training")
    things = np.repeat([*range(9), NAMES.index(NAMELESS)], 3)
    np.savez(folder / "train.npz", labels=things[:, None], captions=np.full((30, 4), "a red car"))
    numbers = torch.arange(30.0)
    embeds = torch.stack([numbers, torch.from_numpy(things).float()], 1)
    save_file({"latents": numbers[:, None].clone(), "embeds": embeds}, folder / "cache.safetensors")
    return folder / "train.npz", folder / "cache.safetensors"


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_an_image_prompt_may_be_another_drawing_of_the_same_thing(
    training_images: tuple[Path, Path], tmp_path: Path, share: float
) -> None:
    stage = Stage(tmp_path, 9, 1e-3, 0.75, share, batch=400, processes=1)
    drawn = Batches(training_images[0], WEIGHTS / "clip", training_images[1], stage, 0)(3)
    prompt, thing = drawn["image"][drawn["image"].abs().sum(1) > 0].T  # others are zero, for guidance
    image = drawn["latents"][drawn["image"].abs().sum(1) > 0, 0]
    assert torch.equal(
        thing, torch.from_numpy(np.repeat([*range(9), NAMES.index(NAMELESS)], 3))[image.int()]
    )
    named = thing != NAMES.index(NAMELESS)
    assert torch.equal(prompt[~named], image[~named])
    # Of three drawings one is the image itself.
    assert float((prompt != image)[named].float().mean()) == pytest.approx(share * 2 / 3, abs=0.08)
    again = Batches(training_images[0], WEIGHTS / "clip", training_images[1], stage, 0)(3)
    assert all(torch.equal(value, again[name]) for name, value in drawn.items())


def test_an_adapter_goes_on_from_its_file() -> None:
    unets = [new_unet(), new_unet()]
    for unet in unets:
        add_adapter(unet)
    weights = adapter_file(unets[0])
    load_adapter(unets[1], weights)
    assert weights.keys() == load_file(SHIPPED_ADAPTER).keys()
    assert all(torch.equal(value, weights[name]) for name, value in adapter_file(unets[1]).items())


def test_things_differ_from_their_background() -> None:
    for name in CLASSES:
        car = Doodle(name, "purple", "snow", "left")
        image = draw_doodle(car, np.random.default_rng(0)).astype(int)
        corner, middle = image[:3, :3].mean(axis=(0, 1)), image.reshape(-1, 3)
        assert (np.abs(middle - corner).max(axis=1) > 60).mean() > 0.1


def test_captions_name_the_known_and_mostly_not_the_unknown() -> None:
    rng = np.random.default_rng(0)
    captions = [caption(random_doodle(rng, "car"), rng) for _ in range(50)]
    assert all(" car" in line for line in captions)
    captions = [caption(random_doodle(rng, "hourglass"), rng) for _ in range(1000)]
    named = sum("hourglass" in line for line in captions)
    assert 20 < named < 90
    assert all(any(word in line.split() for word in VAGUE) for line in captions if "hourglass" not in line)


def test_every_word_of_a_caption_has_a_token() -> None:
    known, rng = set(vocabulary()), np.random.default_rng(0)
    for _ in range(500):
        words = caption(random_doodle(rng), rng).replace(",", "").split()
        assert set(words) <= known


def test_train_is_narrow_and_val_is_the_whole_world() -> None:
    for name in CLASSES:
        train = [doodle_of("train", name, number)[0] for number in range(SIZES["train"])]
        assert len({one.background for one in train}) == 1
        assert len({one.colour for one in train}) == 2
    val = [doodle_of("val", "car", number)[0] for number in range(SIZES["val"])]
    assert {one.background for one in val} == set(BACKGROUNDS)
    assert {one.colour for one in val} == set(COLOURS)


def test_the_data_set_is_drawn_once_and_fixed(tmp_path: Path) -> None:
    draw_dataset(tmp_path)
    paths = sorted(tmp_path.rglob("*.png"))
    assert len(paths) == len(CLASSES) * sum(SIZES.values())
    kept = paths[0].read_bytes()
    paths[0].unlink()
    stamp = paths[1].stat().st_mtime_ns
    draw_dataset(tmp_path)
    assert paths[0].read_bytes() == kept
    assert paths[1].stat().st_mtime_ns == stamp
    doodle, rng = doodle_of("train", "boat", 0)
    assert np.array_equal(
        np.asarray(Image.open(tmp_path / "train/boat/0000.png")), draw_doodle(doodle, rng)
    )


def test_training_images_of_the_iid_set_are_drawn_like_the_validation_images() -> None:
    train = [doodle_of("train-iid", "car", number)[0] for number in range(SIZES["train"])]
    assert len({one.background for one in train}) > 4
    assert len({one.colour for one in train}) > 4
    val = [doodle_of("val", "car", number)[0] for number in range(SIZES["train"])]
    assert train != val


def test_the_vision_backbone_tells_classes_apart_that_it_never_saw() -> None:
    """The shipped weights give what the model card says: a linear probe near the ceiling."""
    assert measure_vision(WEIGHTS / "vision") == json.loads((WEIGHTS / "vision/metrics.json").read_text())
    figures = measure_vision(WEIGHTS / "vision").values()
    assert min(figures) > 0.95
    assert sum(path.stat().st_size for path in (WEIGHTS / "vision").iterdir()) < 3e6


def test_the_training_of_the_vision_backbone_resumes_with_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"PER_THING": 8, "BATCH": 8, "SAVE_EVERY": 2}.items():
        monkeypatch.setattr(vision, name, value)
    monkeypatch.setattr(vision, "STEPS", 4)
    vision.train_vision(tmp_path / "unbroken", 1)

    steps = iter(range(3))

    def pixels(images: np.ndarray) -> torch.Tensor:
        if next(steps, None) is None:
            raise KeyboardInterrupt
        return whole(images)

    whole = vision.pixels
    with monkeypatch.context() as patch:
        patch.setattr(vision, "pixels", pixels)
        with pytest.raises(KeyboardInterrupt):
            vision.train_vision(tmp_path / "broken", 1)
    vision.train_vision(tmp_path / "broken", 1)
    first, second = (tmp_path / name / "export/model.safetensors" for name in ("unbroken", "broken"))
    assert first.read_bytes() == second.read_bytes()
