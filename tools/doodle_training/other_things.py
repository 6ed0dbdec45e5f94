"""Outlines of 24 things that are no class of the data set: what the vision backbone learns from."""

import numpy as np

from dalda.doodles.shapes import Outline, Shapes, box, ellipse, polygon, stroke


def _star(points: int, depth: float) -> Outline:
    """A star whose inner corners lie at `depth` of its radius."""
    angle = np.linspace(0, 2 * np.pi, 2 * points, endpoint=False) - np.pi / 2
    radius = np.where(np.arange(2 * points) % 2 == 0, 0.95, 0.95 * depth)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def _heart() -> Outline:
    t = np.linspace(0, 2 * np.pi, 40)
    down = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return 0.055 * np.stack([16 * np.sin(t) ** 3, -down], axis=1)


OTHER_THINGS: Shapes = {
    "arrow": lambda rng: [
        ("main", polygon(-0.95, -0.18, 0.1, -0.18, 0.1, -0.6, 0.95, 0, 0.1, 0.6, 0.1, 0.18, -0.95, 0.18)),
    ],
    "bell": lambda rng: [
        ("main", polygon(-0.2, -0.8, 0.2, -0.8, 0.5, -0.2, 0.6, 0.5, -0.6, 0.5, -0.5, -0.2)),
        ("dark", box(-0.8, 0.5, 0.8, 0.66)),
        ("brown", ellipse(0, 0.78, 0.15, 0.15)),
    ],
    "bird": lambda rng: [
        ("main", ellipse(0, 0.1, 0.6, rng.uniform(0.34, 0.46))),
        ("main", ellipse(-0.5, -0.3, 0.28, 0.26)),
        ("dark", polygon(-0.75, -0.3, -1, -0.2, -0.75, -0.15)),
        ("dark", polygon(0.4, 0, 1, -0.35, 0.85, 0.25)),
        ("black", ellipse(-0.55, -0.35, 0.06, 0.06)),
    ],
    "bottle": lambda rng: [
        ("main", polygon(-0.3, -0.2, -0.12, -0.45, -0.12, -0.85, 0.12, -0.85, 0.12, -0.45, 0.3, -0.2)),
        ("main", box(-0.3, -0.2, 0.3, 0.9)),
        ("light", box(-0.3, 0.15, 0.3, 0.5)),
    ],
    "cactus": lambda rng: [
        ("main", box(-0.2, -0.9, 0.2, 0.9)),
        ("main", stroke(polygon(-0.2, 0.2, -0.6, 0.2, -0.6, rng.uniform(-0.45, -0.25)), 0.22)),
        ("main", stroke(polygon(0.2, 0, 0.6, 0, 0.6, rng.uniform(-0.65, -0.45)), 0.22)),
    ],
    "cross": lambda rng: [
        ("main", box(-0.9, -0.25, 0.9, 0.25)),
        ("main", box(-0.25, -0.9, 0.25, 0.9)),
    ],
    "crown": lambda rng: [
        ("main", polygon(-0.85, 0.6, -0.85, -0.5, -0.4, 0.05, 0, -0.7, 0.4, 0.05, 0.85, -0.5, 0.85, 0.6)),
        ("light", box(-0.85, 0.4, 0.85, 0.65)),
    ],
    "cube": lambda rng: [
        ("main", box(-0.7, -0.3, 0.4, 0.8)),
        ("light", polygon(-0.7, -0.3, -0.3, -0.75, 0.8, -0.75, 0.4, -0.3)),
        ("dark", polygon(0.4, -0.3, 0.8, -0.75, 0.8, 0.35, 0.4, 0.8)),
    ],
    "cup": lambda rng: [
        ("main", polygon(-0.6, -0.6, 0.5, -0.6, 0.4, 0.7, -0.5, 0.7)),
        ("dark", stroke(polygon(0.45, -0.3, 0.85, -0.2, 0.8, 0.3, 0.42, 0.35), 0.16)),
    ],
    "drop": lambda rng: [
        ("main", np.vstack([polygon(0, -0.95), ellipse(0, 0.3, 0.6, 0.6, -20, 200)])),
    ],
    "face": lambda rng: [
        ("main", ellipse(0, 0, 0.85, 0.85)),
        ("black", ellipse(-0.3, -0.2, 0.1, 0.12)),
        ("black", ellipse(0.3, -0.2, 0.1, 0.12)),
        ("dark", ellipse(0, 0.25, 0.4, rng.uniform(0.15, 0.3), 0, 180)),
    ],
    "flower": lambda rng: [
        *[
            ("main", ellipse(0.5 * np.cos(a), 0.5 * np.sin(a), 0.33, 0.33))
            for a in np.arange(5) * 0.4 * np.pi
        ],
        ("light", ellipse(0, 0, 0.3, 0.3)),
    ],
    "heart": lambda rng: [("main", _heart() * [rng.uniform(0.9, 1.1), 1])],
    "key": lambda rng: [
        ("main", ellipse(-0.5, 0, 0.4, 0.4)),
        ("dark", ellipse(-0.5, 0, 0.17, 0.17)),
        ("main", box(-0.15, -0.1, 0.95, 0.1)),
        ("main", box(0.5, 0.1, 0.65, 0.4)),
        ("main", box(0.78, 0.1, 0.93, 0.35)),
    ],
    "kite": lambda rng: [
        ("main", polygon(0, -0.95, 0.55, -0.2, 0, 0.55, -0.55, -0.2)),
        ("dark", polygon(0, -0.95, 0, 0.55, -0.55, -0.2)),
        ("brown", stroke(polygon(0, 0.55, 0.2, 0.7, -0.1, 0.9), 0.08)),
    ],
    "ladder": lambda rng: [
        ("main", box(-0.5, -0.95, -0.32, 0.95)),
        ("main", box(0.32, -0.95, 0.5, 0.95)),
        *[("dark", box(-0.5, y, 0.5, y + 0.13)) for y in (-0.7, -0.3, 0.1, 0.5)],
    ],
    "lamp": lambda rng: [
        ("main", polygon(-0.3, -0.85, 0.3, -0.85, 0.65, -0.05, -0.65, -0.05)),
        ("brown", box(-0.06, -0.05, 0.06, 0.7)),
        ("dark", box(-0.4, 0.7, 0.4, 0.88)),
    ],
    "leaf": lambda rng: [
        (
            "main",
            polygon(0, -0.95, 0.5, -0.4, 0.55, 0.1, 0.25, 0.6, 0, 0.7, -0.25, 0.6, -0.55, 0.1, -0.5, -0.4),
        ),
        ("dark", box(-0.04, -0.7, 0.04, 0.95)),
    ],
    "ring": lambda rng: [
        ("main", ellipse(0, 0, 0.9, 0.9)),
        ("white", ellipse(0, 0, rng.uniform(0.4, 0.55), rng.uniform(0.4, 0.55))),
    ],
    "rocket": lambda rng: [
        ("main", polygon(0, -0.95, 0.35, -0.3, 0.35, 0.5, -0.35, 0.5, -0.35, -0.3)),
        ("dark", polygon(-0.35, 0.2, -0.7, 0.75, -0.35, 0.5)),
        ("dark", polygon(0.35, 0.2, 0.7, 0.75, 0.35, 0.5)),
        ("white", ellipse(0, -0.2, 0.16, 0.16)),
    ],
    "snail": lambda rng: [
        ("main", ellipse(0.1, -0.1, 0.55, 0.55)),
        ("dark", ellipse(0.1, -0.1, 0.3, 0.3)),
        ("cream", polygon(-0.95, 0.5, 0.9, 0.5, 0.9, 0.75, -0.95, 0.75)),
        ("cream", box(-0.95, 0, -0.75, 0.6)),
    ],
    "star": lambda rng: [("main", _star(5, rng.uniform(0.38, 0.5)))],
    "sun": lambda rng: [("main", _star(9, 0.62)), ("light", ellipse(0, 0, 0.45, 0.45))],
    "tent": lambda rng: [
        ("main", polygon(0, -0.8, 0.95, 0.75, -0.95, 0.75)),
        ("dark", polygon(0, rng.uniform(-0.4, -0.2), 0.3, 0.75, -0.3, 0.75)),
    ],
}
