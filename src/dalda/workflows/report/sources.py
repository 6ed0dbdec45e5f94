"""One synthetic set as the report takes it up: its pictures, its settings, and its real pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dalda.datasets.image_io import sha256_of
from dalda.errors import UserError
from dalda.generation.synthetic_dataset import Store, read_settings
from dalda.types import Example, Sample
from dalda.workflows.clip_of_set import classes_of
from dalda.workflows.synthetic_sets import SyntheticSet

Source = tuple[str, str]
"""A real picture: its class and the hash of its bytes."""


@dataclass(frozen=True)
class Material:
    """One synthetic set as it lies on disk, without what a review rejected."""

    made: SyntheticSet
    settings: Mapping[str, Any]
    labels: Sequence[str]
    """The classes, in the set's order, those included whose pictures were all dropped or rejected."""
    dropped: Sequence[Mapping[str, Any]]
    examples: Mapping[Source, Example]
    """The real pictures whose files are where they were, unchanged."""

    @property
    def samples(self) -> tuple[Sample, ...]:
        return self.made.samples

    def by_class(self) -> dict[str, dict[Source, list[Sample]]]:
        """Class to real picture to its copies by rising lambda; a class may have none."""
        found: dict[str, dict[Source, list[Sample]]] = {label: {} for label in self.labels}
        for sample in sorted(self.samples, key=lambda one: (one.ip_adapter_scale, one.repeat)):
            found[sample.label].setdefault(source_of(sample), []).append(sample)
        return found


def source_of(sample: Sample) -> Source:
    return sample.label, sample.source_sha256


def material_of(made: SyntheticSet) -> Material:
    """Reads what the set was made with, and finds its real pictures again."""
    store = Store.existing(made.folder)
    paths = {source_of(sample): sample.source for sample in made.samples}
    examples = {}
    for (label, sha256), path in paths.items():
        try:
            unchanged = sha256_of(path) == sha256
        except UserError:
            unchanged = False
        if unchanged:
            examples[label, sha256] = Example(path, label, sha256)
    return Material(made, read_settings(made.folder), classes_of(store), store.dropped(), examples)
