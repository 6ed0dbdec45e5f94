from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dalda.progress import Progress
from dalda.records import Example, Job, Plan, Split, Weight
from dalda.synthesis.engines import Render, is_blank, missing_jobs, paint
from dalda.synthesis.plan import Recipe, make_plan
from dalda.synthesis.store import Store

COUNT = 11


@pytest.fixture
def plan() -> Plan:
    examples = tuple(Example(Path(f"{n}.png"), "car", f"hash{n}") for n in range(COUNT))
    split = Split("folder", Path(), "train", 0, None, ("car",), examples)
    recipe = Recipe("dalda", "doodle", "", "", 2.0, 20, per_image=2, seed=0)
    return make_plan(
        split,
        {"car": ["a car"]},
        None,
        lambda score, shots, rng: Weight(float(rng.random()), None),
        lambda captions, count, rng: [captions[0]] * count,
        recipe,
    )


def render(jobs: Sequence[Job], sources: Sequence[Image.Image]) -> list[Image.Image]:
    """Noise that depends, like floating point on a batch, on a job's place in it too."""
    return [
        Image.fromarray(np.random.default_rng([job.seed, place]).integers(0, 255, (4, 4, 3), np.uint8))
        for place, job in enumerate(jobs)
    ]


def open_image(path: Path) -> Image.Image:
    return Image.new("RGB", (4, 4))


def finish(plan: Plan, folder: Path, how: Render = render, batch_size: int = 4) -> Store:
    store = Store.open(folder, {"seed": 0})
    missing = missing_jobs(plan, store)
    paint(plan, missing, store, how, open_image, batch_size, Progress("paint", len(missing)))
    store.settle(plan.jobs)
    return store


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def stopping_after(calls: int) -> Render:
    left = [calls]

    def stop(jobs: Sequence[Job], sources: Sequence[Image.Image]) -> list[Image.Image]:
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        return render(jobs, sources)

    return stop


@pytest.mark.parametrize("calls", range(6))
def test_a_stopped_run_ends_as_an_unbroken_one(plan: Plan, tmp_path: Path, calls: int) -> None:
    finish(plan, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        finish(plan, tmp_path / "broken", stopping_after(calls))
    finish(plan, tmp_path / "broken")
    assert contents(tmp_path / "broken") == contents(tmp_path / "whole")


def test_a_stop_within_a_batch_leaves_no_trace(plan: Plan, tmp_path: Path) -> None:
    whole, broken = finish(plan, tmp_path / "whole"), finish(plan, tmp_path / "broken")
    metadata = broken.folder / "train" / "metadata.jsonl"
    lines = metadata.read_text().splitlines(keepends=True)
    metadata.write_text("".join(lines[:6]) + lines[6][:20])
    assert len(missing_jobs(plan, Store.open(broken.folder, {"seed": 0}))) == 2 * COUNT - 6
    finish(plan, broken.folder)
    assert contents(broken.folder) == contents(whole.folder)


def test_a_finished_folder_is_left_alone(plan: Plan, tmp_path: Path) -> None:
    finish(plan, tmp_path)

    def never(jobs: Sequence[Job], sources: Sequence[Image.Image]) -> list[Image.Image]:
        raise AssertionError("nothing is missing")

    before = contents(tmp_path)
    finish(plan, tmp_path, never)
    assert contents(tmp_path) == before


def test_blank_pictures_are_dropped_with_a_reason_and_counted(plan: Plan, tmp_path: Path) -> None:
    sick = {plan.jobs[3].id}

    def half(jobs: Sequence[Job], sources: Sequence[Image.Image]) -> list[Image.Image]:
        black = Image.new("RGB", (4, 4))
        good = render(jobs, sources)
        return [black if job.id in sick else one for job, one in zip(jobs, good, strict=True)]

    store = finish(plan, tmp_path, half)
    assert [(line["job_id"], line["reason"]) for line in store.dropped()] == [
        (plan.jobs[3].id, "blank picture")
    ]
    assert len(store.samples()) == len(plan.jobs) - 1
    assert missing_jobs(plan, store) == []


def test_every_batch_gets_its_own_sources(plan: Plan, tmp_path: Path) -> None:
    seen: list[tuple[Path, Image.Image]] = []

    def spy(jobs: Sequence[Job], sources: Sequence[Image.Image]) -> list[Image.Image]:
        seen.extend(zip((job.source for job in jobs), sources, strict=True))
        return render(jobs, sources)

    def marked(path: Path) -> Image.Image:
        return Image.new("RGB", (4, 4), (int(path.stem), 0, 0))

    store = Store.open(tmp_path, {})
    paint(plan, plan.jobs, store, spy, marked, 5, Progress("paint", len(plan.jobs)))
    assert len(seen) == len(plan.jobs)
    assert all(source.getpixel((0, 0)) == (int(path.stem), 0, 0) for path, source in seen)


def test_an_error_while_writing_is_not_swallowed(plan: Plan, tmp_path: Path) -> None:
    def full(folder: Path) -> Callable[..., list[Image.Image]]:
        (folder / "train" / "car").write_text("in the way")
        return render

    store = Store.open(tmp_path, {})
    with pytest.raises(OSError, match="car"):
        paint(plan, plan.jobs, store, full(tmp_path), open_image, 4, Progress("paint", 22))


def test_is_blank() -> None:
    assert is_blank(Image.new("RGB", (4, 4), (3, 80, 200)))
    half = Image.new("RGB", (4, 4), (3, 80, 200))
    half.putpixel((0, 0), (9, 80, 200))
    assert not is_blank(half)
