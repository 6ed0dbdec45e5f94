"""WordNet's ids and what lives in nature."""

import pytest

from dalda.datasets.wordnet import lives_in_nature, wordnet_name


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("n02112018", "Pomeranian"),
        ("n01440764", "tench"),
        ("n03793489", "mouse"),
        ("n99999999", None),
        ("n0211201", None),
        ("heron", None),
    ],
)
def test_ids_of_imagenet_have_names(label: str, name: str | None) -> None:
    assert wordnet_name(label) == name


@pytest.mark.parametrize(
    ("wording", "nature"),
    [
        ("pug", True),
        ("Persian_cat", True),
        ("rose", True),
        ("computer mouse", False),
        ("cup", False),
        ("car", False),
    ],
)
def test_animals_and_plants_live_in_nature(wording: str, nature: bool) -> None:
    assert lives_in_nature(wording) is nature
