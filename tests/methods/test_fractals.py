"""Fractals: many colours, another one at each draw, the same for the same seed."""

import numpy as np

from dalda.methods.fractals import draw_fractal


def test_a_fractal_fills_its_size_with_many_colours() -> None:
    drawn = [draw_fractal((300, 200), np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert [image.size for image in drawn] == [(300, 200)] * 3
    assert drawn[0].tobytes() == drawn[1].tobytes() != drawn[2].tobytes()
    assert all(np.asarray(image).std() > 20 for image in drawn)
    assert all(len(np.unique(np.asarray(image).reshape(-1, 3), axis=0)) > 500 for image in drawn)
