"""A comparison of augmentation methods on one data set."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator

from dalda.config.cluster import ClusterConfig
from dalda.config.data import Shots
from dalda.config.methods import method_names
from dalda.config.roles import Content, Execution, Location
from dalda.registry import DEFAULT_MODEL
from dalda.terminal import did_you_mean

VARIANTS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "dalda-uniform": ("dalda", {"ip_adapter_scale": "uniform"}),
    "dalda-fixed": ("dalda", {"ip_adapter_scale": "0.5"}),
    "dipsy-adaptive": ("dipsy", {"ip_adapter_scale": "adaptive"}),
}
"""Ablations and combinations, which are arms of their own: a method and its options."""


class CompareConfig(ClusterConfig):
    """A study with an arm a method: equal numbers of images, and equal optimiser steps."""

    dataset: str = Content(within="split")
    """A folder of class folders, or a data set by name (docs/trials.md)."""
    out: Path = Location()
    """The folder for results, new or to be resumed; more methods, shots or seeds make it grow."""
    methods: tuple[str, ...] = Content(("all",), min_length=1)
    """Methods and their variants, separated by commas (docs/methods.md); all is every one."""
    shots: tuple[Shots, ...] = Content((1, 4, 16), min_length=1)
    """Real images per class, separated by commas; all is no limit."""
    seeds: int = Content(3, ge=1, le=1000)
    """Seeds of the split, the images and the classifier."""
    per_image: int = Content(4, ge=1)
    """Synthetic images per real image, the same for every method."""
    model: str = Content(DEFAULT_MODEL)
    """The model that generates for every method."""
    captions: str = Content("templates")
    """A caption file for the methods that read captions, templates, or base for the plain caption."""
    guidance_scales: tuple[Annotated[float, Field(ge=0, le=100)], ...] = Content(())
    """Guidance scales, separated by commas: each method once with each of them, in place of its own."""
    steps: int | None = Content(None, ge=1, le=999)
    """Denoising steps of every method, in place of its own."""
    fit_steps: int | None = Content(None, ge=1)
    """Training steps of every method that learns, in place of its own."""
    method_option: dict[str, Any] = Content(default_factory=dict)
    """An option of a method, such as real-guidance.strength=0.3; repeat it for more."""
    backbone: str | None = Content(None)
    """The backbone of the classifiers; by default the one that fits the data set."""
    epochs: int | None = Content(None, ge=1)
    """Epochs of every classifier, which then has a linear head."""
    root: Path | None = Location(None)
    """The folder of a data set that is given by name."""
    device: str = Execution("auto")
    """auto, cpu, cuda, cuda:N or mps."""

    @field_validator("methods", "shots", "guidance_scales", mode="before")
    @classmethod
    def _separated(cls, value: object) -> object:
        values = value if isinstance(value, list | tuple) else [value]
        parts = [part for item in values for part in (item.split(",") if isinstance(item, str) else [item])]
        return tuple(dict.fromkeys(part.strip() if isinstance(part, str) else part for part in parts))

    @field_validator("methods")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        known = arms_of_methods()
        for name in value:
            if name != "all" and name not in known:
                near = did_you_mean(name, known) or f"; choose of {', '.join(known)}"
                raise ValueError(f"there is no method '{name}'{near}")
        return value


def arms_of_methods() -> dict[str, tuple[str, Mapping[str, Any]]]:
    """Every method and variant by the name of its arm: the method, and options of it."""
    return {**{name: (name, {}) for name in method_names()}, **VARIANTS}
