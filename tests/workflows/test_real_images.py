"""Sources of any kind: used, or refused by name before anything is rendered."""

import io
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from dalda.cli import app
from dalda.config import TrainConfig
from dalda.datasets.image_io import sha256_of
from dalda.errors import UserError
from dalda.types import FewShotSplit, RealImage
from dalda.workflows.real_images import checked, split_of, usable


def noise(width: int = 40, height: int = 30) -> Image.Image:
    values = np.random.default_rng([width, height]).integers(0, 255, (height, width, 3), np.uint8)
    return Image.fromarray(values)


def deep(path: Path) -> None:
    Image.fromarray(np.arange(1200, dtype=np.uint16).reshape(30, 40) * 50).save(path)


def turned(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    noise().save(path, exif=exif)


def animated(path: Path) -> None:
    noise().save(path, save_all=True, append_images=[noise(40, 30).rotate(90)])


KINDS: dict[str, Callable[[Path], object]] = {
    "grey.png": lambda path: noise().convert("L").save(path),
    "palette.png": lambda path: noise().convert("P").save(path),
    "cmyk.jpg": lambda path: noise().convert("CMYK").save(path),
    "deep.png": deep,
    "alpha.png": lambda path: noise().convert("RGBA").save(path),
    "turned.jpg": turned,
    "animated.gif": animated,
    "web.webp": lambda path: noise().save(path),
    "scan.tiff": lambda path: noise().save(path),
    "wide.png": lambda path: noise(200, 13).resize((20_000, 1_300), 0).save(path, compress_level=1),
    "least.png": lambda path: noise(8, 8).save(path),
}
BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "point.png": (lambda path: noise(1, 1).save(path), "1 x 1 pixels, too small"),
    "strip.png": (lambda path: noise(20_000, 10).save(path), "20000 x 10 pixels, too long a strip"),
    "torn.jpg": (lambda path: path.write_bytes(torn()), "truncated"),
    "fake.png": (lambda path: path.write_text("<html>"), "not an image"),
    "empty.png": (lambda path: path.write_bytes(b""), "empty file"),
}


def torn() -> bytes:
    stream = io.BytesIO()
    noise(200, 200).save(stream, "JPEG")
    return stream.getvalue()[:-2000]


