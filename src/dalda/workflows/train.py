"""From real and synthetic images to classifiers, and to an honest comparison."""

import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dalda.config import ClassifierConfig, DataConfig, TrainConfig
from dalda.datasets.image_folder import refuse_output_inside
from dalda.errors import UserError
from dalda.progress import say
from dalda.types import FewShotSplit, SyntheticImage, TrialResult
from dalda.workflows.loading import load_features
from dalda.workflows.real_images import checked, load_dataset, split_of
from dalda.workflows.reports import TrainReport
from dalda.workflows.results import read_result
from dalda.workflows.run_folder import (
    REJECTED,
    Excluded,
    counted,
    held,
    keep_result,
    place_of,
    refuse_foreign,
    write_excluded,
    write_table,
)
from dalda.workflows.synthetic_sets import SyntheticSet, backbone_for, synthetic_set
from dalda.workflows.train_folder import SETTINGS, begin, end, settings_of

if TYPE_CHECKING:
    from dalda.evaluation.features import FeatureStore
    from dalda.evaluation.training import Classifier, Method
    from dalda.evaluation.trial import Schedule, Trial

REAL = "real"
ELSEWHERE = "its real image is not among the examples"
"""Why a copy is not used that was made of another split."""
EXCLUDED = "excluded.jsonl"


def train(config: TrainConfig) -> TrainReport:
    """Trials of `real` and of each synthetic folder, over `config.seeds` seeds of the classifier.

    In `config.out` each result is kept as soon as it is there, and the same command goes on where an
    earlier one was stopped. Raises UserError for a folder of other settings or of other things.
    """
    try:
        return _trained(config)
    except KeyboardInterrupt:
        if config.out is not None:
            raise
        raise KeyboardInterrupt("stopped; without -o no result is kept, only features") from None


def _trained(config: TrainConfig) -> TrainReport:
    started, out = time.monotonic(), config.out
    if out is not None:
        refuse_output_inside(out, load_dataset(config.dataset, config.root))
        refuse_foreign(out, SETTINGS, "dalda train")
    split, validation = parts_of(config)
    sets = sets_of(config)
    views = 8 if config.feature_views == "online" else config.feature_views
    backbone = backbone_for(config, config.backbone)
    store = load_features(backbone, config.device, views=views, transforms=config.transforms)
    with nullcontext() if out is None else held(out):
        if out is not None:
            begin(out, settings_of(config, split, validation, sets, store.backbone))
        trials, excluded = trials_of(config, split, sets, store, schedule_of(config))
        results = _results(config, trials, validation, store)
        if out is not None:
            write_excluded(out / EXCLUDED, excluded)
            write_table(out, results)
            end(out, time.monotonic() - started)
    return compared(results, len(validation.images), out, excluded)


def _results(
    config: TrainConfig,
    trials: Sequence["Trial"],
    validation: FewShotSplit,
    store: "FeatureStore",
) -> list[TrialResult]:
    """The results of all trials in their order; those that the folder has are not trained again."""
    from dalda.evaluation.training import run_trials

    out = config.out
    there: dict[tuple[str, int], TrialResult] = {}
    if out is not None:
        paths = {(trial.arm, trial.seed): place_of(out, trial) for trial in trials}
        there = {key: read_result(path) for key, path in paths.items() if path.exists()}

    def on_trial_end(result: TrialResult, _: "Classifier") -> None:
        if out is not None:
            keep_result(place_of(out, result), result)
        there[result.arm, result.seed] = result
        say_result(result)

    run_trials(
        [trial for trial in trials if (trial.arm, trial.seed) not in there],
        validation,
        store,
        schedule_of(config),
        method_of(config),
        on_trial_end,
    )
    return [there[trial.arm, trial.seed] for trial in trials]


def parts_of(config: DataConfig) -> tuple[FewShotSplit, FewShotSplit]:
    """The few examples to learn from and the images to be tested on; held out where no part is."""
    validation = split_of(config, "val")
    return checked(split_of(config), validation), validation


def sets_of(config: TrainConfig) -> dict[str, SyntheticSet]:
    """The synthetic folders by the names of their arms."""
    names = [folder.resolve().name for folder in config.synthetic]
    if len(set(names)) < len(names) or REAL in names:
        raise UserError("two synthetic folders have the same name, or one is called 'real'; rename one")
    return {
        name: synthetic_set(folder, ignore_review=config.ignore_review)
        for name, folder in zip(names, config.synthetic, strict=True)
    }


def schedule_of(config: ClassifierConfig) -> "Schedule":
    """How long, and from where, a classifier is trained."""
    from dalda.evaluation.trial import Schedule

    return Schedule(config.epochs, config.iterations, config.batch_size, head_init=config.head_init)


