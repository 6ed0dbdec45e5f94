"""Every random number starts here: a seed for each item, from one root seed and the item's labels."""

import hashlib
import json

import numpy as np


def seed_of(root: int, *labels: str | int) -> int:
    """A seed in [0, 2**63) that depends on the labels alone, not on the order of work."""
    written = json.dumps([root, *labels]).encode()
    return int.from_bytes(hashlib.sha256(written).digest()[:8], "big") >> 1


def generator_of(root: int, *labels: str | int) -> np.random.Generator:
    """A numpy generator seeded by `seed_of`, that of `np.random.default_rng`."""
    return np.random.Generator(np.random.PCG64(seed_of(root, *labels)))
