"""A whole study: arms, seeds and shots, of which only what is missing or changed is made.

RUN/ is a run folder (`dalda.evaluation.results`) with synthetic/, a folder per synthetic set.
"""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from dalda.config import TrainConfig
from dalda.config.cluster import ClusterConfig
from dalda.config.experiment import Study, with_baselines
from dalda.config.study_file import read_study, refused_by_protocol, study_as_yaml
from dalda.datasets.image_folder import refuse_output_inside
from dalda.datasets.registry import load_dataset
from dalda.errors import UserError
from dalda.evaluation.backbones.table import ROWS, Row
from dalda.evaluation.comparison import ArmNumbers, compare_arms
from dalda.evaluation.excluded import Excluded
from dalda.evaluation.results import PlannedTrial, RunFolder, RunSettings
from dalda.evaluation.verdict import answer_of
from dalda.generation.folder_names import folder_name
from dalda.progress import say
from dalda.storage import lock, make_folder, path_of
from dalda.terminal import did_you_mean
from dalda.types import BASELINES, REAL, FewShotSplit, GenerationPlan, SyntheticImage, TrialResult
from dalda.workflows.augment import generate_plan, open_dataset
from dalda.workflows.augment_plan import GeneratorLoader, plan_augment
from dalda.workflows.protocols import protocol_of
from dalda.workflows.real_images import checked
from dalda.workflows.reports import AugmentReport, StudyReport
from dalda.workflows.synthetic_sets import SyntheticSet, backbone_for, synthetic_set
from dalda.workflows.trials import Task, tasks_of
from dalda.workflows.usage import arm_settings

if TYPE_CHECKING:
    from dalda.workflows.runner import TrialRunner


def run_experiment(
    source: Study | Path | str,
    *,
    out: Path | None = None,
    root: Path | None = None,
    original: bool = False,
    only: Sequence[str] = (),
    cluster: ClusterConfig | None = None,
) -> StudyReport:
    """Runs a study, or what is missing of it; `only` names the arms to run, all when empty.

    `cluster` says where; all machines of a Ray cluster must see the results folder under the same name.
    `source` is a study or a file that describes one. Raises UserError for a mistake in it.
    """
    started = time.monotonic()
    study = resolved(source, out=out, root=root, original=original)
    arms = chosen_arms(study, only)
    run = run_of(study)
    run.refuse_foreign(protocol_of(study).leftovers(run.folder))
    tasks = tasks_of(study)
    with run.held():
        protocol_of(study).begin(run.folder)
        _begin(run, study, tasks)
        stages = Stages(study, run)
        missing = [task for task in missing_tasks(study, run, tasks) if task.spec.arm in arms]
        if missing and cluster is not None and cluster.executor == "ray":
            from dalda.workflows.experiment_on_ray import finish_on_ray

            stages.generated = finish_on_ray(study, missing, cluster)
        else:
            for number, task in enumerate(missing, 1):
                say(f"trial {number} of {len(missing)}")
                stages.finish(task)
        results = finished(run, tasks)
        seconds = time.monotonic() - started
        run.end([result for result, _ in results], seconds)
        curves = [(result, run.read_part(task.id, "curves")) for result, task in results]
        protocol_of(study).results_written(run.folder, curves, tasks[0].spec.train.epochs)
        log = run_of(study).excluded
        log.put_in_order([task.id for task in tasks])
        excluded = log.counts({task.id for task in tasks})
    return StudyReport(
        out=run.folder,
        trials=len(tasks),
        trained=len(missing),
        generated=stages.generated,
        seconds=round(seconds, 1),
        arms=_numbers([result for result, _ in results], study),
        answer=answer_of([result for result, _ in results]),
        excluded=excluded,
    )


def run_of(study: Study) -> RunFolder:
    """The study's run folder; it may not exist yet."""
    return RunFolder(study.out or Path(), "dalda run")


def _begin(run: RunFolder, study: Study, tasks: Sequence[Task]) -> None:
    """Writes run.yaml. Trials have ids by content, so a changed study keeps what it shares with it."""
    trials = tuple(
        PlannedTrial(
            task.id,
            task.spec.arm,
            task.spec.train.seed,
            task.spec.train.shots,
            None if task.synthetic is None else task.synthetic.out.as_posix(),
        )
        for task in tasks
    )
    arms = {task.spec.arm: arm_settings(task.spec.train) for task in tasks}
    settings = yaml.safe_load(study_as_yaml(study))
    run.update(RunSettings("run", settings, arms, trials, {"device": study.device}))


def _numbers(results: Sequence[TrialResult], study: Study) -> dict[str, ArmNumbers]:
    """The numbers of the study's arms, in its order."""
    order = {arm.name: place for place, arm in enumerate(study.arms)}
    real = next((arm.name for arm in study.arms if arm.method == REAL), None)
    return compare_arms(sorted(results, key=lambda result: order[result.arm]), real)


def resolved(source: Study | Path | str, *, out: Path | None, root: Path | None, original: bool) -> Study:
    """The study with what the command line adds, and a place for its results.

    Raises UserError where it asks for what its protocol does not have.
    """
    study = source if isinstance(source, Study) else read_study(path_of(source))
    name = study.dataset if isinstance(source, Study) else Path(source).stem
    place = out or study.out or Path("runs") / folder_name(Path(name).name)
    study = study.model_copy(
        update={"out": place, "root": root or study.root, "original": original or study.original}
    )
    config = TrainConfig(dataset=study.dataset, backbone=study.train.get("backbone"))
    row = ROWS.get(backbone_for(config, config.backbone), Row(""))
    study = with_baselines(study, reads_text=row.reads_text)
    refused = refused_by_protocol(study)
    if refused is not None:
        raise UserError(f"{'.'.join(map(str, refused[0]))}: {refused[1]}")
    refuse_output_inside(place, load_dataset(study.dataset, study.root))
    return study


