"""A whole study: arms, seeds and shots, of which only what is missing or changed is made.

RUN/ holds study.yaml (what was asked for), plan.json (the trials and their synthetic sets), outcomes/ (a
file per trial, named by the content that decides it), left_out/ (a file per trial that leaves images out),
results.csv (tidy) and synthetic/ (a folder per set).
"""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dalda.compat.config import converted, read_study
from dalda.config.experiment import Study, unlike_reference
from dalda.errors import UserError
from dalda.generation.synthetic_dataset import Store, folder_name
from dalda.progress import say
from dalda.storage.atomic import write_atomically
from dalda.types import Outcome, Plan, Sample, Split
from dalda.workflows.augment import Decided, decide, paint_plan, settings_of
from dalda.workflows.comparison import compared_arms
from dalda.workflows.loading import device_named, load_features, load_model
from dalda.workflows.original_folder import (
    Curve,
    as_curve,
    left_by_reference,
    place_of,
    read_curve,
    write_prompts,
    write_results,
)
from dalda.workflows.real_images import checked
from dalda.workflows.reports.experiment import StudyReport
from dalda.workflows.results import OUTCOMES, PLAN, read_outcome
from dalda.workflows.run_folder import (
    REJECTED,
    LeftOut,
    counted,
    held,
    keep_outcome,
    read_left_out,
    refuse_foreign,
    write_left_out,
    write_table,
)
from dalda.workflows.synthetic_sets import backbone_for, synthetic_set
from dalda.workflows.train import schedule_of, sieved
from dalda.workflows.trials import Task, tasks_of

if TYPE_CHECKING:
    from dalda.evaluation.features import FeatureStore
    from dalda.generation.backends.stable_diffusion import Renderer

SETTINGS, LEFT_OUT = "study.yaml", "left_out"


def run(
    source: Study | Path | str,
    *,
    out: Path | None = None,
    root: Path | None = None,
    reference: bool = False,
    only: Sequence[str] = (),
) -> StudyReport:
    """Runs a study, or what is missing of it; `only` names the arms to run, all when empty.

    `source` is a study, a YAML file, or a .py file of the reference. Raises UserError for a mistake in it.
    """
    started = time.monotonic()
    study = settled(source, out=out, root=root, reference=reference)
    folder = study.out or Path()
    arms = chosen_arms(study, only)
    refuse_others(folder)
    tasks = tasks_of(study)
    with held(folder):
        write_atomically(folder / SETTINGS, converted(study))
        write_atomically(folder / PLAN, json.dumps([task.entry for task in tasks], indent=1) + "\n")
        bench = _Bench(study, folder)
        missing = [task for task in missing_tasks(folder, tasks) if task.spec.arm in arms]
        for number, task in enumerate(missing, 1):
            outcome = bench.finish(task)
            shots = "all" if outcome.shots is None else outcome.shots
            said = f"{outcome.arm}, seed {outcome.seed}, shots {shots}: {outcome.accuracy * 100:.1f} %"
            say(f"trial {number} of {len(missing)}: {said}")
        save_results(folder, study, tasks)
    return StudyReport(
        out=folder,
        trials=len(tasks),
        trained=len(missing),
        painted=bench.painted,
        seconds=round(time.monotonic() - started, 1),
        comparison=compared_arms([one for one, _ in finished(folder, tasks)], study),
        left_out=counted(one for task in tasks for one in read_left_out(_left_out(folder, task))),
    )


def settled(source: Study | Path | str, *, out: Path | None, root: Path | None, reference: bool) -> Study:
    """The study with what the command line adds, and a place for its results.

    Raises UserError where it asks for what the reference's semantics do not have.
    """
    study = source if isinstance(source, Study) else read_study(Path(source))
    name = study.dataset if isinstance(source, Study) else Path(source).stem
    place = out or study.out or Path("runs") / folder_name(Path(name).name)
    study = study.model_copy(
        update={"out": place, "root": root or study.root, "reference": reference or study.reference}
    )
    unlike = unlike_reference(study)
    if unlike is not None:
        raise UserError(f"{'.'.join(map(str, unlike[0]))}: {unlike[1]}")
    return study


def chosen_arms(study: Study, only: Sequence[str]) -> set[str]:
    """The arms to run. Raises UserError for a name that is none."""
    names = [arm.name for arm in study.arms]
    strange = [name for name in only if name not in names]
    if strange:
        raise UserError(f"there is no arm '{strange[0]}' in the study; it has {', '.join(names)}")
    return set(only or names)


def refuse_others(folder: Path) -> None:
    """Raises UserError unless the folder is new, empty, or a run's."""
    refuse_foreign(folder, PLAN, "dalda run", {SETTINGS})


def missing_tasks(folder: Path, tasks: Sequence[Task]) -> list[Task]:
    return [task for task in tasks if not _file(folder, task).exists()]


def finished(folder: Path, tasks: Sequence[Task]) -> list[tuple[Outcome, Task]]:
    """The outcomes that are there, in the order of the plan."""
    there = [task for task in tasks if _file(folder, task).exists()]
    return [(read_outcome(_file(folder, task)), task) for task in there]


