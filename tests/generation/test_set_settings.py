"""What a folder's settings hold of revisions, and of how much was asked for."""

from pathlib import Path

import pytest

from dalda.errors import UserError
from dalda.generation.set_settings import begin, keep_revisions, read_section, with_extent


def test_images_of_two_revisions_do_not_share_a_folder(tmp_path: Path) -> None:
    begin(tmp_path / "out", {"folder_format": 1})
    keep_revisions(tmp_path / "out", {})
    assert read_section(tmp_path / "out", "revisions") == {}
    keep_revisions(tmp_path / "out", {"somebody/model": "a" * 40})
    keep_revisions(tmp_path / "out", {"somebody/adapter": "c" * 40})
    recorded = {"somebody/model": "a" * 40, "somebody/adapter": "c" * 40}
    assert read_section(tmp_path / "out", "revisions") == recorded
    with pytest.raises(UserError, match=r"begun with revision aaaa.* of 'somebody/model', and bbbb"):
        keep_revisions(tmp_path / "out", {"somebody/model": "b" * 40})
    assert read_section(tmp_path / "out", "revisions") == recorded


def test_the_seed_of_a_set_of_several_is_not_named() -> None:
    extent = {"per_image": 2, "shots": 1, "seed": 7, "real_images": 3, "planned": 6}
    assert with_extent({"model": "doodle", "extent": extent}) == {
        "model": "doodle",
        "extent": extent,
        **extent,
    }
    assert "seed" not in with_extent({"extent": {**extent, "planned": 12}})
    assert with_extent({"seed": 3, "extent": "torn"}) == {"seed": 3, "extent": "torn"}
