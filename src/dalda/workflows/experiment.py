"""A whole study: arms, seeds and shots, of which only what is missing or changed is made.

RUN/ holds study.yaml (what was asked for), plan.json (the trials and their synthetic sets), results/ (a
file per trial, named by the content that decides it), excluded/ (a file per trial that leaves images out),
results.csv (tidy) and synthetic/ (a folder per set).
"""

import json
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dalda.config.experiment import REAL, Study, read_study, refused_by_protocol, study_as_yaml
from dalda.device import device_named
from dalda.errors import UserError
from dalda.generation.synthetic_dataset import SyntheticDataset, folder_name
from dalda.progress import say
from dalda.storage import write
from dalda.types import FewShotSplit, GenerationPlan, SyntheticImage, TrialResult
from dalda.workflows.augment import SETTING_DEFAULTS, AugmentPlan, decide, generate_plan, settings_of
from dalda.workflows.loading import load_features, load_model
from dalda.workflows.protocols import Curves, protocol_of
from dalda.workflows.real_images import checked
from dalda.workflows.reports import StudyReport
from dalda.workflows.results import OUTCOMES, PLAN, read_result
from dalda.workflows.run_folder import (
    REJECTED,
    Excluded,
    counted,
    held,
    keep_result,
    read_excluded,
    refuse_foreign,
    write_excluded,
    write_table,
)
from dalda.workflows.synthetic_sets import backbone_for, synthetic_set
from dalda.workflows.train import method_of, schedule_of, sieved
from dalda.workflows.trials import Task, tasks_of

if TYPE_CHECKING:
    from dalda.evaluation.comparison import ArmNumbers
    from dalda.evaluation.features import FeatureStore
    from dalda.generation.backends.stable_diffusion import Renderer

SETTINGS, EXCLUDED = "study.yaml", "excluded"


def run_experiment(
    source: Study | Path | str,
    *,
    out: Path | None = None,
    root: Path | None = None,
    original: bool = False,
    only: Sequence[str] = (),
) -> StudyReport:
    """Runs a study, or what is missing of it; `only` names the arms to run, all when empty.

    `source` is a study or a file that describes one. Raises UserError for a mistake in it.
    """
    started = time.monotonic()
    study = settled(source, out=out, root=root, original=original)
    folder = study.out or Path()
    arms = chosen_arms(study, only)
    refuse_others(folder, protocol_of(study).leftovers(folder))
    tasks = tasks_of(study)
    with held(folder):
        write(folder / SETTINGS, study_as_yaml(study))
        write(folder / PLAN, json.dumps([task.entry for task in tasks], indent=1) + "\n")
        bench = _Bench(study, folder)
        missing = [task for task in missing_tasks(study, folder, tasks) if task.spec.arm in arms]
        for number, task in enumerate(missing, 1):
            result = bench.finish(task)
            shots = "all" if result.shots is None else result.shots
            said = f"{result.arm}, seed {result.seed}, shots {shots}: {result.accuracy * 100:.1f} %"
            say(f"trial {number} of {len(missing)}: {said}")
        save_results(folder, study, tasks)
    return StudyReport(
        out=folder,
        trials=len(tasks),
        trained=len(missing),
        generated=bench.generated,
        seconds=round(time.monotonic() - started, 1),
        arms=_numbers([one for one, _ in finished(folder, tasks)], study),
        excluded=counted(one for task in tasks for one in read_excluded(_left_out(folder, task))),
    )


def _numbers(results: Sequence[TrialResult], study: Study) -> "dict[str, ArmNumbers]":
    """The numbers of the study's arms, in its order."""
    from dalda.evaluation.comparison import compare_arms

    order = {arm.name: place for place, arm in enumerate(study.arms)}
    real = next((arm.name for arm in study.arms if arm.method == REAL), None)
    return compare_arms(sorted(results, key=lambda one: order[one.arm]), real)


def settled(source: Study | Path | str, *, out: Path | None, root: Path | None, original: bool) -> Study:
    """The study with what the command line adds, and a place for its results.

    Raises UserError where it asks for what its protocol does not have.
    """
    study = source if isinstance(source, Study) else read_study(Path(source))
    name = study.dataset if isinstance(source, Study) else Path(source).stem
    place = out or study.out or Path("runs") / folder_name(Path(name).name)
    study = study.model_copy(
        update={"out": place, "root": root or study.root, "original": original or study.original}
    )
    refused = refused_by_protocol(study)
    if refused is not None:
        raise UserError(f"{'.'.join(map(str, refused[0]))}: {refused[1]}")
    return study


def chosen_arms(study: Study, only: Sequence[str]) -> set[str]:
    """The arms to run. Raises UserError for a name that is none."""
    names = [arm.name for arm in study.arms]
    strange = [name for name in only if name not in names]
    if strange:
        raise UserError(f"there is no arm '{strange[0]}' in the study; it has {', '.join(names)}")
    return set(only or names)


def refuse_others(folder: Path, leftovers: Collection[str] = ()) -> None:
    """Raises UserError unless the folder is new, empty, a run's, or holds `leftovers` alone."""
    refuse_foreign(folder, PLAN, "dalda run", {SETTINGS, *leftovers})


def missing_tasks(study: Study, folder: Path, tasks: Sequence[Task]) -> list[Task]:
    """The trials without a result, in the order of the plan."""
    elsewhere = protocol_of(study).done_elsewhere
    return [task for task in tasks if not _file(folder, task).exists() and not elsewhere(study, task)]


