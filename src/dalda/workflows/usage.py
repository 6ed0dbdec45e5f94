"""How a trial uses synthetic images: as the user says, else as their method does."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from dalda.config import ClassifierConfig, TrainConfig, UsageConfig
from dalda.config.methods import method_names
from dalda.generation.set_settings import read_settings
from dalda.methods.base import method_named


def with_usage_of(config: TrainConfig, method: str, classes: int) -> TrainConfig:
    """The configuration with the method's own usage, but for the fields that the user has set.

    A method that is not installed here leaves it as it is.
    """
    if method not in method_names():
        return config
    usage = asdict(method_named(method).defaults)
    clip_filter = usage.pop("clip_filter")
    if clip_filter is not None:
        usage["min_clip_probability"] = round(clip_filter / classes, 6)
    own = {
        name: value
        for name, value in usage.items()
        if name not in config.model_fields_set and getattr(config, name) != value
    }
    return config.model_copy(update=own) if own else config


def arm_settings(config: TrainConfig) -> dict[str, Any]:
    """How an arm's classifiers are trained, for readers of the run."""
    names = {*ClassifierConfig.model_fields, *UsageConfig.model_fields}
    return config.model_dump(mode="json", include=names)


def method_of_set(folder: Path) -> str:
    """The method that a synthetic folder was made with; empty where the folder does not say."""
    return str(read_settings(folder).get("method") or "")
