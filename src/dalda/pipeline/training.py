"""From real and synthetic images to classifiers, and to an honest comparison."""

from collections.abc import Sequence
from pathlib import Path

from dalda.answers import Bounds, TrainReport
from dalda.config import TrainConfig
from dalda.errors import UserError
from dalda.loading import load_features
from dalda.pipeline.examples import catalog_of, checked, split_of
from dalda.records import Outcome
from dalda.synthesis.store import Store


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
