"""What the tool does in the embedded world, as plain data that names nothing of its code.

    python tests/golden/record.py

writes behaviour.json again. Run it only when a change of behaviour is intended: the file shows
that none came in by accident. Only the first part knows the package, so a renaming touches that part alone.
"""

import hashlib
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

# --- The adapter: every name of the package that the fixtures need. ---------------------------------
from dalda import AugmentConfig, TrainConfig, augment, load_dataset, sample_few_shot, train
from dalda.generation.executors.local import LocalExecutor
from dalda.generation.image_encoding import Format
from dalda.methods.scale_policy import policy_named
from dalda.workflows.augment_plan import plan_augment
from dalda.workflows.synthetic_sets import synthetic_set

WORLD = "doodles"
SPLIT_STRATEGIES = ("original", "stratified")
MIXING = (
    "per-image-replacement",
    "global-replacement",
    "concatenation",
    "synthetic-only",
    "two-term-loss",
)
"""By their names of today; the fixtures keep them by number."""


def split(seed: int, shots: int | None, part: str, split_strategy: str) -> list[tuple[str, str]]:
    """(label, hash) of each real image of a part."""
    drawn = sample_few_shot(
        load_dataset(WORLD), part=part, seed=seed, shots=shots, split_strategy=split_strategy
    )
    return [(one.label, one.sha256) for one in drawn.images]


def planned(out: Path, scores: Sequence[float] | None = None, **settings: Any) -> list[dict[str, Any]]:
    """What would be generated for two images a class, three copies each; OUT is not written."""
    config = AugmentConfig(dataset=WORLD, shots=2, per_image=3, device="cpu", out=out, **settings)
    return [
        {
            "label": request.label,
            "source": request.source_sha256,
            "repeat": request.index,
            "prompt": request.prompt,
            "scale": request.ip_adapter_scale,
            "mean": request.ip_adapter_scale_mean,
            "score": request.source_clip_probability,
            "noise": request.seed,
        }
        for request in plan_augment(config, scores).plan.requests
    ]


def planned_as(kind: str, out: Path, scores: Sequence[float]) -> list[dict[str, Any]]:
    """The same with other ways to draw the scale: `random`, `fixed` at a half, or `clipped`."""
    if kind == "clipped":
        return planned(out, scores, ip_adapter_scale="adaptive", scale_sampling="clipped")
    return planned(out, ip_adapter_scale={"random": "uniform", "fixed": "0.5"}[kind])


def drawn_scale(kind: str, score: float, shots: int, seed: int) -> tuple[float, float | None]:
    """One scale and the mean it was drawn around; KIND is `truncated` or `clipped`."""
    weight = policy_named("adaptive", kind)(score, shots, np.random.default_rng(seed))
    return weight.ip_adapter_scale, weight.ip_adapter_scale_mean


def generate(out: Path) -> None:
    """One copy of each of two images a class, in four steps, four at a time.

    The files carry no mark of AI-generated images: they had none when the fixtures were made, and a
    classifier's views of an image are drawn from the hash of its file.
    """
    config = AugmentConfig(
        dataset=WORLD, shots=2, per_image=1, steps=4, batch_size=4, dtype="fp32", device="cpu", out=out
    )
    augment(config, executor=LocalExecutor(Format(".png", "PNG", {"compress_level": 1})))


def generated(out: Path) -> list[tuple[str, str, Path]]:
    """(label, source's hash, file) of each generated image."""
    return [(one.label, one.source_sha256, one.path) for one in synthetic_set(out).images]


def trained(out: Path, mixing: int, *, exact: bool = False) -> dict[str, Any]:
    """Accuracies by seed of the real images alone and with those in OUT, and how many were tested on."""
    short = {"epochs": 1, "iterations": 4, "seeds": 1, "feature_views": "online"}
    config = TrainConfig.model_validate(
        {
            "dataset": WORLD,
            "shots": 2,
            "synthetic": (out,),
            "mixing": MIXING[mixing],
            "backbone": "doodle",
            "device": "cpu",
            **(short if exact else {"epochs": 2, "iterations": 60, "seeds": 2, "feature_views": 2}),
        }
    )
    report = train(config)
    numbers = report.arms
    made = numbers[out.name]
    return {
        "real": list(numbers["real"].accuracy_by_seed.values()),
        "mixed": list(made.accuracy_by_seed.values()),
        "made_of": [made.real_images, made.synthetic_images],
        "tested_on": report.validation_images,
    }


