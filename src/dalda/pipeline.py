"""The stages, joined: one short function each. The only file that knows them all."""

import hashlib
import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dalda.answers import AugmentReport, Bounds, Preview, TrainReport
from dalda.config import AugmentConfig, DataConfig, TrainConfig
from dalda.data.catalog import Catalog, caption_name, read_catalog, read_folder
from dalda.data.fewshot import draw_split
from dalda.data.images import check_image, open_image
from dalda.errors import UserError
from dalda.guidance.policy import policy_named
from dalda.progress import progress, say
from dalda.prompts.book import assign_captions, read_book, write_book
from dalda.prompts.grammar import grammar_captions
from dalda.prompts.words import DOODLES as DOODLE_WORDS
from dalda.prompts.words import PHOTOS
from dalda.records import Job, Outcome, Plan, Split
from dalda.synthesis.plan import Recipe, make_plan
from dalda.synthesis.presets import Preset, located, preset_named
from dalda.synthesis.store import Store

if TYPE_CHECKING:
    from dalda.guidance.clip import ClipScorer
    from dalda.synthesis.diffusion import Renderer
    from dalda.trials.features import FeatureStore
    from dalda.trials.metrics import Interval

DOODLES = "doodles"
WORDS = {"photos": PHOTOS, "doodles": DOODLE_WORDS}
CAPTIONS_PER_CLASS = 10
_VERSIONED = ("dalda", "torch", "diffusers", "transformers", "numpy", "Pillow")


def catalog_of(dataset: str, root: Path | None = None) -> Catalog:
    """A data set by name or folder; `doodles` is drawn first where it is missing."""
    if dataset == DOODLES:
        from dalda.doodles.dataset import default_root, draw_dataset

        return read_folder(draw_dataset(root or default_root()), DOODLES, halved=True)
    return read_catalog(dataset, root)


def split_of(config: DataConfig, part: str = "train", *, hold_out: bool = False) -> Split:
    """The examples that the configuration names."""
    return draw_split(
        catalog_of(config.dataset, config.root),
        part=part,
        seed=config.seed,
        shots=config.shots if part == "train" else None,
        rule=config.rule,
        hold_out=hold_out,
    )


def checked(split: Split) -> Split:
    """The split, once every image of it has been opened. Raises UserError for the first bad one."""
    with ThreadPoolExecutor() as pool:
        list(pool.map(check_image, (one.path for one in split.examples)))
    return split


def score_table(config: DataConfig, model: str, device: str, out: Path | None) -> list[dict[str, Any]]:
    """Path, class and CLIP score of each example; written as a new CSV file where one is named."""
    split = checked(split_of(config))
    scores = score_examples(split, load_scorer(preset_named(model).clip, device_named(device)))
    rows: list[dict[str, Any]] = [
        {"path": one.path.as_posix(), "label": one.label, "clip_score": value}
        for one, value in zip(split.examples, scores, strict=True)
    ]
    if out is not None:
        import csv

        with new_file(out).open("x", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["path", "label", "clip_score"])
            writer.writeheader()
            writer.writerows(rows)
    return rows


def write_captions(
    dataset: str,
    out: Path,
    *,
    root: Path | None = None,
    author: str = "grammar",
    per_class: int = 10,
    seed: int = 0,
) -> dict[str, list[str]]:
    """Captions for every class of a data set, written to a new file."""
    if author != "grammar":
        raise UserError(f"there is no author '{author}'; --llm grammar writes offline")
    catalog = catalog_of(dataset, root)
    words = WORDS["doodles" if dataset == DOODLES else "photos"]
    names = {name: caption_name(catalog.dataset, name) for name in catalog.classes}
    book = grammar_captions(catalog.classes, per_class, seed, words=words, names=names)
    write_book(out, book, {"author": author, "seed": seed, "per_class": per_class})
    return book


def new_file(path: Path) -> Path:
    """A path that a result may be written to. Raises UserError where something is already there."""
    if path.exists():
        raise UserError(f"'{path}' is already there; name another file, nothing is overwritten")
    if not path.parent.is_dir():
        raise UserError(
            f"there is no folder '{path.parent}' for '{path.name}'; make it or name another file"
        )
    return path


