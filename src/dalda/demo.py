"""The whole flow on the embedded world: do synthetic images help a few-shot classifier?

The headline backbone never saw the classes or their names, as a photograph's backbone rarely did. The
embedded CLIP, which knows most of them by name, is shown beside it: zero-shot, and with a head of its own.
"""

import multiprocessing
import os
import signal
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from dalda.config import AugmentConfig, DataConfig, DemoConfig, ReportConfig
from dalda.datasets.image_io import open_image
from dalda.device import use_one_thread
from dalda.doodles.vocabulary import FAMILIAR, UNFAMILIAR
from dalda.errors import UserError
from dalda.evaluation.baselines import baselines_of
from dalda.evaluation.comparison import ArmSummary, by_arm, compare, summarize
from dalda.evaluation.features import load_features
from dalda.evaluation.heads.table import default_head
from dalda.evaluation.results import RunFolder
from dalda.evaluation.training import TrainingMethod, run_trials
from dalda.evaluation.trial import Trial
from dalda.evaluation.verdict import answer_of
from dalda.generation.synthetic_dataset import SyntheticDataset
from dalda.models.presets import Sampler
from dalda.progress import progress, quiet
from dalda.reporting.contact_sheet import SheetRow, drawn_sheet, png_of
from dalda.reporting.plots import accuracy_figure
from dalda.storage import remove, write_new
from dalda.types import ZERO_SHOT, FewShotSplit, SyntheticImage, TrialResult
from dalda.workflows.augment import augment
from dalda.workflows.real_images import split_of
from dalda.workflows.report import report as write_report
from dalda.workflows.reports import DemoReport

DATASET, BACKBONE, CLIP = "doodles", "doodle-vision", "doodle"
SEEDS = (0, 1, 2, 3, 4)
SHOTS = 2
PER_IMAGE = 4
ARMS = {"text": "0", "uniform": "uniform", "dalda": "adaptive"}
"""The arms with synthetic images, and their IP-Adapter scale."""
SAMPLER: Sampler = "unipc"
STEPS = 6
"""In place of 12 of DDIM, in half the time (docs/evaluation.md)."""
MOST_PROCESSES = 4
"""Each takes 0.7 GB of memory."""
CLIP_HEAD = "real-clip"
"""Real images alone on the CLIP, with the head that stays near its zero-shot classifier."""
GROUPS = {"known": FAMILIAR, "unknown": UNFAMILIAR}
REPORT = "report.html"
FILES = {REPORT, "accuracy.png", "sheet.png", "results", "results.csv", "run.yaml"}
PROBLEM = (
    f"The task: {SHOTS} images a class, each class seen in one place and in two colours only; "
    "the validation set shows all places and colours."
)


def run_demo(config: DemoConfig) -> DemoReport:
    """All arms over all seeds; resumes where an earlier run in the same folder stopped."""
    started, out = time.monotonic(), config.out
    run = RunFolder(out, "dalda demo")
    run.refuse_foreign({f"{arm}-seed{seed}" for arm in ARMS for seed in SEEDS} | FILES)
    sets = {
        (arm, seed): AugmentConfig(
            dataset=DATASET,
            out=out / f"{arm}-seed{seed}",
            shots=SHOTS,
            seed=seed,
            per_image=PER_IMAGE,
            ip_adapter_scale=scale,
            scheduler=SAMPLER,
            steps=STEPS,
            device="cpu",
        )
        for seed in SEEDS
        for arm, scale in ARMS.items()
    }
    generated = _generate(list(sets.values()))
    splits = {seed: split_of(sets["dalda", seed]) for seed in SEEDS}
    images = {key: SyntheticDataset.existing(config.out).synthetic_images() for key, config in sets.items()}
    results = _trials(splits, images)
    run.save(results, {"dataset": DATASET})
    arms = by_arm(results)
    numbers = {arm: summarize(of_arm) for arm, of_arm in arms.items()}
    answer = answer_of(results)
    headline = answer.verdicts["dalda"]
    others = [compare(arms["dalda"], arms[other]) for other in ("real", "text", "uniform")]
    figure, sheet = _figure(out, numbers), out / "sheet.png"
    write_new(sheet, _sheet(splits[0], images["dalda", 0]))
    remove(out / REPORT)  # of an earlier run with fewer results
    page = write_report(ReportConfig(places=(out,), out=out / REPORT, device="cpu")).path
    return DemoReport(
        verdict=" ".join((*answer.warnings, headline.sentence)),
        arms={arm: summary.accuracy for arm, summary in numbers.items()},
        groups={
            group: {arm: _group_accuracy(of_arm, names) for arm, of_arm in arms.items()}
            for group, names in GROUPS.items()
        },
        gain=headline.comparison.gain,
        answer=answer,
        comparisons=tuple(gain.sentence() for gain in others if gain is not None),
        problem=PROBLEM,
        figure=figure,
        sheet=sheet,
        report=page,
        images=generated,
        seconds=round(time.monotonic() - started, 1),
    )


