"""From real and synthetic images to classifiers, and to an honest comparison."""

import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dalda.config import ClassifierConfig, DataConfig, TrainConfig
from dalda.errors import UserError
from dalda.progress import say
from dalda.types import Outcome, Sample, Split
from dalda.workflows.loading import load_features
from dalda.workflows.real_images import catalog_of, checked, split_of
from dalda.workflows.reports.training import ArmReport, GainReport, TrainReport
from dalda.workflows.results import read_outcome
from dalda.workflows.run_folder import (
    REJECTED,
    LeftOut,
    counted,
    held,
    keep_outcome,
    place_of,
    refuse_foreign,
    write_left_out,
    write_table,
)
from dalda.workflows.synthetic_sets import SyntheticSet, backbone_for, synthetic_set
from dalda.workflows.train_folder import SETTINGS, begin, end, settings_of

if TYPE_CHECKING:
    from dalda.evaluation.features import FeatureStore
    from dalda.evaluation.trial import Schedule, Trial

REAL = "real"
ELSEWHERE = "its real image is not among the examples"
"""Why a copy is not used that was made of another split."""
LEFT_OUT = "left_out.jsonl"


def train(config: TrainConfig) -> TrainReport:
    """Trials of `real` and of each synthetic folder, over `config.seeds` seeds of the classifier.

    In `config.out` each outcome is kept as soon as it is there, and the same command goes on where an
    earlier one was stopped. Raises UserError for a folder of other settings or of other things.
    """
    try:
        return _trained(config)
    except KeyboardInterrupt:
        if config.out is not None:
            raise
        raise KeyboardInterrupt("stopped; without -o no outcome is kept, only features") from None


def _trained(config: TrainConfig) -> TrainReport:
    started, out = time.monotonic(), config.out
    if out is not None:
        refuse_foreign(out, SETTINGS, "dalda train")
    split, validation = parts_of(config)
    sets = sets_of(config)
    views = 8 if config.views == "exact" else config.views
    backbone = backbone_for(config, config.backbone)
    store = load_features(backbone, config.device, views=views, augment=config.augment)
    with nullcontext() if out is None else held(out):
        if out is not None:
            begin(out, settings_of(config, split, validation, sets, store.backbone))
        trials, left_out = trials_of(config, split, sets, store, schedule_of(config))
        outcomes = _outcomes(config, trials, validation, store)
        if out is not None:
            write_left_out(out / LEFT_OUT, left_out)
            write_table(out, outcomes)
            end(out, time.monotonic() - started)
    return compared(outcomes, len(validation.examples), out, left_out)


def _outcomes(
    config: TrainConfig,
    trials: Sequence["Trial"],
    validation: Split,
    store: "FeatureStore",
) -> list[Outcome]:
    """The outcomes of all trials in their order; those that the folder has are not trained again."""
    from dalda.evaluation.run import run_all

    out = config.out
    there: dict[tuple[str, int], Outcome] = {}
    if out is not None:
        paths = {(trial.arm, trial.seed): place_of(out, trial) for trial in trials}
        there = {key: read_outcome(path) for key, path in paths.items() if path.exists()}

    def told(outcome: Outcome) -> None:
        if out is not None:
            keep_outcome(place_of(out, outcome), outcome)
        there[outcome.arm, outcome.seed] = outcome
        say_outcome(outcome)

    run_all(
        [trial for trial in trials if (trial.arm, trial.seed) not in there],
        validation,
        store,
        schedule_of(config),
        exact=config.exact,
        tune=config.tune,
        mix=config.mix,
        told=told,
    )
    return [there[trial.arm, trial.seed] for trial in trials]


def parts_of(config: DataConfig) -> tuple[Split, Split]:
    """The few examples to learn from and the images to be tested on; held out where no part is."""
    catalog = catalog_of(config.dataset, config.root)
    hold_out = "val" not in catalog.parts
    split = checked(split_of(config, hold_out=hold_out))
    return split, checked(split_of(config, "val", hold_out=hold_out))


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

    return Schedule(config.epochs, config.iterations, config.batch_size, head_start=config.head_start)


