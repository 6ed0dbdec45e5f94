import errno
import hashlib
import importlib
import operator
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dalda.errors import UserError
from dalda.generation.executors.local import Render, missing_jobs, paint
from dalda.generation.image_encoding import FORMATS
from dalda.generation.plan import Recipe, make_plan, with_next_seed
from dalda.generation.synthetic_dataset import Store
from dalda.progress import Progress
from dalda.types import Example, Job, Plan, Split, Weight

COUNT = 11


@pytest.fixture(autouse=True)
def _quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """No power is cut during these tests."""
    monkeypatch.setattr("os.fsync", lambda handle: None)


@pytest.fixture
def plan() -> Plan:
    return plan_of()


def plan_of() -> Plan:
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
    with store.held():
        missing = missing_jobs(plan, store)
        paint(plan, missing, store, how, open_image, batch_size, Progress("paint", len(missing)))
        store.settle(plan.jobs)
    return store


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def stopping_after(calls: int, how: Render = render) -> Render:
    left = [calls]

    def stop(jobs: Sequence[Job], sources: Sequence[Image.Image]) -> Sequence[Image.Image | None]:
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        return how(jobs, sources)

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


def test_lost_pictures_are_made_again_as_they_were(plan: Plan, tmp_path: Path) -> None:
    store = finish(plan, tmp_path)
    before = contents(tmp_path)
    for sample in store.samples()[2:5]:
        sample.path.unlink()
    finish(plan, tmp_path)
    assert contents(tmp_path) == before


def test_a_finished_folder_is_left_alone(plan: Plan, tmp_path: Path) -> None:
    finish(plan, tmp_path)

    def never(jobs: Sequence[Job], sources: Sequence[Image.Image]) -> list[Image.Image]:
        raise AssertionError("nothing is missing")

    before = contents(tmp_path)
    finish(plan, tmp_path, never)
    assert contents(tmp_path) == before


def spoiling(sick: Mapping[int, Image.Image | None]) -> Render:
    """Renders as always, but jobs with these seeds come out as the given picture."""

    def spoilt(jobs: Sequence[Job], sources: Sequence[Image.Image]) -> list[Image.Image | None]:
        return [sick.get(job.seed, one) for job, one in zip(jobs, render(jobs, sources), strict=True)]

    return spoilt


BLACK = Image.new("RGB", (4, 4))


@pytest.mark.parametrize(("picture", "reason"), [(BLACK, "of one colour"), (None, "not a number")])
def test_sick_pictures_are_rendered_again_with_the_next_seed(
    plan: Plan, tmp_path: Path, picture: Image.Image | None, reason: str
) -> None:
    job = plan.jobs[3]
    store = finish(plan, tmp_path, spoiling({job.seed: picture}))
    assert store.dropped() == []
    (line,) = [line for line in store.lines() if line["rendered_again"]]
    other = with_next_seed(job)
    assert (line["job_id"], line["seed"], line["rendered_again"]) == (job.id, other.seed, reason)
    assert other.seed != job.seed
    (expected,) = render([other], [BLACK])[:1]
    assert Image.open(store.samples()[3].path).size == expected.size
    assert {line["seed"] for line in store.lines()} >= {one.seed for one in plan.jobs if one != job}


def test_blank_pictures_are_dropped_with_a_reason_and_counted(plan: Plan, tmp_path: Path) -> None:
    job = plan.jobs[3]
    sick = {job.seed: None, with_next_seed(job).seed: BLACK}
    store = finish(plan, tmp_path, spoiling(sick))
    assert [(line["job_id"], line["reason"]) for line in store.dropped()] == [(job.id, "of one colour")]
    assert len(store.samples()) == len(plan.jobs) - 1
    assert missing_jobs(plan, store) == []


def test_a_model_that_paints_nothing_is_stopped_early_and_leaves_nothing(
    plan: Plan, tmp_path: Path
) -> None:
    def black(jobs: Sequence[Job], sources: Sequence[Image.Image]) -> list[Image.Image]:
        return [BLACK for _ in jobs]

    with pytest.raises(UserError, match=r"none of the first 16 pictures .* of one colour.*--dtype fp32"):
        finish(plan, tmp_path, black)
    assert missing_jobs(plan, Store.existing(tmp_path)) == list(plan.jobs)
    finish(plan, tmp_path)
    assert missing_jobs(plan, Store.existing(tmp_path)) == []


