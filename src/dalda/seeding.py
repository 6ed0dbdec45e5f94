"""Every random number starts here: a seed for each item, from one root seed and the item's labels."""

import hashlib
import json
from collections.abc import Callable

import numpy as np


def seed_of(root: int, *labels: str | int) -> int:
    """A seed in [0, 2**63) that depends on the labels alone, not on the order of work."""
    return _seed(hashlib.sha256(_written(root, *labels)))


def seeds_of(root: int, *labels: str | int) -> Callable[[int], int]:
    """`seed_of(root, *labels, number)` for any number; what these seeds have in common is hashed once."""
    common = hashlib.sha256(_written(root, *labels).removesuffix(b"]"))

    def seed(number: int) -> int:
        whole = common.copy()
        whole.update(b", %d]" % number)
        return _seed(whole)

    return seed


def _written(*labels: str | int) -> bytes:
    return json.dumps(labels).encode()


def _seed(labels: "hashlib._Hash") -> int:
    return int.from_bytes(labels.digest()[:8], "big") >> 1


def generator_of(root: int, *labels: str | int) -> np.random.Generator:
    """A numpy generator seeded by `seed_of`, that of `np.random.default_rng`."""
    return _generator(seed_of(root, *labels))


def generators_of(root: int, *labels: str | int) -> Callable[[int], np.random.Generator]:
    """`generator_of(root, *labels, number)` for any number; the common labels are hashed once."""
    seed = seeds_of(root, *labels)
    return lambda number: _generator(seed(number))


def _generator(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))
