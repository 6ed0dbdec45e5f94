"""Shards: of one folder, of a folder each, and joined again."""

import json
import shutil
from pathlib import Path

import datasets
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import save_file
from tests.workflows.test_augment import Noise

from dalda.config import AugmentConfig, MergeConfig
from dalda.datasets.image_io import sha256_of
from dalda.errors import UserError
from dalda.generation.plan import make_plan
from dalda.generation.source_probabilities import read_probabilities
from dalda.generation.synthetic_dataset import SyntheticDataset
from dalda.methods.base import Common, Prepared, method_named
from dalda.models.presets import preset_named
from dalda.review.log import ReviewLog
from dalda.types import FewShotSplit, RealImage
from dalda.workflows.augment import generate_plan, open_dataset
from dalda.workflows.augment_plan import AugmentPlan, GeneratorLoader
from dalda.workflows.merge import merge
from dalda.workflows.reports import AugmentReport

COUNT = 24


def planned(folder: Path, seed: int = 0) -> AugmentPlan:
    folder.mkdir(exist_ok=True)
    images = []
    for number in range(COUNT):
        path = folder / f"{number}.png"
        if not path.exists():
            Image.effect_noise((8, 8), 80).save(path)
        images.append(RealImage(path, ("car", "dog")[number % 2], sha256_of(path)))
    split = FewShotSplit("folder", folder, "train", seed, None, ("car", "dog"), tuple(images))
    captions = {"car": ["a car"], "dog": ["a dog"]}
    method = method_named("text")
    prepared = Prepared(Common("text", "digest", 1, "", "", 2.0, 20), None)
    plan = make_plan(method.requests(split, captions, prepared, seed), "digest")
    shares = tuple(number / COUNT for number in range(COUNT))
    loader = GeneratorLoader(lambda: Noise())
    return AugmentPlan(split, preset_named("doodle"), captions, plan, method, loader, (), shares)


def run(real: Path, out: Path, shard: str | None = None, seed: int = 0) -> AugmentReport:
    config = AugmentConfig(dataset="folder", out=out, shard=shard, seed=seed, batch_size=4)
    decided = planned(real, seed)
    return generate_plan(config, decided, open_dataset(config, decided))


def images(folder: Path) -> dict[str, bytes]:
    """By request id."""
    return {path.stem: path.read_bytes() for path in folder.glob("train/**/*.png")}


def test_shards_in_one_folder_are_one_set(tmp_path: Path) -> None:
    real, out = tmp_path / "real", tmp_path / "out"
    run(real, tmp_path / "whole")
    reports = [run(real, out, f"{number}/3") for number in (3, 1, 2)]
    assert sum(report.generated for report in reports) == COUNT
    assert all(report.planned == report.generated > 0 for report in reports)
    assert images(out) == images(tmp_path / "whole")
    read = SyntheticDataset.existing(out).synthetic_images()
    assert {image.request_id for image in read} == images(out).keys()
    loaded = datasets.load_dataset(
        "imagefolder", data_dir=str(out), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert sorted(loaded["request_id"]) == sorted(images(out))
    assert all(image.size == (8, 8) for image in loaded["image"])
    assert read_probabilities(out, preset_named("doodle").clip)[read[0].label, read[0].source_sha256] >= 0


def test_a_shard_resumes_its_own_part_and_a_run_without_one_does_the_rest(tmp_path: Path) -> None:
    real, out = tmp_path / "real", tmp_path / "out"
    whole = run(real, out, "1/2")
    lost = sorted(out.glob("train/part-1-of-2/*/*.png"))[0]
    before = lost.read_bytes()
    lost.unlink()
    again = run(real, out, "1/2")
    assert (again.generated, again.already_there) == (1, whole.generated - 1)
    assert lost.read_bytes() == before
    rest = run(real, out)
    assert (rest.generated, rest.already_there) == (COUNT - whole.generated, whole.generated)
    assert len(images(out)) == COUNT


def test_shards_at_once_and_a_run_without_one_are_kept_apart(tmp_path: Path) -> None:
    real, out = tmp_path / "real", tmp_path / "out"
    run(real, out, "1/2")
    first, other, none = (SyntheticDataset(out, part=part) for part in ("part-1-of-2", "part-2-of-2", ""))
    (out / "train/part-2-of-2").mkdir()
    with first.held():
        with other.held():
            pass
        for busy in (SyntheticDataset(out, part="part-1-of-2"), none):
            with pytest.raises(UserError, match="another process"), busy.held():
                pass


def test_a_merged_set_is_that_of_one_run(tmp_path: Path) -> None:
    real, whole, joined = tmp_path / "real", tmp_path / "whole", tmp_path / "all"
    run(real, whole)
    shards = tuple(tmp_path / f"out-{number}" for number in (1, 2, 3))
    for number, shard in enumerate(shards, 1):
        run(real, shard, f"{number}/3")
    decision = ReviewLog(shards[0]).append("0" * 8, "keep", "me")
    report = merge(MergeConfig(places=shards, out=joined))
    assert (report.sets, report.images, report.missing) == (3, COUNT, 0)
    assert ReviewLog(joined).decisions() == [decision]
    # The plan's order is known to the next run, which has nothing to generate.
    assert run(real, joined).generated == 0
    for path in whole.rglob("*"):
        if path.is_file() and path.name != "dalda.yaml":
            assert (joined / path.relative_to(whole)).read_bytes() == path.read_bytes(), path


def test_a_shard_that_is_missing_is_counted(tmp_path: Path) -> None:
    run(tmp_path / "real", tmp_path / "one", "1/2")
    report = merge(MergeConfig(places=(tmp_path / "one",), out=tmp_path / "all"))
    assert report.images + report.missing == COUNT


def test_what_a_set_of_another_seed_lacks_is_counted(tmp_path: Path) -> None:
    run(tmp_path / "real", tmp_path / "one")
    run(tmp_path / "real", tmp_path / "other", shard="1/2", seed=1)
    half = len(images(tmp_path / "other"))
    merged = merge(MergeConfig(places=(tmp_path / "one", tmp_path / "other"), out=tmp_path / "all"))
    assert 0 < half < COUNT
    assert (merged.images, merged.missing) == (COUNT + half, COUNT - half)


def changed_image(place: Path) -> None:
    """As another device would have generated it."""
    metadata = next(place.glob("train/part*/metadata.jsonl"))
    first, *others = metadata.read_text().splitlines()
    line = json.loads(first)
    path = metadata.parent / line["file_name"]
    Image.new("RGB", (8, 8), "red").save(path)
    line |= {"sha256": sha256_of(path), "bytes": path.stat().st_size}
    metadata.write_text("\n".join([json.dumps(line), *others, ""]))


def other_probabilities(place: Path) -> None:
    path = place / "source_probabilities.json"
    path.write_text(path.read_text().replace("0.5", "0.125"))


def other_requests(place: Path) -> None:
    metadata = next(place.glob("train/part*/metadata.jsonl"))
    first, *others = metadata.read_text().splitlines()
    line = json.loads(first)
    line["request_id"] = "0123456789abcdef0123"
    metadata.write_text("\n".join([json.dumps(line), *others, ""]))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (changed_image, "different images for the request"),
        (other_probabilities, "other CLIP class probabilities"),
        (other_requests, "no shards of one plan"),
    ],
)
def test_what_does_not_belong_together_is_refused(tmp_path: Path, change: object, sentence: str) -> None:
    run(tmp_path / "real", tmp_path / "one", "1/2")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    assert callable(change)
    change(tmp_path / "two")
    with pytest.raises(UserError, match=sentence):
        merge(MergeConfig(places=(tmp_path / "one", tmp_path / "two"), out=tmp_path / "all"))
    assert not (tmp_path / "all").exists()


