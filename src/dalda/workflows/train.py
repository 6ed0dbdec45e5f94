"""From real and synthetic images to classifiers, and to an honest comparison."""

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

from torch import nn

from dalda.config import TrainConfig
from dalda.config.roles import content_of, defaults_of, digest_of, names_of
from dalda.datasets.class_names import chosen_wordings
from dalda.datasets.image_folder import refuse_output_inside
from dalda.datasets.registry import load_dataset
from dalda.errors import UserError
from dalda.evaluation.backbones.base import FeatureExtractor
from dalda.evaluation.baselines import baselines_of
from dalda.evaluation.comparison import compare_arms
from dalda.evaluation.excluded import Excluded
from dalda.evaluation.heads.table import LINEAR
from dalda.evaluation.results import PlannedTrial, RunFolder, RunSettings
from dalda.evaluation.trial import Trial, image_file
from dalda.evaluation.verdict import answer_of
from dalda.types import BASELINES, REAL, FewShotSplit, RealImage, SyntheticImage, TrialResult
from dalda.workflows.real_images import checked, split_of
from dalda.workflows.reports import TrainReport
from dalda.workflows.runner import OTHER_CLASS, TrialRunner, other_sources
from dalda.workflows.synthetic_sets import SyntheticSet, synthetic_set
from dalda.workflows.usage import arm_settings, method_of_set, with_usage_of


def train(config: TrainConfig, *, backbone: nn.Module | FeatureExtractor | None = None) -> TrainReport:
    """Trials of the baselines and of each synthetic folder, over `config.seeds` seeds of the classifier.

    `backbone` is an object in place of the named one (docs/backbones.md). In `config.out` each result is
    kept as soon as it is there, and the same command resumes where an earlier one was stopped. Raises
    UserError for a folder of other settings or of other things.
    """
    try:
        return _train(config, backbone)
    except KeyboardInterrupt:
        if config.out is not None:
            raise
        raise KeyboardInterrupt("stopped; without -o no result is kept, only features") from None


def _train(config: TrainConfig, backbone: nn.Module | FeatureExtractor | None) -> TrainReport:
    started = time.monotonic()
    run = None if config.out is None else RunFolder(config.out, "dalda train")
    if run is not None:
        refuse_output_inside(run.folder, load_dataset(config.dataset, config.root))
        run.refuse_foreign()
    validation = split_of(config, "val")
    split = checked(split_of(config), validation)
    sets = sets_of(config)
    runner = TrialRunner(config, run, backbone)
    usage = {
        arm: with_usage_of(config, method_of_set(synthetic.folder), len(split.classes))
        for arm, synthetic in sets.items()
    }
    settings = training_settings(config, split, validation, sets, runner.store.backbone)
    settings |= _own_usage(config, usage) | ({} if runner.head == LINEAR else {"head": runner.head})
    baselines = _baselines(config, runner, split)
    with nullcontext() if run is None else run.held():
        if run is not None:
            planned = _run_settings(config, settings, split, sets, usage, list(baselines))
            run.begin(planned, {**defaults_of(TrainConfig), "head": LINEAR})
        trials: dict[str, Trial] = {}
        excluded: dict[str, Mapping[str, int]] = {}
        for arm, trial in baselines.items():
            trials |= {_trial_id(settings, arm, seed): replace(trial, seed=seed) for seed in _seeds(config)}
        for arm, synthetic in sets.items():
            found = _trials_of(arm, usage[arm], runner, split, synthetic)
            trials |= {_trial_id(settings, arm, trial.seed): trial for trial, _ in found}
            left_out = list(dict.fromkeys(image for _, images in found for image in images))
            left_out += other_sources(arm, split, synthetic.images)
            excluded[arm] = dict(Counter(image.kind for image in left_out))
            if run is not None:
                run.excluded.put(arm, left_out)
        results = list(runner.train(trials, validation).values())
        if run is not None:
            run.end(results, time.monotonic() - started)
    return report_of(results, excluded, config)


def _baselines(config: TrainConfig, runner: TrialRunner, split: FewShotSplit) -> dict[str, Trial]:
    """The trials without synthetic images, by arm."""
    real, _ = runner.trial(REAL, config, split, None)
    if not config.baselines:
        return {REAL: real}
    return {trial.arm: trial for trial in baselines_of(real, runner.head, runner.store.backbone)}


def _trials_of(
    arm: str,
    config: TrainConfig,
    runner: TrialRunner,
    split: FewShotSplit,
    synthetic: SyntheticSet,
) -> list[tuple[Trial, list[Excluded]]]:
    """The arm's trial of each seed with the images that it does not use.

    Only what a classifier decides differs between seeds: each seed filters by a classifier of its own.
    """
    if not (config.filter_by_classifier or config.classifier_weighting):
        trial, excluded = runner.trial(arm, config, split, synthetic)
        return [(replace(trial, seed=seed), excluded) for seed in _seeds(config)]
    found = []
    for seed in _seeds(config):
        own = config.model_copy(update={"seed": seed})
        trial, excluded = runner.trial(arm, own, split, synthetic)
        if config.seeds > 1:
            of_seed = f"{OTHER_CLASS} by the classifier of seed {seed}"
            excluded = [replace(x, kind=of_seed) if x.kind == OTHER_CLASS else x for x in excluded]
        found.append((trial, excluded))
    return found