def save_results(folder: Path, study: Study, tasks: Sequence[Task]) -> None:
    """results.csv, and the reference's tables where they are wanted, from the outcomes that are there."""
    there = finished(folder, tasks)
    write_table(folder, [outcome for outcome, _ in there])
    for arm in study.arms if study.reference_csv else ():
        place = folder if len(study.arms) == 1 else folder / "reference" / folder_name(arm.name)
        place.mkdir(parents=True, exist_ok=True)
        own = [
            (one, read_curve(_file(folder, task, "curves"))) for one, task in there if one.arm == arm.name
        ]
        write_results(place, own, tasks[0].spec.train.epochs)


def _file(folder: Path, task: Task, part: str = OUTCOMES) -> Path:
    return folder / part / f"{task.id}.json"


def _left_out(folder: Path, task: Task) -> Path:
    return folder / LEFT_OUT / f"{task.id}.jsonl"


@dataclass
class _Bench:
    """What the trials of a run share; each thing is loaded once, when it is first needed."""

    study: Study
    folder: Path
    painted: int = 0
    renderers: dict[str, "Renderer"] = field(default_factory=dict)
    store: "FeatureStore | None" = None
    validation: dict[int, Split] = field(default_factory=dict)

    def finish(self, task: Task) -> Outcome:
        """Paints what the trial needs, trains it, and keeps its outcome."""
        samples, rejected = self.samples(task)
        outcome, curve, sieved_out = self.train(task, samples)
        # The outcome last: where it is there, nothing of the trial is missing.
        write_left_out(_left_out(self.folder, task), [*rejected, *sieved_out])
        if curve is not None:
            path = _file(self.folder, task, "curves")
            path.parent.mkdir(exist_ok=True)
            write_atomically(path, json.dumps(curve) + "\n")
        keep_outcome(_file(self.folder, task), outcome)
        return outcome

    def samples(self, task: Task) -> tuple[tuple[Sample, ...], list[LeftOut]]:
        """The pictures that the trial may use, and those rejected; what is missing of them is painted."""
        if task.synthetic is None:
            return (), []
        there, skip = left_by_reference(self.study, task)
        rejected: tuple[Sample, ...] = ()
        if skip is not None:
            folder = self.paint(task, skip)
            made = synthetic_set(folder, ignore_review=task.spec.train.ignore_review)
            there, rejected = [*there, *made.samples], made.rejected
        examples = {(one.sha256, one.label) for one in task.split.examples}

        def of_trial(samples: Sequence[Sample]) -> list[Sample]:
            # A set may serve trials of more shots, too.
            return [one for one in samples if (one.source_sha256, one.label) in examples]

        out = [LeftOut(task.spec.arm, one.job_id, REJECTED, REJECTED) for one in of_trial(rejected)]
        return tuple(of_trial(there)), out

    def paint(self, task: Task, skip: int) -> Path:
        """Makes the task's synthetic set, but for the first `skip` jobs; tells where."""
        config = task.synthetic
        assert config is not None
        config = config.model_copy(update={"out": place_of(config.out, skip)})
        task.write_captions()
        decided = decide(config, hold_out=task.hold_out)
        decided = replace(decided, plan=Plan(decided.plan.jobs[skip:]))
        store = Store.open(config.out, settings_of(config, decided))
        report = paint_plan(config, decided, store, self.renderer(decided, store))
        self.painted += report.painted
        if self.study.reference_csv:
            write_prompts(config.out, decided.plan, store)
        return config.out

    def renderer(self, decided: Decided, store: Store) -> "Renderer | None":
        """The loaded model; None where nothing is left to paint."""
        from dalda.generation.executors.local import missing_jobs

        key = repr(decided.preset)
        if key not in self.renderers and missing_jobs(decided.plan, store):
            self.renderers[key] = load_model(decided.preset, device_named(self.study.device))
        return self.renderers.get(key)

    def train(self, task: Task, samples: tuple[Sample, ...]) -> tuple[Outcome, Curve | None, list[LeftOut]]:
        from dalda.evaluation.run import run_all
        from dalda.evaluation.trial import Trial

        config = task.spec.train
        store, schedule = self.features(task), schedule_of(config)
        if config.seed not in self.validation:
            self.validation[config.seed] = checked(task.validation)
        trial = Trial(
            task.spec.arm,
            config.seed,
            checked(task.split),
            samples,
            config.synthetic_probability,
            config.blend if samples else "per-image-replacement",
        )
        left_out: list[LeftOut] = []
        if samples:
            trial, left_out = sieved(config, trial, store, schedule)
        if self.study.reference:
            from dalda.compat.protocol import run_as_reference

            outcome, curves = run_as_reference(trial, task.validation, store, schedule)
            return outcome, as_curve(curves), left_out
        (outcome,) = run_all(
            [trial],
            task.validation,
            store,
            schedule,
            exact=config.exact,
            tune=config.tune,
            mix=config.mix,
        )
        return outcome, None, left_out

    def features(self, task: Task) -> "FeatureStore":
        if self.store is None:
            config = task.spec.train
            views = 8 if config.views == "exact" else config.views
            backbone = backbone_for(config, config.backbone)
            self.store = load_features(backbone, config.device, views=views, augment=config.augment)
        return self.store