def _generate(sets: Sequence[AugmentConfig]) -> int:
    """Generates the sets, a core for each: two small models at once are faster than one on two cores.

    Returns the number of new images.
    """
    cores = min(MOST_PROCESSES, os.cpu_count() or 1)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(cores, mp_context=context, initializer=_begin) as pool:
        try:
            with progress("generate: sets", len(sets)) as bar:
                tasks = [pool.submit(augment, config) for config in sets]
                generated = 0
                for task in as_completed(tasks):
                    generated += task.result().generated
                    bar.advance()
            return generated
        except BrokenProcessPool:
            raise UserError(
                "a process of the demo died, perhaps for lack of memory; what is finished is kept, run "
                "the same command again"
            ) from None
        except BaseException:
            for process in multiprocessing.active_children():
                process.kill()  # what is written is whole, and the same command resumes
            raise


def _begin() -> None:
    """In a new process: quiet, on one core, and deaf to Ctrl-C, which the first process hears."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    quiet()
    use_one_thread()


def _trials(
    splits: Mapping[int, FewShotSplit], images: Mapping[tuple[str, int], list[SyntheticImage]]
) -> list[TrialResult]:
    """The results of all arms and seeds: baselines on either backbone, then the arms."""
    validation = split_of(DataConfig(dataset=DATASET), "val")
    clip, store = load_features(CLIP, "cpu"), load_features(BACKBONE, "cpu")
    on_clip = [
        Trial(arm, seed, split, head=head)
        for arm, head in {ZERO_SHOT: ZERO_SHOT, CLIP_HEAD: "constrained"}.items()
        for seed, split in splits.items()
    ]
    head = default_head(store.backbone)
    trials = [
        trial
        for seed, split in splits.items()
        for trial in (
            *baselines_of(Trial("real", seed, split), head, store.backbone),
            *(Trial(arm, seed, split, tuple(images[arm, seed])) for arm in ARMS),
        )
    ]
    trained = run_trials(trials, validation, store, method=TrainingMethod(head=head))
    return [*run_trials(on_clip, validation, clip), *trained]


def _group_accuracy(results: Sequence[TrialResult], names: Sequence[str]) -> float:
    """Mean accuracy over seeds and over the named classes."""
    values = [
        value
        for result in results
        for name, value in zip(result.classes, result.class_accuracy, strict=True)
        if name in names
    ]
    return sum(values) / len(values)


def _figure(out: Path, arms: Mapping[str, ArmSummary]) -> Path:
    return accuracy_figure(
        {
            arm: (summary.accuracy, tuple(summary.accuracy_by_seed.values()))
            for arm, summary in arms.items()
        },
        out / "accuracy.png",
        title=f"Accuracy on all doodles, {SHOTS} images a class, {len(SEEDS)} seeds",
        chance=1 / len(FAMILIAR + UNFAMILIAR),
    )


def _sheet(split: FewShotSplit, images: Sequence[SyntheticImage]) -> bytes:
    """A real image of every class with its synthetic images, as PNG."""
    rows = []
    for name in split.classes:
        real = next(image for image in split.images if image.label == name)
        of_real = [x for x in images if x.source_sha256 == real.sha256 and x.label == name]
        kind = "known" if name in FAMILIAR else "unknown"
        clip = f", CLIP {of_real[0].source_clip_probability:.2f}" if of_real else ""
        shown = [(open_image(x.path), x.prompt, x.ip_adapter_scale) for x in of_real]
        rows.append(SheetRow(f"{name} ({kind}{clip})", open_image(real.path), shown))
    return png_of(drawn_sheet(rows))
