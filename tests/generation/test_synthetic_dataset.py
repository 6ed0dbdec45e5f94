import errno
import json
import os
import unicodedata
from dataclasses import replace
from pathlib import Path

import datasets
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dalda.errors import UserError
from dalda.generation.folder_names import folder_name
from dalda.generation.image_encoding import FORMATS, encode
from dalda.generation.records import Dropped, Finished
from dalda.generation.set_settings import SETTINGS, read_settings
from dalda.generation.source_probabilities import (
    PROBABILITIES,
    clip_of_probabilities,
    read_probabilities,
    write_probabilities,
)
from dalda.generation.synthetic_dataset import METADATA, TRAIN, SyntheticDataset
from dalda.storage import jsonl as lines
from dalda.storage import unfinished
from dalda.types import GenerationRequest

SETTINGS_USED = {"seed": 0, "model": "doodle", "versions": {"torch": "1"}}


def request_of(number: int, label: str = "car") -> GenerationRequest:
    return GenerationRequest(
        source=Path("a.png"),
        source_sha256="hash",
        label=label,
        index=number,
        method="dalda",
        generator="doodle",
        prompt="a car",
        negative_prompt="",
        ip_adapter_scale=0.5,
        source_clip_probability=0.25,
        guidance_scale=2.0,
        steps=20,
        seed=number,
    )


def finished(number: int = 0, label: str = "car") -> Finished:
    image = encode(Image.new("RGB", (4, 4), (9, 9, number)), FORMATS["png"])
    return Finished(request_of(number, label), image, seed=number)


def test_a_finished_request_is_found_again_with_all_that_is_known_of_it(tmp_path: Path) -> None:
    store = SyntheticDataset.open(tmp_path / "out", SETTINGS_USED)
    store.add([finished()])
    store.add([], [Dropped(request_of(1), "of one colour", 7)])
    again = SyntheticDataset.open(tmp_path / "out", SETTINGS_USED)
    assert again.finished() == {request_of(0).id, request_of(1).id}
    (sample,) = again.synthetic_images()
    assert (sample.label, sample.ip_adapter_scale, sample.source_clip_probability) == ("car", 0.5, 0.25)
    assert Image.open(sample.path).getpixel((0, 0)) == (9, 9, 0)
    assert [line["reason"] for line in again.dropped()] == ["of one colour"]


@pytest.mark.parametrize("torn", ['{"file_name": "car/x', '{"file_name": "x"}', "\x00\x00"])
def test_a_torn_last_line_is_dropped_and_its_request_done_again(tmp_path: Path, torn: str) -> None:
    store = SyntheticDataset.open(tmp_path / "out", SETTINGS_USED)
    store.add([finished()])
    metadata = tmp_path / "out" / TRAIN / METADATA
    whole = metadata.read_text()
    metadata.write_text(whole + torn)
    again = SyntheticDataset.open(tmp_path / "out", SETTINGS_USED)
    assert again.finished() == {request_of(0).id}
    with again.held():
        again.add([finished(1)])
    assert [json.loads(line)["index"] for line in metadata.read_text().splitlines()] == [0, 1]


def test_a_damaged_line_in_the_middle_is_named(tmp_path: Path) -> None:
    store = SyntheticDataset.open(tmp_path / "out", SETTINGS_USED)
    store.add([finished()])
    metadata = tmp_path / "out" / TRAIN / METADATA
    metadata.write_text("nonsense\n" + metadata.read_text())
    with pytest.raises(UserError, match="line 1"):
        store.finished()


