"""Any trials by the way they ask for: on features that are computed once, or step by step."""

from collections.abc import Callable, Sequence

from dalda.evaluation.features import FeatureStore
from dalda.evaluation.finetune import run_exact
from dalda.evaluation.heads import run_trials
from dalda.evaluation.trial import Schedule, Trial
from dalda.types import FewShotSplit, TrialResult

OnTrialEnd = Callable[[TrialResult], None]
"""Hears of each trial as soon as it is finished."""


def run_all(
    trials: Sequence[Trial],
    validation: FewShotSplit,
    store: FeatureStore,
    schedule: Schedule | None = None,
    *,
    exact: bool = False,
    finetune: str = "head",
    mix: str = "none",
    told: OnTrialEnd = lambda _: None,
) -> list[TrialResult]:
    """The results of all trials, in their order; `exact` draws fresh views at each step.

    Tuning the backbone and mixing pixels have no fixed features, and so are exact. Raises `UserError` where
    a trial cannot be trained or compared.
    """
    results = []
    if exact or finetune != "head" or mix != "none":
        for trial in trials:
            results.append(run_exact(trial, validation, store, schedule, finetune=finetune, mix=mix))
            told(results[-1])
        return results
    # All heads of one seed in one loop; seed by seed, so that the first arms are told soon.
    by_seed: dict[int, list[int]] = {}
    for number, trial in enumerate(trials):
        by_seed.setdefault(trial.seed, []).append(number)
    found: dict[int, TrialResult] = {}
    for numbers in by_seed.values():
        group = [trials[number] for number in numbers]
        for number, result in zip(numbers, run_trials(group, validation, store, schedule), strict=True):
            found[number] = result
            told(result)
    return [found[number] for number in range(len(trials))]
