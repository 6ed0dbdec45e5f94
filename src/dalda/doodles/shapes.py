"""Outlines of the twelve classes, in a square from -1 to 1 with y pointing down."""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Outline = NDArray[np.float64]
"""Corners of a closed polygon, shape [n, 2]."""
Part = tuple[str, Outline]
"""A colour role (a key of `draw._palette`) and the outline that it fills."""
Shapes = dict[str, Callable[[np.random.Generator], list[Part]]]
"""Class name to a function that draws one outline of it, parts from back to front."""


def polygon(*xy: float) -> Outline:
    """Corners x1, y1, x2, y2, ... in order."""
    return np.array(xy, dtype=np.float64).reshape(-1, 2)


def box(left: float, top: float, right: float, bottom: float) -> Outline:
    """An upright rectangle."""
    return polygon(left, top, right, top, right, bottom, left, bottom)


def ellipse(
    x: float, y: float, width: float, height: float, start: float = 0, end: float = 360, tilt: float = 0
) -> Outline:
    """Centre, half axes, arc in degrees and tilt in degrees."""
    angle = np.radians(np.linspace(start, end, 24))
    across, down, turn = width * np.cos(angle), height * np.sin(angle), math.radians(tilt)
    return np.stack(
        [
            x + across * math.cos(turn) - down * math.sin(turn),
            y + across * math.sin(turn) + down * math.cos(turn),
        ],
        axis=1,
    )


def stroke(points: Outline, thickness: float) -> Outline:
    """A polyline of [n, 2] points as a band of the given thickness, mitred at its corners."""
    steps = np.diff(points, axis=0)
    normals = np.stack([-steps[:, 1], steps[:, 0]], axis=1) / np.linalg.norm(steps, axis=1, keepdims=True)
    joints = np.vstack([normals[:1], normals[:-1] + normals[1:], normals[-1:]])
    # A mitre longer than twice the thickness would stick out as a spike.
    length = np.maximum((joints**2).sum(axis=1, keepdims=True) / 2, 0.5)
    length[[0, -1]] = 1
    offset = joints / length * thickness / 2
    return np.vstack([points + offset, (points - offset)[::-1]])


def _boat(rng: np.random.Generator) -> list[Part]:
    return [
        ("dark", polygon(-0.95, 0.35, 0.95, 0.35, 0.6, 0.85, -0.6, 0.85)),
        ("brown", box(-0.06, -0.9, 0.06, 0.35)),
        ("main", polygon(0.1, -0.85, 0.1, 0.22, rng.uniform(0.65, 0.85), 0.22)),
        ("light", polygon(-0.1, -0.6, -0.1, 0.22, -0.6, 0.22)),
    ]


def _butterfly(rng: np.random.Generator) -> list[Part]:
    spread = rng.uniform(0.34, 0.44)
    wings: list[Part] = []
    for side in (-1, 1):
        wings += [
            ("main", ellipse(side * 0.5, -0.3, 0.5, spread, tilt=-35 * side)),
            ("dark", ellipse(side * 0.4, 0.4, 0.38, 0.3, tilt=35 * side)),
            ("light", ellipse(side * 0.5, -0.3, 0.2, 0.15)),
        ]
    return [*wings, ("black", ellipse(0, 0.05, 0.09, 0.6))]


def _car(rng: np.random.Generator) -> list[Part]:
    roof = rng.uniform(-0.56, -0.46)
    return [
        ("dark", polygon(-0.5, -0.05, -0.3, roof, 0.3, roof, 0.6, -0.05)),
        ("white", polygon(-0.38, -0.08, -0.22, roof + 0.1, 0, roof + 0.1, 0, -0.08)),
        ("white", polygon(0.08, -0.08, 0.08, roof + 0.1, 0.26, roof + 0.1, 0.44, -0.08)),
        ("main", polygon(-0.95, -0.05, 0.8, -0.05, 0.98, 0.15, 0.98, 0.42, -0.95, 0.42)),
        ("black", ellipse(-0.52, 0.42, 0.24, 0.24)),
        ("black", ellipse(0.52, 0.42, 0.24, 0.24)),
        ("grey", ellipse(-0.52, 0.42, 0.1, 0.1)),
        ("grey", ellipse(0.52, 0.42, 0.1, 0.1)),
    ]


def _fish(rng: np.random.Generator) -> list[Part]:
    tail = rng.uniform(0.4, 0.6)
    return [
        ("dark", polygon(0.45, 0, 1, -tail, 0.85, 0, 1, tail)),
        ("main", ellipse(-0.1, 0, 0.75, rng.uniform(0.38, 0.52))),
        ("dark", polygon(-0.2, -0.4, 0.25, -0.75, 0.3, -0.3)),
        ("white", ellipse(-0.5, -0.1, 0.14, 0.14)),
        ("black", ellipse(-0.53, -0.1, 0.08, 0.08)),
    ]