def score_examples(split: Split, scorer: "ClipScorer") -> list[float]:
    """The CLIP score of each example, in the split's order; each distinct image is looked at once."""
    wanted = {(one.sha256, one.label): (one.path, one.label) for one in split.examples}
    with progress("score", len(wanted)) as bar:
        found = {}
        scored = scorer.scores(wanted.values(), split.classes, open_image)
        for key, value in zip(wanted, scored, strict=True):
            found[key] = value
            bar.advance()
    return [found[one.sha256, one.label] for one in split.examples]


def captions_for(split: Split, words: str, seed: int, captions: Path | None = None) -> dict[str, list[str]]:
    """Captions per class: the user's file or, without one, the grammar's."""
    if captions is not None:
        return read_book(captions, split.classes)
    names = {name: caption_name(split.dataset, name) for name in split.classes}
    return grammar_captions(split.classes, CAPTIONS_PER_CLASS, seed, words=WORDS[words], names=names)


def preset_of(config: AugmentConfig) -> Preset:
    """The model's row with what the user overrides."""
    preset = preset_named(config.model)
    if config.adapter is not None:
        adapter, _, file = config.adapter.partition(":")
        preset = replace(preset, adapter=adapter, adapter_file=file or preset.adapter_file)
    if config.steps is not None:
        preset = replace(preset, steps=config.steps)
    if config.guidance_scale is not None:
        preset = replace(preset, guidance_scale=config.guidance_scale)
    return preset


@dataclass(frozen=True)
class Decided:
    """Everything that is settled before the first picture: the plan and what it was made from."""

    split: Split
    preset: Preset
    captions: Mapping[str, Sequence[str]]
    plan: Plan


def decide(config: AugmentConfig, scores: Sequence[float] | None = None) -> Decided:
    """Split, captions, scores and lambda, up to the plan; scores are computed only where needed."""
    preset = preset_of(config)
    policy = policy_named(config.guidance, config.sampling)
    split = checked(split_of(config))
    captions = captions_for(split, preset.words, config.seed, config.captions)
    if scores is None and config.guidance == "adaptive":
        scores = score_examples(split, load_scorer(preset.clip, device_named(config.device)))
    recipe = Recipe(
        method=config.method,
        model=config.model,
        prompt_prefix=preset.prompt_prefix,
        negative_prompt=preset.negative_prompt,
        guidance_scale=preset.guidance_scale,
        steps=preset.steps,
        per_image=config.per_image,
        seed=config.seed,
    )
    plan = make_plan(split, captions, scores, policy, assign_captions, recipe)
    return Decided(split, preset, captions, plan)


def augment(config: AugmentConfig, renderer: "Renderer | None" = None) -> AugmentReport:
    """Makes the synthetic set, or what is still missing of it, in `config.out`."""
    warn_of_doodles(config)
    decided = decide(config)
    store = Store.open(config.out, settings_of(config, decided))
    return paint_plan(config, decided, store, renderer)


def paint_plan(
    config: AugmentConfig, decided: Decided, store: Store, renderer: "Renderer | None" = None
) -> AugmentReport:
    """Renders what the store lacks; loads the model only if there is something to do."""
    from dalda.synthesis.engines import automatic_batch_size, missing_jobs, paint

    missing = missing_jobs(decided.plan, store)
    started = time.monotonic()
    if missing:
        renderer = renderer or load_model(decided.preset, device_named(config.device))
        batch_size = config.batch_size or automatic_batch_size(renderer.size, renderer.device)
        with progress("paint", len(missing)) as bar:
            paint(decided.plan, missing, store, renderer.render, open_image, batch_size, bar)
    dropped = len(store.dropped())
    there = len(decided.plan.jobs) - len(missing)
    seconds = round(time.monotonic() - started, 2)
    return AugmentReport(config.out, len(decided.plan.jobs), len(missing), there, dropped, seconds)


