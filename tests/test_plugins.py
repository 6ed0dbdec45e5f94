"""Parts from other packages: found by entry point, loaded when used, with a clear sentence when broken."""

from pathlib import Path

import pytest

from dalda import UserError
from dalda.plugins import load_plugin, plugins_of


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tiny installed package with one good and two broken parts."""
    (tmp_path / "tiny_part_ok.py").write_text("NAME = 'mine'\n")
    (tmp_path / "tiny_part_bad.py").write_text("raise ValueError('no licence\\nhere')\n")
    info = tmp_path / "tiny_parts-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-parts\nVersion: 1.0\n")
    parts = {"good": "tiny_part_ok:NAME", "bad": "tiny_part_bad:X", "lost": "tiny_part_ok:X"}
    lines = ["[dalda.methods]", *(f"{name} = {part}" for name, part in parts.items())]
    (info / "entry_points.txt").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(tmp_path)


def test_parts_are_listed_without_import(package: None) -> None:
    assert {"good", "bad", "lost"} <= plugins_of("dalda.methods").keys()
    assert load_plugin("dalda.methods", "good") == "mine"
    assert load_plugin("dalda.methods", "no such") is None
    assert load_plugin("dalda.generators", "good") is None


REASONS = [("bad", "ValueError: no licence"), ("lost", "AttributeError")]


@pytest.mark.parametrize(("name", "reason"), REASONS)
def test_a_broken_part_is_named(package: None, name: str, reason: str) -> None:
    words = rf"'{name}' of the package 'tiny-parts' cannot be loaded"
    with pytest.raises(UserError, match=words) as caught:
        load_plugin("dalda.methods", name)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