def _house(rng: np.random.Generator) -> list[Part]:
    return [
        ("main", box(-0.7, -0.05, 0.7, 0.85)),
        ("dark", polygon(-0.9, -0.02, 0, rng.uniform(-0.9, -0.75), 0.9, -0.02)),
        ("brown", box(-0.15, 0.3, 0.2, 0.85)),
        ("white", box(-0.57, 0.13, -0.27, 0.42)),
        ("white", box(0.34, 0.13, 0.6, 0.42)),
    ]


def _mushroom(rng: np.random.Generator) -> list[Part]:
    return [
        ("cream", polygon(-0.2, 0, 0.2, 0, 0.3, 0.9, -0.3, 0.9)),
        ("main", ellipse(0, 0.05, 0.9, rng.uniform(0.7, 0.95), 180, 360)),
        ("white", ellipse(-0.4, -0.2, 0.14, 0.13)),
        ("white", ellipse(0.1, -0.45, 0.16, 0.14)),
        ("white", ellipse(0.5, -0.15, 0.13, 0.12)),
    ]


def _tree(rng: np.random.Generator) -> list[Part]:
    if rng.random() < 0.5:
        return [
            ("brown", box(-0.13, 0.3, 0.13, 0.95)),
            ("main", ellipse(0, -0.3, 0.6, 0.62)),
            ("main", ellipse(-0.4, 0.05, 0.4, 0.35)),
            ("main", ellipse(0.4, 0.05, 0.4, 0.35)),
            ("light", ellipse(-0.15, -0.45, 0.2, 0.2)),
        ]
    return [
        ("brown", box(-0.12, 0.5, 0.12, 0.95)),
        ("main", polygon(-0.75, 0.6, 0.75, 0.6, 0, -0.2)),
        ("main", polygon(-0.6, 0.15, 0.6, 0.15, 0, -0.6)),
        ("dark", polygon(-0.45, -0.3, 0.45, -0.3, 0, -0.95)),
    ]


def _umbrella(rng: np.random.Generator) -> list[Part]:
    return [
        ("brown", box(-0.06, -0.2, 0.06, 0.8)),
        ("brown", ellipse(0.13, 0.78, 0.19, 0.2, 0, 180)),
        ("main", ellipse(0, 0.05, 0.95, rng.uniform(0.8, 1), 180, 360)),
        ("dark", ellipse(0, 0.05, 0.35, 0.9, 180, 360)),
    ]


def _chevron(rng: np.random.Generator) -> list[Part]:
    height = rng.uniform(0.8, 0.95)
    spine = polygon(0.55, -height, -0.5, 0, 0.55, height)
    return [("main", stroke(spine, rng.uniform(0.5, 0.62)))]


def _crescent(rng: np.random.Generator) -> list[Part]:
    outer = ellipse(0, 0, 0.9, 0.95, 45, 315)
    inner = ellipse(rng.uniform(0.34, 0.44), 0, 0.58, 0.6, 300, 60)
    return [("main", np.vstack([outer, inner]))]


def _hourglass(rng: np.random.Generator) -> list[Part]:
    waist = rng.uniform(0.08, 0.16)
    glass = polygon(-0.7, -0.75, 0.7, -0.75, waist, 0, 0.7, 0.75, -0.7, 0.75, -waist, 0)
    return [
        ("main", glass),
        ("dark", box(-0.8, -0.95, 0.8, -0.72)),
        ("dark", box(-0.8, 0.72, 0.8, 0.95)),
    ]


def _trefoil(rng: np.random.Generator) -> list[Part]:
    leaf, reach = rng.uniform(0.4, 0.48), 0.48
    leaves: list[Part] = []
    for angle in (90, 210, 330):
        x, y = reach * math.cos(math.radians(angle)), -reach * math.sin(math.radians(angle))
        leaves.append(("main", ellipse(x, y, leaf, leaf)))
    return [*leaves, ("light", ellipse(0, 0, 0.2, 0.2))]


SHAPES: Shapes = {
    "boat": _boat,
    "butterfly": _butterfly,
    "car": _car,
    "chevron": _chevron,
    "crescent": _crescent,
    "fish": _fish,
    "hourglass": _hourglass,
    "house": _house,
    "mushroom": _mushroom,
    "tree": _tree,
    "trefoil": _trefoil,
    "umbrella": _umbrella,
}
