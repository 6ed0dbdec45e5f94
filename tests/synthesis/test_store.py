import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dalda.errors import UserError
from dalda.records import Job
from dalda.synthesis.store import METADATA, SETTINGS, TRAIN, Store, folder_name, read_settings

SETTINGS_USED = {"seed": 0, "model": "doodle", "versions": {"torch": "1"}}


def job_of(number: int, label: str = "car") -> Job:
    return Job(
        source=Path("a.png"),
        source_sha256="hash",
        label=label,
        repeat=number,
        method="dalda",
        model="doodle",
        prompt="a car",
        negative_prompt="",
        ip_adapter_scale=0.5,
        ip_adapter_scale_mean=None,
        clip_score=0.25,
        guidance_scale=2.0,
        strength=None,
        steps=20,
        seed=number,
    )


def picture(shade: int = 9) -> Image.Image:
    return Image.new("RGB", (4, 4), (shade, shade, 0))


def test_a_finished_job_is_found_again_with_all_that_is_known_of_it(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "out", SETTINGS_USED)
    store.add(job_of(0), picture())
    store.drop(job_of(1), "blank picture")
    again = Store.open(tmp_path / "out", SETTINGS_USED)
    assert again.finished() == {job_of(0).id, job_of(1).id}
    (sample,) = again.samples()
    assert (sample.label, sample.ip_adapter_scale, sample.clip_score) == ("car", 0.5, 0.25)
    assert Image.open(sample.path).getpixel((0, 0)) == (9, 9, 0)
    assert [line["reason"] for line in again.dropped()] == ["blank picture"]


@pytest.mark.parametrize("torn", ['{"file_name": "car/x', '{"file_name": "x"}', "\x00\x00"])
def test_a_torn_last_line_is_dropped_and_its_job_done_again(tmp_path: Path, torn: str) -> None:
    store = Store.open(tmp_path / "out", SETTINGS_USED)
    store.add(job_of(0), picture())
    metadata = tmp_path / "out" / TRAIN / METADATA
    whole = metadata.read_text()
    metadata.write_text(whole + torn)
    again = Store.open(tmp_path / "out", SETTINGS_USED)
    assert again.finished() == {job_of(0).id}
    again.add(job_of(1), picture())
    assert [json.loads(line)["repeat"] for line in metadata.read_text().splitlines()] == [0, 1]


def test_a_damaged_line_in_the_middle_is_named(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "out", SETTINGS_USED)
    store.add(job_of(0), picture())
    metadata = tmp_path / "out" / TRAIN / METADATA
    metadata.write_text("nonsense\n" + metadata.read_text())
    with pytest.raises(UserError, match="line 1"):
        store.finished()


@pytest.mark.parametrize("line", ['{"file_name": "a.png"}', "[]", '{"job_id": 1}'])
def test_a_line_that_lacks_something_is_named(tmp_path: Path, line: str) -> None:
    store = Store.open(tmp_path / "out", SETTINGS_USED)
    (tmp_path / "out" / TRAIN / METADATA).write_text(line + "\n")
    with pytest.raises(UserError, match="line 1"):
        store.samples()


def test_a_lost_image_is_done_again_but_never_ignored(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "out", SETTINGS_USED)
    store.add(job_of(0), picture())
    store.samples()[0].path.unlink()
    assert store.finished() == set()
    with pytest.raises(UserError, match="missing"):
        store.samples()


def test_settle_orders_by_the_plan_and_keeps_one_line_a_job(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "out", SETTINGS_USED)
    for number in (2, 0, 1, 0):
        store.add(job_of(number), picture())
    store.settle([job_of(number) for number in range(3)])
    assert [line["repeat"] for line in store.lines()] == [0, 1, 2]


def test_other_settings_are_refused_with_the_difference(tmp_path: Path) -> None:
    Store.open(tmp_path / "out", SETTINGS_USED)
    with pytest.raises(UserError, match=r"seed = 0, now it is 1"):
        Store.open(tmp_path / "out", {**SETTINGS_USED, "seed": 1})
    with pytest.raises(UserError, match="extra"):
        Store.open(tmp_path / "out", {**SETTINGS_USED, "extra": 1})
    Store.open(tmp_path / "out", {**SETTINGS_USED, "versions": {"torch": "2"}})


def test_foreign_folders_files_and_unwritable_places_are_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("text")
    with pytest.raises(UserError, match="did not make"):
        Store.open(tmp_path / "mine", SETTINGS_USED)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "text"
    with pytest.raises(UserError, match="is a file"):
        Store.open(tmp_path / "mine" / "thesis.txt", SETTINGS_USED)
    with pytest.raises(UserError, match="cannot be used"):
        Store.open(tmp_path / "mine" / "thesis.txt" / "out", SETTINGS_USED)


def test_a_start_that_was_cut_off_goes_on(tmp_path: Path) -> None:
    (tmp_path / (SETTINGS + ".partial")).write_text("see")
    Store.open(tmp_path, SETTINGS_USED)
    assert read_settings(tmp_path)["model"] == "doodle"


@pytest.mark.parametrize("text", ["", "[1", "- a", "!!python/object/apply:os.system ['true']"])
def test_damaged_settings_are_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / SETTINGS).write_text(text)
    with pytest.raises(UserError, match="settings"):
        Store.open(tmp_path, SETTINGS_USED)


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd"])
def test_metadata_cannot_lead_out_of_the_folder(tmp_path: Path, name: str) -> None:
    store = Store.open(tmp_path / "out", SETTINGS_USED)
    store.add(job_of(0), picture())
    metadata = tmp_path / "out" / TRAIN / METADATA
    metadata.write_text(json.dumps({**json.loads(metadata.read_text()), "file_name": name}) + "\n")
    with pytest.raises(UserError, match="outside"):
        store.samples()


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
    store = Store.open(tmp_path / "out", SETTINGS_USED)
    store.add(replace(job_of(0), label=label), picture())
    (sample,) = store.samples()
    assert sample.label == label
    assert sample.path.resolve().is_relative_to((tmp_path / "out" / TRAIN).resolve())
