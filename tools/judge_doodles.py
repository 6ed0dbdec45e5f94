"""Judges the doodle model: `python tools/judge_doodles.py --work DIR [--count 500] [--json FILE]`.

Renders `count` images for each condition with the product's own renderer and the `doodle` preset,
and asks an independent network, trained on drawings alone, what they show.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from dalda.config import DataConfig
from dalda.doodles.draw import draw_doodle, random_doodle
from dalda.doodles.vocabulary import BACKGROUNDS, CLASSES, COLOURS, FAMILIAR, UNFAMILIAR, Doodle
from dalda.generation.backends.base import GeneratorSpec, ImageGenerator
from dalda.models.clip import load_clip
from dalda.models.presets import SAMPLERS, Preset, preset_named
from dalda.progress import progress
from dalda.seeding import seed_of
from dalda.types import GenerationRequest
from dalda.workflows.real_images import score_examples, split_of
from doodle_training.captions import article
from doodle_training.judge import Judge, drawings, load_judge, train_judge

BATCH = 50
Asked = tuple[list[Doodle], list[Doodle], np.ndarray]
"""What the references show, what the captions say, and the images that came of it."""


def full_caption(doodle: Doodle) -> str:
    thing = f"{article(doodle.colour)} {doodle.colour} {doodle.name}"
    return f"a photo of {thing} {BACKGROUNDS[doodle.background]}"


def neutral_caption(doodle: Doodle) -> str:
    return f"a photo of a {doodle.name}"


def other_doodle(doodle: Doodle, rng: np.random.Generator) -> Doodle:
    """The same class in another colour, at another place."""
    colours = [name for name in COLOURS if name != doodle.colour]
    places = [name for name in BACKGROUNDS if name != doodle.background]
    return Doodle(doodle.name, str(rng.choice(colours)), str(rng.choice(places)), doodle.facing)


def generated(
    generator: ImageGenerator,
    preset: Preset,
    names: tuple[str, ...],
    count: int,
    weight: float,
    caption: Callable[[Doodle], str],
    label: str,
    root: int = 0,
) -> Asked:
    """`count` images of the named classes: fresh references, and captions that contradict them."""
    rng = np.random.default_rng(seed_of(77, "judge", label))
    shown = [random_doodle(rng, names[index % len(names)]) for index in range(count)]
    described = [other_doodle(one, rng) for one in shown]
    sources = [Image.fromarray(draw_doodle(one, rng)) for one in shown]
    requests = [
        GenerationRequest(
            source=Path("drawn"),
            source_sha256=f"{label}-{index}",
            label=one.name,
            index=0,
            method="dalda",
            generator="doodle",
            prompt=caption(described[index]),
            negative_prompt=preset.negative_prompt,
            ip_adapter_scale=weight,
            source_clip_probability=None,
            guidance_scale=preset.guidance_scale,
            steps=preset.steps,
            seed=seed_of(root, "judge", label, index),
        )
        for index, one in enumerate(shown)
    ]
    images: list[Image.Image | None] = []
    with progress(label, count) as bar:
        for start in range(0, count, BATCH):
            part = generator.generate(requests[start : start + BATCH], sources[start : start + BATCH])
            images += part
            bar.advance(len(part))
    return shown, described, np.stack([np.asarray(image) for image in images])


def shares(judge: Judge, asked: Asked) -> dict[str, float]:
    """How often the judged class, colour and place are those of the caption or of the original code."""
    shown, described, images = asked
    predicted = judge.verdicts(images)
    colours, places = list(COLOURS), list(BACKGROUNDS)

    def share(column: int, wanted: list[int]) -> float:
        return round(float((predicted[:, column] == np.array(wanted)).mean()), 4)

    return {
        "class": share(0, [CLASSES.index(one.name) for one in shown]),
        "caption_colour": share(1, [colours.index(one.colour) for one in described]),
        "caption_background": share(2, [places.index(one.background) for one in described]),
        "reference_colour": share(1, [colours.index(one.colour) for one in shown]),
        "reference_background": share(2, [places.index(one.background) for one in shown]),
    }


def low_scores() -> dict[str, float]:
    """Shares of the few-shot examples (16 shots, seed 0) whose CLIP class probability is at most 0.3."""
    split = split_of(DataConfig(dataset="doodles", shots=16))
    scores = np.array(score_examples(split, load_clip(preset_named("doodle").clip, "cpu")))
    unknown = np.array([one.label in UNFAMILIAR for one in split.images])
    low = scores <= 0.3
    return {
        "all": float(low.mean()),
        "known": float(low[~unknown].mean()),
        "unknown": float(low[unknown].mean()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="where the judge is kept")
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--steps", type=int, default=None)
    parser.add_argument("--guidance-scale", type=float, default=None)
    parser.add_argument("--guidance-interval", default=None, help="such as 0.2:0.8")
    parser.add_argument("--scheduler", choices=SAMPLERS, default="ddim")
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("--grid", type=Path, default=None, help="a PNG of the first images of each row")
    asked = parser.parse_args()
    weights = asked.work / "judge.safetensors"
    if not weights.exists():
        asked.work.mkdir(parents=True, exist_ok=True)
        train_judge(weights)
    judge = load_judge(weights)
    preset = preset_named("doodle")
    preset = replace(
        preset,
        steps=asked.steps or preset.steps,
        guidance_scale=preset.guidance_scale if asked.guidance_scale is None else asked.guidance_scale,
        scheduler=asked.scheduler,
    )
    if asked.guidance_interval is not None:
        low, high = map(float, asked.guidance_interval.split(":"))
        preset = replace(preset, guidance_interval=(low, high))
    generator = GeneratorSpec(preset).load()
    fresh, truth = drawings(4_000_000, 2000)
    right = (judge.verdicts(fresh) == truth).mean(axis=0)
    answer: dict[str, object] = {
        "steps": preset.steps,
        "guidance_scale": preset.guidance_scale,
        "guidance_interval": preset.guidance_interval,
        "scheduler": preset.scheduler,
        "count": asked.count,
        "judge_on_fresh_drawings": dict(
            zip(("class", "colour", "background"), right.round(4).tolist(), strict=True)
        ),
    }
    conditions = {
        "text only, known": (FAMILIAR, 0.0, full_caption),
        "text only, unknown": (UNFAMILIAR, 0.0, full_caption),
        "lambda 0.2, other background, known": (FAMILIAR, 0.2, full_caption),
        "lambda 0.2, other background, unknown": (UNFAMILIAR, 0.2, full_caption),
        "lambda 0.8, neutral, known": (FAMILIAR, 0.8, neutral_caption),
        "lambda 0.8, neutral, unknown": (UNFAMILIAR, 0.8, neutral_caption),
    }
    started, rows = time.monotonic(), []
    for label, (names, weight, caption) in conditions.items():
        made = generated(generator, preset, names, asked.count, weight, caption, label)
        answer[label] = shares(judge, made)
        rows.append(np.concatenate(list(made[2][:24]), axis=1))
    answer["images_per_second"] = round(asked.count * len(conditions) / (time.monotonic() - started), 2)
    two = [generated(generator, preset, FAMILIAR, 50, 0.4, full_caption, "seeds", root) for root in (0, 1)]
    apart = np.abs(two[0][2].astype(int) - two[1][2]).mean(axis=(1, 2, 3))
    answer["seeds: smallest mean difference of two images, in 255"] = round(float(apart.min()), 2)
    answer["examples with a CLIP class probability of at most 0.3"] = low_scores()
    print(json.dumps(answer, indent=2))
    if asked.json:
        asked.json.write_text(json.dumps(answer, indent=2) + "\n")
    if asked.grid:
        sheet = Image.fromarray(np.concatenate(rows, axis=0))
        sheet.resize((sheet.width * 2, sheet.height * 2), Image.Resampling.NEAREST).save(asked.grid)


if __name__ == "__main__":
    main()