def method_of(config: ClassifierConfig) -> "Method":
    """Beside the schedule, how a classifier is trained."""
    from dalda.evaluation.training import Method

    return Method(config.feature_views == "online", config.finetune, config.batch_augment)


def trials_of(
    config: TrainConfig,
    split: FewShotSplit,
    sets: Mapping[str, SyntheticSet],
    store: "FeatureStore",
    schedule: "Schedule",
) -> tuple[list["Trial"], list[Excluded]]:
    """The trials of all arms and seeds, each without the synthetic images that it shall not use."""
    from dalda.evaluation.mixing import pool_of
    from dalda.evaluation.trial import Trial

    seeds = range(config.seed, config.seed + config.seeds)
    # There is nothing to train on for `real` where only synthetic images count: it stays per image.
    trials = [Trial(REAL, seed, split) for seed in seeds]
    excluded: list[Excluded] = []
    for arm, made in sets.items():
        excluded += [Excluded(arm, one.request_id, REJECTED, REJECTED) for one in made.rejected]
        _, own = pool_of(split.images, made.samples)
        used = {sample.request_id for sample in own}
        excluded += [
            Excluded(arm, one.request_id, ELSEWHERE, ELSEWHERE)
            for one in made.samples
            if one.request_id not in used
        ]
        trial, dropped = sieved(config, Trial(arm, config.seed, split, tuple(own)), store, schedule)
        excluded += dropped
        trials += [
            Trial(
                arm,
                seed,
                split,
                trial.synthetic,
                config.synthetic_probability,
                config.mixing,
                trial.sample_weights,
            )
            for seed in seeds
        ]
    return trials, excluded


def sieved(
    config: TrainConfig, trial: "Trial", store: "FeatureStore", schedule: "Schedule"
) -> tuple["Trial", list[Excluded]]:
    """A trial with the filters and weights that were asked for, and what the filters left out.

    Raises UserError where nothing passes.
    """
    from dalda.evaluation.backbones.base import ZeroShot
    from dalda.evaluation.filters import by_agreement, by_probability, clip_probabilities, weights_of
    from dalda.evaluation.training import predict_classes
    from dalda.evaluation.trial import Trial, class_wordings

    samples, excluded = trial.synthetic, []
    reads = isinstance(store.backbone, ZeroShot)
    asked = config.min_clip_probability is not None or config.clip_weighting
    reader = load_features("clip", config.device) if asked and not reads else store
    if config.min_clip_probability is not None:
        probabilities = clip_probabilities(samples, class_wordings(trial.split), reader)
        passed = by_probability(samples, probabilities, config.min_clip_probability)
        kind = f"CLIP class probability below {config.min_clip_probability:g}"
        excluded += [
            Excluded(trial.arm, request_id, reason, kind) for request_id, reason in passed.excluded
        ]
        samples = _some(passed.passed, trial.arm, "--min-clip-probability")
    if config.filter_by_classifier:
        predicted = predict_classes(Trial(REAL, trial.seed, trial.split), samples, store, schedule)
        passed = by_agreement(samples, predicted)
        kind = "seen as another class"
        excluded += [
            Excluded(trial.arm, request_id, reason, kind) for request_id, reason in passed.excluded
        ]
        samples = _some(passed.passed, trial.arm, "--filter-by-classifier")
    weights = None
    if config.clip_weighting:
        weights = weights_of(clip_probabilities(samples, class_wordings(trial.split), reader))
    return replace(trial, synthetic=samples, sample_weights=weights), excluded


def _some(kept: Sequence[SyntheticImage], arm: str, option: str) -> tuple[SyntheticImage, ...]:
    if not kept:
        raise UserError(f"no image of '{arm}' passes {option}: leave that out or make other images")
    return tuple(kept)


def say_result(result: TrialResult) -> None:
    """One line for a finished trial."""
    made = f" and {result.synthetic_images} synthetic" if result.synthetic_images else ""
    say(
        f"{result.arm}, seed {result.seed}: {result.accuracy * 100:.1f} % of {len(result.right)} "
        f"validation images, from {result.real_images} real{made} ones"
    )


def compared(
    results: Sequence[TrialResult],
    validation_images: int,
    out: Path | None,
    excluded: Sequence[Excluded] = (),
) -> TrainReport:
    """All numbers of each arm, and every other arm's gain over `real`."""
    from dalda.evaluation.comparison import compare_arms

    numbers, counts = compare_arms(results, REAL), counted(excluded)
    (shots,) = numbers[REAL].summaries
    return TrainReport(
        classes=results[0].classes,
        arms={arm: one.summaries[shots] for arm, one in numbers.items()},
        gains={arm: one.gains[shots] for arm, one in numbers.items() if one.gains},
        excluded={arm: counts.get(arm, {}) for arm in numbers},
        validation_images=validation_images,
        out=out,
    )
