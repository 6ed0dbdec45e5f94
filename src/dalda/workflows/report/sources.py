"""One synthetic set as the report takes it up: its images, its settings, and its real images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dalda.datasets.image_io import sha256_of
from dalda.errors import UserError
from dalda.generation.synthetic_dataset import SyntheticDataset, read_settings
from dalda.types import RealImage, SyntheticImage
from dalda.workflows.clip_of_set import classes_of
from dalda.workflows.synthetic_sets import SyntheticSet

Source = tuple[str, str]
"""A real image: its class and the hash of its bytes."""


@dataclass(frozen=True)
class Material:
    """One synthetic set as it lies on disk, without what a review rejected."""

    made: SyntheticSet
    settings: Mapping[str, Any]
    labels: Sequence[str]
    """The classes, in the set's order, those included whose images were all dropped or rejected."""
    dropped: Sequence[Mapping[str, Any]]
    images: Mapping[Source, RealImage]
    """The real images whose files are where they were, unchanged."""

    @property
    def samples(self) -> tuple[SyntheticImage, ...]:
        return self.made.samples

    def by_class(self) -> dict[str, dict[Source, list[SyntheticImage]]]:
        """Class to real image to its copies by rising lambda; a class may have none."""
        found: dict[str, dict[Source, list[SyntheticImage]]] = {label: {} for label in self.labels}
        for sample in sorted(self.samples, key=lambda one: (one.ip_adapter_scale, one.repeat)):
            found[sample.label].setdefault(source_of(sample), []).append(sample)
        return found


def source_of(sample: SyntheticImage) -> Source:
    return sample.label, sample.source_sha256


def material_of(made: SyntheticSet) -> Material:
    """Reads what the set was made with, and finds its real images again."""
    store = SyntheticDataset.existing(made.folder)
    paths = {source_of(sample): sample.source for sample in made.samples}
    examples = {}
    for (label, sha256), path in paths.items():
        try:
            unchanged = sha256_of(path) == sha256
        except UserError:
            unchanged = False
        if unchanged:
            examples[label, sha256] = RealImage(path, label, sha256)
    return Material(made, read_settings(made.folder), classes_of(store), store.dropped(), examples)
