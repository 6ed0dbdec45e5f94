"""A whole study in one file: data set, captions, arms, shots and seeds, and what they expand to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from dalda.config.augment import BY_PROBABILITY, AugmentConfig
from dalda.config.data import DataConfig, Shots, Strict
from dalda.config.roles import Content, Execution, Location, names_of
from dalda.config.train import TrainConfig, UsageConfig
from dalda.registry import Registry
from dalda.types import BASELINES, REAL_AUGMENTED, REAL_LINEAR, SCRATCH, ZERO_SHOT


class ArmConfig(BaseModel):
    """An arm: its name, how its images are made and used: options of `dalda augment` and of UsageConfig."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str = Content(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")
    method: str = Content("dalda")
    """A method of `dalda augment`, or a baseline of `types.BASELINES`, which has no synthetic images."""

    @property
    def settings(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class Study(Strict):
    """What is compared with what."""

    dataset: str = Content(within="split")
    root: Path | None = Location(None)
    split_strategy: Literal["original", "stratified"] = Content("original")
    hold_out: float = Content(0.5, ge=0, lt=1)
    """The share of a data set without a validation part that is held out for validation."""
    shots: tuple[Shots, ...] = Content(min_length=1, extent=True)
    """Examples per class; `all` (None) is no limit."""
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Content((0, 1, 2), min_length=1, extent=True)
    augment: dict[str, Any] = Content(default_factory=dict)
    """Options of `dalda augment` for all arms."""
    train: dict[str, Any] = Content(default_factory=dict)
    """Options of `dalda train` for all arms."""
    arms: tuple[ArmConfig, ...] = Content(min_length=1)
    baselines: bool = Content(True, extent=True)
    """Whether the baselines of docs/evaluation.md are added, where no arm is one already."""
    device: str = Execution("auto")
    original: bool = Content(False)
    """The protocol of the published experiments in place of ours (docs/compat.md)."""
    original_csv: bool = Execution(False)
    """Whether the result tables of that protocol are written too."""
    out: Path | None = Location(None)
    synthetic_dir: str | None = Location(None, min_length=1)
    """A folder name per synthetic set, with {seed}, {shots} and {arm} to be filled."""
    resume: tuple[int, int, int, int] | None = Content(None)
    """Seed, shots, index and repeat of the last image that another program left in synthetic_dir."""

    @field_validator("shots", mode="before")
    @classmethod
    def _shots(cls, value: object) -> object:
        return value if isinstance(value, list | tuple) else [value]

    @field_validator("seeds", mode="before")
    @classmethod
    def _seeds(cls, value: object) -> object:
        """A number of seeds, or the seeds themselves."""
        if type(value) is not int:
            return value
        if value > 1000:
            raise ValueError("at most 1000 seeds; name the seeds themselves for others")
        return tuple(range(value))

    @field_validator("shots", "seeds", "arms")
    @classmethod
    def _distinct(cls, value: tuple[Any, ...]) -> tuple[Any, ...]:
        names = [item.name if isinstance(item, ArmConfig) else item for item in value]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise ValueError(f"{twice[0]!r} is there twice")
        for arm in value:
            if isinstance(arm, ArmConfig) and arm.name in BASELINES and arm.name != arm.method:
                raise ValueError(f"{arm.name!r} is the name of a baseline; name this arm otherwise")
        return value


def of_study() -> set[str]:
    """The options of the two commands that are set once for the whole study."""
    sets = names_of(TrainConfig, "location", within="sets")
    return {*Study.model_fields, *DataConfig.model_fields, *sets}


@dataclass(frozen=True)
class TrialSpec:
    """One trial of a study: an arm, a seed and a number of shots."""

    arm: str
    train: TrainConfig
    """Its examples, and how it is trained."""
    synthetic: AugmentConfig | None
    """Its synthetic set, with `out` and `captions` still to be settled; None for real images only."""
    captions: str = "templates"
    """`base`, `templates` or a caption file."""
    method: str = ""


def trials_of(study: Study) -> list[TrialSpec]:
    """All trials, by seed, then shots, then arm."""
    return [
        TrialSpec(
            arm.name,
            train_config(study, arm, seed, shots),
            synthetic_config(study, arm, seed, shots),
            str({**study.augment, **arm.settings}.get("captions") or "templates"),
            arm.method,
        )
        for seed in study.seeds
        for shots in study.shots
        for arm in study.arms
    ]


def train_config(study: Study, arm: ArmConfig, seed: int, shots: int | None) -> TrainConfig:
    """The training of one trial: the options of the study, then those of the arm."""
    usage = {key: value for key, value in arm.settings.items() if key in UsageConfig.model_fields}
    return TrainConfig(**_examples(study, seed, shots), seeds=1, **{**study.train, **usage})


def synthetic_config(study: Study, arm: ArmConfig, seed: int, shots: int | None) -> AugmentConfig | None:
    """The synthetic set of one trial in the same way; None for an arm of real images alone."""
    if arm.method in BASELINES:
        return None
    generation = {key: value for key, value in arm.settings.items() if key not in UsageConfig.model_fields}
    settings = {**study.augment, **generation, "method": arm.method, "captions": None}
    if study.original:
        settings |= PROTOCOL_RULES["original"].fixed
    if "ip_adapter_scale" in settings:
        settings["ip_adapter_scale"] = str(settings["ip_adapter_scale"])  # a number, in YAML
    config = AugmentConfig(**_examples(study, seed, shots), out=Path(), **settings)
    chosen = config.method_option.get("ip_adapter_scale", config.ip_adapter_scale)
    if study.synthetic_dir is None and config.method == "dalda" and chosen not in BY_PROBABILITY:
        # Where no image depends on the shots, the set for most shots holds all the others.
        return config.model_copy(update={"shots": most(study.shots)})
    return config


def _examples(study: Study, seed: int, shots: int | None) -> dict[str, Any]:
    shared = DataConfig.model_fields.keys() & Study.model_fields.keys()
    chosen = {name: getattr(study, name) for name in shared}
    return {**chosen, "device": study.device, "seed": seed, "shots": shots}


def with_baselines(study: Study, *, reads_text: bool) -> Study:
    """The study with an arm for each baseline that it lacks, before its own arms.

    A study of the original protocol, or one that wants none, stays as it is; so does `real-linear` aside
    where every arm has the linear head, and `zero-shot` where the backbone reads no class names.
    """
    if study.original or not study.baselines:
        return study
    train = train_config(study, study.arms[0], study.seeds[0], study.shots[0])
    there = {arm.method for arm in study.arms}
    if train.stepwise or train.head == "linear":
        there.add(REAL_LINEAR)
    if not reads_text:
        there.add(ZERO_SHOT)
    if train.backbone == SCRATCH:
        there.add(REAL_AUGMENTED)  # there are no features to add views to
    added = tuple(ArmConfig(name=name, method=name) for name in BASELINES if name not in there)
    return study.model_copy(update={"arms": (*added, *study.arms)})


def most(shots: Sequence[int | None]) -> int | None:
    return None if None in shots else max(shot_count for shot_count in shots if shot_count is not None)


@dataclass(frozen=True)
class ProtocolRules:
    """What a protocol fixes in a study."""

    name: str
    """Its name in a sentence."""
    fixed: Mapping[str, object]
    """Options of `dalda augment` that it sets."""
    allowed: Mapping[str, tuple[object, ...]]
    """The values that it knows of an option, its own default first."""


PROTOCOL_RULES: Registry[ProtocolRules] = Registry()
