"""Studies of the original DALDA code: its training loop, its folders and its tables beside ours."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from dalda.compat.prompt_table import TABLE, closest, images_in, prompt_table, read_table
from dalda.compat.results import COLUMNS, read_rows, tables_in, write_results
from dalda.config.experiment import Study
from dalda.errors import UserError
from dalda.evaluation.results import SETTINGS as RUN_SETTINGS
from dalda.generation.folder_names import folder_name
from dalda.generation.set_settings import SETTINGS as SET_SETTINGS
from dalda.generation.synthetic_dataset import SyntheticDataset
from dalda.storage import exists, make_folder, write
from dalda.types import FewShotSplit, GenerationPlan, RealImage, SyntheticImage
from dalda.workflows.protocols import StudyProtocol, Trained
from dalda.workflows.trials import Task, filled

if TYPE_CHECKING:
    from dalda.evaluation.trial import Trial
    from dalda.workflows.runner import TrialRunner

OURS = "dalda"
"""The folder of our files beside those of the original DALDA code."""


class OriginalProtocol(StudyProtocol):
    """`--original` changes training; `original_csv` and `resume` concern files alone."""

    def leftovers(self, folder: Path) -> set[str]:
        tables = {path.name for path in tables_in(folder).values()}
        return {*tables, OURS} if tables else set()

    def begin(self, folder: Path) -> None:
        """Tables that would be written over stay; ours then go into a folder beside them."""
        later = _order(self.study)[_resumed(self.study) :]
        if not exists(folder / RUN_SETTINGS) and tables_in(folder).keys() & set(later):
            make_folder(folder / OURS, root=folder)

    def done_elsewhere(self, task: Task) -> bool:
        """`resume` names a later trial, and the table of the trial before that one is there."""
        if self.study.resume is None:
            return False
        place = _order(self.study).index((task.spec.train.seed, task.spec.train.shots))
        return place < _resumed(self.study) and bool(_earlier_rows(self.study))

    def existing_images(self, task: Task) -> Mapping[int, SyntheticImage]:
        """The images aug-{index}-{repeat}.png of the set; as in the original DALDA code each is kept.

        Raises UserError where `resume` says that images exist which do not.
        """
        study = self.study
        if study.synthetic_dir is None or task.synthetic is None:
            return {}
        folder = Path(filled(study.synthetic_dir, task.spec))
        per_image = task.synthetic.per_image
        found = read_images(folder, task.split, per_image)
        if study.resume is not None:
            seed, shots, index, repeat = study.resume
            if (task.spec.train.seed, task.spec.train.shots) == (seed, shots):
                last = index * per_image + repeat
                missing = [number for number in range(last + 1) if number not in found]
                if missing:
                    first = f"aug-{missing[0] // per_image}-{missing[0] % per_image}.png"
                    raise UserError(
                        f"resume says that {last + 1} images are in '{folder}', but {len(missing)} of them "
                        f"are missing, the first {first}; set resume to None to begin from the start"
                    )
            _resumed(study)
        return found

    def set_folder(self, out: Path, existing: Collection[int]) -> Path:
        """Beside the original images, or a table that was begun; nothing is written among them."""
        theirs = existing or (exists(out / TABLE) and not exists(out / SET_SETTINGS))
        return out / OURS if theirs else out

    def train(self, trial: "Trial", validation: FewShotSplit, runner: "TrialRunner") -> Trained | None:
        if not self.study.original:
            return None
        from dalda.compat.protocol import run_as_original

        result, curves = run_as_original(trial, validation, runner.store, runner.schedule)
        return result, {name: values.tolist() for name, values in asdict(curves).items()}

    def set_written(self, folder: Path, plan: GenerationPlan) -> None:
        if not self.study.original_csv:
            return
        images = SyntheticDataset.existing(folder).synthetic_images()
        paths = {image.request_id: image.path for image in images}
        rows = [
            (
                x.source,
                paths[x.id],
                x.prompt,
                x.ip_adapter_scale,
                x.source_clip_probability,
                x.ip_adapter_scale_mean,
            )
            for x in plan.requests
            if x.id in paths
        ]
        write(folder / TABLE, prompt_table(rows), sync=False)

    def results_written(self, folder: Path, trials: Sequence[Trained], epochs: int) -> None:
        folder = folder / OURS if (folder / OURS).is_dir() else folder
        single = len(self.study.arms) == 1
        for arm in self.study.arms if self.study.original_csv else ():
            target = folder if single else folder / "original" / folder_name(arm.name)
            make_folder(target, root=folder)
            own = [pair for pair in trials if pair[0].arm == arm.name]
            write_results(target, own, epochs, _earlier_rows(self.study) if single else [])


def _order(study: Study) -> list[tuple[int, int | None]]:
    """Seeds and shots in the order of work."""
    return [(seed, shots) for seed in study.seeds for shots in study.shots]


def _resumed(study: Study) -> int:
    """The place of the resumed trial in the order of work; 0 where the study begins from the start."""
    if study.resume is None:
        return 0
    order, (seed, shots) = _order(study), study.resume[:2]
    if (seed, shots) not in order:
        raise UserError(f"resume names seed {seed} and {shots} shots, which are not in the study")
    return order.index((seed, shots))


def _earlier_rows(study: Study) -> list[list[str]]:
    """The rows of the trials before the resumed one, from the table of the last of them."""
    place = _resumed(study)
    if place == 0 or study.out is None:
        return []
    table = tables_in(study.out).get(_order(study)[place - 1])
    return [] if table is None else [[row[name] for name in COLUMNS[1:]] for row in read_rows(table)]


def read_images(folder: Path, split: FewShotSplit, per_image: int) -> dict[int, SyntheticImage]:
    """The images aug-{index}-{repeat}.png of a folder, by their number in the order of work.

    Raises UserError for a damaged table, and for a source that is not in the split.
    """
    names = images_in(folder) if folder.is_dir() else set()
    if not names:
        return {}
    images = {}
    for row in read_table(folder):
        if row.name in names and row.repeat < per_image:
            source = _source(row.source, split)
            images[row.index * per_image + row.repeat] = SyntheticImage(
                path=folder / row.name,
                label=source.label,
                source=source.path,
                source_sha256=source.sha256,
                index=row.repeat,
                request_id=f"aug-{row.index}-{row.repeat}",
                prompt=row.prompt,
                ip_adapter_scale=row.ip_adapter_scale,
                source_clip_probability=row.source_clip_probability,
            )
    return dict(sorted(images.items()))


def _source(parts: Sequence[str], split: FewShotSplit) -> RealImage:
    """The real image that a path from another machine names."""
    images = {image.path: image for image in split.images}
    found = closest(parts, images)
    if len(found) != 1:
        raise UserError(
            f"'{'/'.join(parts)}', the source of images in synthetic_dir, is not among the few-shot "
            "images; name a new folder in synthetic_dir"
        )
    return images[found[0]]
