"""Reads synthetic sets back without the images that a person rejected, and reports how many those are."""

from dataclasses import dataclass
from pathlib import Path

from dalda.config import DataConfig
from dalda.datasets.registry import DATASETS, PHOTOS, made_for
from dalda.errors import UserError
from dalda.generation.synthetic_dataset import SyntheticDataset
from dalda.progress import say
from dalda.review.log import rejected
from dalda.types import SyntheticImage


@dataclass(frozen=True)
class SyntheticSet:
    """The images of one synthetic folder that are to be used, and those that a person rejected."""

    folder: Path
    samples: tuple[SyntheticImage, ...]
    rejected: tuple[SyntheticImage, ...] = ()


def synthetic_set(folder: Path, *, ignore_review: bool = False) -> SyntheticSet:
    """The folder's images; those rejected in a review are left out, unless the review is ignored.

    Raises UserError for what is no synthetic folder, and where no image is there or left.
    """
    samples = SyntheticDataset.existing(folder).samples()
    if not samples:
        raise UserError(f"the synthetic folder '{folder}' holds no images yet; run dalda augment again")
    refused = frozenset() if ignore_review else rejected(folder)
    out = tuple(one for one in samples if one.request_id in refused)
    if out:
        say(f"note: {len(out)} of {len(samples)} images of '{folder}' were rejected in review, left out")
    if len(out) == len(samples):
        raise UserError(
            f"every image of '{folder}' was rejected in review; make more, or keep them: --ignore-review"
        )
    return SyntheticSet(folder, tuple(one for one in samples if one.request_id not in refused), out)


def backbone_for(config: DataConfig, named: str | None) -> str:
    """The backbone that was named, or the one that fits the data set."""
    if named is None:
        return DATASETS.get(config.dataset, PHOTOS).backbone
    known = made_for(named)
    if known and config.dataset not in known:
        say(f"note: the backbone '{named}' only knows {known[0]}; for photographs choose clip or another")
    return named
