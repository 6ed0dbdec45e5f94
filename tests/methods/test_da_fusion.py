"""DA-Fusion and DIAGen: published numbers, a token a class, noise on it."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from tests.methods.test_base import images_of, requests_of

from dalda.datasets.image_io import sha256_of
from dalda.errors import UserError
from dalda.methods.base import UsageDefaults, method_named
from dalda.methods.da_fusion import RECIPES, DaFusion, DaFusionOptions
from dalda.methods.diagen import Diagen, DiagenOptions, around_token
from dalda.methods.fitting.recipe import OBJECT_TEMPLATES
from dalda.models.concepts import PLACEHOLDER, Concept
from dalda.types import Capability, RealImage


def test_the_published_numbers_of_da_fusion() -> None:
    """arXiv 2302.07944: the scripts (1 vector from "the", 1000 steps), and the numbers of the paper."""
    repo, paper = RECIPES["repo"], RECIPES["paper"]
    assert (repo.vectors, repo.initial_token, repo.batch_size, repo.steps) == (1, "the", 4, 1000)
    assert (paper.vectors, paper.initial_token, paper.batch_size, paper.steps) == (4, "", 8, 2000)
    assert [repo.token_rate, paper.token_rate] == pytest.approx([2e-3, 4e-3])
    assert {(x.weight_decay, x.flip, x.schedule, x.warmup, x.rank) for x in RECIPES.values()} == {
        (0.01, 0.5, "constant", 0, 0)
    }
    assert len(set(OBJECT_TEMPLATES)) == 27
    options = DaFusionOptions()
    assert options.strengths == (1.0, 0.75, 0.5, 0.25)
    assert (options.guidance_scale, options.steps, options.preset) == (7.5, 50, "repo")
    assert DaFusion.defaults == UsageDefaults("per-image-replacement", 0.5)


def test_the_published_numbers_of_diagen() -> None:
    """arXiv 2408.14584: noise of 0.005, 0.01, 0.025, strength 0.7, guidance 15, replacement 0.7."""
    options = DiagenOptions()
    assert options.noise == (0.005, 0.01, 0.025)
    assert (options.strengths, options.guidance_scale) == ((0.7,), 15.0)
    assert (options.preset, options.steps) == ("repo", 50)
    assert (Diagen.defaults.synthetic_probability, Diagen.defaults.classifier_weighting) == (0.7, True)


def test_each_class_has_its_token_and_strengths_are_equally_likely() -> None:
    requests = requests_of(images_of(6), "da-fusion", per_image=100)
    tokens = {
        request.label: {x.concept for x in requests if x.label == request.label} for request in requests
    }
    assert {len(found) for found in tokens.values()} == {1}
    assert tokens["car"] != tokens["tree"]
    counts = Counter(request.strength for request in requests)
    assert set(counts) == {1.0, 0.75, 0.5, 0.25}
    assert all(110 < count < 190 for count in counts.values())
    assert {request.prompt for request in requests} == {f"a photo of a {PLACEHOLDER}"}


def test_diagen_takes_the_clean_token_and_each_noisy_one_in_turn() -> None:
    requests = requests_of(images_of(1), "diagen", per_image=8)
    tokens = [Concept.read(str(request.concept)).token for request in requests]
    assert [token.noise for token in tokens if token] == [0.0, 0.005, 0.01, 0.025] * 2
    assert len({token.artefact for token in tokens if token}) == 1
    assert {request.prompt for request in requests} <= {
        text.format(PLACEHOLDER) for text in ("a {}", "a red {}", "a fast {}")
    }


def test_diagen_without_noise_has_the_tokens_of_da_fusion() -> None:
    plain = requests_of(images_of(4), "da-fusion")
    without = requests_of(images_of(4), "diagen", noise=())
    assert [request.concept for request in without] == [request.concept for request in plain]
    silent = requests_of(images_of(4), "diagen", noise=(0.0,))
    assert [request.concept for request in silent] == [request.concept for request in plain]


def test_a_caption_without_the_class_gets_the_token_all_the_same() -> None:
    assert around_token("a red car at night", "car") == f"a red {PLACEHOLDER} at night"
    assert around_token("at night", "car") == f"a photo of a {PLACEHOLDER}, at night"


def masked(folder: Path) -> list[RealImage]:
    """Two images in FOLDER/photos, and their masks in FOLDER/masks."""
    images = []
    for number, label in enumerate(("car", "tree")):
        for place in ("photos", "masks"):
            (folder / place / label).mkdir(parents=True)
        path = folder / "photos" / label / "a.jpg"
        Image.new("RGB", (40, 30), (number, 90, 200)).save(path)
        mask = Image.new("L", (40, 30))
        mask.paste(255, (10, 10, 20 + number, 20))
        mask.save(folder / "masks" / label / "a.png")
        images.append(RealImage(path, label, sha256_of(path)))
    return images


@pytest.mark.parametrize("name", ["da-fusion", "diagen"])
def test_each_request_has_the_mask_of_its_source(tmp_path: Path, name: str) -> None:
    images, masks = masked(tmp_path), str(tmp_path / "masks")
    root = tmp_path / "photos"
    requests = requests_of(images, name, root=root, masks=masks)
    for request in requests:
        assert request.mask == tmp_path / "masks" / request.label / "a.png"
        assert request.mask_sha256 == sha256_of(request.mask)
        # 16 of 512 pixels, as in the authors' code.
        assert (request.mask_growth, request.mask_inverted) == (0.03125, False)
        assert request.source_files[1:] == [(request.mask, request.mask_sha256)]
    background = requests_of(images, name, root=root, masks=masks, inpaint="background")
    assert all(request.mask_inverted for request in background)
    plain = requests_of(images, name, root=root)
    assert len({request.id for request in (*requests, *background, *plain)}) == 3 * len(requests)
    without = {"mask": None, "mask_sha256": "", "mask_growth": 0.0, "mask_inverted": False}
    assert [replace(request, **without) for request in requests] == plain  # type: ignore[arg-type]


def test_an_id_follows_the_content_of_the_mask_and_not_its_place(tmp_path: Path) -> None:
    images, root = masked(tmp_path), tmp_path / "photos"
    first = requests_of(images, "da-fusion", root=root, masks=str(tmp_path / "masks"))
    (tmp_path / "masks").rename(tmp_path / "moved")
    moved = requests_of(images, "da-fusion", root=root, masks=str(tmp_path / "moved"))
    assert [request.id for request in moved] == [request.id for request in first]
    Image.new("L", (40, 30), 255).save(tmp_path / "moved" / "car" / "a.png")
    other = requests_of(images, "da-fusion", root=root, masks=str(tmp_path / "moved"))
    changed = {request.label for request, old in zip(other, first, strict=True) if request.id != old.id}
    assert changed == {"car"}


def test_masks_that_are_not_there_are_one_sentence(tmp_path: Path) -> None:
    images, root = masked(tmp_path), tmp_path / "photos"
    with pytest.raises(UserError, match=r"'inpaint' of the method da-fusion needs masks; name their"):
        requests_of(images, "da-fusion", root=root, inpaint="background")
    (tmp_path / "masks" / "car" / "a.png").unlink()
    with pytest.raises(UserError, match=r"the image .*car/a.jpg has no mask '.*masks/car/a.png'"):
        requests_of(images, "da-fusion", root=root, masks=str(tmp_path / "masks"))
    with pytest.raises(UserError, match=r"there is no folder of masks 'nowhere'"):
        requests_of(images, "da-fusion", root=root, masks="nowhere")


def test_only_masks_need_inpainting() -> None:
    method = method_named("da-fusion")
    assert method.needs_with(DaFusionOptions()) == method.needs
    assert method.needs_with(DaFusionOptions(masks="m")) == method.needs | {Capability.INPAINTING}
