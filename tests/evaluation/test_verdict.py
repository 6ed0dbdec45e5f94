"""The verdict: its three outcomes, its corrections, its warnings, and its error rates in simulation."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from dalda.evaluation.statistics import Estimate
from dalda.evaluation.verdict import answer_of, chances_of, decide, holm, smallest_effect
from dalda.types import TrialResult
from simulate_verdicts import Setting, effect_for, simulate

SIMULATIONS = 300


def trials(arm: str, accuracy: float, *, synthetic: int = 0, seeds: int = 5) -> list[TrialResult]:
    """Trials whose seeds differ a little, on 400 images."""
    found = []
    for seed in range(seeds):
        generator = np.random.default_rng([seed, len(arm)])
        right = tuple((generator.random(400) < accuracy).tolist())
        share = sum(right) / len(right)
        images = tuple(str(number) for number in range(400))
        found.append(
            TrialResult(
                "simulated",
                arm,
                seed,
                2,
                ("a", "b"),
                share,
                (share, share),
                0.5,
                4,
                synthetic,
                right,
                0.05,
                images=images,
            )
        )
    return found


def test_the_strongest_baseline_is_the_one_to_beat() -> None:
    results = [*trials("real", 0.5), *trials("real-linear", 0.7), *trials("dalda", 0.85, synthetic=8)]
    (verdict,) = answer_of(results).verdicts.values()
    assert verdict.decision.strongest == verdict.comparison.other == "real-linear"
    assert verdict.decision.claim == "helps"
    assert verdict.sentence.startswith("'dalda' helps: +")
    assert "against the strongest baseline, 'real-linear' (95 % interval +" in verdict.sentence


def test_harm_and_no_evidence_are_named_as_plainly() -> None:
    baselines = [*trials("real", 0.5), *trials("zero-shot", 0.8)]
    harmed = answer_of([*baselines, *trials("dalda", 0.6, synthetic=8)])
    assert harmed.verdicts["dalda"].sentence.startswith("'dalda' hurts: -")
    level = answer_of([*baselines, *trials("dalda", 0.8, synthetic=8)])
    sentence = level.verdicts["dalda"].sentence
    assert sentence.startswith("No evidence that 'dalda' helps or hurts: ")
    assert "would have been found" in sentence
    one = answer_of([*trials("real", 0.5, seeds=1), *trials("dalda", 0.8, synthetic=8, seeds=1)])
    assert one.verdicts["dalda"].decision.claim == "no evidence"
    assert one.sentences[0].startswith("One seed gives no verdict on 'dalda': +")


def test_an_interval_without_zero_that_is_no_evidence_is_explained() -> None:
    results = [*trials("real", 0.5), *trials("dalda", 0.85, synthetic=8)]
    (verdict,) = answer_of(results).verdicts.values()
    assert "corrected" not in verdict.sentence
    weak = replace(verdict, decision=replace(verdict.decision, claim="no evidence", p_value=0.314))
    assert verdict.comparison.gain.excludes_zero
    assert weak.sentence.endswith("of this comparison alone; corrected for all that were made, p is 0.31.")


def test_results_without_a_baseline_have_no_verdict() -> None:
    assert answer_of(trials("dalda", 0.8, synthetic=8)).verdicts == {}


def test_to_help_an_arm_must_gain_on_every_baseline() -> None:
    clear, none = Estimate(0.1, 0.01, 10.0), Estimate(0.005, 0.01, 10.0)
    accuracy = {"real": 0.7, "zero-shot": 0.795}
    assert decide({"a": {"real": clear}}, accuracy)["a"].claim == "helps"
    decision = decide({"a": {"real": clear, "zero-shot": none}}, accuracy)["a"]
    assert decision.claim == "no evidence"
    assert decision.strongest == "zero-shot"


def test_with_one_baseline_and_one_arm_the_verdict_is_the_intervals() -> None:
    for mean in np.linspace(-0.05, 0.05, 41):
        estimate = Estimate(float(mean), 0.01, 6.0)
        claim = decide({"a": {"real": estimate}}, {"real": 0.5})["a"].claim
        assert (claim != "no evidence") == estimate.interval.excludes_zero
        if claim != "no evidence":
            assert claim == ("helps" if mean > 0 else "hurts")
    chances = chances_of(Estimate(0.02, 0.01, 6.0))
    assert chances is not None
    assert chances[0] == pytest.approx(stats.t.sf(2, 6))


def test_holm_against_its_definition() -> None:
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "c": 0.06, "b": 0.06})
    assert holm({"a": 0.9, "b": 0.8}) == pytest.approx({"b": 1.0, "a": 1.0})


def test_the_smallest_effect_has_the_promised_power() -> None:
    """By the noncentral t distribution, written with its density in scipy.stats."""
    for degrees in (2.0, 4.0, 30.0):
        effect = smallest_effect(Estimate(0.0, 0.02, degrees))
        assert effect is not None
        # On average the standard error of few seeds is this share of the true one.
        share = stats.chi(degrees).mean() / np.sqrt(degrees)
        power = stats.nct.sf(stats.t.ppf(0.975, degrees), degrees, effect * share / 0.02)
        assert power == pytest.approx(0.8, abs=1e-3)


def test_what_casts_doubt_on_all_comes_first() -> None:
    zero_shot, real = trials("zero-shot", 0.9), trials("real", 0.6)
    dalda = trials("dalda", 0.75, synthetic=8)
    answer = answer_of([*zero_shot, *real, *dalda])
    assert "every trained classifier lies below zero-shot" in answer.sentences[0]
    fallen = [replace(one, epoch_accuracy=(0.9, one.accuracy)) for one in dalda]
    sure = [replace(one, calibration_error=0.47) for one in real]
    answer = answer_of([*trials("zero-shot", 0.3), *sure, *fallen])
    assert ["'dalda' ended below" in one for one in answer.warnings] == [True, False]
    assert "confidence of 'real' is off by more than 20 points" in answer.warnings[1]
    assert answer_of([*trials("zero-shot", 0.3), *real, *dalda]).warnings == ()


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_simulated_verdicts_are_seldom_wrong(seeds: int) -> None:
    """Four baselines and three arms that are all alike, and one arm at the smallest effect."""
    null = simulate(Setting(seeds), SIMULATIONS)
    assert null.claims_of_help <= 0.05
    assert null.claims_of_harm <= 0.05 + 0.025  # 300 simulations of a rate of 3 % may show 5.5 %
    assert 0.92 <= null.coverage <= 0.98
    one = simulate(Setting(seeds, baselines=1, arms=1), SIMULATIONS)
    effect = effect_for(one.smallest_effect)
    assert 0.72 <= simulate(Setting(seeds, 1, 1, effect=effect), SIMULATIONS, 1).found <= 0.88
