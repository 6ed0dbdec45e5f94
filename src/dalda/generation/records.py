"""What becomes of a request: an image or a reason, and the record that is kept of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from dalda.generation.image_encoding import EncodedImage
from dalda.storage import path_of
from dalda.types import GenerationRequest, SyntheticImage, as_dict

OF_THE_FILE = ("file_name", "sha256", "bytes", "retried_for", "reason")
"""What a record says beside its request and the generator's provenance."""


@dataclass(frozen=True)
class Finished:
    """A request's image, as it is to be kept."""

    request: GenerationRequest
    image: EncodedImage
    seed: int | None
    """The seed that the image was really generated with; None if nobody knows it."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """What its record says of the generator and the batch, beside its request."""
    retried_for: str | None = None
    """Why the image of the request's own seed was invalid, if it was."""
    unknown: tuple[str, ...] = ()
    """Fields of the request that nobody knows: they are recorded as null."""


@dataclass(frozen=True)
class Dropped:
    """A request without a valid image."""

    request: GenerationRequest
    reason: str
    seed: int | None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()


def record_of(finished: Finished | Dropped) -> dict[str, Any]:
    """What is kept of a request, but for its file or its reason."""
    record = {**as_dict(finished.request), "seed": finished.seed, "request_id": finished.request.id}
    record |= dict.fromkeys(finished.unknown)
    # A generator may call anything its own, but what a record says of its request and its file is ours.
    provenance = {
        name: value for name, value in finished.provenance.items() if name not in {*record, *OF_THE_FILE}
    }
    return {**record, **provenance}


def image_of(path: Path, record: Mapping[str, Any]) -> SyntheticImage:
    """The image at a path, as its record describes it."""
    return SyntheticImage(
        path=path,
        label=record["label"],
        source=_source(record["source"]),
        source_sha256=record["source_sha256"],
        index=record["index"],
        request_id=record["request_id"],
        prompt=record["prompt"],
        ip_adapter_scale=record["ip_adapter_scale"],
        source_clip_probability=record["source_clip_probability"],
        soft_label=tuple(
            (str(part["label"]), float(part["share"])) for part in record.get("soft_label") or ()
        ),
        source_label=record.get("source_label", ""),
    )


_source = lru_cache(1 << 16)(path_of)
"""Many images have the same source: its path is held once."""