def chosen_arms(study: Study, only: Sequence[str]) -> set[str]:
    """The arms to run. Raises UserError for an unknown name."""
    names = [arm.name for arm in study.arms]
    strange = [name for name in only if name not in names]
    if strange:
        near = did_you_mean(strange[0], names) or f"; it has {', '.join(names)}"
        raise UserError(f"there is no arm '{strange[0]}' in the study{near}")
    return set(only or names)


def missing_tasks(study: Study, run: RunFolder, tasks: Sequence[Task]) -> list[Task]:
    """The trials without a result, in the order of the plan."""
    elsewhere = protocol_of(study).done_elsewhere
    return [task for task in tasks if not run.has(task.id) and not elsewhere(task)]


def finished(run: RunFolder, tasks: Sequence[Task]) -> list[tuple[TrialResult, Task]]:
    """The results so far, in the order of the plan."""
    return [(run.read(task.id), task) for task in tasks if run.has(task.id)]


@dataclass
class Stages:
    """Generation and training of a study's trials; each model is loaded once, when it is first needed."""

    study: Study
    run: RunFolder
    shared: bool = False
    """Whether other processes finish trials of the same run."""
    generated: int = 0
    loaders: dict[str, GeneratorLoader] = field(default_factory=dict)
    runner: "TrialRunner | None" = None
    splits: dict[tuple[int, int | None], FewShotSplit] = field(default_factory=dict)

    def finish(self, task: Task) -> None:
        """Generates what the trial needs, trains it, and keeps its result."""
        from dalda.evaluation.baselines import as_baseline
        from dalda.workflows.runner import TrialRunner, say_result

        images = self.images(task)
        config = task.spec.train
        self.runner = runner = self.runner or TrialRunner(config, self.run)
        trial, excluded = runner.trial(task.spec.arm, config, self.checked(task), images)
        if task.spec.method in BASELINES and not self.study.original:
            trial = as_baseline(task.spec.method, trial, runner.head, runner.store.backbone)
        validation = task.validation
        # The result last: where it is there, nothing of the trial is missing.
        self._keep_excluded(task, excluded)
        other = protocol_of(self.study).train(trial, validation, runner)
        if other is None:
            runner.train({task.id: trial}, validation)
            return
        result, curves = other
        self.run.keep_part(task.id, "curves", curves)
        self.run.keep(task.id, result)
        say_result(result)

    def _keep_excluded(self, task: Task, excluded: Sequence[Excluded]) -> None:
        if not self.shared:
            self.run.excluded.put(task.id, excluded)
            return
        place = self.run.folder / "results"
        make_folder(place)
        with lock(place, f"another process writes in '{place}' for very long; run again", seconds=600):
            run_of(self.study).excluded.put(task.id, excluded)

    def checked(self, task: Task) -> FewShotSplit:
        """The trial's real images, checked once for all arms."""
        key = (task.spec.train.seed, task.spec.train.shots)
        if key not in self.splits:
            self.splits[key] = checked(task.split, task.validation)
        return self.splits[key]

    def images(self, task: Task) -> SyntheticSet | None:
        """The images of the trial's set, and those rejected; what is missing of them is generated."""
        if task.synthetic is None:
            return None
        existing = protocol_of(self.study).existing_images(task)
        images: tuple[SyntheticImage, ...] = tuple(existing.values())
        if len(existing) == task.images:
            return SyntheticSet(task.synthetic.out, images)
        folder = self.generate(task, existing)
        generated = synthetic_set(folder, ignore_review=task.spec.train.ignore_review)
        # A set may serve trials of more shots, too.
        sources = {(image.sha256, image.label) for image in task.split.images}
        new = [x for x in generated.images if (x.source_sha256, x.source_class) in sources]
        return SyntheticSet(folder, (*images, *new), generated.rejected)

    def generate(self, task: Task, existing: Collection[int]) -> Path:
        """Generates the task's synthetic set without the requests of the numbers in `existing`."""
        config = task.synthetic
        assert config is not None
        folder = protocol_of(self.study).set_folder(config.out, existing)
        config = config.model_copy(update={"out": folder})
        task.write_captions()
        decided = plan_augment(config)
        missing = tuple(x for number, x in enumerate(decided.plan.requests) if number not in existing)
        decided = replace(decided, plan=GenerationPlan(missing))
        store = open_dataset(config, decided)
        # A model is loaded once for all sets that run it in the same way.
        how = (decided.preset, config.dtype, config.channels_last, config.compile)
        loader = self.loaders.setdefault(repr(how), decided.loader)
        report = generate_plan(config, decided, store, loader)
        self.generated += report.generated
        self._add_costs(str(task.set_id), report)
        protocol_of(self.study).set_written(config.out, decided.plan)
        return config.out

    def _add_costs(self, set_id: str, report: AugmentReport) -> None:
        """Adds the seconds of fitting and generating to those of earlier runs."""
        if report.generated:
            earlier = self.run.read_part(set_id, "costs") or {}
            names = ("fitting_seconds", "generating_seconds")
            costs = {name: earlier.get(name, 0.0) + getattr(report, name) for name in names}
            self.run.keep_part(set_id, "costs", costs)