@pytest.mark.parametrize("line", ['{"file_name": "a.png"}', "[]", '{"request_id": 1}'])
def test_a_line_that_lacks_something_is_named(tmp_path: Path, line: str) -> None:
    store = SyntheticDataset.open(tmp_path / "out", SETTINGS_USED)
    (tmp_path / "out" / TRAIN / METADATA).write_text(line + "\n")
    with pytest.raises(UserError, match="line 1"):
        store.synthetic_images()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("source_clip_probability", "NaN"),
        ("source_clip_probability", "-Infinity"),
        ("source_clip_probability", "true"),
        ("ip_adapter_scale", "null"),
        ("ip_adapter_scale", "1" * 400),
        ("ip_adapter_scale_mean", "NaN"),
        ("prompt", "5"),
        ("prompt", '"a \\ud800 car"'),
        ("negative_prompt", '"\\udfff"'),
        ("label", "null"),
        ("label", "7"),
        ("index", "0.5"),
        ("source", "[]"),
        ("source", '"a\\u0000b"'),
        ("file_name", '["car"]'),
        ("source_label", "5"),
        ("soft_label", "5"),
        ("soft_label", "[1]"),
        ("soft_label", '[{"label": "car"}]'),
        ("soft_label", '[{"label": "car", "share": "x"}]'),
    ],
)
def test_a_line_of_odd_values_is_named(tmp_path: Path, name: str, value: str) -> None:
    store = SyntheticDataset.open(tmp_path / "out", SETTINGS_USED)
    store.add([finished(0), finished(1)])
    metadata = tmp_path / "out" / TRAIN / METADATA
    first, second = metadata.read_text().splitlines()
    changed = json.dumps({**json.loads(second), name: "HERE"}).replace('"HERE"', value)
    metadata.write_text(f"{first}\n{changed}\n")
    with pytest.raises(UserError, match=r"line 2 of .* is damaged"):
        store.synthetic_images()


def test_a_lost_image_is_done_again_but_never_ignored(tmp_path: Path) -> None:
    store = SyntheticDataset.open(tmp_path / "out", SETTINGS_USED)
    store.add([finished()])
    store.synthetic_images()[0].path.unlink()
    assert store.finished() == set()
    with pytest.raises(UserError, match="missing"):
        store.synthetic_images()


def test_a_link_to_nothing_is_no_image(tmp_path: Path) -> None:
    store = SyntheticDataset.open(tmp_path / "out", SETTINGS_USED)
    store.add([finished()])
    path = store.synthetic_images()[0].path
    path.unlink()
    path.symlink_to(tmp_path / "gone.png")
    assert store.missing([request_of(0)]) == [request_of(0)]
    with pytest.raises(UserError, match="symbolic link"):
        store.add([finished()])


def test_what_a_generator_calls_its_own_never_replaces_what_a_record_says(tmp_path: Path) -> None:
    store = SyntheticDataset.open(tmp_path / "out", SETTINGS_USED)
    claims = {"label": "dog", "file_name": "dog/x.png", "seed": 8, "sha256": "0", "reason": "", "mine": 1}
    store.add([replace(finished(), provenance=claims)], [Dropped(request_of(1), "blank", 1, claims)])
    (line,), (dropped,) = store.lines(), store.dropped()
    assert (line["label"], line["seed"], line["mine"]) == ("car", 0, 1)
    assert store.synthetic_images()[0].path == tmp_path / "out" / TRAIN / f"car/{request_of(0).id}.png"
    assert (dropped["label"], dropped["reason"], dropped["seed"]) == ("car", "blank", 1)


@pytest.mark.parametrize("text", ["[]", "5", "{}", '{"clip": 5}'])
def test_damaged_probabilities_are_named(tmp_path: Path, text: str) -> None:
    assert clip_of_probabilities(tmp_path) is None
    (tmp_path / PROBABILITIES).write_text(text)
    with pytest.raises(UserError, match=r"source_probabilities.json' is damaged"):
        clip_of_probabilities(tmp_path)


def test_probabilities_without_an_image_do_not_hold(tmp_path: Path) -> None:
    """The folder accepts other settings, such as other wordings of the classes or more of them."""
    store = SyntheticDataset.open(tmp_path / "out", SETTINGS_USED)
    write_probabilities(store.folder, "clip", {("car", "hash"): 0.25})
    write_probabilities(store.folder, "clip", {("car", "hash"): 0.5})
    store.add([finished()])
    assert read_probabilities(store.folder, "clip") == {("car", "hash"): 0.5}
    with pytest.raises(UserError, match="another process has begun"):
        write_probabilities(store.folder, "clip", {("car", "hash"): 0.75})


def test_settle_orders_by_the_plan_and_keeps_one_line_a_request(tmp_path: Path) -> None:
    store = SyntheticDataset.open(tmp_path / "out", SETTINGS_USED)
    for number in (2, 0, 1, 0):
        store.add([finished(number)])
    store.settle([request_of(number) for number in range(3)])
    assert [line["index"] for line in store.lines()] == [0, 1, 2]