def preview(config: AugmentConfig) -> Preview:
    """The plan's size and spread; time is measured on one batch, nothing is written."""
    warn_of_doodles(config)
    decided = decide(config)
    jobs = decided.plan.jobs
    seconds, size = _tried(config, decided)
    return Preview(
        planned=len(jobs),
        classes=len(decided.split.classes),
        examples=len(decided.split.examples),
        ip_adapter_scale=lambda_summary(jobs),
        trusts_image=sum(job.clip_score is not None and job.clip_score <= 0.3 for job in jobs),
        seconds=seconds,
        megabytes=round(len(jobs) * 1.6 * size * size / 1e6, 2),
    )


def _tried(config: AugmentConfig, decided: Decided) -> tuple[float | None, int]:
    """Seconds for the whole plan, from one batch of it, and the pictures' size in pixels."""
    from dalda.synthesis.engines import automatic_batch_size

    try:
        renderer = load_model(decided.preset, device_named(config.device))
    except UserError as error:
        say(f"note: the time is unknown, since {error}")
        return None, decided.preset.size or 512
    batch_size = config.batch_size or automatic_batch_size(renderer.size, renderer.device)
    batch = decided.plan.jobs[:batch_size]
    started = time.monotonic()
    renderer.render(batch, [open_image(job.source) for job in batch])
    pace = (time.monotonic() - started) / len(batch)
    return round(pace * len(decided.plan.jobs), 1), renderer.size


def train(config: TrainConfig) -> TrainReport:
    """Trials of `real` and of each synthetic folder, over `config.seeds` seeds of the classifier."""
    from dalda.trials.fit import run_trials
    from dalda.trials.trial import Schedule, Trial

    catalog = catalog_of(config.dataset, config.root)
    hold_out = "val" not in catalog.parts
    split = checked(split_of(config, hold_out=hold_out))
    validation = checked(split_of(config, "val", hold_out=hold_out))
    sets = {folder.resolve().name: Store.existing(folder).samples() for folder in config.synthetic}
    if len(sets) < len(config.synthetic) or "real" in sets:
        raise UserError("two synthetic folders have the same name, or one is called 'real'; rename one")
    trials = [
        Trial(arm, seed, split, tuple(samples), config.synthetic_probability)
        for arm, samples in {"real": [], **sets}.items()
        for seed in range(config.seed, config.seed + config.seeds)
    ]
    if config.out is not None and config.out.exists():
        raise UserError(
            f"'{config.out}' is already there; name a new folder with -o, nothing is overwritten"
        )
    schedule = Schedule(config.epochs, config.iterations)
    outcomes = run_trials(trials, validation, feature_store(config.backbone, config.device), schedule)
    if config.out is not None:
        save_outcomes(config.out, outcomes)
    return compared(outcomes, len(validation.examples), config.out)


def feature_store(backbone: str, device: str) -> "FeatureStore":
    """A loaded backbone with an empty table of features."""
    _hush()
    from dalda.trials.backbones import load_backbone
    from dalda.trials.features import FeatureStore

    folder = located(preset_named("doodle").clip) if backbone == "doodle" else None
    return FeatureStore(load_backbone(backbone, folder=folder, device=device_named(device)), open_image)


def compared(outcomes: Sequence[Outcome], validation_images: int, out: Path | None) -> TrainReport:
    """Accuracy per arm, and every other arm's gain over `real`."""
    from dalda.trials.metrics import difference_by_seed, interval, verdict

    arms = by_arm(outcomes)
    gains = {arm: difference_by_seed(ones, arms["real"]) for arm, ones in arms.items() if arm != "real"}
    return TrainReport(
        arms={arm: bounds(interval([one.accuracy for one in ones])) for arm, ones in arms.items()},
        gains={arm: bounds(gain) for arm, gain in gains.items()},
        verdicts={arm: verdict(gain, arm=arm) for arm, gain in gains.items()},
        validation_images=validation_images,
        out=out,
    )


def by_arm(outcomes: Sequence[Outcome]) -> dict[str, list[Outcome]]:
    """Outcomes grouped by arm, in order."""
    arms: dict[str, list[Outcome]] = {}
    for one in outcomes:
        arms.setdefault(one.arm, []).append(one)
    return arms


def bounds(found: "Interval") -> Bounds:
    """An interval as it is answered: an infinite one has no bounds."""
    if not math.isfinite(found.low):
        return Bounds(found.mean, None, None)
    return Bounds(found.mean, found.low, found.high)