def test_sets_of_other_settings_are_refused(tmp_path: Path) -> None:
    run(tmp_path / "real", tmp_path / "one", "1/2")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    settings = tmp_path / "two/dalda.yaml"
    settings.write_text(settings.read_text().replace("format: png", "format: webp"))
    with pytest.raises(UserError, match="--format webp, now --format png"):
        merge(MergeConfig(places=(tmp_path / "one", tmp_path / "two"), out=tmp_path / "all"))


def test_decisions_of_reviews_are_joined_in_the_order_of_their_time(tmp_path: Path) -> None:
    parts = [tmp_path / f"part{number}" for number in (1, 2)]
    for number, part in enumerate(parts, 1):
        run(tmp_path / "real", part, f"{number}/2")
        for verdict in ("keep", "reject") if number == 1 else ("undo",):
            ReviewLog(part).append("0" * 8, verdict, "me")
    (parts[1] / "review.jsonl").write_bytes((parts[1] / "review.jsonl").read_bytes().rstrip())
    merge(MergeConfig(places=(parts[1], parts[0]), out=tmp_path / "out"))
    decisions = [decision.decision for decision in ReviewLog(tmp_path / "out").decisions()]
    assert decisions == ["keep", "reject", "undo"]
    theirs = tmp_path / "theirs"
    (parts[0] / "review.jsonl").rename(theirs)
    (parts[0] / "review.jsonl").symlink_to(theirs)
    with pytest.raises(UserError, match="link to another file"):
        merge(MergeConfig(places=tuple(parts), out=tmp_path / "again"))


def test_learned_concepts_are_copied(tmp_path: Path) -> None:
    """Tokens and LoRAs, once each, and nothing else that lies beside them."""
    shards = tuple(tmp_path / f"out-{number}" for number in (1, 2))
    learned = {"0a1b2c3d4e5f": 1, "1b2c3d4e5f6a": 2, "2c3d4e5f6a7b": 3}
    for number, shard in enumerate(shards):
        run(tmp_path / "real", shard, f"{number + 1}/2")
        (shard / "concepts").mkdir()
        for key in list(learned)[number : number + 2]:
            token = {"token": torch.full((1, 4), float(learned[key]))}
            save_file(token, shard / f"concepts/{key}.safetensors")
            (shard / f"concepts/{key}.json").write_text(f'{{"seconds": {learned[key]}}}')
        (shard / "concepts/notes.txt").write_text("mine")
    merge(MergeConfig(places=shards, out=tmp_path / "all"))
    copied = {path.name: path.read_bytes() for path in (tmp_path / "all/concepts").iterdir()}
    assert copied.keys() == {f"{key}.{suffix}" for key in learned for suffix in ("json", "safetensors")}
    for shard in shards:
        assert all(copied[path.name] == path.read_bytes() for path in shard.glob("concepts/*.[js]*"))


@pytest.mark.parametrize("extent", ["{planned: x}", "[1]", "{planned: null}"])
def test_a_damaged_extent_is_no_bug(tmp_path: Path, extent: str) -> None:
    run(tmp_path / "real", tmp_path / "part")
    settings = yaml.safe_load((tmp_path / "part/dalda.yaml").read_text())
    (tmp_path / "part/dalda.yaml").write_text(yaml.safe_dump(settings | {"extent": yaml.safe_load(extent)}))
    assert merge(MergeConfig(places=(tmp_path / "part",), out=tmp_path / "out")).missing == 0
