"""Synthetic sets as they are read back: without what a person rejected, and told so."""

from dataclasses import dataclass
from pathlib import Path

from dalda.config import DataConfig
from dalda.errors import UserError
from dalda.generation.review_log import rejected
from dalda.generation.synthetic_dataset import Store
from dalda.progress import say
from dalda.types import Sample
from dalda.workflows.real_images import DOODLES


@dataclass(frozen=True)
class SyntheticSet:
    """The pictures of one synthetic folder that are to be used, and those that a person rejected."""

    folder: Path
    samples: tuple[Sample, ...]
    rejected: tuple[Sample, ...] = ()


def synthetic_set(folder: Path, *, ignore_review: bool = False) -> SyntheticSet:
    """The folder's pictures; those rejected in a review are left out, unless the review is ignored.

    Raises UserError for what is no synthetic folder, and where no picture is there or left.
    """
    samples = Store.existing(folder).samples()
    if not samples:
        raise UserError(f"the synthetic folder '{folder}' holds no pictures yet; run dalda augment again")
    refused = frozenset() if ignore_review else rejected(folder)
    out = tuple(one for one in samples if one.job_id in refused)
    if out:
        say(f"note: {len(out)} of {len(samples)} pictures of '{folder}' were rejected in review, left out")
    if len(out) == len(samples):
        raise UserError(
            f"every picture of '{folder}' was rejected in review; make more, or keep them: --ignore-review"
        )
    return SyntheticSet(folder, tuple(one for one in samples if one.job_id not in refused), out)


def backbone_for(config: DataConfig, named: str | None) -> str:
    """The backbone that was named, or the one that fits: `doodle` knows nothing but doodles."""
    if named is None:
        return "doodle" if config.dataset == DOODLES else "clip"
    if named == "doodle" and config.dataset != DOODLES:
        say("note: the backbone 'doodle' only knows doodles; for photographs choose a real one, as clip")
    return named