def test_other_settings_are_refused_with_the_difference(tmp_path: Path) -> None:
    SyntheticDataset.open(tmp_path / "out", SETTINGS_USED).add([finished()])
    with pytest.raises(UserError, match=r"--seed 0, now --seed 1"):
        SyntheticDataset.open(tmp_path / "out", {**SETTINGS_USED, "seed": 1})
    with pytest.raises(UserError, match="extra"):
        SyntheticDataset.open(tmp_path / "out", {**SETTINGS_USED, "extra": 1})
    SyntheticDataset.open(tmp_path / "out", {**SETTINGS_USED, "versions": {"torch": "2"}})


def test_a_folder_without_images_accepts_other_settings(tmp_path: Path) -> None:
    """The first ones may have been the mistake that ended the run before its first image."""
    store = SyntheticDataset.open(tmp_path / "out", SETTINGS_USED)
    with store.held():
        store.remember("execution", {"batch_size": 4})
    fixed = {"seed": 1, "model": "doodle"}
    with SyntheticDataset.open(tmp_path / "out", fixed).held():
        assert read_settings(tmp_path / "out") == fixed
    store.add([], [Dropped(request_of(1), "of one colour", 7)])
    with pytest.raises(UserError, match=r"--seed 1, now --seed 0"):
        SyntheticDataset.open(tmp_path / "out", SETTINGS_USED)


def test_a_folder_that_another_process_has_just_started_is_not_restarted(tmp_path: Path) -> None:
    store = SyntheticDataset.open(tmp_path / "out", SETTINGS_USED)
    other = SyntheticDataset.open(tmp_path / "out", {"seed": 1})
    with store.held():
        with pytest.raises(UserError, match="another process"), other.held():
            pass
        assert read_settings(tmp_path / "out") == SETTINGS_USED
        store.add([finished()])
    with pytest.raises(UserError, match=r"--seed 0, now --seed 1"), other.held():
        pass


def test_images_lie_beside_the_settings_that_they_were_made_with(tmp_path: Path) -> None:
    """Another command may open the empty folder between `open` and `held`."""
    store = SyntheticDataset.open(tmp_path / "out", SETTINGS_USED)
    with SyntheticDataset.open(tmp_path / "out", {"seed": 1}).held():
        assert read_settings(tmp_path / "out") == {"seed": 1}
    with store.held():
        assert read_settings(tmp_path / "out") == SETTINGS_USED


def test_foreign_folders_files_and_unwritable_places_are_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("text")
    with pytest.raises(UserError, match="did not make"):
        SyntheticDataset.open(tmp_path / "mine", SETTINGS_USED)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "text"
    with pytest.raises(UserError, match="is a file"):
        SyntheticDataset.open(tmp_path / "mine" / "thesis.txt", SETTINGS_USED)
    with pytest.raises(UserError, match="a part of the path is a file"):
        SyntheticDataset.open(tmp_path / "mine" / "thesis.txt" / "out", SETTINGS_USED)


def test_a_start_that_was_cut_off_goes_on(tmp_path: Path) -> None:
    unfinished(tmp_path / SETTINGS).write_text("see")
    SyntheticDataset.open(tmp_path, SETTINGS_USED)
    assert read_settings(tmp_path)["model"] == "doodle"


@pytest.mark.parametrize("text", ["", "[1", "- a", "!!python/object/apply:os.system ['true']"])
def test_damaged_settings_are_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / SETTINGS).write_text(text)
    with pytest.raises(UserError, match="settings"):
        SyntheticDataset.open(tmp_path, SETTINGS_USED)


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd"])
def test_metadata_cannot_lead_out_of_the_folder(tmp_path: Path, name: str) -> None:
    store = SyntheticDataset.open(tmp_path / "out", SETTINGS_USED)
    store.add([finished()])
    metadata = tmp_path / "out" / TRAIN / METADATA
    metadata.write_text(json.dumps({**json.loads(metadata.read_text()), "file_name": name}) + "\n")
    with pytest.raises(UserError, match="outside"):
        store.synthetic_images()


@pytest.mark.parametrize("linked", ["image", "folder"])
def test_a_link_cannot_lead_out_of_the_folder(tmp_path: Path, linked: str) -> None:
    store = SyntheticDataset.open(tmp_path / "out", SETTINGS_USED)
    store.add([finished()])
    (sample,) = store.synthetic_images()
    place = sample.path if linked == "image" else sample.path.parent
    place.rename(tmp_path / "elsewhere")
    place.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="outside"):
        store.synthetic_images()


