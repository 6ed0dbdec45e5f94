import csv
import unicodedata
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dalda.compat.prompt_table import TABLE, closest, images_in, read_table
from dalda.errors import UserError

HEADER = [
    "source_image_path",
    "aug_prompt_path",
    "used_prompt",
    "scale",
    "clip_score",
    "threshold_clipscore",
]


def row(index: int = 0, repeat: int = 0, **other: str) -> list[str]:
    cells = {
        "source_image_path": f"/data/pets/cat_{index}.jpg",
        "aug_prompt_path": f"aug/aug-{index}-{repeat}.png",
        "used_prompt": "a photo of a cat",
        "scale": "0.25",
        "clip_score": "0.91",
        "threshold_clipscore": "0.127",
    }
    return list({**cells, **other}.values())


def write(folder: Path, rows: list[list[str]], header: list[str] = HEADER) -> Path:
    with (folder / TABLE).open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return folder


def test_the_rows_come_in_order_and_the_last_one_on_a_image_counts(tmp_path: Path) -> None:
    """A run that was broken off wrote the line before the image, and then once more."""
    rows = [row(1, 0), row(0, 1), row(0, 0, scale="0.3"), row(0, 0, scale="0.4")]
    read = read_table(write(tmp_path, rows))
    assert [(one.index, one.repeat, one.ip_adapter_scale) for one in read] == [
        (0, 0, 0.4),
        (0, 1, 0.25),
        (1, 0, 0.25),
    ]
    assert (read[0].source_clip_probability, read[0].mean, read[0].name) == (0.91, 0.127, "aug-0-0.png")
    assert read[0].source == ("data", "pets", "cat_0.jpg")


def test_the_older_table_with_four_columns_is_read(tmp_path: Path) -> None:
    header = ["source_image_path", "aug_image_path", "used_prompt", "scale"]
    (one,) = read_table(write(tmp_path, [row()[:4]], header))
    assert (one.source_clip_probability, one.mean) == (None, None)


def test_paths_of_other_systems_have_parts_too(tmp_path: Path) -> None:
    rows = [row(source_image_path="C:\\data\\pets\\cat.jpg", aug_prompt_path="D:\\aug\\aug-0-0.png")]
    assert read_table(write(tmp_path, rows))[0].source[-2:] == ("pets", "cat.jpg")


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (row(aug_prompt_path="../../etc/passwd"), "names the image"),
        (row(aug_prompt_path="aug-0-0.png\x00.sh"), "names the image"),
        (row(aug_prompt_path="aug-1-99999999999.png"), "names the image"),
        (row(scale="nan"), "number from 0 to 1"),
        (row(scale="-1"), "number from 0 to 1"),
        (row(scale="=cmd|' /C calc'!A0"), "number from 0 to 1"),
        (row(scale=""), "no scale"),
        (row(clip_score="inf"), "number from 0 to 1"),
        (row(used_prompt="a cat \x1b[2J"), "control characters"),
        (row(used_prompt=" "), "no prompt"),
    ],
)
def test_a_hostile_row_is_refused_with_its_line(tmp_path: Path, cells: list[str], message: str) -> None:
    with pytest.raises(UserError, match=rf"line 3 of '.*{TABLE}'.*{message}"):
        read_table(write(tmp_path, [row(7), cells]))


@pytest.mark.parametrize("cells", [row()[:5], [*row(), "more"]])
def test_a_row_of_another_length_is_refused(tmp_path: Path, cells: list[str]) -> None:
    with pytest.raises(UserError, match=rf"{TABLE}.*row 3 has [57] columns, not 6"):
        read_table(write(tmp_path, [row(7), cells]))


def test_two_runs_mixed_in_one_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"two sources.*cat_0.*dog"):
        read_table(write(tmp_path, [row(0, 0), row(0, 1, source_image_path="dog.jpg")]))


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n", b"\xff\xfe\x00", b'"' + b"x" * 200_000])
def test_what_is_no_table_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / TABLE).write_bytes(content)
    with pytest.raises(UserError, match=TABLE):
        read_table(tmp_path)


def test_a_folder_without_a_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no " + TABLE):
        read_table(tmp_path)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
def test_any_bytes_after_the_header_give_rows_or_one_sentence(tmp_path: Path, noise: bytes) -> None:
    (tmp_path / TABLE).write_bytes((",".join(HEADER) + "\n").encode() + noise)
    message = str(tmp_path)
    try:
        read_table(tmp_path)
    except UserError as error:
        message = str(error)
    assert str(tmp_path) in message


def test_links_and_other_names_are_no_images(tmp_path: Path) -> None:
    for name in ("aug-0-0.png", "aug-0-0.png.exe", "aug-0.png", "xaug-0-1.png"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "aug-0-2.png").symlink_to("/etc/hostname")
    assert images_in(tmp_path) == {"aug-0-0.png"}


def test_composed_and_decomposed_names_are_one(tmp_path: Path) -> None:
    """A Mac's disk gives the second form, a table written elsewhere the first, or the other way round."""
    forms = [unicodedata.normalize(form, "café_1.png") for form in ("NFC", "NFD")]
    for written, on_disk in (forms, forms[::-1]):
        paths = [tmp_path / "dog" / on_disk, tmp_path / "cat" / on_disk, tmp_path / "dog/x.png"]
        assert closest(("d", "dog", written), paths) == paths[:1]