def finished(folder: Path, tasks: Sequence[Task]) -> list[tuple[TrialResult, Task]]:
    """The results that are there, in the order of the plan."""
    there = [task for task in tasks if _file(folder, task).exists()]
    return [(read_result(_file(folder, task)), task) for task in there]


def save_results(folder: Path, study: Study, tasks: Sequence[Task]) -> None:
    """results.csv, and the protocol's own tables, from the results so far."""
    done = finished(folder, tasks)
    write_table(folder, [result for result, _ in done])
    trials = [(result, _read_curves(_file(folder, task, "curves"))) for result, task in done]
    protocol_of(study).results_written(study, folder, trials, tasks[0].spec.train.epochs)


def _read_curves(path: Path) -> Curves | None:
    curves: Curves | None = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    return curves


def _file(folder: Path, task: Task, part: str = OUTCOMES) -> Path:
    return folder / part / f"{task.id}.json"


def _left_out(folder: Path, task: Task) -> Path:
    return folder / EXCLUDED / f"{task.id}.jsonl"


def place_of(out: Path, existing: Collection[int]) -> Path:
    """The folder of a set: beside another program's images, among which nothing is written."""
    return out / "dalda" if existing else out


@dataclass
class _Bench:
    """What the trials of a run share; each thing is loaded once, when it is first needed."""

    study: Study
    folder: Path
    generated: int = 0
    renderers: dict[str, "Renderer"] = field(default_factory=dict)
    store: "FeatureStore | None" = None
    validation: dict[int, FewShotSplit] = field(default_factory=dict)

    def finish(self, task: Task) -> TrialResult:
        """Generates what the trial needs, trains it, and keeps its result."""
        samples, rejected = self.samples(task)
        result, curve, sieved_out = self.train(task, samples)
        # The result last: where it is there, nothing of the trial is missing.
        write_excluded(_left_out(self.folder, task), [*rejected, *sieved_out])
        if curve is not None:
            path = _file(self.folder, task, "curves")
            path.parent.mkdir(exist_ok=True)
            write(path, json.dumps(curve) + "\n")
        keep_result(_file(self.folder, task), result)
        return result

    def samples(self, task: Task) -> tuple[tuple[SyntheticImage, ...], list[Excluded]]:
        """The images that the trial may use, and those rejected; what is missing of them is generated."""
        if task.synthetic is None:
            return (), []
        existing = protocol_of(self.study).existing_images(self.study, task)
        images = list(existing.values())
        rejected: tuple[SyntheticImage, ...] = ()
        if len(existing) < task.images:
            folder = self.generate(task, existing)
            generated = synthetic_set(folder, ignore_review=task.spec.train.ignore_review)
            images, rejected = [*images, *generated.samples], generated.rejected
        examples = {(one.sha256, one.label) for one in task.split.images}

        def of_trial(samples: Sequence[SyntheticImage]) -> list[SyntheticImage]:
            # A set may serve trials of more shots, too.
            return [one for one in samples if (one.source_sha256, one.label) in examples]

        out = [Excluded(task.spec.arm, one.request_id, REJECTED, REJECTED) for one in of_trial(rejected)]
        return tuple(of_trial(images)), out

    def generate(self, task: Task, existing: Collection[int]) -> Path:
        """Generates the task's synthetic set without the requests of the numbers in `existing`."""
        config = task.synthetic
        assert config is not None
        config = config.model_copy(update={"out": place_of(config.out, existing)})
        task.write_captions()
        decided = decide(config)
        missing = tuple(x for number, x in enumerate(decided.plan.requests) if number not in existing)
        decided = replace(decided, plan=GenerationPlan(missing))
        store = SyntheticDataset.open(config.out, settings_of(config, decided), SETTING_DEFAULTS)
        report = generate_plan(config, decided, store, self.renderer(decided, store))
        self.generated += report.generated
        protocol_of(self.study).set_written(self.study, config.out, decided.plan, store)
        return config.out

    def renderer(self, decided: AugmentPlan, store: SyntheticDataset) -> "Renderer | None":
        """The loaded model; None where nothing is left to generate."""
        from dalda.generation.executors.local import missing_requests

        key = repr(decided.preset)
        if key not in self.renderers and missing_requests(decided.plan, store):
            self.renderers[key] = load_model(decided.preset, device_named(self.study.device))
        return self.renderers.get(key)

    def train(
        self, task: Task, samples: tuple[SyntheticImage, ...]
    ) -> tuple[TrialResult, Curves | None, list[Excluded]]:
        from dalda.evaluation.training import run_trials
        from dalda.evaluation.trial import Trial

        config = task.spec.train
        store, schedule = self.features(task), schedule_of(config)
        if config.seed not in self.validation:
            self.validation[config.seed] = checked(task.validation)
        trial = Trial(
            task.spec.arm,
            config.seed,
            checked(task.split, task.validation),
            samples,
            config.synthetic_probability,
            config.mixing if samples else "per-image-replacement",
        )
        excluded: list[Excluded] = []
        if samples:
            trial, excluded = sieved(config, trial, store, schedule)
        other = protocol_of(self.study).train(self.study, trial, task.validation, store, schedule)
        if other is not None:
            return *other, excluded
        (result,) = run_trials([trial], task.validation, store, schedule, method_of(config))
        return result, None, excluded

    def features(self, task: Task) -> "FeatureStore":
        if self.store is None:
            config = task.spec.train
            views = 8 if config.feature_views == "online" else config.feature_views
            backbone = backbone_for(config, config.backbone)
            self.store = load_features(backbone, config.device, views=views, transforms=config.transforms)
        return self.store
