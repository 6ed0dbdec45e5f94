"""A synthetic set without a model: drawings in place of renderings, written by the real store."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dalda.captions.templates import article
from dalda.doodles.draw import draw_doodle, random_doodle
from dalda.doodles.vocabulary import CLASSES
from dalda.generation.folder_names import folder_name
from dalda.generation.image_encoding import FORMATS, encode
from dalda.generation.records import Dropped, Finished
from dalda.generation.synthetic_dataset import SyntheticDataset
from dalda.methods.scale_policy import adaptive
from dalda.seeding import generator_of
from dalda.types import GenerationRequest

SETTINGS = {
    "dataset": "doodles",
    "split_strategy": "original",
    "model": "doodle",
    "method": "dalda",
    "ip_adapter_scale": "adaptive",
    "scale_sampling": "truncated",
    "preset": {
        "model": "shipped:doodles/weights/model",
        "clip": "shipped:doodles/weights/clip",
        "prompt_prefix": "",
        "steps": 12,
    },
    "execution": {"batch_size": "auto", "device": "cpu"},
    "versions": {"dalda": "0.1.0"},
}
BATCH = 100


def drawn_set(
    root: Path,
    *,
    labels: Sequence[str] = CLASSES[:3],
    sources: int = 2,
    copies: int = 2,
    drop: int = 0,
    size: int | None = None,
    **settings: Any,
) -> Path:
    """A set in ROOT/out whose real images lie in ROOT/real; the last `drop` requests are dropped.

    A label is drawn as the doodle of its place in the list, whatever it is called. With `size`, images
    are enlarged to that many pixels, in noise that no compression can help.
    """
    extent = {"per_image": copies, "shots": sources, "seed": 0, "real_images": len(labels) * sources}
    store = SyntheticDataset.open(root / "out", {**SETTINGS, "extent": extent, **settings})
    requests: list[GenerationRequest] = []
    batch: list[Finished] = []
    dropped: list[Dropped] = []
    total = len(labels) * sources * copies
    with store.held():
        for place, label in enumerate(labels):
            for number in range(sources):
                source, sha256 = _real(root / "real", label, place, number, size)
                for repeat in range(copies):
                    request, image = _made(label, place, number, repeat, source, sha256, sources, size)
                    requests.append(request)
                    if len(requests) > total - drop:
                        dropped.append(Dropped(request, "of one colour", request.seed))
                    else:
                        batch.append(Finished(request, encode(image, FORMATS["png"]), request.seed))
                    if len(batch) == BATCH:
                        store.add(batch)
                        batch = []
        store.add(batch, dropped)
        store.settle(requests)
    return root / "out"


def _real(root: Path, label: str, place: int, number: int, size: int | None) -> tuple[Path, str]:
    path = root / folder_name(label) / f"{number}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    _drawn(generator_of(0, "real", place, number), place, size)[0].save(path)
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


def _made(
    label: str,
    place: int,
    number: int,
    repeat: int,
    source: Path,
    sha256: str,
    shots: int,
    size: int | None,
) -> tuple[GenerationRequest, Image.Image]:
    rng = generator_of(0, "made", place, number, repeat)
    image, words = _drawn(rng, place, size)
    score = round(float(generator_of(0, "score", place, number).random()), 5)
    weight = adaptive()(score, shots, rng)
    request = GenerationRequest(
        source=source,
        source_sha256=sha256,
        label=label,
        index=repeat,
        method="dalda",
        generator="doodle",
        prompt=f"a photo of {article(words)} {words} {label}",
        negative_prompt="",
        ip_adapter_scale=weight.ip_adapter_scale,
        ip_adapter_scale_mean=weight.ip_adapter_scale_mean,
        source_clip_probability=score,
        guidance_scale=3.0,
        steps=12,
        seed=place * 10_000 + number * 100 + repeat,
    )
    return request, image


def _drawn(rng: np.random.Generator, place: int, size: int | None) -> tuple[Image.Image, str]:
    doodle = random_doodle(rng, CLASSES[place % len(CLASSES)])
    image = Image.fromarray(draw_doodle(doodle, rng))
    if size is not None:
        large = np.asarray(image.resize((size, size)), np.int16)
        noise = rng.integers(-40, 40, large.shape)
        image = Image.fromarray((large + noise).clip(0, 255).astype(np.uint8))
    return image, doodle.colour
