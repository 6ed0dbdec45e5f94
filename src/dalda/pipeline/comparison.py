"""What the trials of a study say: each arm over the shots, and against its real pictures alone."""

from collections.abc import Mapping, Sequence

from dalda.answers.study import StudyComparison
from dalda.answers.table import Bounds
from dalda.config.study import REAL, Study
from dalda.records import Outcome


def shots_key(shots: int | None) -> str:
    return "all" if shots is None else str(shots)


def by_shots(outcomes: Sequence[Outcome]) -> dict[str, dict[int, Outcome]]:
    """Outcomes of one arm: shots to seed to outcome."""
    found: dict[str, dict[int, Outcome]] = {}
    for one in outcomes:
        found.setdefault(shots_key(one.shots), {})[one.seed] = one
    return found


def compared_arms(outcomes: Sequence[Outcome], study: Study) -> StudyComparison:
    """Accuracy per arm and shots, and what each arm gains over the real one, paired by seed."""
    from dalda.trials.metrics import interval, verdict

    arms = {arm.name: by_shots([one for one in outcomes if one.arm == arm.name]) for arm in study.arms}
    real = next((arm.name for arm in study.arms if arm.method == REAL), None)
    gains: dict[str, dict[str, Bounds]] = {}
    sentences = []
    for name, found in arms.items():
        if real is None or name == real or not found:
            continue
        pairs = paired_gains(found, arms[real])
        gains[name] = {key: Bounds.of(interval(list(values.values()))) for key, values in pairs.items()}
        whole = [seed for seed in study.seeds if pairs and all(seed in values for values in pairs.values())]
        if whole:
            means = [sum(values[seed] for values in pairs.values()) / len(pairs) for seed in whole]
            sentences.append(verdict(interval(means), arm=f"'{name}'", other=f"'{real}'"))
    if len(study.shots) > 1 and sentences:
        sentences.append("(each averaged over the numbers of shots)")
    return StudyComparison(
        arms={
            name: {
                key: Bounds.of(interval([one.accuracy for one in ones.values()]))
                for key, ones in found.items()
            }
            for name, found in arms.items()
            if found
        },
        gains=gains,
        sentences=tuple(sentences),
    )


def paired_gains(
    found: Mapping[str, Mapping[int, Outcome]], others: Mapping[str, Mapping[int, Outcome]]
) -> dict[str, dict[int, float]]:
    """Shots to seed to the gain, for what both arms have."""
    gains = {
        key: {
            seed: one.accuracy - others[key][seed].accuracy
            for seed, one in ones.items()
            if seed in others[key]
        }
        for key, ones in found.items()
        if key in others
    }
    return {key: values for key, values in gains.items() if values}