def test_a_small_plan_without_any_picture_says_why(plan: Plan, tmp_path: Path) -> None:
    small = Plan(plan.jobs[:5])
    store = finish(small, tmp_path, lambda jobs, sources: [None for _ in jobs])
    assert [line["reason"] for line in store.dropped()] == ["not a number"] * 5


def test_a_repeated_picture_is_rendered_again_wherever_the_first_one_is(plan: Plan, tmp_path: Path) -> None:
    """Within one batch (0 and 1), in a later one (9), and where the second try is no better (13)."""
    one = Image.effect_noise((4, 4), 80).convert("RGB")
    numbers = (0, 1, 9, 13)
    sick = {plan.jobs[number].seed: one for number in numbers}
    sick[with_next_seed(plan.jobs[13]).seed] = one
    store = finish(plan, tmp_path / "whole", spoiling(sick))
    again = [line["job_id"] for line in store.lines() if line["rendered_again"]]
    assert again == [plan.jobs[1].id, plan.jobs[9].id]
    assert [line["job_id"] for line in store.dropped()] == [plan.jobs[13].id]
    assert len({line["sha256"] for line in store.lines()}) == len(plan.jobs) - 1
    assert store.faults()[0] == {"the same as another picture": 2}


@settings(max_examples=15, deadline=None)
@given(sick=st.sets(st.integers(0, 2 * COUNT - 1)), kept=st.integers(0, 2 * COUNT), torn=st.booleans())
def test_a_broken_run_with_sick_pictures_ends_as_an_unbroken_one(
    sick: set[int], kept: int, torn: bool
) -> None:
    """Whatever number of lines was written when it stopped."""
    plan = plan_of()
    one = Image.linear_gradient("L").resize((4, 4)).convert("RGB")
    bad: dict[int, Image.Image | None] = {
        plan.jobs[number].seed: one if number % 2 else BLACK for number in sick
    }
    bad |= {with_next_seed(plan.jobs[number]).seed: None for number in sick if number % 3 == 0}
    with TemporaryDirectory() as folder:
        whole, broken = Path(folder, "whole"), Path(folder, "broken")
        finish(plan, whole, spoiling(bad))
        store = Store.open(broken, {"seed": 0})
        with pytest.raises(KeyboardInterrupt):
            finish(plan, broken, stopping_after(min(5, kept // 4 + 1), spoiling(bad)))
        metadata = store.folder / "train" / "metadata.jsonl"
        lines = metadata.read_text().splitlines(keepends=True)
        metadata.write_text("".join(lines[:kept]) + ("{" if torn else ""))
        finish(plan, broken, spoiling(bad))
        assert contents(broken) == contents(whole)


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


def test_an_error_while_writing_is_one_sentence(plan: Plan, tmp_path: Path) -> None:
    store = Store.open(tmp_path, {})
    (tmp_path / "train" / "car").write_text("in the way")
    sentence = r"car' cannot be written.*run the same command again"
    with pytest.raises(UserError, match=sentence), store.held():
        paint(plan, plan.jobs, store, render, open_image, 4, Progress("paint", 22))


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        ("os.fsync", errno.ENOSPC, "No space left on device"),
        ("pathlib.Path.open", errno.EROFS, "Read-only file system"),
        ("pathlib.Path.replace", errno.EROFS, "Read-only file system"),
    ],
)
def test_a_disk_that_fills_up_or_turns_read_only_ends_in_one_sentence_and_goes_on_later(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, error: int, said: str
) -> None:
    """From some moment in the middle of the run on, each such call fails."""
    finish(plan, tmp_path / "whole")
    left = [20]
    usual = operator.attrgetter(call.partition(".")[2])(importlib.import_module(call.partition(".")[0]))

    def refuse(*arguments: Any, **settings: Any) -> Any:
        writes = call != "pathlib.Path.open" or {"wb", "ab"} & {*arguments[1:], *settings.values()}
        left[0] -= bool(writes)
        if writes and left[0] < 0:
            raise OSError(error, os.strerror(error))
        return usual(*arguments, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(call, refuse)
        with pytest.raises(UserError, match=rf"{said}.*what is finished is kept"):
            finish(plan, tmp_path / "broken")
    there = len(Store.existing(tmp_path / "broken").finished())
    assert 0 < there < len(plan.jobs)
    assert [path.name for path in (tmp_path / "broken").rglob("*.partial")] == []
    finish(plan, tmp_path / "broken")
    assert contents(tmp_path / "broken") == contents(tmp_path / "whole")


def test_pictures_of_another_plan_are_never_joined(plan: Plan, tmp_path: Path) -> None:
    finish(plan, tmp_path)
    other = Plan(tuple(replace(job, ip_adapter_scale=job.ip_adapter_scale + 1e-6) for job in plan.jobs))
    before = contents(tmp_path)
    with pytest.raises(UserError, match="holds 22 pictures that this command does not make"):
        finish(other, tmp_path)
    assert contents(tmp_path) == before


def with_memory_for(most: int, calls: list[int]) -> Render:
    def tight(jobs: Sequence[Job], sources: Sequence[Image.Image]) -> list[Image.Image]:
        calls.append(len(jobs))
        if len(jobs) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return render(jobs, sources)

    return tight


def test_out_of_memory_halves_the_batch_and_is_said_once(
    plan: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[int] = []
    store = finish(plan, tmp_path / "tight", with_memory_for(2, calls), batch_size=11)
    assert calls[:3] == [11, 5, 2]
    assert set(calls[3:]) == {2}
    assert missing_jobs(plan, store) == []
    assert capsys.readouterr().err.count("fit into memory") == 1
    assert store.rendering()["batch_size"] == 2
    finish(plan, tmp_path / "two", batch_size=2)
    assert contents(tmp_path / "tight") == contents(tmp_path / "two")


def test_out_of_memory_late_in_a_run_loses_nothing(plan: Plan, tmp_path: Path) -> None:
    seen: list[Job] = []

    def late(jobs: Sequence[Job], sources: Sequence[Image.Image]) -> list[Image.Image]:
        if len(seen) >= 12 and len(jobs) > 2:
            raise torch.OutOfMemoryError
        seen.extend(jobs)
        return render(jobs, sources)

    store = finish(plan, tmp_path, late)
    assert missing_jobs(plan, store) == []
    assert len({line["job_id"] for line in store.lines()}) == len(plan.jobs)
    assert [line["job_id"] for line in store.lines()] == [job.id for job in plan.jobs]


def test_memory_that_runs_out_on_the_second_try_makes_no_picture_a_repeated_one(
    plan: Plan, tmp_path: Path
) -> None:
    """The batch has one sick picture, and is rendered whole again at half the size."""
    sick = plan.jobs[3]
    calls: list[int] = []

    def tight(jobs: Sequence[Job], sources: Sequence[Image.Image]) -> list[Image.Image | None]:
        calls.append(len(jobs))
        if len(jobs) > 2 and with_next_seed(sick).seed in [job.seed for job in jobs]:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return list(spoiling({sick.seed: BLACK})(jobs, sources))

    store = finish(plan, tmp_path, tight)
    assert min(calls) == 2
    assert dict(store.faults()[0]) == {"of one colour": 1}
    assert store.dropped() == []


def test_how_each_picture_was_made_is_in_its_record(plan: Plan, tmp_path: Path) -> None:
    calls: list[int] = []
    tight = with_memory_for(2, calls)
    store = Store.open(tmp_path, {})
    with store.held():
        paint(
            plan,
            plan.jobs,
            store,
            tight,
            open_image,
            4,
            Progress("paint", len(plan.jobs)),
            made_with=lambda: {"calls": len(calls)},
        )
    lines = list(store.lines())
    assert {line["batch_size"] for line in lines} == {2}
    assert [line["calls"] for line in lines] == [2 + place // 2 for place in range(len(lines))]


def test_too_little_memory_for_one_picture_is_one_sentence(plan: Plan, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not enough memory for a single picture"):
        finish(plan, tmp_path, with_memory_for(0, []))


def test_any_other_error_of_the_renderer_comes_through(plan: Plan, tmp_path: Path) -> None:
    def broken(jobs: Sequence[Job], sources: Sequence[Image.Image]) -> list[Image.Image]:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        finish(plan, tmp_path, broken)


@pytest.mark.parametrize(("name", "kind"), [("png", "PNG"), ("webp", "WEBP"), ("jpeg", "JPEG")])
def test_pictures_are_written_in_the_format_that_is_asked_for(
    plan: Plan, tmp_path: Path, name: str, kind: str
) -> None:
    store = Store.open(tmp_path, {})
    progress = Progress("paint", len(plan.jobs))
    paint(plan, plan.jobs, store, render, open_image, 8, progress, form=FORMATS[name])
    for line in store.lines():
        path = tmp_path / "train" / line["file_name"]
        assert path.suffix == FORMATS[name].suffix
        assert hashlib.sha256(path.read_bytes()).hexdigest() == line["sha256"]
        with Image.open(path) as picture:
            assert (picture.format, picture.size) == (kind, (4, 4))