# --- The fixtures: from here on nothing is named as in the package. ----------------------------------
FIXTURES = Path(__file__).with_name("behaviour.json")
COPIES = 3
GRID = tuple(
    (kind, score, shots, seed)
    for kind in ("truncated", "clipped")
    for shots in (1, 2, 4, 16)
    for score in (0.0, 0.1, 0.3, 0.31, 0.5, 0.8, 1.0)
    for seed in (0, 1)
)


def splits() -> dict[str, Any]:
    """The images to learn from, by rule and seed, and those to be tested on, hashed together."""
    found: dict[str, Any] = {}
    for number, split_strategy in enumerate(SPLIT_STRATEGIES):
        for seed in (0, 1):
            tested = split(seed, None, "val", split_strategy)
            digest = hashlib.sha256(json.dumps(tested).encode()).hexdigest()
            found[f"rule {number}, seed {seed}"] = {
                "few": [list(one) for one in split(seed, 2, "train", split_strategy)],
                "tested": {"count": len(tested), "sha256": digest},
            }
    return found


def plans() -> dict[str, Any]:
    """The plan in full by default, and the scales alone where these are drawn in other ways."""
    out = Path(tempfile.gettempdir(), "nothing-is-written-here")
    requests = planned(out)
    scores = [request["score"] for request in requests[::COPIES]]
    rounded = [
        {**request, **{key: round(request[key], 4) for key in ("scale", "mean", "score")}}
        for request in requests
    ]
    found: dict[str, Any] = {"default": rounded}
    for kind in ("random", "fixed", "clipped"):
        others = planned_as(kind, out, scores)
        same = ("label", "source", "repeat", "prompt", "noise")
        found[kind] = {
            "scales": [round(request["scale"], 4) for request in others],
            "else as by default": [[request[key] for key in same] for request in others]
            == [[request[key] for key in same] for request in requests],
        }
    return found


def scales() -> list[list[Any]]:
    """(kind, score, shots, seed, scale, mean) for a grid of scores."""
    found = []
    for kind, score, shots, seed in GRID:
        scale, mean = drawn_scale(kind, score, shots, seed)
        found.append([kind, score, shots, seed, round(scale, 6), None if mean is None else round(mean, 6)])
    return found


def pixels(out: Path) -> list[list[str]]:
    """(label, source, image) of each generated one; the image as 4 x 4 colours in hexadecimal."""
    found = []
    for label, source, path in generated(out):
        with Image.open(path) as image:
            small = image.convert("RGB").resize((4, 4), Image.Resampling.BOX)
        found.append([label, source, small.tobytes().hex()])
    return found


def accuracies(out: Path) -> dict[str, Any]:
    """Each way of mixing once, and fresh views at each step once."""
    found = {f"mixing {number}": trained(out, number) for number in range(len(MIXING))}
    return {**found, "fresh views": trained(out, 0, exact=True)}


def behaviour(out: Path) -> dict[str, Any]:
    """All fixtures; images are generated into OUT."""
    generate(out)
    return {
        "splits": splits(),
        "plans": plans(),
        "scales": scales(),
        "pixels": pixels(out),
        "accuracies": accuracies(out),
    }


def written(value: Any, indent: str = "") -> str:
    """JSON with a line for each innermost list or mapping, so that a change can be read."""
    inner = list(value.values()) if isinstance(value, dict) else value
    if not isinstance(inner, list) or not any(isinstance(one, dict | list) for one in inner):
        return json.dumps(value, ensure_ascii=False)
    names = [json.dumps(name) + ": " for name in value] if isinstance(value, dict) else [""] * len(inner)
    deeper = indent + " "
    lines = [deeper + name + written(one, deeper) for name, one in zip(names, inner, strict=True)]
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    return opening + "\n" + ",\n".join(lines) + "\n" + indent + closing


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = behaviour(Path(folder, "generated"))
    FIXTURES.write_text(written(found) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
