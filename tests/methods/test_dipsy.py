"""DIPSY: its published numbers, its negative class, its requests."""

from pathlib import Path

import numpy as np
import pytest
from tests.methods.test_base import images_of, requests_of

from dalda.errors import UserError
from dalda.methods.dipsy import DipsyOptions, negative_probabilities
from dalda.types import RealImage


def test_the_published_numbers() -> None:
    """arXiv 2509.22635 and its code: 50 steps, scale 0.6, guidance 7.5, 6 and -6, temperature 0.4."""
    options = DipsyOptions()
    assert (options.steps, options.guidance_scale, options.ip_adapter_scale) == (50, 7.5, "0.6")
    assert (options.positive_scale, options.negative_scale, options.temperature) == (6.0, -6.0, 0.4)


def test_the_negative_class_is_a_softmax_of_cosines_without_the_class_itself() -> None:
    features = np.array([[3.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 2.0]])
    found = negative_probabilities(features, ["a", "a", "b", "c"], ["a", "b", "c"], 0.4)
    near, far = np.exp(np.sqrt(0.5) / 0.4), 1.0
    assert found[0] == pytest.approx([0, near / (near + far), far / (near + far)], abs=1e-4)
    assert found[1] == pytest.approx([0.5, 0, 0.5], abs=1e-4)
    assert found.sum(1) == pytest.approx([1, 1, 1], abs=1e-3)


def test_each_request_leads_away_from_an_image_of_another_class() -> None:
    images = images_of(6)
    label_of = {image.sha256: image.label for image in images}
    requests = requests_of(images, "dipsy")
    assert all(label_of[request.second_source_sha256] != request.label for request in requests)
    assert len({request.second_source_sha256 for request in requests}) > 2
    assert {request.prompt for request in requests} == {"A photo of a car", "A photo of a tree"}
    assert {
        (x.ip_adapter_scale, x.image_guidance_scale, x.second_image_guidance_scale) for x in requests
    } == {(0.6, 6.0, -6.0)}


def test_with_the_adaptive_scale_each_image_has_its_own() -> None:
    requests = requests_of(images_of(6), "dipsy", ip_adapter_scale="adaptive")
    assert len({request.ip_adapter_scale for request in requests}) == len(requests)
    assert all((request.ip_adapter_scale > 0.69) == (request.label == "tree") for request in requests)


def test_one_class_is_one_sentence() -> None:
    with pytest.raises(UserError, match="needs two classes with images"):
        requests_of([RealImage(Path("a.png"), "car", "a")], "dipsy")
