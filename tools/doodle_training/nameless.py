"""Closed shapes without a name: in the training images they stand for "thing" and "shape"."""

from collections.abc import Callable

import numpy as np

from dalda.doodles.shapes import Outline, Part, ellipse, stroke


def _blob(rng: np.random.Generator) -> Outline:
    angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    radius = np.full_like(angle, 0.65)
    for waves in range(2, 6):
        radius += rng.normal(0, 0.22 / waves**0.5) * np.cos(waves * angle + rng.uniform(0, 2 * np.pi))
    radius = np.clip(radius, 0.15, 1)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def _spikes(rng: np.random.Generator) -> Outline:
    points = int(rng.integers(3, 8))
    depth = rng.uniform(0.3, 1)
    angle = np.linspace(0, 2 * np.pi, 2 * points, endpoint=False) + rng.uniform(0, 2 * np.pi)
    radius = np.where(np.arange(2 * points) % 2 == 0, 0.95, 0.95 * depth)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def _corners(rng: np.random.Generator) -> Outline:
    """A closed polygon that may be hollowed anywhere: corners at random radii."""
    count = int(rng.integers(4, 9))
    angle = np.sort(rng.uniform(0, 2 * np.pi, count))
    radius = rng.uniform(0.15, 1, count)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def _band(rng: np.random.Generator) -> Outline:
    count = int(rng.integers(3, 6))
    angle = np.linspace(0, rng.uniform(1, 5), count) + rng.uniform(0, 2 * np.pi)
    radius = rng.uniform(0.3, 0.8, count)
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return stroke(points, rng.uniform(0.3, 0.55))


def nameless(rng: np.random.Generator) -> list[Part]:
    """One or two random closed shapes, some mirrored, some with a mark on them."""
    parts: list[Part] = []
    families: list[Callable[[np.random.Generator], Outline]] = [_blob, _spikes, _corners, _band]
    for _ in range(1 + int(rng.random() < 0.5)):
        outline = families[int(rng.integers(len(families)))](rng)
        role = "main" if not parts or rng.random() < 0.6 else "dark"
        if parts or rng.random() < 0.3:
            outline = outline * rng.uniform(0.5, 0.9) + rng.uniform(-0.45, 0.45, 2)
        parts.append((role, outline))
        if rng.random() < 0.35:
            parts.append((role, outline * [-1, 1] if rng.random() < 0.6 else outline * [1, -1]))
    if rng.random() < 0.3:
        mark = ellipse(*rng.uniform(-0.4, 0.4, 2), *rng.uniform(0.12, 0.3, 2))
        parts.append((str(rng.choice(["light", "dark", "white", "black"])), mark))
    corners = np.vstack([outline for _, outline in parts])
    low, high = corners.min(axis=0), corners.max(axis=0)
    scale = 1.9 / (high - low).max()
    return [(role, (outline - (low + high) / 2) * scale) for role, outline in parts]