def save_outcomes(folder: Path, outcomes: Sequence[Outcome]) -> None:
    """results.csv, tidy, and one JSON file per trial."""
    import pandas as pd

    from dalda.records import as_dict

    (folder / "outcomes").mkdir(parents=True)
    rows = []
    for one in outcomes:
        text = json.dumps(as_dict(one), ensure_ascii=False)
        name = hashlib.sha256(text.encode()).hexdigest()[:20]
        (folder / "outcomes" / f"{name}.json").write_text(text + "\n", encoding="utf-8")
        common = {
            "dataset": one.dataset,
            "arm": one.arm,
            "seed": one.seed,
            "shots": one.shots,
            "epoch": "last",
        }
        values = {"accuracy": one.accuracy, "loss": one.loss}
        values |= {
            f"accuracy {name}": value for name, value in zip(one.classes, one.class_accuracy, strict=True)
        }
        rows += [
            {**common, "split": "val", "metric": metric, "value": value} for metric, value in values.items()
        ]
    pd.DataFrame(rows).to_csv(folder / "results.csv", index=False)


def settings_of(config: AugmentConfig, decided: Decided) -> dict[str, Any]:
    """What is saved beside the images; all but versions and rendering must stay the same on resuming."""
    examples = [[one.label, one.sha256] for one in decided.split.examples]
    chosen = config.model_dump(mode="json", exclude={"out", "batch_size", "device", "captions", "root"})
    return {
        **chosen,
        "examples": len(examples),
        "examples_sha256": _digest(examples),
        "captions_sha256": _digest(decided.captions),
        "preset": asdict(decided.preset),
        "rendering": {"batch_size": config.batch_size or "auto", "device": config.device},
        "versions": {name: version(name) for name in _VERSIONED},
    }


def lambda_summary(jobs: Sequence[Job]) -> dict[str, float]:
    """How a plan's weights are spread: minimum, quartiles and maximum."""
    import numpy as np

    marks = {"min": 0, "q25": 25, "median": 50, "q75": 75, "max": 100}
    weights = [job.ip_adapter_scale for job in jobs]
    return {name: round(float(np.percentile(weights, mark)), 4) for name, mark in marks.items()}


def load_scorer(clip: str, device: str) -> "ClipScorer":
    """The CLIP of a preset. Raises UserError when it is not to be had."""
    _hush()
    from dalda.guidance.clip import ClipScorer

    try:
        return ClipScorer.load(located(clip), device=device)
    except OSError as error:
        raise UserError(
            f"the CLIP model '{clip}' cannot be loaded: {str(error).splitlines()[0]}"
        ) from error


def load_model(preset: Preset, device: str) -> "Renderer":
    """The preset's model, in half precision on a GPU and in single precision elsewhere."""
    _hush()
    import torch

    from dalda.synthesis.diffusion import load_renderer

    dtype = torch.float16 if device.startswith("cuda") else torch.float32
    return load_renderer(preset, device=device, dtype=dtype)


def device_named(device: str) -> str:
    """`auto` is a GPU when there is one. Raises UserError for one that is not there."""
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind = device.partition(":")[0]
    if kind not in ("cpu", "cuda", "mps"):
        raise UserError(f"there is no device '{device}'; write auto, cpu, cuda or mps")
    if kind == "cuda" and not torch.cuda.is_available():
        raise UserError(f"the device '{device}' is not on this machine; leave --device out to choose one")
    return device


def warn_of_doodles(config: AugmentConfig) -> None:
    """Says once that the embedded model is no model for photographs."""
    if config.model == "doodle" and config.dataset != DOODLES:
        say("note: the model 'doodle' only knows doodles; for photographs choose a real one, --model sd15")


def _hush() -> None:
    """Keeps the libraries' loading bars and advice off the terminal; their errors still come."""
    for library in ("TRANSFORMERS", "DIFFUSERS"):
        os.environ.setdefault(f"{library}_VERBOSITY", "error")
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    diffusers_logging.disable_progress_bar()


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, ensure_ascii=False, default=dict).encode()).hexdigest()[:20]
