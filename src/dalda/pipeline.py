"""The stages, joined: one short function each. The only file that knows them all."""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dalda.answers import AugmentReport, Bounds, Preview, TrainReport
from dalda.config import AugmentConfig, CaptionConfig, DataConfig, TrainConfig
from dalda.data.catalog import Catalog, caption_name, read_catalog, read_folder
from dalda.data.fewshot import draw_split
from dalda.data.images import check_image, open_image
from dalda.errors import UserError
from dalda.guidance.policy import policy_named
from dalda.loading import device_named, load_features, load_model, load_scorer, token_counter
from dalda.progress import progress, say
from dalda.prompts.book import assign_captions, read_book
from dalda.prompts.grammar import grammar_captions
from dalda.prompts.words import DOODLES as DOODLE_WORDS
from dalda.prompts.words import PHOTOS
from dalda.records import Job, Outcome, Plan, Split
from dalda.synthesis.plan import Recipe, make_plan
from dalda.synthesis.presets import Preset, preset_named
from dalda.synthesis.store import Store

if TYPE_CHECKING:
    from dalda.guidance.clip import ClipScorer
    from dalda.prompts.write import CaptionReport
    from dalda.synthesis.diffusion import Renderer

DOODLES = "doodles"
WORDS = {"photos": PHOTOS, "doodles": DOODLE_WORDS}
CAPTIONS_PER_CLASS = 10
TEXT_TOKENS = 77
"""What CLIP's text encoders read, begin and end included."""
_VERSIONED = ("dalda", "torch", "diffusers", "transformers", "numpy", "Pillow")


def catalog_of(dataset: str, root: Path | None = None) -> Catalog:
    """A data set by name or folder; `doodles` is drawn first where it is missing."""
    if dataset == DOODLES:
        from dalda.doodles.dataset import default_root, draw_dataset

        if root is not None:
            raise UserError("--root does not go with doodles: they are drawn into the cache; leave it out")
        return read_folder(draw_dataset(default_root()), DOODLES, halved=True)
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
    if out is not None:
        new_file(out)
    split = checked(split_of(config))
    scores = score_examples(split, load_scorer(preset_named(model).clip, device_named(device)))
    rows: list[dict[str, Any]] = [
        {"path": one.path.as_posix(), "label": one.label, "clip_score": value}
        for one, value in zip(split.examples, scores, strict=True)
    ]
    if out is not None:
        import csv

        with out.open("x", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["path", "label", "clip_score"])
            writer.writeheader()
            writer.writerows(rows)
    return rows


def write_captions(config: CaptionConfig) -> "CaptionReport":
    """Captions for every class of a data set or of a list, by the grammar or a language model."""
    from dalda.prompts.write import write_captions as write

    preset = preset_named(config.model)
    dataset, classes = config.dataset or "", classes_in(config)
    return write(
        classes,
        config.out,
        llm=config.llm,
        base_url=config.base_url,
        per_class=config.per_class,
        about=config.about,
        dataset=dataset,
        names={name: caption_name(dataset, name) for name in classes},
        words=WORDS["doodles" if dataset == DOODLES else "photos"],
        seed=config.seed,
        concurrency=config.concurrency,
        max_tokens_total=config.max_tokens_total,
        prefix=preset.prompt_prefix,
        count_tokens=None if config.llm == "grammar" else token_counter(preset),
    )


def classes_in(config: CaptionConfig) -> tuple[str, ...]:
    """The classes of the data set, or the lines of the list. Raises UserError for neither or both."""
    if (config.dataset is None) == (config.classes is None):
        raise UserError("name either a data set or a list of classes with --classes, one of the two")
    if config.dataset is not None:
        return catalog_of(config.dataset, config.root).classes
    assert config.classes is not None
    try:
        lines = config.classes.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise UserError(
            f"the list of classes '{config.classes}' cannot be read; name a text file"
        ) from None
    return tuple(line.strip() for line in lines if line.strip())


