"""SIGKILL amid a run of each model family: the same command ends with the bytes of an unbroken one.

Each family is a tiny random model of its real classes, on disk.
"""

import os
import random
import shutil
import time
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from signal import SIGKILL

import pytest
from tests.generation.backends.test_families import TINY, saved
from tests.generation.backends.test_instruct_pix2pix import save_editor
from tests.generation.stock import source_of

from dalda.models.presets import Preset, preset_named
from kills import LIMIT, Killing, Runs, contents, size_of

CLIP = "shipped:doodles/weights/clip"
TRIES = 5
"""A kill that comes after the end is none, and another run is begun."""


@pytest.fixture(scope="module")
def runs() -> Iterator[Runs]:
    found = Runs()
    try:
        yield found
    finally:
        found.end()


def options_of(preset: Preset) -> list[str]:
    """What makes the command use this preset, in place of the row of its family."""
    row = preset_named(preset.model)
    names = [one.name for one in fields(Preset) if one.name != "clip"]
    values = {name: getattr(preset, name) for name in names if getattr(preset, name) != getattr(row, name)}
    texts = {name: "none" if value is None else value for name, value in values.items()} | {"clip": CLIP}
    return [word for name, text in texts.items() for word in ("--model-option", f"{name}={text}")]


def command(folder: Path, family: str) -> list[str]:
    photos = folder / "photos"
    for number, label in enumerate(("car", "tree")):
        (photos / label).mkdir(parents=True)
        source_of(number).resize((40, 40)).save(photos / label / "0.png")
    preset = save_editor(folder) if family == "edit" else saved(folder, family)
    method = (
        ["--method", "diffusemix", "--method-option", "edit=true"]
        if family == "edit"
        else ["--ip-adapter-scale", "uniform"]
    )
    return [
        *("augment", str(photos), "--model", preset.model, *options_of(preset), *method),
        *("--steps", "3", "--per-image", "6", "--batch-size", "2", "-o", "OUT"),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("family", [*TINY, "edit"])
def test_a_killed_run_ends_with_the_bytes_of_an_unbroken_one(
    runs: Runs, tmp_path: Path, family: str
) -> None:
    killing = Killing(runs, tmp_path, family, command(tmp_path, family), random.Random(0))
    killing.unbroken()
    whole = {name for name in killing.wanted if name.endswith(".png")}
    for number in range(TRIES):
        out = tmp_path / f"broken{number}"
        process = killing.start(out)
        until = time.monotonic() + LIMIT
        while not size_of(out / "train/metadata.jsonl") and time.monotonic() < until:
            time.sleep(0.001)
        os.kill(process, SIGKILL)
        if runs.exit_code() == -SIGKILL:
            break
        shutil.rmtree(out)
    left = {name for name in contents(out) if name.endswith(".png")}
    assert left
    assert left < whole
    killing.finish(out)
    assert contents(out) == killing.wanted
