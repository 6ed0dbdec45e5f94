"""Exports: every form is whole, nothing is copied twice or written over, and no name leads astray."""

import csv
import json
import os
import re
import tarfile
from pathlib import Path

import datasets
import pyarrow.parquet
import pytest
import yaml
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from tests.workflows.drawn_set import drawn_set

from dalda.compat.prompt_table import images_in, read_table
from dalda.config import ExportConfig
from dalda.datasets.registry import load_dataset
from dalda.errors import UserError
from dalda.generation.synthetic_dataset import SyntheticDataset
from dalda.progress import Progress
from dalda.reporting import export_shards
from dalda.reporting.data_card import licence_of
from dalda.reporting.export_folder import ExportFolder
from dalda.reporting.export_forms import EXPORT_FORMS
from dalda.reporting.export_names import ExportNames
from dalda.review.log import ReviewLog
from dalda.storage import exists
from dalda.workflows.export import export
from dalda.workflows.reports import ExportReport

EVIL = ("boat", "<script>alert(1)</script>", "../../etc")
ALL = [*EXPORT_FORMS, "csv"]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return drawn_set(tmp_path, labels=EVIL, drop=2)


def exported(out: Path, to: str, **options: object) -> tuple[Path, ExportReport]:
    target = out.parent / f"export-{to}"
    return target, export(ExportConfig(source=out, out=target, to=to, **options))  # type: ignore[arg-type]


def files_of(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def rows_of(table: Path) -> list[dict[str, str]]:
    with table.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    "place", ["out/train/export", "out/train/boat/export", "real/export", "real/boat/x"]
)
def test_an_export_never_becomes_a_part_of_what_it_exports(out: Path, place: str) -> None:
    before = files_of(out.parent)
    with pytest.raises(UserError, match="lies among the"):
        export(ExportConfig(source=out, out=out.parent / place))
    assert files_of(out.parent) == before


def test_a_folder_holds_real_and_synthetic_side_by_side(out: Path) -> None:
    target, done = exported(out, "folder", with_real=True)
    assert (done.synthetic, done.real, done.linked, done.copied) == (10, 6, 16, 0)
    rows = rows_of(target / "metadata.csv")
    assert {row["origin"] for row in rows} == {"real", "synthetic"}
    assert {row["label"] for row in rows} == set(EVIL)
    assert files_of(target) == {row["file_name"] for row in rows} | {"metadata.csv"}
    made = [row for row in rows if row["origin"] == "synthetic"]
    assert {f"train/{row['source']}" for row in made} <= {row["file_name"] for row in rows}
    catalog = load_dataset(str(target))
    assert sum(map(len, catalog.parts["train"].values())) == 16


def test_nothing_is_copied_where_a_hard_link_will_do(out: Path) -> None:
    target, _ = exported(out, "folder")
    sample = SyntheticDataset.existing(out).synthetic_images()[0]
    assert (target / "train/boat" / sample.path.name).samefile(sample.path)


