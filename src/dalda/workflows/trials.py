"""What a study comes to on this data: its trials and synthetic sets, each with an id of its content."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dalda.captions.caption_file import read_captions, write_captions_file
from dalda.captions.templates import base_caption
from dalda.config import AugmentConfig, DataConfig
from dalda.config.experiment import Study, TrialSpec, trials_of
from dalda.config.roles import content_of, digest_of
from dalda.datasets.class_names import chosen_wordings, class_wordings
from dalda.errors import UserError
from dalda.generation.folder_names import folder_name
from dalda.models.fingerprint import content_of_folder, contents_of
from dalda.review.log import rejected
from dalda.storage import path_of
from dalda.types import BASELINES, REAL, FewShotSplit
from dalda.workflows.augment_plan import preset_of, refuse_wrong_options
from dalda.workflows.captions import captions_for
from dalda.workflows.chosen_classes import source_count
from dalda.workflows.real_images import split_of
from dalda.workflows.synthetic_sets import backbone_for
from dalda.workflows.usage import with_usage_of


@dataclass(frozen=True)
class Task:
    """A trial with all that decides it."""

    spec: TrialSpec
    split: FewShotSplit
    validation: FewShotSplit
    synthetic: AugmentConfig | None
    """The set, with its folder and its caption file; None for real images only."""
    base: Mapping[str, Sequence[str]] | None
    """Captions of the study's protocol: they are written to the set's caption file first."""
    set_id: str | None
    sources: int
    """Real images that the set is made from, which may be more than the trial's."""
    id: str

    @property
    def images(self) -> int:
        """The planned images of the synthetic set; 0 without one."""
        return 0 if self.synthetic is None else self.synthetic.per_image * self.sources

    def write_captions(self) -> None:
        if self.base is not None and self.synthetic is not None and self.synthetic.captions is not None:
            write_captions_file(self.synthetic.captions, self.base, {"llm": self.spec.captions})


def tasks_of(study: Study) -> list[Task]:
    """The trials in their order; nothing is written. Raises UserError for what cannot be run."""
    specs = trials_of(study)
    splits: dict[tuple[str, int, int | None], FewShotSplit] = {}

    def drawn(config: DataConfig, part: str = "train") -> FewShotSplit:
        key = (part, config.seed, config.shots if part == "train" else None)
        if key not in splits:
            splits[key] = split_of(config, part)
        return splits[key]

    tasks = []
    folders: dict[Path, str] = {}
    for spec in specs:
        config, base, set_id, sources = spec.synthetic, None, None, 0
        if config is not None:
            sources = source_count(config, drawn(config))
            _refuse_wrong_options(spec.arm, config)
            config, base, set_id = _settled(study, spec, config, drawn(config))
            if folders.setdefault(config.out, set_id) != set_id:
                raise UserError(
                    f"synthetic_dir puts different sets into '{config.out}'; "
                    "let its name hold {seed}, {shots} and {arm}"
                )
        split, validation = drawn(spec.train), drawn(spec.train, "val")
        if config is not None and not study.original:
            spec = replace(spec, train=with_usage_of(spec.train, config.method, len(split.classes)))
        backbone = backbone_for(spec.train, spec.train.backbone)
        wordings = chosen_wordings(split)
        id_ = digest_of(
            [
                spec.arm,
                content_of(spec.train, extents=False),
                content_of_folder(backbone) or backbone,
                study.original,
                _examples(split),
                _examples(validation),
                set_id,
                sorted(rejected(config.out)) if config and not spec.train.ignore_review else [],
                *([wordings] if wordings else []),
                *_head_of(study, spec),
            ]
        )
        tasks.append(Task(spec, split, validation, config, base, set_id, sources, id_))
    return tasks


def _refuse_wrong_options(arm: str, config: AugmentConfig) -> None:
    """Raises UserError, with the arm, for options of methods that are wrong: before the work."""
    try:
        refuse_wrong_options(config)
    except UserError as error:
        raise UserError(f"arm '{arm}': {error}") from None


def _head_of(study: Study, spec: TrialSpec) -> list[str]:
    """What an id says of the head: nothing of the linear one, the only one of older versions."""
    linear = study.original or spec.train.stepwise or spec.train.head == "linear"
    baseline = [spec.method] if spec.method in set(BASELINES) - {REAL} else []
    return [*([] if linear else [f"head {spec.train.head}"]), *baseline]


def _settled(
    study: Study, spec: TrialSpec, config: AugmentConfig, split: FewShotSplit
) -> tuple[AugmentConfig, Mapping[str, Sequence[str]] | None, str]:
    """A set with its folder and caption file, its protocol's captions if it has them, and its id."""
    out = study.out or Path()
    preset = preset_of(config)
    base, file = None, None
    if spec.captions == "base":
        base = base_book(study, split)
        file = out / "captions" / f"base-{digest_of(base)[:8]}.json"
    elif spec.captions != "templates":
        file = path_of(spec.captions)
        if study.original:
            words = class_wordings(split)
            base = read_captions(file, split.classes, words, underscores=True)
            file = out / "captions" / f"{file.stem}-{digest_of(base)[:8]}.json"
    captions = base or captions_for(split, preset.words, config.seed, file)
    row = {f"preset.{name}": value for name, value in content_of(preset).items()}
    # A model in a folder is what lies there, wherever that is.
    chosen = {"model": config.model, **content_of(config), **row, **contents_of(config.model, preset)}
    set_id = digest_of([split.dataset, chosen, _examples(split), captions])
    folder = out / "synthetic" / set_id
    if study.synthetic_dir is not None:
        folder = path_of(filled(study.synthetic_dir, spec))
    return config.model_copy(update={"out": folder, "captions": file}), base, set_id


def filled(template: str, spec: TrialSpec) -> str:
    """The folder of a set by a template; only these words are replaced, nothing is run."""
    words = {
        "{seed}": str(spec.train.seed),
        "{shots}": str(spec.train.shots or "all"),
        "{arm}": folder_name(spec.arm),
    }
    for word, value in words.items():
        template = template.replace(word, value)
    return template


def base_book(study: Study, split: FewShotSplit) -> dict[str, list[str]]:
    """The paper's plain caption for each class, in the wording of the study's protocol."""
    words = class_wordings(split)
    return {
        label: [base_caption(label if study.original else words[label], underscores=study.original)]
        for label in words
    }


def _examples(split: FewShotSplit) -> list[list[str]]:
    return [[image.label, image.sha256] for image in split.images]
