"""The CLIP that a synthetic set was generated with, for the report and for the review page."""

from collections.abc import Mapping
from itertools import chain
from typing import Any

from dalda.errors import UserError
from dalda.evaluation.features import FeatureStore, load_features
from dalda.generation.set_settings import section_in
from dalda.generation.synthetic_dataset import SyntheticDataset
from dalda.models.hub import folder_on_disk


def load_set_clip(settings: Mapping[str, Any], device: str) -> FeatureStore:
    """The CLIP that a set's settings name, with its cached features.

    Raises UserError where it is not complete on the disk: a set may be a stranger's, and nothing that it
    names is fetched.
    """
    clip = str(section_in(settings, "preset").get("clip") or "")
    if not clip:
        raise UserError("the settings name no CLIP model")
    folder = folder_on_disk(clip)
    if folder is None:
        raise UserError(f"the CLIP model '{clip}' is not on disk, and nothing is fetched for this")
    try:
        return load_features(folder, device)
    except Exception as error:  # the loaders raise whatever a strange folder makes them stumble over
        raise UserError(
            f"the CLIP model '{clip}' on disk is not complete, and nothing is fetched for this"
        ) from error


def classes_of(store: SyntheticDataset) -> list[str]:
    """What CLIP chooses from: the classes that images were generated for, whatever became of these."""
    return list(dict.fromkeys(str(line["label"]) for line in chain(store.lines(), store.dropped())))