def test_a_disk_without_hard_links_gets_copies(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    target, done = exported(out, "hf", with_real=True)
    assert (done.linked, done.copied) == (0, 16)
    sample = SyntheticDataset.existing(out).synthetic_images()[0]
    copy = target / "train/boat" / sample.path.name
    assert copy.read_bytes() == sample.path.read_bytes()
    assert not copy.samefile(sample.path)


def test_hugging_face_reads_its_form(out: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    target, _ = exported(out, "hf", with_real=True)
    cache = str(tmp_path / "cache")
    loaded = datasets.load_dataset("imagefolder", data_dir=str(target), cache_dir=cache)["train"]
    assert len(loaded) == 16
    assert set(loaded["label"]) == set(EVIL)
    assert list(loaded["origin"]).count("real") == 6


def test_a_webdataset_has_three_files_a_sample_in_a_mixed_order(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_shards, "SHARD_IMAGES", 12)
    target, done = exported(out, "webdataset", with_real=True)
    assert done.files == [
        "train-000000.tar",
        "train-000001.tar",
        "classes.json",
        "shards.json",
        "README.md",
    ]
    classes = json.loads((target / "classes.json").read_text())
    labels = []
    for shard in done.files[:2]:
        with tarfile.open(target / shard) as tar:
            names = tar.getnames()
            assert not [name for name in names if "/" in name or name.startswith(".")]
            for image, number, about in zip(names[::3], names[1::3], names[2::3], strict=True):
                stem = image.rpartition(".")[0]
                assert (number, about) == (f"{stem}.cls", f"{stem}.json")
                file = tar.extractfile(number)
                metadata = tar.extractfile(about)
                assert file
                assert metadata
                labels.append(classes[int(file.read())])
                assert json.load(metadata)["label"] == labels[-1]
    assert len(labels) == 16
    assert labels != sorted(labels, key=classes.index)


def test_parquet_is_read_as_images_with_labels(
    out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_shards, "SHARD_IMAGES", 7)
    target, done = exported(out, "parquet")
    loaded = datasets.load_dataset(
        "parquet", data_files=str(target / "*.parquet"), split="train", cache_dir=str(tmp_path / "cache")
    )
    shards = json.loads((target / "shards.json").read_text())
    assert [shard["file"] for shard in shards] == done.files[: len(shards)]
    assert sum(shard["images"] for shard in shards) == len(loaded) == done.synthetic
    assert [shard["bytes"] for shard in shards] == [
        (target / shard["file"]).stat().st_size for shard in shards
    ]
    images = {image.request_id: image for image in SyntheticDataset.existing(out).synthetic_images()}
    names = loaded.features["label"].names
    for row in loaded:
        metadata = json.loads(row["metadata"])
        image = images.pop(metadata["request_id"])
        assert names[row["label"]] == image.label
        with Image.open(image.path) as wanted:
            assert row["image"].tobytes() == wanted.convert("RGB").tobytes()
    assert not images


def test_the_references_folder_has_its_names_and_its_table(out: Path) -> None:
    target, done = exported(out, "original")
    rows = rows_of(target / "source_image_prompt.csv")
    assert list(rows[0]) == [
        *("source_image_path", "aug_prompt_path", "used_prompt", "scale", "clip_score"),
        "threshold_clipscore",
    ]
    assert files_of(target) == {row["aug_prompt_path"] for row in rows} | {"source_image_prompt.csv"}
    assert {row["aug_prompt_path"] for row in rows[:4]} == {
        f"aug-{index}-{repeat}.png" for index in (0, 1) for repeat in (0, 1)
    }
    lines = list(SyntheticDataset.existing(out).lines())
    again = read_table(target)
    assert [one.mean for one in again] == [line["ip_adapter_scale_mean"] for line in lines]
    assert [one.prompt for one in again] == [line["prompt"] for line in lines]
    assert {one.name for one in again} == images_in(target)
    assert done.synthetic == 10
    with pytest.raises(UserError, match="holds no real images"):
        export(ExportConfig(source=out, out=out.parent / "x", to="original", with_real=True))


def test_a_table_names_the_files_where_they_are(out: Path) -> None:
    target, done = exported(out, "csv", with_real=True)
    rows = rows_of(target)
    assert len(rows) == 16
    assert all(Path(row["file_name"]).is_file() for row in rows)
    assert (done.linked, done.copied) == (0, 0)


@pytest.mark.parametrize("to", ALL)
def test_what_was_rejected_is_left_out_and_counted(out: Path, to: str) -> None:
    ReviewLog(out).append(SyntheticDataset.existing(out).synthetic_images()[0].request_id, "reject", "test")
    _, done = exported(out, to)
    assert (done.synthetic, done.rejected) == (9, 1)


def test_an_ignored_review_keeps_all(out: Path) -> None:
    ReviewLog(out).append(SyntheticDataset.existing(out).synthetic_images()[0].request_id, "reject", "test")
    _, done = exported(out, "csv", ignore_review=True)
    assert (done.synthetic, done.rejected) == (10, 0)


@pytest.mark.parametrize("to", ALL)
def test_nothing_is_written_over(out: Path, to: str) -> None:
    target = out.parent / f"export-{to}"
    target.mkdir()
    (target / "mine").write_text("mine")
    with pytest.raises(UserError, match="not overwritten"):
        exported(out, to)
    assert files_of(target) == {"mine"}


def test_an_empty_folder_may_take_the_export(out: Path) -> None:
    (out.parent / "export-folder").mkdir()
    target, _ = exported(out, "folder")
    assert (target / "metadata.csv").is_file()


def test_a_failure_leaves_nothing(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    before = files_of(out.parent)
    monkeypatch.setattr(ExportFolder, "add_file", full)
    with pytest.raises(OSError, match="No space"):
        exported(out, "folder")
    assert files_of(out.parent) == before
    assert not [path for path in out.parent.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("harm", ["gone", "changed", "renamed"])
def test_a_real_image_that_is_not_what_it_was_is_refused(out: Path, harm: str) -> None:
    path = out.parent / "real/boat/0.png"
    if harm == "changed":
        Image.new("RGB", (9, 9)).save(path)
    else:
        path.rename(path.with_suffix(".gone"))
    with pytest.raises(UserError, match="missing or has changed"):
        exported(out, "folder", with_real=True)
    _, done = exported(out, "folder")
    assert done.synthetic == 10


def spoilt(out: Path, **fields: object) -> None:
    path = out / "train/metadata.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(line) + "\n" for line in [{**lines[0], **fields}, *lines[1:]]))


@pytest.mark.parametrize("request_id", ["../../../evil", "a/b", "", "x" * 20])
def test_a_request_id_never_becomes_a_path(out: Path, request_id: str) -> None:
    spoilt(out, request_id=request_id)
    with pytest.raises(UserError, match="take that line out"):
        exported(out, "folder")


def test_a_link_that_leads_out_of_the_set_is_refused(out: Path) -> None:
    sample = SyntheticDataset.existing(out).synthetic_images()[0]
    secret = out.parent / "secret.png"
    sample.path.rename(secret)
    sample.path.symlink_to(secret)
    with pytest.raises(UserError, match="take that line out"):
        exported(out, "folder")


def test_what_is_there_is_never_copied_into(out: Path) -> None:
    """It may be a hard link to an image of the set."""
    one, other = SyntheticDataset.existing(out).synthetic_images()[:2]
    before, target = one.path.read_bytes(), out.parent / "target.png"
    os.link(one.path, target)
    with pytest.raises(UserError, match="two images"):
        ExportFolder(out.parent, Progress("export", 1)).add_image(other.path, "target.png")
    assert one.path.read_bytes() == before


@pytest.mark.parametrize("to", ["folder", "csv"])
def test_a_table_quotes_text_and_changes_none(out: Path, to: str) -> None:
    prompt = '=HYPERLINK(1)\rand "more", +1'
    spoilt(out, prompt=prompt, method="@SUM(1)", origin="real", **{"=1": 2})
    target, _ = exported(out, to)
    table = target if to == "csv" else target / "metadata.csv"
    row = rows_of(table)[0]
    assert (row["prompt"], row["method"], row["origin"]) == (prompt, "@SUM(1)", "synthetic")
    assert row["=1"] == "2"
    assert float(row["ip_adapter_scale"]) >= 0
    assert '"@SUM(1)"' in table.read_text(encoding="utf-8")


def test_labels_that_look_like_formulas_are_read_back(tmp_path: Path) -> None:
    labels = ("+", "-", "=", "@home", "a\rb", "tab\there")
    target, _ = exported(drawn_set(tmp_path, labels=labels), "csv")
    assert {row["label"] for row in rows_of(target)} == set(labels)


@pytest.mark.parametrize("to", ALL)
def test_an_image_that_was_edited_is_refused(out: Path, to: str) -> None:
    edited = SyntheticDataset.existing(out).synthetic_images()[0].path
    Image.new("RGB", (8, 8)).save(edited)
    with pytest.raises(UserError, match="no longer those that were generated"):
        exported(out, to)


def test_an_unknown_form_is_refused_with_the_known_ones(out: Path) -> None:
    with pytest.raises(UserError, match="--to cannot be 'zip'; choose one of folder, hf, webdataset"):
        exported(out, "zip")


def test_fiftyone_finds_each_label_by_the_file_without_suffix(out: Path) -> None:
    target, done = exported(out, "fiftyone", with_real=True)
    assert done.files == ["data", "labels.json"]
    content = json.loads((target / "labels.json").read_text(encoding="utf-8"))
    images = {path.rpartition(".")[0].removeprefix("data/") for path in files_of(target) - {"labels.json"}}
    assert set(content["labels"]) == images
    assert len(images) == 16
    lines = {line["request_id"]: line for line in SyntheticDataset.existing(out).lines()}
    for name, entry in content["labels"].items():
        if entry["attributes"]["origin"] == "synthetic":
            line = lines.pop(name.rpartition("/")[2])
            assert content["classes"][entry["label"]] == line["label"]
            assert entry["attributes"]["prompt"] == line["prompt"]
    assert not lines


def test_each_label_of_fiftyone_is_one_that_its_importer_takes(out: Path) -> None:
    """As FiftyOne documents them: a place in `classes`, plain attributes, and a name without suffix."""
    target, _ = exported(out, "fiftyone")
    content = json.loads((target / "labels.json").read_text(encoding="utf-8"))
    stems = [os.path.splitext(name)[0] for name in files_of(target / "data")]
    assert len(stems) == len(set(stems))
    assert sorted(content["labels"]) == sorted(stems)
    for entry in content["labels"].values():
        assert set(entry) == {"label", "attributes"}
        assert content["classes"][entry["label"]] in EVIL
        assert all(isinstance(value, str | int | float | bool) for value in entry["attributes"].values())
        assert not {"label", "confidence", "logits", "tags", "id"} & set(entry["attributes"])


def test_coco_has_a_box_of_the_whole_image_for_each(out: Path) -> None:
    target, _ = exported(out, "coco")
    content = json.loads((target / "labels.json").read_text(encoding="utf-8"))
    names = {category["id"]: category["name"] for category in content["categories"]}
    assert list(names) == [1, 2, 3]
    annotations = {row["image_id"]: row for row in content["annotations"]}
    assert len(content["images"]) == len(annotations) == 10
    for image in content["images"]:
        with Image.open(target / "data" / image["file_name"]) as opened:
            assert opened.size == (image["width"], image["height"])
        found = annotations[image["id"]]
        assert found["bbox"] == [0, 0, image["width"], image["height"]]
        assert names[found["category_id"]] == image["dalda"]["label"]


def test_pycocotools_reads_the_coco_form(out: Path) -> None:
    """Every image, class and box; against themselves as detections the boxes are perfect."""
    target, done = exported(out, "coco", with_real=True)
    truth = COCO(str(target / "labels.json"))
    assert len(truth.getImgIds()) == done.synthetic + done.real == 16
    assert {row["name"] for row in truth.loadCats(truth.getCatIds())} == set(EVIL)
    for category in truth.getCatIds():
        for image in truth.loadImgs(truth.getImgIds(catIds=[category])):
            assert (target / "data" / image["file_name"]).is_file()
    boxes = truth.loadAnns(truth.getAnnIds())
    found = truth.loadRes(
        [{key: box[key] for key in ("image_id", "category_id", "bbox")} | {"score": 1.0} for box in boxes]
    )
    measured = COCOeval(truth, found, "bbox")
    for step in (measured.evaluate, measured.accumulate, measured.summarize):
        step()
    assert measured.stats[0] == pytest.approx(1)


@pytest.mark.parametrize("to", ["folder", "hf", "webdataset", "parquet", "fiftyone", "coco"])
def test_readable_names_are_unique_and_say_the_source(out: Path, to: str) -> None:
    target, done = exported(out, to, with_real=True, readable_names=True)
    if to == "webdataset":
        with tarfile.open(target / "train-000000.tar") as tar:
            names = [name for name in tar.getnames() if name.endswith(".png")]
    elif to == "parquet":
        names = [
            row["path"]
            for row in pyarrow.parquet.read_table(target / "train-000000.parquet")["image"].to_pylist()
        ]
    else:
        names = [Path(name).name for name in files_of(target) if name.endswith(".png")]
    assert len({name.casefold() for name in names}) == len(names) == done.synthetic + done.real
    assert {"boat_0.png", "boat_1.png", "boat_0__dalda_00.png", "boat_1__dalda_01.png"} <= set(names)
    assert all(re.fullmatch(r"[\w-]+\.png", name) for name in names)


def test_readable_names_of_like_sources_differ() -> None:
    names = ExportNames(readable=True)
    record = {
        "label": "a b",
        "source": "x/boat.v2.jpg",
        "method": "dalda",
        "index": 3,
        "request_id": "0" * 20,
    }
    assert names.real("boat", Path("boat_0011.JPG"), "f" * 64) == "boat_0011.jpg"
    assert names.real("Boat", Path("0011.jpg"), "e" * 64) == "Boat_0011-eeeeeeee.jpg"
    assert names.synthetic(record, ".png") == "a-b_boat-v2__dalda_03.png"
    assert (
        names.synthetic({**record, "request_id": "1" * 20}, ".png") == "a-b_boat-v2__dalda_03-11111111.png"
    )
    assert names.real("../../etc", Path("a/...png"), "d" * 64) == "etc_image.png"


@pytest.mark.parametrize("to", ["csv", "original"])
def test_a_form_with_names_of_its_own_takes_no_others(out: Path, to: str) -> None:
    with pytest.raises(UserError, match="leave --readable-names out"):
        exported(out, to, readable_names=True)


@pytest.mark.parametrize("to", ["hf", "webdataset", "parquet"])
def test_the_data_card_says_what_the_set_is(out: Path, to: str) -> None:
    target, _ = exported(out, to, with_real=True)
    head, _, body = (
        (target / "README.md").read_text(encoding="utf-8").removeprefix("---\n").partition("\n---\n")
    )
    header = yaml.safe_load(head)
    assert header["task_categories"] == ["image-classification"]
    assert (header["license"], header["license_name"]) == ("other", "apache-2.0")
    assert header["size_categories"] == ["n<1K"]
    assert "10 synthetic images, generated from 5 real images" in body
    assert "beside 6 real images" in body
    assert "| boat | 4 | 2 |" in body
    assert "| seed | 0 |" in body
    assert "<script>" not in body
    assert str(out.parent) not in head + body
    assert not exists(exported(out, "coco")[0] / "README.md")


def test_the_card_names_the_licence_of_the_model() -> None:
    assert licence_of({"model": "sd15", "preset": {"model": "x/y"}}) == "CreativeML OpenRAIL-M"
    assert "own page" in licence_of({"model": "x/y", "preset": {"model": "x/y"}})