def sets_of(config: TrainConfig) -> dict[str, SyntheticSet]:
    """The synthetic folders by the names of their arms."""
    names = [folder.resolve().name for folder in config.synthetic]
    if len(set(names)) < len(names):
        raise UserError("two synthetic folders have the same name; rename one")
    taken = [name for name in names if name in BASELINES]
    if taken:
        raise UserError(f"'{taken[0]}' is the name of a baseline; rename that synthetic folder")
    return {
        name: synthetic_set(folder, ignore_review=config.ignore_review)
        for name, folder in zip(names, config.synthetic, strict=True)
    }


def training_settings(
    config: TrainConfig,
    split: FewShotSplit,
    validation: FewShotSplit,
    sets: Mapping[str, SyntheticSet],
    backbone: FeatureExtractor,
) -> dict[str, Any]:
    """What decides the numbers: the options, and the content of the backbone and of all images."""

    def digest(images: Iterable[RealImage | SyntheticImage]) -> str:
        return digest_of([[image.label, image_file(image).sha256] for image in images])

    usual = {name: value for name, value in defaults_of(config).items() if name != "seeds"}
    wordings = chosen_wordings(split)
    return {
        **usual,
        **content_of(config, extents=False),
        "dataset": split.dataset,
        "backbone": backbone.name,
        "backbone_fingerprint": backbone.fingerprint,
        "real_images": len(split.images),
        "real_images_sha256": digest(split.images),
        "validation_images": len(validation.images),
        "validation_sha256": digest(validation.images),
        "images": {arm: len(synthetic.images) for arm, synthetic in sets.items()},
        "images_sha256": {arm: digest(synthetic.images) for arm, synthetic in sets.items()},
        **({"class_names_sha256": digest_of(wordings)} if wordings else {}),
    }


def _run_settings(
    config: TrainConfig,
    settings: Mapping[str, Any],
    split: FewShotSplit,
    sets: Mapping[str, SyntheticSet],
    usage: Mapping[str, TrainConfig],
    baselines: Sequence[str],
) -> RunSettings:
    folders = {
        **dict.fromkeys(baselines),
        **{arm: synthetic.folder.as_posix() for arm, synthetic in sets.items()},
    }
    trials = tuple(
        PlannedTrial(_trial_id(settings, arm, seed), arm, seed, split.shots, folder)
        for arm, folder in folders.items()
        for seed in _seeds(config)
    )
    names = set(names_of(TrainConfig, "execution", "location")) - {"out"}
    recorded = config.model_dump(mode="json", include=names)
    arms = {arm: arm_settings(usage.get(arm, config)) for arm in folders}
    return RunSettings("train", settings, arms, trials, recorded)


def _own_usage(config: TrainConfig, usage: Mapping[str, TrainConfig]) -> dict[str, Any]:
    """What the arms' methods use otherwise than the options say, by arm; nothing where none does."""
    own = content_of(config)
    own = {
        arm: {name: value for name, value in content_of(of_arm).items() if own.get(name) != value}
        for arm, of_arm in usage.items()
    }
    return {"usage": {arm: values for arm, values in own.items() if values}} if any(own.values()) else {}


def _seeds(config: TrainConfig) -> range:
    return range(config.seed, config.seed + config.seeds)


def _trial_id(settings: Mapping[str, Any], arm: str, seed: int) -> str:
    """A digest of what decides the trial: of the sets, its own alone."""
    own = {name: settings[name].get(arm) for name in ("images", "images_sha256")}
    usage = settings.get("usage", {}).get(arm)
    shared = {name: value for name, value in settings.items() if name != "usage"}
    return digest_of([arm, seed, {**shared, **own, **({"usage": usage} if usage else {})}])


def report_of(
    results: list[TrialResult], excluded: Mapping[str, Mapping[str, int]], config: TrainConfig
) -> TrainReport:
    """All numbers of each arm, every other arm's gain over `real`, and the verdicts."""
    numbers = compare_arms(results, REAL)
    (shots,) = numbers[REAL].summaries
    return TrainReport(
        classes=results[0].classes,
        arms={arm: measured.summaries[shots] for arm, measured in numbers.items()},
        gains={arm: measured.gains[shots] for arm, measured in numbers.items() if measured.gains},
        answer=answer_of(results),
        excluded=excluded,
        validation_images=len(results[0].right),
        out=config.out,
    )
