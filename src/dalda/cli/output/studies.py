"""Lines about studies and about the demo."""

from typing import TYPE_CHECKING

from dalda.cli.output.numbers import excluded_lines, in_seconds, percent
from dalda.terminal import table

if TYPE_CHECKING:
    from dalda.workflows.compare import CompareReport
    from dalda.workflows.reports import DemoReport, StudyDryRun, StudyReport


def study_lines(report: "StudyReport") -> list[str]:
    shots = list(dict.fromkeys(key for numbers in report.arms.values() for key in numbers.summaries))
    heading = ["arm", *(f"{key} shot{'' if key == '1' else 's'}" for key in shots)]
    rows = [
        [
            arm,
            *(numbers.summaries[key].accuracy.text() if key in numbers.summaries else "" for key in shots),
        ]
        for arm, numbers in report.arms.items()
    ]
    several = any(len(numbers.gains) > 1 for numbers in report.arms.values()) and report.verdicts
    return [
        *report.answer.sentences,
        *(["(each averaged over the numbers of shots)"] if several else []),
        "accuracy, % (95 % interval over seeds)",
        *table([heading, *rows]),
        *excluded_lines(report.excluded),
        f"{report.trained} of {report.trials} trials trained, {report.generated} images generated, in "
        f"{report.seconds:.0f} s; the others existed already",
        f"results: {report.out}/results.csv",
    ]


def compare_lines(report: "CompareReport") -> list[str]:
    return [
        *report.answer.sentences,
        "accuracy, % (95 % interval over seeds), and gain over real images alone",
        *table([report.heading, *report.rows]),
        *excluded_lines(report.excluded),
        f"{report.trained} of {report.trials} trials trained, {report.generated} images generated, in "
        f"{report.seconds:.0f} s; the others existed already",
        f"table: {report.table}",
        f"figure: {report.figure}",
        f"sheet: {report.sheet}",
    ]


def study_dry_run_lines(report: "StudyDryRun") -> list[str]:
    return [
        f"{len(report.arms)} arms: {', '.join(report.arms)}",
        f"{report.missing_trials} of {report.trials} trials to train: "
        f"{in_seconds(report.training_seconds)}",
        f"{report.missing_images} of {report.images} images to generate, in {report.synthetic_sets} sets: "
        f"{in_seconds(report.generating_seconds)}, about {report.megabytes:.1f} MB",
        *(
            [f"tokens and LoRAs to learn: {in_seconds(report.fitting_seconds)}"]
            if report.fitting_seconds != 0
            else []
        ),
        f"results would go to {report.out}; no trial was trained, no image generated",
    ]


def demo_lines(report: "DemoReport") -> list[str]:
    rows = [
        (arm, accuracy.text(), *(percent(group[arm]) for group in report.groups.values()))
        for arm, accuracy in report.arms.items()
    ]
    return [
        report.verdict,
        "",
        *table([("arm", "accuracy, % (95 % interval)", *report.groups), *rows]),
        "",
        *report.comparisons,
        report.problem,
        "Zero-shot CLIP saw this world in training and knows most classes by name; the backbone of the",
        "other arms saw neither.",
        f"{report.images} images generated; {report.seconds:.0f} s in all",
        f"figure: {report.figure}",
        f"sheet: {report.sheet}",
        f"report: {report.report.resolve().as_uri()}",
    ]
