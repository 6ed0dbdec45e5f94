"""A synthetic set as `dalda augment` leaves it, but of drawn images: for tests and benchmarks."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from dalda.doodles.draw import draw_doodle, random_doodle
from dalda.doodles.vocabulary import CLASSES
from dalda.generation.folder_names import folder_name
from dalda.models.presets import preset_named
from dalda.seeding import generator_of


def drawn_set(
    folder: Path,
    classes: Sequence[str] = CLASSES,
    *,
    sources: int = 2,
    copies: int = 5,
    size: int = 32,
    scored: bool = False,
) -> Path:
    """Makes `folder`/out from `folder`/real: per class `sources` images, and `copies` of each.

    All are of `size` pixels. With `scored` the settings name a CLIP model, to look for doubtful ones.
    """
    out = folder / "out"
    lines = []
    for label in classes:
        for number in range(sources):
            source = folder / "real" / folder_name(label) / f"{number:05}.png"
            sha256 = _draw(source, size, label, number)
            scale = generator_of(0, "score", label, number)
            score = round(float(scale.uniform(0.05, 1)), 5)
            for repeat in range(copies):
                request_id = hashlib.sha256(f"{label} {number} {repeat}".encode()).hexdigest()[:20]
                name = f"{folder_name(label)}/{request_id}.png"
                _draw(out / "train" / name, size, label, number, repeat)
                lines.append(
                    {
                        **{"file_name": name, "label": label, "source": source.as_posix()},
                        **{
                            "source_sha256": sha256,
                            "index": repeat,
                            "request_id": request_id,
                            "source_clip_probability": score,
                        },
                        "prompt": f"a photo of a {label} in a place of its own, number {repeat}",
                        "ip_adapter_scale": round(float(scale.uniform(0.1, 0.9)), 4),
                    }
                )
    (out / "train" / "metadata.jsonl").write_text(
        "".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8"
    )
    preset = {"clip": preset_named("doodle").clip} if scored else {}
    settings = {"dataset": "drawn", "model": "doodle", "preset": preset}
    (out / "dalda.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    return out


def _draw(path: Path, size: int, label: str, *labels: int) -> str:
    rng = generator_of(0, "picture", label, *labels)
    shown = label if label in CLASSES else str(rng.choice(np.array(CLASSES)))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(draw_doodle(random_doodle(rng, shown), rng)).resize((size, size)).save(
        path, compress_level=1
    )
    return hashlib.sha256(path.read_bytes()).hexdigest()
