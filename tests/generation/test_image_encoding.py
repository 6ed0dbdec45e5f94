import io
from xml.etree import ElementTree

import pytest
from PIL import Image

from dalda.generation.image_encoding import FORMATS, NOT_A_NUMBER, ONE_COLOUR, encode, is_blank


def test_is_blank() -> None:
    assert is_blank(Image.new("RGB", (4, 4), (3, 80, 200)))
    half = Image.new("RGB", (4, 4), (3, 80, 200))
    half.putpixel((0, 0), (9, 80, 200))
    assert not is_blank(half)


def test_png_keeps_every_value_and_equal_images_have_equal_hashes() -> None:
    image = Image.effect_noise((16, 9), 80).convert("RGB")
    one, other = (encode(image.copy(), FORMATS["png"]) for _ in range(2))
    assert Image.open(io.BytesIO(one.data)).tobytes() == image.tobytes()
    assert one == other
    assert one.invalid is None


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_invalid_images_get_a_reason(name: str) -> None:
    assert encode(Image.new("RGB", (8, 8)), FORMATS[name]).invalid == ONE_COLOUR
    assert encode(None, FORMATS[name]).invalid == NOT_A_NUMBER


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_every_file_says_that_a_model_made_it(name: str) -> None:
    """As readers of IPTC Photo Metadata look for it; nothing else of the image changes."""
    image = Image.effect_noise((16, 9), 80).convert("RGB")
    opened = Image.open(io.BytesIO(encode(image, FORMATS[name]).data))
    packet = ElementTree.fromstring(opened.info.get("xmp") or opened.info["XML:com.adobe.xmp"])
    (source,) = packet[0][0].attrib.values()
    assert source.endswith("/digitalsourcetype/trainedAlgorithmicMedia")
    assert opened.size == image.size
