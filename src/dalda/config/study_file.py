"""A study from a file: YAML read strictly, with the line of the first mistake."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from dalda.config.augment import AugmentConfig
from dalda.config.experiment import PROTOCOL_RULES, Study, of_study, synthetic_config, train_config
from dalda.config.train import TrainConfig, UsageConfig
from dalda.errors import UserError
from dalda.registry import Registry
from dalda.storage.readers import read_text
from dalda.storage.yaml import parse_yaml
from dalda.terminal import did_you_mean
from dalda.types import BASELINES

MAX_BYTES = 256 * 1024


class StudyMistake(UserError):
    """A setting that cannot be: where it stands in the study, and what is wrong with it."""

    def __init__(self, place: tuple[str | int, ...], what: str, tree: yaml.Node | None, name: str) -> None:
        where = ".".join(map(str, place)) or "the study"
        super().__init__(f"{name}, line {_line_of(tree, place)}: {where}: {what}")
        self.place = place
        self.what = what


def read_study(path: Path) -> Study:
    """A study from a file. Its suffix names the format and may be omitted, also in a folder `configs`."""
    if path.suffix not in STUDY_READERS and not path.exists():
        named = (p.with_name(p.name + suffix) for p in (path, "configs" / path) for suffix in STUDY_READERS)
        path = next((candidate for candidate in named if candidate.is_file()), path)
    reader = STUDY_READERS.get(path.suffix)
    if reader is None:
        raise UserError(f"'{path}' is no study; name a file that ends in {', '.join(STUDY_READERS)}")
    return reader(path)


def study_as_yaml(study: Study) -> str:
    """The study as YAML that reads back as the same study."""
    settings = study.model_dump(mode="json", exclude_defaults=True)
    settings["shots"] = ["all" if shots is None else shots for shots in settings["shots"]]
    text: str = yaml.safe_dump(settings, allow_unicode=True, sort_keys=False, width=100)
    assert parse_study(text) == study
    return text


def read_yaml_study(path: Path) -> Study:
    """A study from YAML. Raises UserError that names the line and the field of a mistake."""
    return parse_study(read_text(path, limit=MAX_BYTES), str(path))


def parse_study(text: str, name: str = "study") -> Study:
    """The same from the text itself."""
    settings, tree = parse_yaml(text, name, "study")
    return checked_study(settings, name, tree)


def checked_study(settings: dict[str, Any], name: str = "study", tree: yaml.Node | None = None) -> Study:
    """A study from its settings. Raises StudyMistake for the first invalid one."""
    try:
        study = Study(**settings)
    except ValidationError as error:
        raise _mistake(error, (), tree, name) from None
    _check_arms(study, tree, name)
    return study


def _check_arms(study: Study, tree: yaml.Node | None, name: str) -> None:
    """Raises UserError for a setting that `dalda augment` or `dalda train` would not take."""
    for place, settings in _sections(study):
        for key in of_study() & settings.keys():
            raise StudyMistake((*place, key), "set this once, for the whole study", tree, name)
        if "shard" in settings:
            raise StudyMistake((*place, "shard"), "a study needs whole sets; leave it out", tree, name)
    for number, arm in enumerate(study.arms):
        for key in arm.settings.keys() - UsageConfig.model_fields.keys() if arm.method in BASELINES else ():
            raise StudyMistake(
                ("arms", number, key), "an arm of real images has no such setting", tree, name
            )
        for section, build in (("train", train_config), ("augment", synthetic_config)):
            try:
                build(study, arm, study.seeds[0], study.shots[0])
            except ValidationError as error:
                of_arm = error.errors()[0]["loc"][0] in {*arm.settings, "method"}
                raise _mistake(error, ("arms", number) if of_arm else (section,), tree, name) from None
    refused = refused_by_protocol(study)
    if refused is not None:
        raise StudyMistake(*refused, tree, name)


def _sections(study: Study) -> list[tuple[tuple[str | int, ...], dict[str, Any]]]:
    """The settings for all arms, and those of each, with their places in the file."""
    arms = [(("arms", number), arm.settings) for number, arm in enumerate(study.arms)]
    return [(("augment",), study.augment), (("train",), study.train), *arms]


def refused_by_protocol(study: Study) -> tuple[tuple[str | int, ...], str] | None:
    """The place and the sentence of the first setting that the study's protocol does not have."""
    if not study.original:
        return None
    rules = PROTOCOL_RULES["original"]
    for place, settings in _sections(study):
        for key, values in rules.allowed.items():
            if settings.get(key, values[0]) not in values:
                return (*place, key), f"{rules.name} has no {key} {settings[key]}; leave it out"
    return None


def _mistake(
    error: ValidationError, where: tuple[str | int, ...], tree: yaml.Node | None, name: str
) -> StudyMistake:
    first = error.errors()[0]
    what = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        models = {model.__name__: model for model in (Study, AugmentConfig, TrainConfig)}
        known = models[error.title].model_fields if error.title in models else ()
        what = f"there is no such setting{did_you_mean(str(first['loc'][-1]), known)}"
    return StudyMistake((*where, *first["loc"]), what[:1].lower() + what[1:], tree, name)


def _line_of(node: yaml.Node | None, place: tuple[str | int, ...]) -> int:
    """The line, from 1, of the deepest part of a place that is written there."""
    line = 1
    for part in place:
        if isinstance(node, yaml.MappingNode):
            pair = next((pair for pair in node.value if pair[0].value == str(part)), None)
            if pair is None:
                break
            line, node = pair[0].start_mark.line + 1, pair[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
    return line


STUDY_READERS: Registry[Callable[[Path], Study]] = Registry(
    {".yaml": read_yaml_study, ".yml": read_yaml_study}
)
"""File suffix to a function that reads a study, without running anything in the file."""
