"""What the trials of a study say: each arm over the shots, and against its real images alone."""

from collections.abc import Mapping, Sequence

from dalda.config.experiment import REAL, Study
from dalda.types import TrialResult
from dalda.workflows.reports.experiment import StudyComparison
from dalda.workflows.reports.table import Bounds


def shots_key(shots: int | None) -> str:
    return "all" if shots is None else str(shots)


def by_shots(results: Sequence[TrialResult]) -> dict[str, dict[int, TrialResult]]:
    """Results of one arm: shots to seed to result."""
    found: dict[str, dict[int, TrialResult]] = {}
    for one in results:
        found.setdefault(shots_key(one.shots), {})[one.seed] = one
    return found


def compared_arms(results: Sequence[TrialResult], study: Study) -> StudyComparison:
    """Accuracy per arm and shots, and what each arm gains over the real one, paired by seed and image."""
    from dalda.evaluation.statistics import accuracy_interval, compare, verdict

    arms = {arm.name: by_shots([one for one in results if one.arm == arm.name]) for arm in study.arms}
    real = next((arm.name for arm in study.arms if arm.method == REAL), None)
    gains: dict[str, dict[str, Bounds]] = {}
    sentences = []
    for name, found in arms.items():
        if real is None or name == real or not found:
            continue
        pairs = paired_trials(found, arms[real])
        gains[name] = {key: Bounds.of(compare(*both).overall) for key, both in pairs.items()}
        ones, others = whole_seeds(pairs)
        if ones:
            sentences.append(verdict(compare(ones, others).overall, arm=f"'{name}'", other=f"'{real}'"))
    if len(study.shots) > 1 and sentences:
        sentences.append("(each averaged over the numbers of shots)")
    return StudyComparison(
        arms={
            name: {
                key: Bounds.of(accuracy_interval([one.accuracy for one in ones.values()]))
                for key, ones in found.items()
            }
            for name, found in arms.items()
            if found
        },
        gains=gains,
        sentences=tuple(sentences),
    )


def paired_trials(
    found: Mapping[str, Mapping[int, TrialResult]], others: Mapping[str, Mapping[int, TrialResult]]
) -> dict[str, tuple[list[TrialResult], list[TrialResult]]]:
    """Shots to the trials of both arms, seed by seed, for what both have."""
    pairs = {}
    for key, ones in found.items():
        seeds = [seed for seed in ones if seed in others.get(key, {})]
        if seeds:
            pairs[key] = ([ones[seed] for seed in seeds], [others[key][seed] for seed in seeds])
    return pairs


def whole_seeds(
    pairs: Mapping[str, tuple[Sequence[TrialResult], Sequence[TrialResult]]],
) -> tuple[list[TrialResult], list[TrialResult]]:
    """The trials of the seeds that were run at every number of shots."""
    ran = [{one.seed for one in ones} for ones, _ in pairs.values()]
    whole = set.intersection(*ran) if ran else set()
    ones, others = (
        [one for both in pairs.values() for one in both[side] if one.seed in whole] for side in (0, 1)
    )
    return ones, others