def new_file(path: Path) -> None:
    """Raises UserError unless a new file may be written there."""
    if path.exists():
        raise UserError(f"'{path}' is already there; name another file, nothing is overwritten")
    if not path.parent.is_dir():
        raise UserError(
            f"there is no folder '{path.parent}' for '{path.name}'; make it or name another file"
        )


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
    dropped_before = len(store.dropped())
    started = time.monotonic()
    if missing:
        warn_of_cuts(decided.preset, missing)
        renderer = renderer or load_model(decided.preset, device_named(config.device))
        batch_size = config.batch_size or automatic_batch_size(renderer.size, renderer.device)
        with progress("paint", len(missing)) as bar:
            paint(decided.plan, missing, store, renderer.render, open_image, batch_size, bar)
    # Also when nothing was missing: an earlier run may have been stopped just before this.
    store.settle(decided.plan.jobs)
    dropped = len(store.dropped())
    planned = len(decided.plan.jobs)
    return AugmentReport(
        out=config.out,
        planned=planned,
        painted=len(missing) - (dropped - dropped_before),
        already_there=planned - len(missing) - dropped_before,
        dropped=dropped,
        seconds=round(time.monotonic() - started, 2),
    )


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
    from dalda.trials.outcomes import save_outcomes
    from dalda.trials.trial import Schedule, Trial

    catalog = catalog_of(config.dataset, config.root)
    hold_out = "val" not in catalog.parts
    split = checked(split_of(config, hold_out=hold_out))
    validation = checked(split_of(config, "val", hold_out=hold_out))
    sets = {folder.resolve().name: Store.existing(folder).samples() for folder in config.synthetic}
    if len(sets) < len(config.synthetic) or "real" in sets:
        raise UserError("two synthetic folders have the same name, or one is called 'real'; rename one")
    bare = [name for name, samples in sets.items() if not samples]
    if bare:
        raise UserError(f"the synthetic folder '{bare[0]}' holds no pictures yet; run dalda augment again")
    trials = [
        Trial(arm, seed, split, tuple(samples), config.synthetic_probability)
        for arm, samples in {"real": [], **sets}.items()
        for seed in range(config.seed, config.seed + config.seeds)
    ]
    store = load_features(config.backbone, config.device)
    if config.out is not None:
        # Before the work, so that a place that cannot be written is known in time.
        new_results(config.out)
    outcomes = run_trials(trials, validation, store, Schedule(config.epochs, config.iterations))
    if config.out is not None:
        save_outcomes(config.out, outcomes)
    return compared(outcomes, len(validation.examples), config.out)


def new_results(folder: Path) -> None:
    """Makes the folder for results. Raises UserError where there are files already."""
    if folder.is_file() or (folder.is_dir() and any(path.is_file() for path in folder.rglob("*"))):
        raise UserError(f"'{folder}' is already there; name a new folder with -o, nothing is overwritten")
    (folder / "outcomes").mkdir(parents=True, exist_ok=True)


def compared(outcomes: Sequence[Outcome], validation_images: int, out: Path | None) -> TrainReport:
    """Accuracy per arm, and every other arm's gain over `real`."""
    from dalda.trials.metrics import difference_by_seed, interval, verdict
    from dalda.trials.outcomes import by_arm

    arms = by_arm(outcomes)
    gains = {arm: difference_by_seed(ones, arms["real"]) for arm, ones in arms.items() if arm != "real"}
    return TrainReport(
        arms={arm: Bounds.of(interval([one.accuracy for one in ones])) for arm, ones in arms.items()},
        gains={arm: Bounds.of(gain) for arm, gain in gains.items()},
        verdicts={arm: verdict(gain, arm=arm) for arm, gain in gains.items()},
        validation_images=validation_images,
        out=out,
    )


def settings_of(config: AugmentConfig, decided: Decided) -> dict[str, Any]:
    """What is saved beside the images; all but versions and rendering must stay the same on resuming."""
    examples = [[one.label, one.sha256] for one in decided.split.examples]
    # What is in the preset, or in the examples' and captions' digests, may be spelt in several ways.
    spelt = {"out", "batch_size", "device", "captions", "root", "steps", "guidance_scale", "adapter"}
    chosen = config.model_dump(mode="json", exclude=spelt | {"dataset"})
    return {
        "dataset": decided.split.dataset,
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


def warn_of_cuts(preset: Preset, jobs: Sequence[Job]) -> None:
    """Says which prompts the text encoder will not read to their end."""
    count = token_counter(preset)
    prompts = dict.fromkeys(job.prompt for job in jobs)
    cut = [prompt for prompt in prompts if count is not None and count(prompt) > TEXT_TOKENS]
    if cut:
        say(f"note: {len(cut)} prompts are longer than {TEXT_TOKENS} tokens and are cut, as '{cut[0]}'")


def warn_of_doodles(config: AugmentConfig) -> None:
    """Says once that the embedded model is no model for photographs."""
    if config.model == "doodle" and config.dataset != DOODLES:
        say("note: the model 'doodle' only knows doodles; for photographs choose a real one, --model sd15")


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, ensure_ascii=False, default=dict).encode()).hexdigest()[:20]
