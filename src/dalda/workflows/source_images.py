"""The examples that new images are made from, all looked at before any work begins."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from dalda.datasets.image_io import DECODERS, check_source, sha256_of
from dalda.errors import UserError
from dalda.progress import say
from dalda.types import FewShotSplit, RealImage


def usable(split: FewShotSplit, on_bad_image: str) -> tuple[FewShotSplit, tuple[str, ...]]:
    """The split without its bad images, and a sentence on each of these.

    A image is bad when it is broken, no image at all, or too small or narrow to make new ones from.
    Raises UserError for the first one where `on_bad_image` is `stop`, and where `skip` leaves a class bare.
    """
    with ThreadPoolExecutor(DECODERS) as pool:
        faults = list(pool.map(_fault, split.images))
    bad = tuple(fault for fault in faults if fault is not None)
    if not bad:
        return split, ()
    if on_bad_image == "stop":
        more = f", and so {len(bad) - 1} more of {len(faults)}" if len(bad) > 1 else ""
        raise UserError(f"{bad[0]}{more}; --on-bad-image skip goes on without")
    kept = tuple(one for one, fault in zip(split.images, faults, strict=True) if fault is None)
    bare = {one.label for one in split.images} - {one.label for one in kept}
    if bare:
        name = min(bare)
        raise UserError(f"no image of the class '{name}' is left: {bad[0]}")
    say(f"note: {len(bad)} of {len(faults)} images are left out, as {bad[0]}")
    return replace(split, images=kept), bad


def _fault(example: RealImage) -> str | None:
    try:
        check_source(example.path)
        refuse_unread(example)
    except UserError as error:
        return str(error)
    return None


def refuse_unread(example: RealImage) -> None:
    """Raises UserError for an example without a hash, since its file could not be read."""
    if not example.sha256:
        sha256_of(example.path)
        raise UserError(f"{example.path} could not be read at first: run again")