def test_a_folder_may_itself_be_a_link(tmp_path: Path) -> None:
    SyntheticDataset.open(tmp_path / "out", SETTINGS_USED).add([finished()])
    (tmp_path / "link").symlink_to(tmp_path / "out")
    assert len(SyntheticDataset.existing(tmp_path / "link").synthetic_images()) == 1


def test_of_two_lines_of_a_request_the_last_counts(tmp_path: Path) -> None:
    """As after a lost image was made again, and a stop before the lines were put in order."""
    store = SyntheticDataset.open(tmp_path / "out", SETTINGS_USED)
    for fault in ("of one colour", None, "not a number"):
        store.add([replace(finished(0), retried_for=fault), finished(1)])
    store.add([], [Dropped(request_of(2), "not a number", 6)] * 2)
    assert [sample.request_id for sample in store.synthetic_images()] == [
        request_of(0).id,
        request_of(1).id,
    ]
    again, dropped = store.reasons()
    assert (dict(again), dict(dropped)) == ({"not a number": 1}, {"not a number": 1})


@given(st.text(min_size=1, max_size=60))
def test_a_class_name_is_one_safe_folder(label: str) -> None:
    name = folder_name(label)
    assert name == Path(name).name
    assert name not in ("", ".", "..")
    assert not set(name) & set('/\\\0:<>"|?*\n')
    assert len(name.encode()) < 200


@given(st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=20))
def test_two_classes_never_share_a_folder(one: str, other: str) -> None:
    if one != other:
        assert folder_name(one) != folder_name(other)


@pytest.mark.parametrize(
    "label", ["花", "a∕b", "../../etc", "<script>", "golden retriever", "metadata.jsonl"]
)
def test_strange_class_names_are_stored_and_kept_as_labels(tmp_path: Path, label: str) -> None:
    store = SyntheticDataset.open(tmp_path / "out", SETTINGS_USED)
    store.add([finished(label=label)])
    (sample,) = store.synthetic_images()
    assert sample.label == label
    assert sample.path.resolve().is_relative_to((tmp_path / "out" / TRAIN).resolve())


def test_a_nested_difference_is_named_by_itself(tmp_path: Path) -> None:
    SyntheticDataset.open(tmp_path / "out", {"preset": {"steps": 30, "prefix": "x" * 200}}).add(
        [finished()]
    )
    with pytest.raises(UserError, match=r"--steps 30, now --steps 20;"):
        SyntheticDataset.open(tmp_path / "out", {"preset": {"steps": 20, "prefix": "x" * 200}})


def test_two_processes_do_not_add_at_once(tmp_path: Path) -> None:
    store = SyntheticDataset.open(tmp_path / "out", SETTINGS_USED)
    with store.held():
        with pytest.raises(UserError, match="another process"), SyntheticDataset(store.folder).held():
            pass
        store.add([finished()])
    with SyntheticDataset(store.folder).held():
        pass


