"""DiffuseMix: its published numbers, the seam, the share of the fractal."""

import numpy as np
import pytest
from PIL import Image
from tests.methods.test_base import images_of, requests_of

from dalda.errors import UserError
from dalda.generation.plan import refuse_incapable
from dalda.methods.diffusemix import PROMPT, STYLES, DiffuseMix, DiffuseMixOptions, mixed, seam_mask
from dalda.types import Capability


def flat(colour: tuple[int, int, int], size: tuple[int, int] = (256, 128)) -> Image.Image:
    return Image.new("RGB", size, colour)


def test_the_published_numbers() -> None:
    """arXiv 2405.14881 and its code: nine styles, 100 steps, guidance 4 and 1.5, a fractal of 0.2."""
    options = DiffuseMixOptions()
    assert (options.steps, options.guidance_scale, options.image_guidance_scale) == (100, 4.0, 1.5)
    assert options.fractal == 0.2
    published = "Autumn snowy watercolor~art sunset rainbow aurora mosaic ukiyo-e a~sketch~with~crayon"
    assert [style.replace(" ", "~") for style in STYLES] == published.split()
    assert PROMPT.format("mosaic") == "A transformed version of image into mosaic"


def test_the_first_half_is_real_and_the_second_edited_with_a_seam_of_20_in_256() -> None:
    for vertical in (True, False):
        mask = seam_mask(256, 256, vertical=vertical)
        line = mask[0] if vertical else mask[:, 0]
        assert (line[:118] == 0).all()
        assert (line[138:] == 1).all()
        assert np.allclose(np.diff(line[118:138]), 1 / 20)
        assert mask.mean() == 0.5


def test_the_fractal_has_its_share_everywhere() -> None:
    image = mixed(flat((200, 0, 0)), flat((0, 100, 0)), flat((0, 0, 50)), vertical=True, share=0.2)
    pixels = np.asarray(image)
    assert (pixels[:, 0] == (160, 0, 10)).all()
    assert (pixels[:, -1] == (0, 80, 10)).all()


def test_a_request_finishes_alike_whenever_it_is_finished() -> None:
    request = requests_of(images_of(2), "diffusemix")[0]
    real, edited = flat((200, 0, 0), (64, 48)), flat((0, 100, 0), (32, 24))
    images = [DiffuseMix().finish(edited, request, [real]) for _ in range(2)]
    assert images[0].size == (32, 24)
    assert images[0].tobytes() == images[1].tobytes()
    plain = requests_of(images_of(2), "diffusemix", fractal=0)[0]
    colours = {
        tuple(pixel) for pixel in np.asarray(DiffuseMix().finish(edited, plain, [real])).reshape(-1, 3)
    }
    assert {(200, 0, 0), (0, 100, 0)} <= colours


def test_an_editing_model_is_needed_only_for_edits() -> None:
    method = DiffuseMix()
    assert method.needs_with(DiffuseMixOptions()) == {Capability.INIT_IMAGE}
    assert method.needs_with(DiffuseMixOptions(edit=True)) == {Capability.EDIT}
    with pytest.raises(
        UserError, match=r"needs edit \(an InstructPix2Pix model such as .*the model 'sd15' does"
    ):
        refuse_incapable("diffusemix", frozenset({Capability.EDIT}), "sd15", method.needs)
    edits = requests_of(images_of(2), "diffusemix", edit=True)
    assert {(request.strength, request.image_guidance_scale) for request in edits} == {(None, 1.5)}
    assert len({request.prompt for request in requests_of(images_of(1), "diffusemix", per_image=9)}) == 9
