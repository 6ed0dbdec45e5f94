"""How similar a model's images are to their source at each IP-Adapter scale, measured by `dalda calibrate`.

A scale means another thing in each model family: 0.5 may keep everything or nothing. With such a curve a
scale policy draws in similarity instead, which means the same everywhere.
"""

import json
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from dalda.cache import cache_folder
from dalda.config.roles import digest_of
from dalda.errors import UserError
from dalda.storage import make_folder, read_json, write

SCALES = tuple(number / 6 for number in range(7))
"""Where it is measured."""


@dataclass(frozen=True)
class SimilarityCurve:
    """Mean cosine of image features between sources and the images made from them, by scale."""

    scales: tuple[float, ...]
    similarities: tuple[float, ...]

    @property
    def digest(self) -> str:
        return digest_of(asdict(self))

    def scale_for(self, share: float) -> float:
        """The scale whose images are `share` of the way from the least to the greatest similarity.

        The curve is taken to rise: where it falls, its greatest value so far holds. A share above 1 goes
        beyond the last scale in proportion.
        """
        rising = np.maximum.accumulate(self.similarities)
        if rising[-1] <= rising[0]:
            return share * self.scales[-1]
        wanted = rising[0] + min(share, 1.0) * (rising[-1] - rising[0])
        first = [int(np.searchsorted(rising, value)) for value in np.unique(rising)]
        found = np.interp(wanted, rising[first], np.asarray(self.scales)[first])
        return float(found) * max(1.0, share)


def curve_path(generator: str) -> Path:
    """Where the curve of the generator with this digest is kept."""
    return cache_folder("similarity") / f"{generator}.json"


def save_curve(curve: SimilarityCurve, generator: str, about: dict[str, Any]) -> Path:
    """Keeps a curve, with what it was measured on, for `--scale-unit similarity`."""
    path = curve_path(generator)
    make_folder(path.parent)
    write(path, json.dumps({"format": 1, **asdict(curve), **about}, indent=1))
    return path


def load_curve(generator: str) -> SimilarityCurve:
    """The curve of a generator. Raises UserError if it was not measured."""
    path = curve_path(generator)
    if not path.is_file():
        raise UserError(
            "--scale-unit similarity needs a curve of this model with these settings; run dalda calibrate "
            "DATASET with the same --model first, and its other settings as --model-option NAME=VALUE"
        )
    try:
        found = read_json(path)
        scales, similarities = (tuple(map(float, found[name])) for name in ("scales", "similarities"))
        rising = all(0 <= low < high <= 1 for low, high in pairwise(scales))
        if len(scales) != len(similarities) or len(scales) < 2 or not rising:
            raise ValueError(scales)
    except (KeyError, TypeError, ValueError):
        raise UserError(
            f"the curve {path} cannot be read; remove it and run dalda calibrate again"
        ) from None
    return SimilarityCurve(scales, similarities)
