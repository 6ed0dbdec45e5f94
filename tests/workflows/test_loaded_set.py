"""`dalda.load`: a sequence, a table, a Hugging Face data set, and what a notebook shows."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.workflows.drawn_set import drawn_set

import dalda
from dalda.errors import UserError
from dalda.review.log import ReviewLog
from dalda.workflows.loaded_set import LoadedSet


def test_a_set_is_a_sequence_of_images_with_metadata(tmp_path: Path) -> None:
    loaded = dalda.load(drawn_set(tmp_path))
    assert len(loaded) == 12
    assert repr(loaded) == f"LoadedSet(12 images of {len(loaded.classes)} classes)"
    assert loaded[0].label in loaded.classes
    assert loaded.open(0).mode == "RGB"
    assert list(loaded[2:4]) == [loaded[2], loaded[3]]
    assert len({image.request_id for image in loaded}) == 12


def test_rejected_images_are_left_out(tmp_path: Path) -> None:
    out = drawn_set(tmp_path)
    ReviewLog(out).append(dalda.load(out)[0].request_id, "reject", "a")
    assert len(dalda.load(out)) == 11
    assert len(dalda.load(out, ignore_review=True)) == 12


def test_tables_and_hugging_face_data_sets_have_the_same_rows(tmp_path: Path) -> None:
    loaded = dalda.load(drawn_set(tmp_path))
    table, columns = loaded.to_pandas(), loaded.to_datasets()
    assert list(table["prompt"]) == columns["prompt"][:] == [image.prompt for image in loaded]
    names = columns.features["label"].names
    assert [names[number] for number in columns["label"]] == [image.label for image in loaded]
    assert columns[0]["image"].size == loaded.open(0).size


def test_a_notebook_shows_images_and_escapes_strangers_words(tmp_path: Path) -> None:
    images = dalda.load(drawn_set(tmp_path)).images
    strange = LoadedSet([replace(images[0], label="<b>", prompt='"><script>')])
    shown = strange._repr_html_()
    assert shown.count("data:image/png;base64,") == 1
    assert "<script>" not in shown
    assert "<b>" not in shown
    assert "and 6 more" in LoadedSet(images * 3)[:30]._repr_html_()


def test_what_is_no_set_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a folder made by dalda augment"):
        dalda.load(tmp_path)