def augment(folder: Path, *words: object) -> Result:
    fixed = ["augment", folder, "--per-image", 1, "--steps", 1, "--ip-adapter-scale", "uniform"]
    fixed += ["--hold-out", 0]
    return CliRunner().invoke(app, [str(word) for word in (*fixed, *words)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("car", "tree"):
        (tmp_path / "set" / name).mkdir(parents=True)
        noise(40, 30 + len(name)).save(tmp_path / "set" / name / "usual.png")
    return tmp_path / "set"


def test_every_kind_of_image_is_a_source(folder: Path, tmp_path: Path) -> None:
    for name, make in KINDS.items():
        make(folder / "car" / name)
    result = augment(folder, "-o", tmp_path / "out", "--json")
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["generated"] + report["dropped"] == report["planned"] == len(KINDS) + 2
    made = {}
    for line in (tmp_path / "out/train/metadata.jsonl").open():
        record = json.loads(line)
        with Image.open(tmp_path / "out/train" / record["file_name"]) as image:
            made[Path(record["source"]).name] = image.size
    assert made["wide.png"] == (32, 2)
    assert made["turned.jpg"] == (24, 32)
    assert made["least.png"] == (8, 8)


def test_bad_images_stop_the_run_or_are_left_out_and_listed(folder: Path, tmp_path: Path) -> None:
    for name, (make, _) in BAD.items():
        make(folder / "car" / name)
    stopped = augment(folder, "-o", tmp_path / "out")
    assert stopped.exit_code == 2
    assert "4 more of 7" in stopped.stderr
    assert "--on-bad-image skip" in stopped.stderr
    assert not (tmp_path / "out").exists()
    gone_on = augment(folder, "-o", tmp_path / "out", "--on-bad-image", "skip", "--json")
    assert gone_on.exit_code == 0, gone_on.stderr
    report = json.loads(gone_on.stdout)
    assert report["planned"] == 2
    for name, (_, reason) in BAD.items():
        assert [line for line in report["skipped"] if name in line and reason in line], name
    again = augment(folder, "-o", tmp_path / "out", "--on-bad-image", "skip", "--dry-run", "--json")
    assert json.loads(again.stdout)["skipped"] == report["skipped"]


MEMORY = Path("/proc/self/mem")


@pytest.mark.skipif(not MEMORY.is_file(), reason="needs a file that can be listed but not read")
def test_a_file_that_cannot_be_read_is_a_bad_image_like_any_other(folder: Path, tmp_path: Path) -> None:
    (folder / "car" / "lost.png").symlink_to(MEMORY)
    for words in (
        ["augment", folder, "--hold-out", 0, "-o", tmp_path / "out"],
        ["score", folder, "--hold-out", 0],
    ):
        stopped = CliRunner().invoke(app, [str(word) for word in words])
        assert stopped.exit_code == 2
        assert "lost.png" in stopped.stderr
    gone_on = augment(folder, "-o", tmp_path / "out", "--on-bad-image", "skip", "--json")
    assert gone_on.exit_code == 0, gone_on.stderr
    report = json.loads(gone_on.stdout)
    assert (report["planned"], len(report["skipped"])) == (2, 1)


def test_an_example_without_a_hash_is_never_used(folder: Path) -> None:
    split = split_with(folder / "car" / "usual.png", folder / "tree" / "usual.png")
    unread = replace(split, images=tuple(replace(one, sha256="") for one in split.images))
    with pytest.raises(UserError, match="could not be read at first"):
        usable(unread, "stop")
    with pytest.raises(UserError, match="could not be read at first"):
        checked(unread)


def split_with(*paths: Path) -> FewShotSplit:
    examples = tuple(RealImage(path, path.parent.name, sha256_of(path)) for path in paths)
    return FewShotSplit("folder", Path(), "train", 0, None, ("car", "tree"), examples)


def test_a_class_without_any_usable_image_is_refused(folder: Path) -> None:
    (folder / "tree" / "usual.png").write_text("no image")
    split = split_with(folder / "car" / "usual.png", folder / "tree" / "usual.png")
    with pytest.raises(UserError, match="no image of the class 'tree' is left"):
        usable(split, "skip")


def test_a_good_split_stays_as_it_is(folder: Path) -> None:
    split = split_with(folder / "car" / "usual.png", folder / "tree" / "usual.png")
    assert usable(split, "stop") == (split, ())


def test_what_training_holds_out_is_never_a_source(folder: Path, tmp_path: Path) -> None:
    """A folder without a validation part is split once: no image is generated from a held-out one."""
    for number in range(5):
        for height, name in ((30, "car"), (50, "tree")):
            noise(40 + number, height).save(folder / name / f"more{number}.png")
    words = ["augment", folder, "-o", tmp_path / "out", "--per-image", 1, "--steps", 1]
    words += ["--ip-adapter-scale", "uniform"]
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.stderr
    assert "6 of its 12 images are held out for validation" in result.stderr
    lines = [json.loads(line) for line in (tmp_path / "out/train/metadata.jsonl").open()]
    config = TrainConfig(dataset=str(folder), backbone="doodle")
    train, validation = split_of(config), split_of(config, "val")
    assert {line["source_sha256"] for line in lines} == {image.sha256 for image in train.images}
    assert len(lines) == 6
    assert {image.sha256 for image in train.images}.isdisjoint(image.sha256 for image in validation.images)
    assert len(train.images) == len(validation.images) == 6


def test_leakage_is_reported_once_and_plainly(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same image in two classes, before anything is generated or trained."""
    shutil.copy(folder / "car/usual.png", folder / "tree/copy.png")
    split = split_of(TrainConfig(dataset=str(folder), backbone="doodle", hold_out=0))
    usable(split, "stop")
    checked(split)
    text = capsys.readouterr().err
    assert text.count("images are in two classes") == 1
    assert "car/usual.png and" in text


@pytest.mark.parametrize("command", ["augment", "train"])
def test_output_inside_the_data_set_is_refused_at_once(folder: Path, command: str) -> None:
    result = CliRunner().invoke(app, [command, str(folder), "-o", str(folder / "more")])
    assert result.exit_code == 2
    assert "lies among the classes" in result.stderr
    assert not (folder / "more").exists()
