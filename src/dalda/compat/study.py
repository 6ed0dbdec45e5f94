"""Studies of the original DALDA code: its training loop, its folders and its tables beside ours."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from dalda.compat.prompt_table import TABLE, images_in, prompt_table, read_table
from dalda.compat.results import COLUMNS, read_rows, tables_in, write_results
from dalda.config.experiment import Study
from dalda.errors import UserError
from dalda.generation.folder_names import folder_name
from dalda.generation.synthetic_dataset import SyntheticDataset
from dalda.storage import make_folder, write
from dalda.types import FewShotSplit, GenerationPlan, RealImage, SyntheticImage, TrialResult
from dalda.workflows.protocols import Curves, StudyProtocol
from dalda.workflows.trials import Task, filled

if TYPE_CHECKING:
    from dalda.evaluation.features import FeatureStore
    from dalda.evaluation.trial import Schedule, Trial


class OriginalProtocol(StudyProtocol):
    """`--original` changes captions and training; `original_csv` and `resume` concern files alone."""

    def base_caption(self, study: Study, label: str, wording: str) -> str:
        if study.original:
            return f"a photo of a {label.replace(' ', '_')}"
        return super().base_caption(study, label, wording)

    def leftovers(self, folder: Path) -> set[str]:
        return {path.name for path in tables_in(folder).values()}

    def done_elsewhere(self, study: Study, task: Task) -> bool:
        """`resume` names a later trial, and the table of the trial before that one is there."""
        if study.resume is None:
            return False
        order = [(seed, shots) for seed in study.seeds for shots in study.shots]
        return order.index((task.spec.train.seed, task.spec.train.shots)) < _resumed(study) and bool(
            _earlier_rows(study)
        )

    def existing_images(self, study: Study, task: Task) -> Mapping[int, SyntheticImage]:
        """The images aug-{index}-{repeat}.png of the set; as in the original DALDA code each is kept.

        Raises UserError where `resume` says that images exist which do not.
        """
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

    def train(
        self,
        study: Study,
        trial: "Trial",
        validation: FewShotSplit,
        store: "FeatureStore",
        schedule: "Schedule",
    ) -> tuple[TrialResult, Curves] | None:
        if not study.original:
            return None
        from dalda.compat.protocol import run_as_original

        result, curves = run_as_original(trial, validation, store, schedule)
        return result, {name: values.tolist() for name, values in asdict(curves).items()}

    def set_written(
        self, study: Study, folder: Path, plan: GenerationPlan, store: SyntheticDataset
    ) -> None:
        if study.original_csv:
            paths = {image.request_id: image.path for image in store.synthetic_images()}
            rows: list[tuple[object, ...]] = []
            for x in plan.requests:
                if x.id in paths:
                    scales = (x.ip_adapter_scale, x.source_clip_probability, x.ip_adapter_scale_mean)
                    rows.append((x.source, paths[x.id], x.prompt, *scales))
            write(folder / TABLE, prompt_table(rows), sync=False)

    def results_written(
        self, study: Study, folder: Path, trials: Sequence[tuple[TrialResult, Curves | None]], epochs: int
    ) -> None:
        for arm in study.arms if study.original_csv else ():
            target = folder if len(study.arms) == 1 else folder / "original" / folder_name(arm.name)
            make_folder(target, root=folder)
            earlier = _earlier_rows(study) if len(study.arms) == 1 else []
            write_results(target, [pair for pair in trials if pair[0].arm == arm.name], epochs, earlier)


def _resumed(study: Study) -> int:
    """The place of the resumed trial in the order of work."""
    order = [(seed, shots) for seed in study.seeds for shots in study.shots]
    if study.resume is None or study.resume[:2] not in order:
        seed, shots = (study.resume or (None, None))[:2]
        raise UserError(f"resume names seed {seed} and {shots} shots, which are not in the study")
    return order.index(study.resume[:2])


def _earlier_rows(study: Study) -> list[list[str]]:
    """The rows of the trials before the resumed one, from the table of the last of them."""
    place = _resumed(study) if study.resume is not None else 0
    if place == 0 or study.out is None:
        return []
    order = [(seed, shots) for seed in study.seeds for shots in study.shots]
    table = tables_in(study.out).get(order[place - 1])
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
    """The real image that a path from another machine names, by its file name, then by its folder."""
    alike = [image for image in split.images if image.path.name == parts[-1]]
    if len(alike) > 1:
        alike = [image for image in alike if image.path.parts[-2:] == tuple(parts[-2:])]
    if len(alike) != 1:
        raise UserError(
            f"'{'/'.join(parts)}', the source of images in synthetic_dir, is not among the few-shot "
            "images; name a new folder in synthetic_dir"
        )
    return alike[0]