def trials_of(
    config: TrainConfig,
    split: Split,
    sets: Mapping[str, SyntheticSet],
    store: "FeatureStore",
    schedule: "Schedule",
) -> tuple[list["Trial"], list[LeftOut]]:
    """The trials of all arms and seeds, each without the synthetic images that it shall not use."""
    from dalda.evaluation.mixing import pool_of
    from dalda.evaluation.trial import Trial

    seeds = range(config.seed, config.seed + config.seeds)
    # There is nothing to train on for `real` where only synthetic images count: it stays per image.
    trials = [Trial(REAL, seed, split) for seed in seeds]
    left_out: list[LeftOut] = []
    for arm, made in sets.items():
        left_out += [LeftOut(arm, one.job_id, REJECTED, REJECTED) for one in made.rejected]
        _, own = pool_of(split.examples, made.samples)
        used = {sample.job_id for sample in own}
        left_out += [
            LeftOut(arm, one.job_id, ELSEWHERE, ELSEWHERE) for one in made.samples if one.job_id not in used
        ]
        trial, dropped = sieved(config, Trial(arm, config.seed, split, tuple(own)), store, schedule)
        left_out += dropped
        trials += [
            Trial(
                arm,
                seed,
                split,
                trial.synthetic,
                config.synthetic_probability,
                config.blend,
                trial.sample_weights,
            )
            for seed in seeds
        ]
    return trials, left_out


def sieved(
    config: TrainConfig, trial: "Trial", store: "FeatureStore", schedule: "Schedule"
) -> tuple["Trial", list[LeftOut]]:
    """A trial with the filters and weights that were asked for, and what the filters left out.

    Raises UserError where nothing passes.
    """
    from dalda.evaluation.filters import by_agreement, by_score, clip_scores, soft_weights
    from dalda.evaluation.heads import seen_classes
    from dalda.evaluation.trial import Trial

    samples, left_out = trial.synthetic, []
    reads = store.backbone.tokenizer is not None
    asked = config.min_clip_score is not None or config.weigh_by_clip_score
    reader = load_features("clip", config.device) if asked and not reads else store
    if config.min_clip_score is not None:
        scores = clip_scores(samples, trial.split.classes, reader)
        passed = by_score(samples, scores, config.min_clip_score)
        kind = f"CLIP score below {config.min_clip_score:g}"
        left_out += [LeftOut(trial.arm, job_id, reason, kind) for job_id, reason in passed.dropped]
        samples = _some(passed.kept, trial.arm, "--min-clip-score")
    if config.only_agreed:
        seen = seen_classes(Trial(REAL, trial.seed, trial.split), samples, store, schedule)
        passed = by_agreement(samples, seen)
        kind = "seen as another class"
        left_out += [LeftOut(trial.arm, job_id, reason, kind) for job_id, reason in passed.dropped]
        samples = _some(passed.kept, trial.arm, "--only-agreed")
    weights = None
    if config.weigh_by_clip_score:
        weights = soft_weights(clip_scores(samples, trial.split.classes, reader))
    return replace(trial, synthetic=samples, sample_weights=weights), left_out


def _some(kept: Sequence[Sample], arm: str, option: str) -> tuple[Sample, ...]:
    if not kept:
        raise UserError(f"no picture of '{arm}' passes {option}: leave that out or make other pictures")
    return tuple(kept)


def say_outcome(outcome: Outcome) -> None:
    """One line for a finished trial."""
    made = f" and {outcome.synthetic_images} synthetic" if outcome.synthetic_images else ""
    say(
        f"{outcome.arm}, seed {outcome.seed}: {outcome.accuracy * 100:.1f} % of {len(outcome.right)} "
        f"validation images, from {outcome.real_images} real{made} ones"
    )


def compared(
    outcomes: Sequence[Outcome],
    validation_images: int,
    out: Path | None,
    left_out: Sequence[LeftOut] = (),
) -> TrainReport:
    """All numbers of each arm, and every other arm's gain over `real`."""
    from dalda.evaluation.results import by_arm
    from dalda.evaluation.statistics import compare, verdict
    from dalda.evaluation.summary import summary

    arms, dropped = by_arm(outcomes), counted(left_out)
    gains = {}
    for arm, ones in arms.items():
        if arm != REAL:
            found = compare(ones, arms[REAL])
            gains[arm] = GainReport(found, verdict(found.overall, arm=f"'{arm}'"))
    return TrainReport(
        classes=outcomes[0].classes,
        arms={arm: ArmReport(summary(ones), dropped.get(arm, {})) for arm, ones in arms.items()},
        gains=gains,
        validation_images=validation_images,
        out=out,
    )