def test_a_full_disk_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk takes a part of the second line and then no more."""
    store = SyntheticDataset.open(tmp_path / "out", SETTINGS_USED)
    store.add([finished(0)])
    whole = (store.folder / TRAIN / METADATA).read_bytes()

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "the disk is full on device")

    with monkeypatch.context() as patch:
        patch.setattr("dalda.storage.files.os.fsync", full)
        with pytest.raises(UserError, match=r"the disk is full.*run the same"), store.held():
            raise AssertionError("the lack of space is known before any work is done")
        with pytest.raises(OSError, match="the disk is full"):
            lines.append(store.folder / TRAIN / METADATA, [{"a": 1}])
    assert (store.folder / TRAIN / METADATA).read_bytes() == whole
    assert [path.name for path in store.folder.rglob("*.partial")] == []


def test_a_folder_that_takes_no_files_is_known_before_any_work(tmp_path: Path) -> None:
    store = SyntheticDataset.open(tmp_path / "out", SETTINGS_USED)
    (store.folder / TRAIN / METADATA).mkdir()
    with pytest.raises(UserError, match=r"metadata\.jsonl' cannot be"), store.held():
        raise AssertionError("no work is to begin")


def test_the_execution_may_change(tmp_path: Path) -> None:
    settings = {**SETTINGS_USED, "execution": {"batch_size": "auto"}}
    store = SyntheticDataset.open(tmp_path / "out", settings)
    store.remember("execution", {"batch_size": 8, "device": "cpu"})
    assert store.execution() == {"batch_size": 8, "device": "cpu"}
    assert SyntheticDataset.open(tmp_path / "out", settings).execution()["batch_size"] == 8
    assert read_settings(store.folder)["model"] == "doodle"


@pytest.mark.parametrize("execution", [None, "x", [1]])
def test_a_damaged_execution_section_does_no_harm(tmp_path: Path, execution: object) -> None:
    store = SyntheticDataset.open(tmp_path / "out", {"execution": execution})
    assert store.execution() == {}


def test_what_was_wrong_is_counted(tmp_path: Path) -> None:
    store = SyntheticDataset.open(tmp_path / "out", SETTINGS_USED)
    store.add([finished(0), replace(finished(1), retried_for="of one colour", seed=5)])
    store.add([], [Dropped(request_of(2), "not a number", 6)])
    again, dropped = store.reasons()
    assert (dict(again), dict(dropped)) == ({"of one colour": 1}, {"not a number": 1})
    assert [line["seed"] for line in (*store.lines(), *store.dropped())] == [0, 5, 6]


def images(folder: Path) -> list[Path]:
    return sorted(folder.glob("out/train/car/*.png"))


@pytest.mark.parametrize("touched", [True, False])
@pytest.mark.parametrize("how", ["emptied", "swapped", "edited"])
def test_an_image_that_changed_is_refused(tmp_path: Path, how: str, touched: bool) -> None:
    """When the set is used, and when it is resumed, even if only its time tells."""
    store = SyntheticDataset.open(tmp_path / "out", SETTINGS_USED)
    store.add([finished(number) for number in range(3)])
    first, second = images(tmp_path)[:2]
    before = first.stat()
    other = {"emptied": b"", "swapped": second.read_bytes(), "edited": first.read_bytes()[:-1] + b"x"}
    first.write_bytes(other[how])
    if not touched:
        os.utime(first, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(UserError, match=r"1 of 3 images are no longer .* such as '.*png'; restore"):
        store.synthetic_images()
    if touched:
        os.utime(first, ns=(before.st_atime_ns, (store.folder / TRAIN / METADATA).stat().st_mtime_ns + 1))
        with pytest.raises(UserError, match="are no longer those that were generated"):
            store.missing([request_of(number) for number in range(3)])


def test_images_of_the_plan_that_are_missing_are_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = SyntheticDataset.open(tmp_path / "out", SETTINGS_USED)
    store.remember("extent", {"planned": 54})
    store.add([finished(number) for number in range(6)], [Dropped(request_of(9), "not a number", 6)])
    assert len(store.synthetic_images()) == 6
    assert "holds 6 of 54 planned images (1 were dropped)" in capsys.readouterr().err
    store.remember("extent", {"planned": 7})
    store.synthetic_images()
    assert capsys.readouterr().err == ""


def test_a_last_line_without_its_newline_counts(tmp_path: Path) -> None:
    store = SyntheticDataset.open(tmp_path / "out", SETTINGS_USED)
    store.add([finished(0), finished(1)])
    metadata = tmp_path / "out" / TRAIN / METADATA
    whole = metadata.read_bytes()
    metadata.write_bytes(whole.rstrip(b"\n"))
    assert len(store.synthetic_images()) == 2
    with store.held():
        assert metadata.read_bytes() == whole


@pytest.mark.parametrize("label", ["test tube", "dev", "eval", "valid-stamp", "Test", "my.val_set"])
def test_loaders_read_one_split_whatever_the_classes_are_called(tmp_path: Path, label: str) -> None:
    store = SyntheticDataset.open(tmp_path / "out", SETTINGS_USED)
    store.add([finished(0, label), finished(1, "zebra")])
    loaded = datasets.load_dataset(
        "imagefolder", data_dir=str(tmp_path / "out"), cache_dir=str(tmp_path / "c")
    )
    assert {name: sorted(part["label"]) for name, part in loaded.items()} == {
        "train": sorted([label, "zebra"])
    }


def test_class_folders_stay_apart_on_every_disk() -> None:
    names = ["Dog", "dog", "con", "aux", "nul", "COM1", "lpt1.x", "cafe\u0301", "caf\u00e9"]
    folders = [folder_name(name) for name in names]
    assert len({unicodedata.normalize("NFC", folder).casefold() for folder in folders}) == len(names)
    assert not {"con", "aux", "nul", "com1", "lpt1"} & {
        folder.partition(".")[0].casefold() for folder in folders
    }
